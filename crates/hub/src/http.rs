//! The HTTP surface: requests are read, handed to a use case, answered. Nothing is decided here.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, get, post, put};
use kinora_protocol::routes;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Hub;

mod compat;
mod content;
mod cors;
mod jobs;
mod live;
mod media;
mod metadata;
mod nodes;
mod problem;
mod ranges;
mod system;
mod uploads;
mod work;

/// Bodies that are not streams are no larger than this.
const LARGEST_BODY: usize = 1 << 20;

/// Answers requests until `stop`; those in progress are finished.
///
/// # Errors
/// When the listener fails.
pub async fn serve(hub: Hub, listener: TcpListener, stop: CancellationToken) -> std::io::Result<()> {
    let service = router(hub).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(async move { stop.cancelled().await }).await
}

fn router(hub: Hub) -> Router {
    Router::new()
        .route(routes::HEALTH_LIVE, get(system::live))
        .route(routes::HEALTH_READY, get(system::ready))
        .route(routes::SYSTEM, get(system::system))
        .route(routes::CLUSTER, get(system::cluster))
        .route(routes::MEDIA, get(media::list).post(media::upload).layer(DefaultBodyLimit::disable()))
        .route(&format!("{}/{{media}}", routes::MEDIA), get(media::show).delete(media::delete))
        .route(&format!("{}/{{media}}/metadata", routes::MEDIA), get(metadata::show).post(metadata::describe))
        .route(&format!("{}/{{media}}/thumbnail", routes::MEDIA), get(metadata::thumbnail))
        .route(&format!("{}/{{media}}/sprites.vtt", routes::MEDIA), get(metadata::vtt))
        .route(&format!("{}/{{media}}/sprites/{{sheet}}", routes::MEDIA), get(metadata::sheet))
        .route(&format!("{}/{{media}}/waveform", routes::MEDIA), get(metadata::waveform))
        .route(&format!("{}/{{media}}/content", routes::MEDIA), get(media::content))
        .route(
            routes::UPLOADS,
            post(uploads::create).options(uploads::options).layer(DefaultBodyLimit::disable()),
        )
        .route(
            &format!("{}/{{upload}}", routes::UPLOADS),
            any(uploads::one).layer(DefaultBodyLimit::disable()),
        )
        .route(routes::SCRUB, get(system::scrub).post(system::start_scrub))
        .route(routes::PRESETS, get(system::recipes))
        .route(routes::JOBS, get(jobs::list).post(jobs::submit))
        .route(&format!("{}/{{job}}", routes::JOBS), get(jobs::show).delete(jobs::delete))
        .route(&format!("{}/{{job}}/tasks", routes::JOBS), get(jobs::tasks))
        .route(&format!("{}/{{job}}/events", routes::JOBS), get(jobs::events))
        .route(&format!("{}/{{job}}/proof", routes::JOBS), get(jobs::proof))
        .route(&format!("{}/{{job}}/output", routes::JOBS), get(jobs::output))
        .route(&format!("{}/{{job}}/{{verb}}", routes::JOBS), post(jobs::act))
        .route(routes::LIVE, get(live::connect))
        .route(routes::NODES, get(nodes::list))
        .route(routes::NODE_CONNECT, get(nodes::connect))
        .route(&format!("{}/{{node}}", routes::NODES), get(nodes::show).delete(nodes::forget))
        .route(&format!("{}/{{node}}/{{verb}}", routes::NODES), post(nodes::act))
        .route("/api/v1/work/{capability}/source", post(work::source))
        .route("/api/v1/work/{capability}/inputs/{position}", get(work::input))
        .route("/api/v1/work/{capability}/result", put(work::result).layer(DefaultBodyLimit::disable()))
        .route("/ws/command", get(compat::cluster::connect).post(compat::cluster::post))
        .route("/api/edge/nodes", get(compat::edge::list))
        .route("/api/edge/nodes/register", post(compat::edge::register))
        .route("/api/edge/nodes/{node}/heartbeat", post(compat::edge::heartbeat))
        .route("/api/edge/cluster/status", get(compat::edge::status))
        .fallback(problem::no_such_route)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(axum::middleware::from_fn_with_state(hub.clone(), cors::permit))
        .with_state(hub)
}
