//! The cookie that carries a browser's session, and what keeps other pages from using it.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use kinora_access::{Prefix, Secret};

use super::cors::changes;

/// Browsers keep one with this name to one host, and to connections that are encrypted.
const SECURE: &str = "__Host-kinora";
/// Where nothing is encrypted.
const PLAIN: &str = "kinora";
/// The same two for a login elsewhere that is under way.
const SECURE_LOGIN: &str = "__Host-kinora-login";
const PLAIN_LOGIN: &str = "kinora-login";
/// Seconds that a browser keeps it: as long as a login can last.
const LIFETIME: u32 = 90 * 24 * 3600;
/// Seconds that somebody may take to sign in elsewhere.
const LOGIN_LIFETIME: u32 = 600;

/// By what somebody can show who it is.
pub(super) const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"kinora\"");

/// The header that sets the cookie; without a session the one that takes it back.
pub(super) fn set(session: Option<&Secret>, secure: bool) -> Option<HeaderValue> {
    header_of((SECURE, PLAIN), session.map(|session| (session.to_string(), LIFETIME)), secure)
}

/// What binds a login elsewhere to the browser that began it, for as long as that may take; without one the header that takes it back.
pub(super) fn login(state: Option<&str>, secure: bool) -> Option<HeaderValue> {
    header_of((SECURE_LOGIN, PLAIN_LOGIN), state.map(|state| (state.to_owned(), LOGIN_LIFETIME)), secure)
}

fn header_of(
    (strict, plain): (&str, &str),
    value: Option<(String, u32)>,
    secure: bool,
) -> Option<HeaderValue> {
    let (name, only) = if secure { (strict, "; Secure") } else { (plain, "") };
    let (value, lifetime) = value.unwrap_or_default();
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={lifetime}{only}");
    HeaderValue::from_str(&text).ok()
}

/// What a browser brings of a login that it began.
pub(super) fn begun(headers: &HeaderMap, secure: bool) -> Option<String> {
    brought(headers, (SECURE_LOGIN, PLAIN_LOGIN), secure).map(str::to_owned)
}

/// The session that a request carries.
pub(super) fn session(headers: &HeaderMap, secure: bool) -> Option<Secret> {
    let secret: Secret = brought(headers, (SECURE, PLAIN), secure)?.parse().ok()?;
    (secret.prefix == Prefix::Cookie).then_some(secret)
}

/// A cookie under the name that it has on such a connection, and no other: what stands under the plain name may have come from a
/// neighbouring host, or over a connection that anybody could change.
fn brought<'a>(headers: &'a HeaderMap, (strict, plain): (&str, &str), secure: bool) -> Option<&'a str> {
    let name = if secure { strict } else { plain };
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Whether a page of another origin can have made a browser send this. Browsers say for which page they send what changes
/// something, and when a WebSocket is opened; one that says nothing is not believed.
pub(super) fn may_be_forged(parts: &Parts) -> bool {
    if !changes(&parts.method, &parts.headers) {
        return false;
    }
    let text = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site")) {
        return site != "same-origin";
    }
    let here = text(header::HOST).or_else(|| parts.uri.authority().map(|authority| authority.as_str()));
    let origin = text(header::ORIGIN).and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    origin.is_none() || origin != here
}

#[cfg(test)]
mod tests {
    use axum::http::{Method, Request};
    use uuid::Uuid;

    use super::*;

    fn parts(method: Method, headers: &[(&str, &str)]) -> Parts {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = method;
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            parts.headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        parts
    }

    #[test]
    fn who_sets_it_reads_it() {
        let secret = Secret::generate(Prefix::Cookie, Uuid::new_v4()).unwrap();
        for (secure, name) in [(true, "__Host-kinora="), (false, "kinora=")] {
            let set = set(Some(&secret), secure).unwrap();
            let set = set.to_str().unwrap();
            assert!(
                set.starts_with(name) && set.contains("HttpOnly") && set.contains("SameSite=Lax"),
                "{set}"
            );
            assert_eq!(set.contains("Secure"), secure);
            let sent = format!("a=b; {}; c=d", set.split(';').next().unwrap());
            let brought = parts(Method::GET, &[("cookie", &sent)]).headers;
            assert!(session(&brought, secure) == Some(secret.clone()));
            assert!(session(&brought, !secure).is_none(), "what is under the other name counts for nothing");
        }
        let key = Secret::generate(Prefix::Key, Uuid::new_v4()).unwrap();
        let sent = format!("kinora={key}");
        let brought = parts(Method::GET, &[("cookie", &sent)]).headers;
        assert!(session(&brought, false).is_none(), "a key is no session");
        let planted = parts(Method::GET, &[("cookie", "kinora-login=x")]).headers;
        assert!(begun(&planted, true).is_none() && begun(&planted, false).as_deref() == Some("x"));
    }

    #[test]
    fn other_pages_change_nothing() {
        let forged = |method: Method, headers: &[(&str, &str)]| may_be_forged(&parts(method, headers));
        let host = ("host", "hub.lan:8000");
        assert!(!forged(Method::POST, &[host, ("origin", "http://hub.lan:8000")]));
        assert!(!forged(Method::POST, &[host, ("sec-fetch-site", "same-origin")]));
        assert!(!forged(Method::GET, &[host, ("origin", "http://evil.example")]));
        for headers in [
            &[host][..],
            &[host, ("origin", "http://evil.example")],
            &[host, ("origin", "null")],
            &[host, ("origin", "http://hub.lan")],
            &[host, ("sec-fetch-site", "cross-site"), ("origin", "http://hub.lan:8000")],
            &[host, ("sec-fetch-site", "same-site")],
            &[host, ("sec-fetch-site", "none")],
        ] {
            assert!(forged(Method::POST, headers), "{headers:?}");
            assert!(forged(Method::DELETE, headers), "{headers:?}");
            let upgrade = [headers, &[("upgrade", "websocket")]].concat();
            assert!(forged(Method::GET, &upgrade), "{headers:?}");
        }
    }
}
