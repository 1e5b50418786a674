//! The models of nodes.

use axum::Json;
use axum::extract::State;
use kinora_protocol::api::Page;
use kinora_protocol::inference::ModelView;

use super::problem::Refusal;
use crate::Hub;

/// The models that connected nodes can run, and what they did since the hub was started.
#[utoipa::path(
    get,
    path = "/api/v1/models",
    operation_id = "listModels",
    tag = "nodes",
    responses((status = 200, description = "As asked", body = Page<ModelView>), Refusal),
)]
pub(super) async fn list(State(hub): State<Hub>) -> Json<Page<ModelView>> {
    Json(Page { items: hub.model_views(), next: None })
}
