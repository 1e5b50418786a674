//! The hub itself.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kinora_protocol::api::{ClusterView, SystemView};

use super::problem::Refusal;
use crate::Hub;

pub(super) async fn live() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Ready means that the store answers.
pub(super) async fn ready(State(hub): State<Hub>) -> Result<StatusCode, Refusal> {
    hub.open_jobs().await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn system(State(hub): State<Hub>) -> Json<SystemView> {
    Json(hub.system_view())
}

pub(super) async fn cluster(State(hub): State<Hub>) -> Result<Json<ClusterView>, Refusal> {
    Ok(Json(hub.cluster_view().await?))
}
