//! The hub itself.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use kinora_plan::presets;
use kinora_protocol::ErrorCode;
use kinora_protocol::api::{ClusterView, LogView, Page, PresetView, ReadyView, ScrubView, SystemView};

use super::problem::Refusal;
use super::{asked, openapi};
use crate::Hub;

/// The process runs.
#[utoipa::path(
    get,
    path = "/health/live",
    operation_id = "live",
    tag = "health",
    responses((status = 204, description = "The process runs"), Refusal),
)]
pub(super) async fn live() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Ready means that it can take jobs and bytes: the store answers, results can be written, there is room on the disk.
#[utoipa::path(
    get,
    path = "/health/ready",
    operation_id = "ready",
    tag = "health",
    responses(
        (status = 200, description = "It can", body = ReadyView),
        (status = 503, description = "It cannot, and why", body = ReadyView),
        Refusal,
    ),
)]
pub(super) async fn ready(State(hub): State<Hub>) -> (StatusCode, Json<ReadyView>) {
    let view = hub.readiness().await;
    (if view.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(view))
}

/// What happened and what is so, in numbers (OpenMetrics 1.0), for Prometheus and what understands it.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "system",
    responses(
        (status = 200, description = "All of them", body = String, content_type = "application/openmetrics-text"),
        Refusal,
    ),
)]
pub(super) async fn metrics(State(hub): State<Hub>) -> Result<Response, Refusal> {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], hub.metrics_text().await?).into_response())
}

/// What the hub is.
#[utoipa::path(
    get,
    path = "/api/v1/system",
    operation_id = "system",
    tag = "system",
    responses((status = 200, description = "As asked", body = SystemView), Refusal),
)]
pub(super) async fn system(State(hub): State<Hub>) -> Result<Json<SystemView>, Refusal> {
    let scanner = hub.scanner_view().await?;
    Ok(Json(SystemView { scanner, ..hub.system_view() }))
}

/// A copy of all that the hub keeps, taken while it works: an archive (tar) for `kinora restore`. It holds secrets: who gets in,
/// and with what; not the master key of a hub that encrypts.
#[utoipa::path(
    get,
    path = "/api/v1/system/backup",
    operation_id = "backup",
    tag = "system",
    responses(
        (status = 200, description = "The archive", body = openapi::Bytes, content_type = "application/x-tar"),
        Refusal,
    ),
)]
pub(super) async fn backup(State(hub): State<Hub>) -> Result<Response, Refusal> {
    let taken = hub.take_backup().await??;
    let headers = [
        (header::CONTENT_TYPE, "application/x-tar"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"kinora-backup.tar\""),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(taken.archive())).into_response())
}

/// What the hub says in its log.
#[utoipa::path(
    get,
    path = "/api/v1/system/log",
    operation_id = "log",
    tag = "system",
    responses((status = 200, description = "As asked", body = LogView), Refusal),
)]
pub(super) async fn log(State(hub): State<Hub>) -> Json<LogView> {
    Json(hub.log_view())
}

/// What the hub said last in its log: some two thousand lines, of each the first 4096 bytes.
#[utoipa::path(
    get,
    path = "/api/v1/system/log/lines",
    operation_id = "logLines",
    tag = "system",
    responses(
        (status = 200, description = "One after the other", body = String, content_type = "text/plain"),
        Refusal,
    ),
)]
pub(super) async fn log_lines(State(hub): State<Hub>) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (headers, hub.log_lines()).into_response()
}

/// Changes what the hub says in its log, until it is started again.
#[utoipa::path(
    put,
    path = "/api/v1/system/log",
    operation_id = "changeLog",
    tag = "system",
    request_body = LogView,
    responses((status = 200, description = "What it says from now on", body = LogView), Refusal),
)]
pub(super) async fn change_log(State(hub): State<Hub>, body: Bytes) -> Result<Json<LogView>, Refusal> {
    let wanted: LogView = asked::json(&body, "the log", ErrorCode::BadInput)?;
    Ok(Json(hub.change_log(&wanted)?))
}

/// What all nodes are and do together.
#[utoipa::path(
    get,
    path = "/api/v1/cluster",
    operation_id = "cluster",
    tag = "system",
    responses((status = 200, description = "As asked", body = ClusterView), Refusal),
)]
pub(super) async fn cluster(State(hub): State<Hub>) -> Result<Json<ClusterView>, Refusal> {
    Ok(Json(hub.cluster_view().await?))
}

/// The last look at all stored bytes.
#[utoipa::path(
    get,
    path = "/api/v1/system/scrub",
    operation_id = "showScrub",
    tag = "system",
    responses((status = 200, description = "As asked", body = ScrubView), Refusal),
)]
pub(super) async fn scrub(State(hub): State<Hub>) -> Json<ScrubView> {
    Json(hub.scrub_view())
}

/// Looks at all stored bytes.
#[utoipa::path(
    post,
    path = "/api/v1/system/scrub",
    operation_id = "startScrub",
    tag = "system",
    responses((status = 202, description = "It goes on", body = ScrubView), Refusal),
)]
pub(super) async fn start_scrub(State(hub): State<Hub>) -> (StatusCode, Json<ScrubView>) {
    (StatusCode::ACCEPTED, Json(hub.start_scrub()))
}

/// Recipes that stand ready.
#[utoipa::path(
    get,
    path = "/api/v1/presets",
    operation_id = "listPresets",
    tag = "jobs",
    responses((status = 200, description = "As asked", body = Page<PresetView>), Refusal),
)]
pub(super) async fn recipes() -> Json<Page<PresetView>> {
    Json(Page { items: presets::all(), next: None })
}
