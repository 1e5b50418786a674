//! Who did what.

use axum::Json;
use axum::extract::{Query, State};
use kinora_protocol::access::AuditView;
use kinora_protocol::api::Page;

use super::asked;
use super::jobs::Since;
use super::problem::Refusal;
use crate::Hub;

/// What was done and tried, in order. Each entry has the hash of itself and of the one before it.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    operation_id = "listAudit",
    tag = "access",
    params(Since),
    responses((status = 200, description = "As asked", body = Page<AuditView>), Refusal),
)]
pub(super) async fn list(
    State(hub): State<Hub>,
    Query(since): Query<Since>,
) -> Result<Json<Page<AuditView>>, Refusal> {
    let limit = asked::limit(since.limit, asked::LARGEST_PAGE)?;
    Ok(Json(hub.audit_views(since.after, limit).await?))
}
