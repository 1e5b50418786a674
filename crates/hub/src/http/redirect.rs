//! What clients get that do not encrypt where they have to.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::{HeaderName, Method, Request, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use kinora_protocol::ErrorCode;

use super::problem::Refusal;

/// Where some put their key.
const KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Whoever only looks is sent on; whoever has sent something is told, because it stood open on the way.
pub(super) async fn answer<B>(request: Request<B>) -> Result<Response<Body>, Infallible> {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let looks = [Method::GET, Method::HEAD].contains(request.method())
        && !request.headers().contains_key(header::UPGRADE)
        && ![header::AUTHORIZATION, KEY].iter().any(|name| request.headers().contains_key(name));
    Ok(match host {
        Some(host) if looks && path.starts_with('/') => {
            let place = format!("https://{host}{path}");
            (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, place)]).into_response()
        }
        _ => {
            let why = "this hub speaks HTTPS only: write https:// instead of http://, and take another key if you have sent one";
            Refusal::new(StatusCode::BAD_REQUEST, ErrorCode::BadInput, why).into_response()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_looks_is_sent_on() {
        let get = |method: &str, key: bool| {
            let request = Request::builder().method(method).uri("/a/b?c=d").header("host", "hub.lan:8000");
            let request = if key { request.header("authorization", "Bearer x") } else { request };
            answer(request.body(()).unwrap())
        };
        let sent = get("GET", false).await.unwrap();
        assert_eq!(sent.status(), StatusCode::PERMANENT_REDIRECT);
        assert_eq!(sent.headers()["location"], "https://hub.lan:8000/a/b?c=d");
        for (method, key) in [("POST", false), ("GET", true)] {
            assert_eq!(get(method, key).await.unwrap().status(), StatusCode::BAD_REQUEST);
        }
    }
}
