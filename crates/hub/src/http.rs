//! The HTTP surface: requests are read, handed to a use case, answered. Nothing is decided here.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, get, post, put};
use kinora_protocol::routes;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi as _;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

use crate::Hub;

mod asked;
mod compat;
mod content;
mod cors;
mod folders;
mod guard;
mod jobs;
mod live;
mod media;
mod metadata;
mod nodes;
mod openapi;
mod problem;
mod proxies;
mod ranges;
mod reading;
mod system;
mod uploads;
mod webhooks;
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

/// What is documented, with its document.
fn documented() -> OpenApiRouter<Hub> {
    let endless = DefaultBodyLimit::disable;
    OpenApiRouter::with_openapi(openapi::Document::openapi())
        .routes(routes!(system::live))
        .routes(routes!(system::ready))
        .routes(routes!(system::system))
        .routes(routes!(system::cluster))
        .routes(routes!(system::scrub, system::start_scrub))
        .routes(routes!(system::recipes))
        .routes(routes!(media::list, media::upload).layer(endless()))
        .routes(routes!(media::import))
        .routes(routes!(media::show, media::delete))
        .routes(routes!(media::content))
        .routes(routes!(proxies::list))
        .routes(routes!(proxies::make, proxies::content))
        .routes(routes!(proxies::hls_list))
        .routes(routes!(proxies::hls_file))
        .routes(routes!(metadata::show, metadata::describe))
        .routes(routes!(metadata::thumbnail))
        .routes(routes!(metadata::vtt))
        .routes(routes!(metadata::sheet))
        .routes(routes!(metadata::waveform))
        .routes(routes!(uploads::create, uploads::options).layer(endless()))
        .routes(routes!(jobs::list, jobs::submit))
        .routes(routes!(jobs::show, jobs::delete))
        .routes(routes!(jobs::tasks))
        .routes(routes!(jobs::events))
        .routes(routes!(jobs::proof))
        .routes(routes!(jobs::output))
        .routes(routes!(jobs::package_list))
        .routes(routes!(jobs::package_file))
        .routes(routes!(jobs::act))
        .routes(routes!(webhooks::list, webhooks::create))
        .routes(routes!(webhooks::show, webhooks::delete))
        .routes(routes!(webhooks::deliveries))
        .routes(routes!(webhooks::act))
        .routes(routes!(webhooks::replay))
        .routes(routes!(folders::list, folders::create))
        .routes(routes!(folders::show, folders::delete))
        .routes(routes!(folders::files))
        .routes(routes!(folders::act))
        .routes(routes!(nodes::list))
        .routes(routes!(nodes::show, nodes::forget))
        .routes(routes!(nodes::act))
}

/// The OpenAPI document of what is served.
pub fn document() -> utoipa::openapi::OpenApi {
    documented().into_openapi()
}

/// What clients of other systems call.
fn of_other_systems() -> Router<Hub> {
    use compat::{cluster, edge, render, service, video};
    let endless = DefaultBodyLimit::disable;
    Router::new()
        .route("/ws/command", get(cluster::connect).post(cluster::post))
        .route("/api/edge/nodes", get(edge::list))
        .route("/api/edge/nodes/register", post(edge::register))
        .route("/api/edge/nodes/{node}/heartbeat", post(edge::heartbeat))
        .route("/api/edge/cluster/status", get(edge::status))
        .route("/api/video/upload", post(video::upload).layer(endless()))
        .route("/api/video/process", post(video::process))
        .route("/api/video/tasks/{task}/status", get(video::status))
        .route("/api/video/download/{task}", get(video::download))
        .route("/api/video/gpu/status", get(video::gpu_status))
        .route("/upload", post(service::upload).layer(endless()))
        .route("/internal/video-enhancement-status/{file}", get(service::enhancement_status))
        .route("/internal/metadata-extraction-status/{file}", get(service::metadata_status))
        .route("/processed_videos/{file}", get(service::processed))
        .route("/metadata/{file}", get(service::metadata))
        .route("/ws/{client}", get(service::connect))
        .route("/api/upload", post(render::upload).layer(endless()))
        .route("/api/jobs/{job}/status", get(render::status))
        .route("/api/jobs/{job}/download", get(render::download))
        .route("/api/system-info", get(render::system_info))
        .route("/api/health", get(render::health))
        .route("/ws/progress", get(render::connect))
}

fn router(hub: Hub) -> Router {
    let (router, document) = documented().split_for_parts();
    // Without this word the page asks a server on the internet what it thinks of the document.
    let page = utoipa_swagger_ui::Config::new([routes::OPENAPI]).validator_url("none");
    router
        .merge(SwaggerUi::new("/api/docs").config(page).url(routes::OPENAPI, document))
        .route(
            &format!("{}/{{upload}}", routes::UPLOADS),
            any(uploads::one).layer(DefaultBodyLimit::disable()),
        )
        .route(routes::LIVE, get(live::connect))
        .route(routes::NODE_CONNECT, get(nodes::connect))
        .route("/api/v1/work/{capability}/source", post(work::source))
        .route("/api/v1/work/{capability}/inputs/{position}", get(work::input))
        .route("/api/v1/work/{capability}/result", put(work::result).layer(DefaultBodyLimit::disable()))
        .merge(of_other_systems())
        .fallback(problem::no_such_route)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(axum::middleware::map_response(problem::in_form))
        .layer(axum::middleware::from_fn_with_state(hub.clone(), cors::permit))
        .layer(axum::middleware::from_fn_with_state(hub.clone(), guard::admit))
        .with_state(hub)
}
