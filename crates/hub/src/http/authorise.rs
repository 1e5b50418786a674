//! Lets in whom a route's rule lets in: who that is, is found out from what the request shows, and the handlers are told.

use std::collections::HashMap;

use axum::extract::{FromRequestParts as _, MatchedPath, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kinora_access::{Action, Actor, Denial, Prefix, Resource, Secret, authorize};
use kinora_protocol::access::Area;
use kinora_protocol::{ErrorCode, Failure, routes};

use super::cookie;
use super::peer::Peer;
use super::problem::Refusal;
use super::rules::{self, Entry, Rule};
use super::uploads;
use crate::app::access::audit::Outcome;
use crate::app::access::{Caller, Presented, denied};
use crate::{Hub, Result};

/// Longest words of a client about itself, in characters.
const LONGEST_AGENT: usize = 200;

/// What comes of looking at a request: nothing, or why it is not let in.
type Verdict = std::result::Result<(), Failure>;

pub(super) async fn admit(State(hub): State<Hub>, request: Request, next: Next) -> Response {
    let of_tus = request.uri().path().starts_with(routes::UPLOADS);
    let mut answer = let_in(hub, request, next).await;
    if of_tus {
        uploads::mark(answer.headers_mut());
    }
    answer
}

async fn let_in(hub: Hub, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let peer = Peer::of(&parts, hub.trusted_proxies());
    let mut caller = from_where(&parts, peer);
    let path = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let entry = path.as_deref().and_then(|path| rules::find(&parts.method, path));
    let (Some(path), Some(entry)) = (&path, entry) else {
        return match (pace(&hub, peer, &caller), &path) {
            (Err(seconds), _) => too_many(seconds),
            (Ok(()), Some(path)) => not_taken(path),
            // Nothing is there; it says so to everybody.
            (Ok(()), None) => next.run(Request::from_parts(parts, body)).await,
        };
    };
    // The right to bytes stands in the path: it belongs into no record.
    let shown_path = if entry.rule == Rule::Node { path.as_str() } else { parts.uri.path() };
    let action = format!("{} {shown_path}", parts.method);
    let asked = parts.uri.query().unwrap_or_default().to_owned();
    let verdict = match decide(&hub, entry, &mut parts, &mut caller, peer.near).await {
        Err(error) => return Refusal::from(error).into_response(),
        Ok(verdict) => verdict,
    };
    if let Err(seconds) = pace(&hub, peer, &caller) {
        return too_many(seconds);
    }
    if let Err(failure) = verdict {
        // Whoever shows nothing has not tried anything.
        if caller.actor != Actor::Nobody || shown(&parts, caller.secure) != Presented::Nothing {
            hub.record(&caller, &action, Outcome::Denied, &failure.message).await;
        }
        return refuse(failure);
    }
    parts.extensions.insert(caller.clone());
    let request = Request::from_parts(parts, body);
    if !entry.recorded {
        return next.run(request).await;
    }
    // In a task of its own: what is begun is done and written down, also when whoever asked for it is gone.
    let work = tokio::spawn(async move {
        let answer = next.run(request).await;
        let status = answer.status();
        let outcome = if status.is_success() { Outcome::Done } else { Outcome::Failed };
        let what = answer.extensions().get::<About>().map(|about| about.0.clone()).unwrap_or_default();
        let failed = if status.is_success() { String::new() } else { status.to_string() };
        let words = [failed, what, asked].into_iter().filter(|word| !word.is_empty());
        hub.record(&caller, &action, outcome, &words.collect::<Vec<_>>().join(", ")).await;
        answer
    });
    work.await.unwrap_or_else(|broken| {
        let why = format!("the work on a request broke off ({broken})");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal, why).into_response()
    })
}

/// What an answer is about, for the record: whom a new user is called, say.
#[derive(Debug, Clone)]
pub(super) struct About(pub(super) String);

/// What no rule lets anybody do.
fn not_taken(path: &str) -> Response {
    let methods: Vec<&str> =
        rules::ENTRIES.iter().filter(|entry| entry.path == path).map(|entry| entry.method).collect();
    if methods.is_empty() {
        let why = format!("nobody may use {path}: it has no rule");
        return Refusal::new(StatusCode::FORBIDDEN, ErrorCode::Forbidden, why).into_response();
    }
    let why = format!("{path} does not take this method");
    let mut answer = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::BadInput, why).into_response();
    if let Ok(allowed) = HeaderValue::from_str(&methods.join(", ")) {
        answer.headers_mut().insert(header::ALLOW, allowed);
    }
    answer
}

/// What is not there for somebody is not found; the rest is as the failure has it.
fn refuse(failure: Failure) -> Response {
    match failure.code {
        ErrorCode::BadInput => {
            Refusal::new(StatusCode::NOT_FOUND, ErrorCode::BadInput, failure.message).into_response()
        }
        ErrorCode::Unauthenticated => {
            let mut answer = Refusal::from(failure).into_response();
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, cookie::CHALLENGE);
            answer
        }
        _ => Refusal::from(failure).into_response(),
    }
}

/// Writes down that a request was turned away before it was asked from whom it is.
pub(super) async fn turned_away(hub: &Hub, request: Request, why: &str) {
    let (parts, _) = request.into_parts();
    let caller = from_where(&parts, Peer::of(&parts, hub.trusted_proxies()));
    let path = parts.uri.path();
    // The right to bytes stands in the path: it belongs into no record.
    let path = if path.starts_with(OF_NODES) { OF_NODES } else { path };
    hub.record(&caller, &format!("{} {path}", parts.method), Outcome::Denied, why).await;
}

/// Below this are paths with rights in them.
const OF_NODES: &str = "/api/v1/work/";

/// Somebody of whom it is known from where it asks, and no more.
fn from_where(parts: &Parts, peer: Peer) -> Caller {
    let agent = parts.headers.get(header::USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes()));
    let agent = agent.unwrap_or_default().chars().filter(|c| !c.is_control()).take(LONGEST_AGENT).collect();
    Caller { secure: peer.secure, ..Caller::nobody(peer.address, agent) }
}

/// Whether somebody may ask once more, from there; else how many seconds it takes until it may. Machines that work are not counted:
/// there are many at some addresses.
fn pace(hub: &Hub, peer: Peer, caller: &Caller) -> std::result::Result<(), u64> {
    let Some(paces) = hub.paces() else { return Ok(()) };
    if !peer.near && !matches!(caller.actor, Actor::Node(_)) {
        paces.from(caller)?;
    }
    paces.by(caller)
}

fn too_many(seconds: u64) -> Response {
    let why = format!("too many requests: go on in {seconds} s");
    let mut answer = Refusal::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooMany, why).into_response();
    answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    answer
}

/// Finds out who asks, and whether that one may.
async fn decide(
    hub: &Hub,
    entry: &Entry,
    parts: &mut Parts,
    caller: &mut Caller,
    near: bool,
) -> Result<Verdict> {
    let shown = shown(parts, caller.secure);
    match hub.identify(&shown, near).await? {
        Ok(actor) => caller.actor = actor,
        // Who wants to sign in does not have to have a good key.
        Err(_) if entry.rule == Rule::Public => {}
        Err(failure) => return Ok(Err(failure)),
    }
    caller.by_cookie = matches!(shown, Presented::Cookie(_)) && caller.actor != Actor::Nobody;
    caller.by_key = match shown {
        Presented::Key(_) | Presented::Token(_) => true,
        // Whoever asked for it had to show something.
        Presented::Ticket(_) => hub.has_users(),
        Presented::Nothing | Presented::Cookie(_) | Presented::Garbage => false,
    };
    if caller.by_cookie && cookie::may_be_forged(parts) {
        let why = "a browser sent this for a page of another origin, or does not say for which";
        return Ok(Err(Failure::new(ErrorCode::Forbidden, why)));
    }
    allowed(hub, entry.rule, &caller.actor, parts).await
}

async fn allowed(
    hub: &Hub,
    rule: Rule,
    actor: &Actor,
    parts: &mut Parts,
) -> Result<std::result::Result<(), Failure>> {
    let verdict = match rule {
        Rule::Public => Ok(()),
        Rule::Area(action, area) => authorize(actor, action, Resource::Area(area)),
        Rule::Own(action) => authorize(actor, action, Resource::Own),
        Rule::Node => match actor {
            Actor::Node(node) => authorize(actor, Action::Work, Resource::Node(node)),
            _ => authorize(actor, Action::Work, Resource::Area(Area::Nodes)),
        },
        Rule::Thing(action, kind) => {
            let named = Path::<HashMap<String, String>>::from_request_parts(parts, hub).await;
            let thing = named.ok().and_then(|Path(mut named)| named.remove(rules::parameter(kind)));
            let thing = thing.unwrap_or_default();
            // Names of files are those of their jobs.
            let id = thing.strip_suffix(".json").unwrap_or(&thing);
            return hub.may(actor, action, (kind, id)).await;
        }
    };
    Ok(verdict.map_err(|denial| match denial {
        Denial::Unauthenticated if rule == Rule::Node => unknown_node(),
        other => denied(other, "such thing"),
    }))
}

fn unknown_node() -> Failure {
    let why = "this hub does not know this machine: make a token with `kinora tokens new --node` there, and start the worker with it";
    Failure::new(ErrorCode::Unauthenticated, why)
}

/// What a request shows of who it is from.
fn shown(parts: &Parts, secure: bool) -> Presented {
    let text = |name: HeaderName| parts.headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(said) = text(header::AUTHORIZATION) {
        return of_authorization(said);
    }
    if let Some(key) = text(HeaderName::from_static("x-api-key")) {
        return of_key(key);
    }
    if parts.headers.contains_key(header::UPGRADE)
        && let Some(ticket) = query(parts, "ticket")
    {
        return match ticket.parse::<Secret>() {
            Ok(secret) if secret.prefix == Prefix::Ticket => Presented::Ticket(secret),
            _ => Presented::Garbage,
        };
    }
    cookie::session(&parts.headers, secure).map_or(Presented::Nothing, Presented::Cookie)
}

fn query(parts: &Parts, name: &str) -> Option<String> {
    let pairs = parts.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

fn of_authorization(said: &str) -> Presented {
    let (scheme, rest) = said.split_once(' ').unwrap_or((said, ""));
    let rest = rest.trim();
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" if rest.starts_with("kn_") || rest.starts_with("kl_") => of_key(rest),
        "bearer" => Presented::Token(rest.to_owned()),
        // For clients that can only put a name and a password into an address: the key is one of the two.
        "basic" => {
            let text = BASE64_STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let text = text.unwrap_or_default();
            let (name, password) = text.split_once(':').unwrap_or((&text, ""));
            of_key(if password.is_empty() { name } else { password })
        }
        _ => Presented::Garbage,
    }
}

fn of_key(text: &str) -> Presented {
    match text.parse::<Secret>() {
        Ok(secret) if matches!(secret.prefix, Prefix::Key | Prefix::Local) => Presented::Key(secret),
        _ => Presented::Garbage,
    }
}
