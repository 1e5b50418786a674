//! Teams, for admins.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use kinora_protocol::ErrorCode;
use kinora_protocol::access::{NewTeam, TeamView};
use kinora_protocol::api::Page;

use super::asked;
use super::problem::Refusal;
use crate::Hub;

/// All teams, by name.
#[utoipa::path(
    get,
    path = "/api/v1/teams",
    operation_id = "listTeams",
    tag = "access",
    responses((status = 200, description = "As asked", body = Page<TeamView>), Refusal),
)]
pub(super) async fn list(State(hub): State<Hub>) -> Result<Json<Page<TeamView>>, Refusal> {
    Ok(Json(Page { items: hub.team_views().await?, next: None }))
}

/// Makes a team.
#[utoipa::path(
    post,
    path = "/api/v1/teams",
    operation_id = "newTeam",
    tag = "access",
    request_body = NewTeam,
    responses((status = 201, description = "It is there", body = TeamView), Refusal),
)]
pub(super) async fn create(
    State(hub): State<Hub>,
    body: axum::body::Bytes,
) -> Result<(StatusCode, Json<TeamView>), Refusal> {
    let wanted: NewTeam = asked::json(&body, "the team", ErrorCode::BadInput)?;
    Ok((StatusCode::CREATED, Json(hub.new_team(wanted).await??)))
}

/// Forgets a team, with what was shared with it.
#[utoipa::path(
    delete,
    path = "/api/v1/teams/{team}",
    operation_id = "deleteTeam",
    tag = "access",
    params(("team" = String, Path, description = "Name or id of the team")),
    responses((status = 204, description = "Done"), Refusal),
)]
pub(super) async fn delete(State(hub): State<Hub>, Path(team): Path<String>) -> Result<StatusCode, Refusal> {
    if hub.delete_team(&team).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Refusal::not_found(format!("team {team:?}")))
}

async fn set(hub: &Hub, team: &str, user: &str, member: bool) -> Result<StatusCode, Refusal> {
    let missing = || Refusal::not_found(format!("team {team:?}, or user {user:?}"));
    hub.set_member(team, user, member).await?.ok_or_else(missing)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a user into a team.
#[utoipa::path(
    put,
    path = "/api/v1/teams/{team}/members/{user}",
    operation_id = "addMember",
    tag = "access",
    params(("team" = String, Path, description = "Name or id of the team"), ("user" = String, Path, description = "Name or id of the user")),
    responses((status = 204, description = "It is in it"), Refusal),
)]
pub(super) async fn add(
    State(hub): State<Hub>,
    Path((team, user)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    set(&hub, &team, &user, true).await
}

/// Takes a user out of a team.
#[utoipa::path(
    delete,
    path = "/api/v1/teams/{team}/members/{user}",
    operation_id = "removeMember",
    tag = "access",
    params(("team" = String, Path, description = "Name or id of the team"), ("user" = String, Path, description = "Name or id of the user")),
    responses((status = 204, description = "It is not in it"), Refusal),
)]
pub(super) async fn remove(
    State(hub): State<Hub>,
    Path((team, user)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    set(&hub, &team, &user, false).await
}
