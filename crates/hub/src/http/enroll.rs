//! How machines become nodes.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use kinora_protocol::access::{
    AskChallenge, Challenge, Enroll, EnrollmentView, HubIdentity, Identity, NewEnrollment, Renew,
};
use kinora_protocol::api::Page;
use kinora_protocol::{EnrollmentId, ErrorCode};
use serde::Deserialize;
use utoipa::IntoParams;

use super::asked;
use super::problem::Refusal;
use crate::Hub;
use crate::app::access::Caller;

/// Longest nonce.
const LONGEST: usize = 128;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Up to 128 characters that nobody has asked with before; the answer is signed together with it.
    nonce: String,
}

/// Shows that this is the hub that a token means: by its key, whose fingerprint is the end of the token.
#[utoipa::path(
    get,
    path = "/api/v1/nodes/hub",
    operation_id = "hubIdentity",
    tag = "nodes",
    params(Asked),
    responses((status = 200, description = "As asked", body = HubIdentity), Refusal),
)]
pub(super) async fn hub(
    State(hub): State<Hub>,
    Query(asked): Query<Asked>,
) -> Result<Json<HubIdentity>, Refusal> {
    if asked.nonce.len() > LONGEST {
        let why = format!("a nonce has up to {LONGEST} bytes");
        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, ErrorCode::BadInput, why));
    }
    Ok(Json(hub.hub_identity(&asked.nonce)))
}

/// Lets a machine in that has a token and signs with the key by which it is known from then on.
#[utoipa::path(
    post,
    path = "/api/v1/nodes/enroll",
    operation_id = "enroll",
    tag = "nodes",
    request_body = Enroll,
    responses((status = 201, description = "It is a node", body = Identity), Refusal),
)]
pub(super) async fn enroll(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    body: axum::body::Bytes,
) -> Result<(StatusCode, Json<Identity>), Refusal> {
    let wanted: Enroll = asked::json(&body, "the enrollment", ErrorCode::BadInput)?;
    Ok((StatusCode::CREATED, Json(hub.enroll(&caller, wanted).await??)))
}

/// Gives a machine something to sign, once, for its next identity.
#[utoipa::path(
    post,
    path = "/api/v1/nodes/challenge",
    operation_id = "challenge",
    tag = "nodes",
    request_body = AskChallenge,
    responses((status = 201, description = "To be signed within a minute", body = Challenge), Refusal),
)]
pub(super) async fn challenge(
    State(hub): State<Hub>,
    body: axum::body::Bytes,
) -> Result<(StatusCode, Json<Challenge>), Refusal> {
    let AskChallenge { node } = asked::json(&body, "the node", ErrorCode::BadInput)?;
    Ok((StatusCode::CREATED, Json(hub.challenge(&node)??)))
}

/// The next identity of a machine that has signed what it was given.
#[utoipa::path(
    post,
    path = "/api/v1/nodes/identity",
    operation_id = "renewIdentity",
    tag = "nodes",
    request_body = Renew,
    responses((status = 200, description = "The next identity", body = Identity), Refusal),
)]
pub(super) async fn renew(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    body: axum::body::Bytes,
) -> Result<Json<Identity>, Refusal> {
    let wanted: Renew = asked::json(&body, "the signature", ErrorCode::BadInput)?;
    Ok(Json(hub.renew_identity(&caller, wanted).await??))
}

/// Makes a token that lets one machine in, within its time. Only this answer has it.
#[utoipa::path(
    post,
    path = "/api/v1/node-tokens",
    operation_id = "newNodeToken",
    tag = "nodes",
    request_body = NewEnrollment,
    responses((status = 201, description = "The token", body = EnrollmentView), Refusal),
)]
pub(super) async fn create(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    body: axum::body::Bytes,
) -> Result<(StatusCode, Json<EnrollmentView>), Refusal> {
    let wanted: NewEnrollment = asked::json(&body, "the token", ErrorCode::BadInput)?;
    Ok((StatusCode::CREATED, Json(hub.new_enrollment(&caller.actor, wanted).await??)))
}

/// Tokens for machines, used and not, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/node-tokens",
    operation_id = "listNodeTokens",
    tag = "nodes",
    responses((status = 200, description = "As asked", body = Page<EnrollmentView>), Refusal),
)]
pub(super) async fn list(State(hub): State<Hub>) -> Result<Json<Page<EnrollmentView>>, Refusal> {
    Ok(Json(Page { items: hub.enrollment_views().await?, next: None }))
}

/// Forgets a token; a machine that it has let in stays in.
#[utoipa::path(
    delete,
    path = "/api/v1/node-tokens/{enrollment}",
    operation_id = "deleteNodeToken",
    tag = "nodes",
    params(("enrollment" = String, Path, description = "Id of the token")),
    responses((status = 204, description = "It lets nobody in"), Refusal),
)]
pub(super) async fn delete(State(hub): State<Hub>, Path(token): Path<String>) -> Result<StatusCode, Refusal> {
    let missing = || Refusal::not_found(format!("token {token:?}"));
    let id: EnrollmentId = token.parse().map_err(|_| missing())?;
    if hub.drop_enrollment(id).await? { Ok(StatusCode::NO_CONTENT) } else { Err(missing()) }
}
