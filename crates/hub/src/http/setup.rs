//! The page on which the first user is made. It works without scripts.

use axum::Extension;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use kinora_protocol::access::Setup;
use serde::Deserialize;

use super::auth;
use crate::Hub;
use crate::app::access::Caller;

const PAGE: &str = include_str!("setup.html");

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    token: String,
}

/// Text that means nothing in a page.
pub(super) fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |escaped, c| match c {
        '&' => escaped + "&amp;",
        '<' => escaped + "&lt;",
        '>' => escaped + "&gt;",
        '"' => escaped + "&quot;",
        '\'' => escaped + "&#39;",
        other => escaped + other.encode_utf8(&mut [0; 4]),
    })
}

fn page(status: StatusCode, token: &str, name: &str, wrong: &str) -> Response {
    let wrong = if wrong.is_empty() {
        String::new()
    } else {
        format!("<p class=\"wrong\" role=\"alert\">{}</p>", escaped(wrong))
    };
    let text = PAGE
        .replace("{{wrong}}", &wrong)
        .replace("{{token}}", &escaped(token))
        .replace("{{name}}", &escaped(name));
    let mut answer = (status, Html(text)).into_response();
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

pub(super) async fn show(State(hub): State<Hub>, Query(asked): Query<Asked>) -> Response {
    if hub.has_users() {
        return (StatusCode::SEE_OTHER, auth::home()).into_response();
    }
    page(StatusCode::OK, &asked.token, "", "")
}

pub(super) async fn make(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Form(wanted): Form<Setup>,
) -> Response {
    let (token, name) = (wanted.token.clone(), wanted.name.clone());
    match hub.set_up(&caller, wanted).await {
        Ok(Ok(entered)) => {
            let mut answer = auth::entered(&caller, StatusCode::SEE_OTHER, entered);
            answer.headers_mut().extend(auth::home());
            answer
        }
        Ok(Err(failure)) => page(StatusCode::UNPROCESSABLE_ENTITY, &token, &name, &failure.message),
        Err(error) => page(StatusCode::INTERNAL_SERVER_ERROR, &token, &name, &error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_again_means_nothing() {
        assert_eq!(escaped("<b a=\"'&ä\">"), "&lt;b a=&quot;&#39;&amp;ä&quot;&gt;");
    }
}
