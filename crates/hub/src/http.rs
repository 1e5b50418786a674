//! The HTTP surface: requests are read, handed to a use case, answered. Nothing is decided here.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, any, get, post, put};
use kinora_protocol::routes;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi as _;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

use crate::Hub;
use listen::Door;

mod activity;
mod asked;
mod audit;
mod auth;
mod authorise;
mod compat;
mod content;
mod cookie;
mod cors;
mod enroll;
mod folders;
mod guard;
mod jobs;
mod keys;
pub mod listen;
mod live;
mod measure;
mod media;
mod metadata;
mod models;
mod nodes;
mod oidc;
mod openapi;
mod peer;
mod problem;
mod proxies;
mod ranges;
mod reading;
mod redirect;
mod rules;
mod setup;
mod shares;
mod sockets;
mod stall;
mod system;
mod teams;
mod uploads;
mod users;
mod webhooks;
mod work;

/// Bodies that are not streams are no larger than this.
const LARGEST_BODY: usize = 1 << 20;

/// Answers requests until `stop`; those in progress are finished.
///
/// # Errors
/// When the listener fails.
pub async fn serve(hub: Hub, door: Door, stop: CancellationToken) -> std::io::Result<()> {
    let router = router(hub.clone());
    listen::serve(door, router, |address| peer::is_in(address, hub.trusted_proxies()), stop).await
}

/// What is documented, with its document.
fn documented() -> OpenApiRouter<Hub> {
    let endless = DefaultBodyLimit::disable;
    OpenApiRouter::with_openapi(openapi::Document::openapi())
        .routes(routes!(system::live))
        .routes(routes!(system::ready))
        .routes(routes!(system::metrics))
        .routes(routes!(system::system))
        .routes(routes!(system::backup))
        .routes(routes!(system::log, system::change_log))
        .routes(routes!(system::log_lines))
        .routes(routes!(system::cluster))
        .routes(routes!(system::scrub, system::start_scrub))
        .routes(routes!(system::recipes))
        .routes(routes!(media::list, media::upload).layer(endless()))
        .routes(routes!(media::import))
        .routes(routes!(media::show, media::delete))
        .routes(routes!(media::content))
        .routes(routes!(media::scan))
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
        .routes(routes!(jobs::objects))
        .routes(routes!(jobs::objects_vtt))
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
        .routes(routes!(models::list))
        .routes(routes!(nodes::list))
        .routes(routes!(nodes::show, nodes::forget))
        .routes(routes!(nodes::act))
        .routes(routes!(nodes::change_log))
        .merge(of_access())
}

/// Who may do what, and who did what.
fn of_access() -> OpenApiRouter<Hub> {
    OpenApiRouter::new()
        .routes(routes!(enroll::hub))
        .routes(routes!(enroll::enroll))
        .routes(routes!(enroll::challenge))
        .routes(routes!(enroll::renew))
        .routes(routes!(enroll::list, enroll::create))
        .routes(routes!(enroll::delete))
        .routes(routes!(oidc::methods))
        .routes(routes!(auth::setup))
        .routes(routes!(auth::login))
        .routes(routes!(auth::refresh))
        .routes(routes!(auth::me))
        .routes(routes!(auth::logout))
        .routes(routes!(auth::password))
        .routes(routes!(auth::sessions))
        .routes(routes!(auth::end))
        .routes(routes!(auth::ticket))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::revoke))
        .routes(routes!(users::list, users::create))
        .routes(routes!(users::show, users::change, users::delete))
        .routes(routes!(users::keys, users::new_key))
        .routes(routes!(users::revoke))
        .routes(routes!(teams::list, teams::create))
        .routes(routes!(teams::delete))
        .routes(routes!(teams::add, teams::remove))
        .routes(routes!(shares::of_media, shares::share_media, shares::unshare_media))
        .routes(routes!(shares::of_job, shares::share_job, shares::unshare_job))
        .routes(routes!(audit::list))
}

/// The OpenAPI document of what is served.
pub fn document() -> utoipa::openapi::OpenApi {
    openapi::secured(documented().into_openapi())
}

/// What is served besides: WebSockets, transfers of nodes, and what clients of other systems call.
fn undocumented() -> Vec<(&'static str, MethodRouter<Hub>)> {
    use compat::{cluster, edge, inference, render, service, video};
    let endless = DefaultBodyLimit::disable;
    vec![
        ("/setup", get(setup::show).post(setup::make)),
        (routes::OIDC, get(oidc::there)),
        (routes::OIDC_CALLBACK, get(oidc::back)),
        (routes::ONE_UPLOAD, any(uploads::one).layer(endless())),
        (routes::LIVE, get(live::connect)),
        (routes::NODE_CONNECT, get(nodes::connect)),
        ("/api/v1/work/{capability}/source", post(work::source)),
        ("/api/v1/work/{capability}/inputs/{position}", get(work::input)),
        ("/api/v1/work/{capability}/result", put(work::result).layer(endless())),
        ("/ws/command", get(cluster::connect).post(cluster::post)),
        ("/api/edge/nodes", get(edge::list)),
        ("/api/edge/nodes/register", post(edge::register)),
        ("/api/edge/nodes/{node}/heartbeat", post(edge::heartbeat)),
        ("/api/edge/cluster/status", get(edge::status)),
        ("/api/ai/models", get(inference::models)),
        ("/api/ai/stats", get(inference::stats)),
        ("/api/ai/inference", post(inference::infer)),
        ("/api/video/upload", post(video::upload).layer(endless())),
        ("/api/video/process", post(video::process)),
        ("/api/video/tasks/{job}/status", get(video::status)),
        ("/api/video/download/{job}", get(video::download)),
        ("/api/video/gpu/status", get(video::gpu_status)),
        ("/upload", post(service::upload).layer(endless())),
        ("/internal/video-enhancement-status/{job}", get(service::enhancement_status)),
        ("/internal/metadata-extraction-status/{job}", get(service::metadata_status)),
        ("/processed_videos/{job}", get(service::processed)),
        ("/metadata/{job}", get(service::metadata)),
        ("/ws/{client}", get(service::connect)),
        ("/api/upload", post(render::upload).layer(endless())),
        ("/api/jobs/{job}/status", get(render::status)),
        ("/api/jobs/{job}/download", get(render::download)),
        ("/api/system-info", get(render::system_info)),
        ("/api/health", get(render::health)),
        ("/ws/progress", get(render::connect)),
    ]
}

fn router(hub: Hub) -> Router {
    let (router, document) = documented().split_for_parts();
    let document = openapi::secured(document);
    // Without this word the page asks a server on the internet what it thinks of the document.
    let page = utoipa_swagger_ui::Config::new([routes::OPENAPI]).validator_url("none");
    let page = SwaggerUi::new("/api/docs").config(page).url(routes::OPENAPI, document);
    let others = undocumented().into_iter();
    others
        .fold(router.merge(page), |router, (path, methods)| router.route(path, methods))
        .fallback(problem::no_such_route)
        .layer(axum::middleware::from_fn_with_state(hub.clone(), authorise::admit))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(axum::middleware::map_response(problem::in_form))
        .layer(axum::middleware::from_fn_with_state(hub.clone(), cors::permit))
        .layer(axum::middleware::from_fn_with_state(hub.clone(), guard::admit))
        .layer(axum::middleware::from_fn_with_state(hub.clone(), measure::measure))
        .with_state(hub)
}

#[cfg(test)]
mod tests;
