//! Bytes of tasks, in and out, for nodes on other machines.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use futures_util::StreamExt as _;
use kinora_protocol::Digest;
use kinora_protocol::api::Ranges;
use kinora_protocol::routes::{Capability, DIGEST_HEADER};
use kinora_protocol::task::Blob;
use kinora_store::Claimed;

use super::problem::Refusal;
use crate::Hub;
use crate::app::work::Denied;

async fn authorised(hub: &Hub, capability: &str) -> Result<Claimed, Refusal> {
    let capability: Capability = capability.parse().map_err(|()| Refusal::from(Denied::Forged))?;
    Ok(hub.authorised(&capability).await??)
}

pub(super) async fn source(
    State(hub): State<Hub>,
    Path(capability): Path<String>,
    Json(Ranges { ranges }): Json<Ranges>,
) -> Result<Body, Refusal> {
    let claimed = authorised(&hub, &capability).await?;
    Ok(Body::from_stream(hub.read_source(&claimed, ranges)?))
}

pub(super) async fn input(
    State(hub): State<Hub>,
    Path((capability, position)): Path<(String, usize)>,
) -> Result<Body, Refusal> {
    let claimed = authorised(&hub, &capability).await?;
    Ok(Body::from_stream(hub.read_input(&claimed, position)?))
}

pub(super) async fn result(
    State(hub): State<Hub>,
    Path(capability): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Blob>, Refusal> {
    let claimed = authorised(&hub, &capability).await?;
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
