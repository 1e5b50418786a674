//! One's own API keys.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use kinora_protocol::access::{KeyView, NewKey};
use kinora_protocol::api::Page;
use kinora_protocol::{ErrorCode, KeyId, UserId};

use super::asked;
use super::problem::Refusal;
use crate::Hub;
use crate::app::access::Caller;

/// Whose keys they are: the rule of these routes lets nobody in but users.
fn own(caller: &Caller) -> Result<UserId, Refusal> {
    let nobody = || Refusal::new(StatusCode::FORBIDDEN, ErrorCode::Forbidden, "only users have keys");
    caller.actor.owner().ok_or_else(nobody)
}

/// One's own keys, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/keys",
    operation_id = "listKeys",
    tag = "access",
    responses((status = 200, description = "As asked", body = Page<KeyView>), Refusal),
)]
pub(super) async fn list(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Page<KeyView>>, Refusal> {
    Ok(Json(Page { items: hub.key_views(Some(own(&caller)?)).await?, next: None }))
}

/// Makes a key that may do no more than whoever makes it. Only this answer has it.
#[utoipa::path(
    post,
    path = "/api/v1/keys",
    operation_id = "newKey",
    tag = "access",
    request_body = NewKey,
    responses((status = 201, description = "The key", body = KeyView), Refusal),
)]
pub(super) async fn create(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    body: axum::body::Bytes,
) -> Result<(StatusCode, Json<KeyView>), Refusal> {
    let wanted: NewKey = asked::json(&body, "the key", ErrorCode::BadInput)?;
    Ok((StatusCode::CREATED, Json(hub.new_key(&caller.actor, wanted).await??)))
}

/// Revokes one of one's own keys.
#[utoipa::path(
    delete,
    path = "/api/v1/keys/{key}",
    operation_id = "revokeKey",
    tag = "access",
    params(("key" = String, Path, description = "Id of the key")),
    responses((status = 204, description = "It is good for nothing"), Refusal),
)]
pub(super) async fn revoke(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(key): Path<String>,
) -> Result<StatusCode, Refusal> {
    let missing = || Refusal::not_found(format!("key {key:?}"));
    let id: KeyId = key.parse().map_err(|_| missing())?;
    if hub.revoke_key(own(&caller)?, id).await? { Ok(StatusCode::NO_CONTENT) } else { Err(missing()) }
}
