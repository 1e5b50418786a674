//! The hub itself.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kinora_plan::presets;
use kinora_protocol::api::{ClusterView, Page, PresetView, ScrubView, SystemView};

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

pub(super) async fn scrub(State(hub): State<Hub>) -> Json<ScrubView> {
    Json(hub.scrub_view())
}

pub(super) async fn start_scrub(State(hub): State<Hub>) -> (StatusCode, Json<ScrubView>) {
    (StatusCode::ACCEPTED, Json(hub.start_scrub()))
}

pub(super) async fn recipes() -> Json<Page<PresetView>> {
    Json(Page { items: presets::all(), next: None })
}
