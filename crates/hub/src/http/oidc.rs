//! Signing in elsewhere, for browsers: there, and back.

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use axum::{Extension, Json};
use kinora_protocol::access::{LoginMethods, Outside};
use kinora_protocol::{Failure, routes};
use serde::Deserialize;

use super::problem::Refusal;
use super::{auth, cookie, setup};
use crate::Hub;
use crate::app::access::Caller;

const PAGE: &str = include_str!("refused.html");

/// Ways to sign in to this hub.
#[utoipa::path(
    get,
    path = "/api/v1/auth/methods",
    operation_id = "loginMethods",
    tag = "access",
    responses((status = 200, description = "As asked", body = LoginMethods), Refusal),
)]
pub(super) async fn methods(State(hub): State<Hub>) -> Json<LoginMethods> {
    let outside = hub.oidc().map(|oidc| Outside { name: oidc.name.clone(), url: routes::OIDC.to_owned() });
    Json(LoginMethods { password: true, outside })
}

#[derive(Deserialize)]
pub(super) struct There {
    next: Option<String>,
}

fn see_other(place: &str, cookie: Option<HeaderValue>) -> Response {
    let Ok(place) = HeaderValue::from_str(place) else {
        return (StatusCode::BAD_GATEWAY, "the provider names an odd address").into_response();
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::LOCATION, place);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(cookie) = cookie {
        headers.append(header::SET_COOKIE, cookie);
    }
    (StatusCode::SEE_OTHER, headers).into_response()
}

/// A page, as somebody looks at it.
fn refuse(failure: Failure) -> Response {
    let text =
        PAGE.replace("{{wrong}}", &setup::escaped(&failure.message)).replace("{{again}}", routes::OIDC);
    let status = Refusal::from(failure).status();
    let mut answer = (status, Html(text)).into_response();
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

pub(super) async fn there(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Query(asked): Query<There>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    // A picture on another page is nobody who signs in.
    let is = |name: &str, value: &str| headers.get(name).map(|said| said == value);
    let elsewhere = is("sec-fetch-site", "same-origin") == Some(false);
    if elsewhere && is("sec-fetch-mode", "navigate") == Some(false) {
        let why = "this is a page to go to";
        return Ok(refuse(Failure::new(kinora_protocol::ErrorCode::BadInput, why)));
    }
    Ok(match hub.begin_oidc(&caller, asked.next.as_deref()).await? {
        Ok(begun) => see_other(&begun.place, cookie::login(Some(&begun.state), caller.secure)),
        Err(failure) => refuse(failure),
    })
}

#[derive(Deserialize)]
pub(super) struct Back {
    #[serde(default)]
    state: String,
    #[serde(default)]
    code: String,
    error: Option<String>,
}

pub(super) async fn back(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Query(said): Query<Back>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let kept = cookie::begun(&headers, caller.secure);
    if let Some(error) = said.error {
        // Anybody can make an address with words in it: no more of them than a code is shown.
        let code: String = error.chars().filter(|c| c.is_ascii_lowercase() || *c == '_').take(40).collect();
        let name = hub.oidc().map_or("The provider", |oidc| oidc.name.as_str());
        let why = format!("{name} did not let you in ({code})");
        return Ok(refuse(Failure::new(kinora_protocol::ErrorCode::Unauthenticated, why)));
    }
    let ended = hub.end_oidc(&caller, &said.state, kept.as_deref(), &said.code).await?;
    let mut answer = match ended {
        Ok((entered, next)) => {
            let mut answer = auth::entered(&caller, StatusCode::SEE_OTHER, entered);
            let place = if next == "/" { auth::home() } else { see_other(&next, None).headers().clone() };
            answer
                .headers_mut()
                .extend(place.into_iter().filter(|(name, _)| *name == Some(header::LOCATION)));
            answer
        }
        Err(failure) => refuse(failure),
    };
    // Another login of this browser may be under way.
    let over = kept.is_some_and(|kept| kept == said.state);
    if let Some(gone) = cookie::login(None, caller.secure).filter(|_| over) {
        answer.headers_mut().append(header::SET_COOKIE, gone);
    }
    // A code in an address is nobody else's.
    answer
        .headers_mut()
        .insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"));
    Ok(answer)
}
