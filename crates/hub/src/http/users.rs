//! Users and their keys, for admins.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use kinora_protocol::access::{KeyView, NewKey, NewUser, UserChange, UserView};
use kinora_protocol::api::Page;
use kinora_protocol::{ErrorCode, KeyId};

use super::asked;
use super::authorise::About;
use super::problem::Refusal;
use crate::Hub;
use crate::app::access::Caller;

fn unknown(user: &str) -> Refusal {
    Refusal::not_found(format!("user {user:?}"))
}

async fn find(hub: &Hub, user: &str) -> Result<UserView, Refusal> {
    hub.user_view(user).await?.ok_or_else(|| unknown(user))
}

/// All users, by name.
#[utoipa::path(
    get,
    path = "/api/v1/users",
    operation_id = "listUsers",
    tag = "access",
    responses((status = 200, description = "As asked", body = Page<UserView>), Refusal),
)]
pub(super) async fn list(State(hub): State<Hub>) -> Result<Json<Page<UserView>>, Refusal> {
    Ok(Json(Page { items: hub.user_views().await?, next: None }))
}

/// Makes a user. The first one has to be an admin, and owns everything that is there.
#[utoipa::path(
    post,
    path = "/api/v1/users",
    operation_id = "newUser",
    tag = "access",
    request_body = NewUser,
    responses((status = 201, description = "It is there", body = UserView), Refusal),
)]
pub(super) async fn create(
    State(hub): State<Hub>,
    body: axum::body::Bytes,
) -> Result<(StatusCode, Extension<About>, Json<UserView>), Refusal> {
    let wanted: NewUser = asked::json(&body, "the user", ErrorCode::BadInput)?;
    let about = About(format!("{wanted:?}"));
    Ok((StatusCode::CREATED, Extension(about), Json(hub.new_user(wanted).await??)))
}

/// A user, by name or id.
#[utoipa::path(
    get,
    path = "/api/v1/users/{user}",
    operation_id = "showUser",
    tag = "access",
    params(("user" = String, Path, description = "Name or id of the user")),
    responses((status = 200, description = "As asked", body = UserView), Refusal),
)]
pub(super) async fn show(
    State(hub): State<Hub>,
    Path(user): Path<String>,
) -> Result<Json<UserView>, Refusal> {
    Ok(Json(find(&hub, &user).await?))
}

/// Changes its role, its password, or shuts it out.
#[utoipa::path(
    patch,
    path = "/api/v1/users/{user}",
    operation_id = "changeUser",
    tag = "access",
    params(("user" = String, Path, description = "Name or id of the user")),
    request_body = UserChange,
    responses((status = 200, description = "Done", body = UserView), Refusal),
)]
pub(super) async fn change(
    State(hub): State<Hub>,
    Path(user): Path<String>,
    body: axum::body::Bytes,
) -> Result<(Extension<About>, Json<UserView>), Refusal> {
    let wanted: UserChange = asked::json(&body, "the change", ErrorCode::BadInput)?;
    let about = About(format!("{wanted:?}"));
    let one = find(&hub, &user).await?;
    hub.change_user(one.id, wanted).await?.ok_or_else(|| unknown(&user))??;
    Ok((Extension(about), Json(find(&hub, &user).await?)))
}

/// Forgets it with its logins and keys. What only it owned is for admins then.
#[utoipa::path(
    delete,
    path = "/api/v1/users/{user}",
    operation_id = "deleteUser",
    tag = "access",
    params(("user" = String, Path, description = "Name or id of the user")),
    responses((status = 204, description = "Done"), Refusal),
)]
pub(super) async fn delete(State(hub): State<Hub>, Path(user): Path<String>) -> Result<StatusCode, Refusal> {
    let one = find(&hub, &user).await?;
    hub.delete_user(one.id).await?.ok_or_else(|| unknown(&user))??;
    Ok(StatusCode::NO_CONTENT)
}

/// The keys of a user, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/users/{user}/keys",
    operation_id = "listKeysOf",
    tag = "access",
    params(("user" = String, Path, description = "Name or id of the user")),
    responses((status = 200, description = "As asked", body = Page<KeyView>), Refusal),
)]
pub(super) async fn keys(
    State(hub): State<Hub>,
    Path(user): Path<String>,
) -> Result<Json<Page<KeyView>>, Refusal> {
    let one = find(&hub, &user).await?;
    Ok(Json(Page { items: hub.key_views(Some(one.id)).await?, next: None }))
}

/// Makes a key for a user. Only this answer has it.
#[utoipa::path(
    post,
    path = "/api/v1/users/{user}/keys",
    operation_id = "newKeyFor",
    tag = "access",
    params(("user" = String, Path, description = "Name or id of the user")),
    request_body = NewKey,
    responses((status = 201, description = "The key", body = KeyView), Refusal),
)]
pub(super) async fn new_key(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(user): Path<String>,
    body: axum::body::Bytes,
) -> Result<(StatusCode, Json<KeyView>), Refusal> {
    let wanted: NewKey = asked::json(&body, "the key", ErrorCode::BadInput)?;
    let one = find(&hub, &user).await?;
    let wanted = NewKey { user: Some(one.name), ..wanted };
    Ok((StatusCode::CREATED, Json(hub.new_key(&caller.actor, wanted).await??)))
}

/// Revokes a key of a user's.
#[utoipa::path(
    delete,
    path = "/api/v1/users/{user}/keys/{key}",
    operation_id = "revokeKeyOf",
    tag = "access",
    params(("user" = String, Path, description = "Name or id of the user"), ("key" = String, Path, description = "Id of the key")),
    responses((status = 204, description = "It is good for nothing"), Refusal),
)]
pub(super) async fn revoke(
    State(hub): State<Hub>,
    Path((user, key)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    let one = find(&hub, &user).await?;
    let missing = || Refusal::not_found(format!("key {key:?} of {user}"));
    let id: KeyId = key.parse().map_err(|_| missing())?;
    if hub.revoke_key(one.id, id).await? { Ok(StatusCode::NO_CONTENT) } else { Err(missing()) }
}
