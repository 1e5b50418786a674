//! Which web pages of other origins may talk to the hub (the Fetch standard's CORS protocol). A library's layer answers every
//! OPTIONS by itself, and clients of tus need the hub's own answer to theirs; so only requests that ask for a permission are
//! answered here.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use kinora_protocol::ErrorCode;

use super::authorise;
use super::problem::Refusal;
use crate::Hub;

/// What a page may do.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
/// What a page may read of an answer besides its body.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "accept-ranges, content-disposition, content-length, content-range, etag, location, tus-extension, \
     tus-max-size, tus-resumable, tus-version, upload-expires, upload-length, upload-metadata, upload-offset",
);
/// How long a browser remembers a permission, in seconds.
const REMEMBERED: HeaderValue = HeaderValue::from_static("7200");

/// Any page, of whatever origin.
const ANY: &str = "*";

pub(super) async fn permit(State(hub): State<Hub>, request: Request, next: Next) -> Response {
    let allowed = hub.allowed_origins();
    let origin = request.headers().get(header::ORIGIN).filter(|origin| is_allowed(origin, allowed)).cloned();
    let asks = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if origin.is_none() && changes(request.method(), request.headers()) && is_foreign(request.headers()) {
        let why = "a page of another origin may not do this; `kinora hub --allow-origin ORIGIN` lets it";
        authorise::turned_away(&hub, request, "a page of another origin").await;
        return Refusal::new(StatusCode::FORBIDDEN, ErrorCode::BadInput, why).into_response();
    }
    let wanted = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let mut answer = match (&origin, asks) {
        (Some(_), true) => StatusCode::NO_CONTENT.into_response(),
        _ => next.run(request).await,
    };
    let headers = answer.headers_mut();
    if !allowed.is_empty() {
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
    if let Some(origin) = origin {
        grant(headers, origin, asks, wanted);
    }
    answer
}

/// Whether a request does more than to look: browsers hold pages of other origins back from reading answers only, and not even
/// from that where a WebSocket is opened.
pub(super) fn changes(method: &Method, headers: &HeaderMap) -> bool {
    let looks = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
    !looks || headers.contains_key(header::UPGRADE)
}

/// Whether a browser sends it for a page of another origin than this hub's.
fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let here = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    here.is_none() || here != text(header::HOST)
}

fn grant(headers: &mut HeaderMap, origin: HeaderValue, asks: bool, wanted: Option<HeaderValue>) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    if asks {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, REMEMBERED);
        if let Some(wanted) = wanted {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted);
        }
    }
}

fn is_allowed(origin: &HeaderValue, allowed: &[String]) -> bool {
    let origin = origin.to_str().unwrap_or("");
    allowed.iter().any(|one| one == ANY || one.eq_ignore_ascii_case(origin))
}
