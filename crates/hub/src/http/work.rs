//! Bytes of tasks, in and out, for nodes on other machines.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::{Extension, Json};
use futures_util::StreamExt as _;
use kinora_protocol::Digest;
use kinora_protocol::api::Ranges;
use kinora_protocol::routes::{Capability, DIGEST_HEADER};
use kinora_protocol::task::Blob;
use kinora_store::Claimed;

use super::problem::Refusal;
use crate::Hub;
use crate::app::access::Caller;
use crate::app::access::audit::Outcome;
use crate::app::work::Denied;

/// The lease that a capability stands for, in the hands of the machine that it was given to.
async fn authorised(hub: &Hub, caller: &Caller, capability: &str) -> Result<Claimed, Refusal> {
    let claimed = match capability.parse::<Capability>() {
        Ok(capability) => hub.authorised(&capability).await?,
        Err(()) => Err(Denied::Forged),
    };
    let its_own = match claimed {
        Ok(claimed) if !caller.is_node(&claimed.lease.node) => Err(Denied::Forged),
        claimed => claimed,
    };
    noted(hub, caller, its_own).await
}

/// Writes down what a machine tried that it has no right to.
async fn noted<T>(hub: &Hub, caller: &Caller, outcome: Result<T, Denied>) -> Result<T, Refusal> {
    let why = match &outcome {
        Err(Denied::Forged) => Some("no capability of this machine's"),
        Err(Denied::OutOfBounds(failure)) => Some(failure.message.as_str()),
        _ => None,
    };
    if let Some(why) = why {
        hub.record(caller, "work", Outcome::Denied, why).await;
    }
    outcome.map_err(Refusal::from)
}

pub(super) async fn source(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(capability): Path<String>,
    Json(Ranges { ranges }): Json<Ranges>,
) -> Result<Body, Refusal> {
    let claimed = authorised(&hub, &caller, &capability).await?;
    let read = hub.read_source(&claimed, ranges).await;
    Ok(Body::from_stream(noted(&hub, &caller, read).await?))
}

pub(super) async fn input(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path((capability, position)): Path<(String, usize)>,
) -> Result<Body, Refusal> {
    let claimed = authorised(&hub, &caller, &capability).await?;
    let read = hub.read_input(&claimed, position).await;
    Ok(Body::from_stream(noted(&hub, &caller, read).await?))
}

pub(super) async fn result(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(capability): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Blob>, Refusal> {
    let claimed = authorised(&hub, &caller, &capability).await?;
    let expected = match headers.get(DIGEST_HEADER) {
        None => None,
        Some(value) => {
            let text = value.to_str().unwrap_or_default().to_owned();
            let garbled = |e: kinora_protocol::id::BadDigest| {
                Denied::Garbled(kinora_protocol::Failure::new(
                    kinora_protocol::ErrorCode::BadInput,
                    e.to_string(),
                ))
            };
            Some(Digest::try_from(text).map_err(garbled)?)
        }
    };
    let pieces = body.into_data_stream().map(|piece| piece.map_err(|e| e.to_string()));
    Ok(Json(hub.receive(&claimed, pieces, expected).await?))
}
