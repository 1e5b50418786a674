//! By which names browsers may call the hub, and what they may do with what it answers. Who somebody is, is not decided here.
//!
//! A page of a stranger's can have its own name lead to 127.0.0.1 (DNS rebinding): to the browser the hub then is that page's own
//! server. The name it called gives that away.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use kinora_protocol::ErrorCode;
use tower_http::timeout::TimeoutBody;

use super::authorise;
use super::peer::Peer;
use super::problem::Refusal;
use crate::Hub;

/// What holds for every answer that says nothing else.
const USUAL: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; object-src 'none'; \
             frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
        ),
    ),
];

/// Browsers that have once come encrypted come no other way for two years. They heed it where they know the authority, and only for
/// names.
const ENCRYPT: HeaderValue = HeaderValue::from_static("max-age=63072000");
/// How long a client may take between two pieces of what it sends.
const BODY: Duration = Duration::from_secs(60);

/// Refuses what is meant for somebody else.
pub(super) async fn admit(State(hub): State<Hub>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let secure = Peer::of(&parts, hub.trusted_proxies()).secure;
    let request = Request::from_parts(parts, Body::new(TimeoutBody::new(BODY, body)));
    let mut answer = match (hub.names(), named(&request)) {
        (Some(names), Some(host)) if !is_ours(&host, names) => {
            let why = format!(
                "this hub does not go by the name {host:?}: call it by an address or localhost, or let it by `kinora hub --allow-host {host}`"
            );
            authorise::turned_away(&hub, request, &format!("by the name {host:?}")).await;
            Refusal::new(StatusCode::MISDIRECTED_REQUEST, ErrorCode::BadInput, why).into_response()
        }
        _ => next.run(request).await,
    };
    guard(answer.headers_mut(), secure);
    answer
}

fn guard(headers: &mut HeaderMap, secure: bool) {
    if secure {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, ENCRYPT);
    }
    for (name, value) in &USUAL {
        if !headers.contains_key(name) {
            headers.insert(name.clone(), value.clone());
        }
    }
}

/// The name in a request, without its port; clients of HTTP 1.0 may have none.
fn named(request: &Request) -> Option<String> {
    let host = request.headers().get(header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()));
    let host = host.or_else(|| request.uri().host().map(Into::into))?;
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host.as_ref(), |(name, _)| name),
    };
    Some(name.trim_end_matches('.').to_ascii_lowercase())
}

/// Whether nobody but the hub can be meant: no name leads a browser to an address that is written out.
fn is_ours(host: &str, names: &[String]) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok()
        || names.iter().any(|name| name.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn names_that_are_ours() {
        let names = ["studio.example".to_owned()];
        let ours = |host: &str| {
            let request = Request::builder().uri("/").header("host", host).body(Body::empty());
            is_ours(&named(&request.unwrap_or_default()).unwrap_or_default(), &names)
        };
        for host in [
            "localhost",
            "LOCALHOST:8000",
            "kinora.localhost:8000",
            "127.0.0.1:8000",
            "[::1]:8000",
            "192.168.1.2",
            "studio.example",
            "Studio.Example.:443",
        ] {
            assert!(ours(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8000",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "studio.example.evil",
        ] {
            assert!(!ours(host), "{host}");
        }
    }
}
