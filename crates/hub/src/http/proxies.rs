//! Proxies of media, and their bytes.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use kinora_protocol::proxy::{ProxiesView, ProxyKind, ProxyView};
use kinora_protocol::{Digest, JobId};

use super::jobs;
use super::media::{id, unknown};
use super::openapi::Sent;
use super::problem::Refusal;
use crate::Hub;

fn kind(text: &str) -> Result<ProxyKind, Refusal> {
    text.parse().map_err(|_| Refusal::not_found(format!("{text:?} as a kind of proxy")))
}

/// The same address gives something else when a proxy was forgotten and made again: it is asked for with what one has.
fn changing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response
}

async fn ready(hub: &Hub, media: &Digest, kind: ProxyKind) -> Result<JobId, Refusal> {
    if let Some(failure) = hub.barred_media(media).await? {
        return Err(failure.into());
    }
    let missing = || {
        let name = kind.name();
        Refusal::not_found(format!(
            "{name} proxy of media {media} that is ready: POST …/proxies/{name} makes one"
        ))
    };
    hub.ready_proxy(media, kind).await?.ok_or_else(missing)
}

/// How it can be played in a browser.
#[utoipa::path(
    get,
    path = "/api/v1/media/{media}/proxies",
    operation_id = "listProxies",
    tag = "media",
    params(("media" = String, Path, description = "Id of the media")),
    responses((status = 200, description = "As asked", body = ProxiesView), Refusal),
)]
pub(super) async fn list(
    State(hub): State<Hub>,
    Path(media): Path<String>,
) -> Result<Json<ProxiesView>, Refusal> {
    Ok(Json(hub.proxies(&id(&media)?).await?.ok_or_else(|| unknown(&media))?))
}

/// Makes a proxy, unless it is there or under way; one that failed is tried again.
#[utoipa::path(
    post,
    path = "/api/v1/media/{media}/proxies/{kind}",
    operation_id = "makeProxy",
    tag = "media",
    params(("media" = String, Path, description = "Id of the media"), ("kind" = ProxyKind, Path, description = "Which one")),
    responses((status = 202, description = "It is there, or will be", body = ProxyView), Refusal),
)]
pub(super) async fn make(
    State(hub): State<Hub>,
    Path((media, name)): Path<(String, String)>,
) -> Result<(StatusCode, Json<ProxyView>), Refusal> {
    let (media, kind) = (id(&media)?, kind(&name)?);
    let made = hub.make_proxy(&media, kind).await?.ok_or_else(|| unknown(media.as_str()))??;
    Ok((StatusCode::ACCEPTED, Json(made)))
}

/// The bytes of a proxy that is one file, whole or in parts; also HEAD.
#[utoipa::path(
    get,
    path = "/api/v1/media/{media}/proxies/{kind}",
    operation_id = "proxyContent",
    tag = "media",
    params(("media" = String, Path, description = "Id of the media"), ("kind" = ProxyKind, Path, description = "Which one")),
    responses(Sent, Refusal),
)]
pub(super) async fn content(
    State(hub): State<Hub>,
    Path((media, name)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let job = ready(&hub, &id(&media)?, kind(&name)?).await?;
    jobs::result(&hub, job, false, &method, &headers).await.map(changing)
}

/// A file of its HLS proxy: master.m3u8, manifest.mpd.
#[utoipa::path(
    get,
    path = "/api/v1/media/{media}/hls/{file}",
    operation_id = "hlsList",
    tag = "media",
    params(("media" = String, Path, description = "Id of the media"), ("file" = String, Path, description = "Name of the file")),
    responses(Sent, Refusal),
)]
pub(super) async fn hls_list(
    State(hub): State<Hub>,
    Path((media, file)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let job = ready(&hub, &id(&media)?, ProxyKind::Hls).await?;
    jobs::within(&hub, job, &file, &method, &headers).await.map(changing)
}

/// A file of one of the tracks of its HLS proxy.
#[utoipa::path(
    get,
    path = "/api/v1/media/{media}/hls/{track}/{file}",
    operation_id = "hlsFile",
    tag = "media",
    params(("media" = String, Path, description = "Id of the media"), ("track" = String, Path, description = "v0, a0, s0 and so on"), ("file" = String, Path, description = "Name of the file")),
    responses(Sent, Refusal),
)]
pub(super) async fn hls_file(
    State(hub): State<Hub>,
    Path((media, track, file)): Path<(String, String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let job = ready(&hub, &id(&media)?, ProxyKind::Hls).await?;
    jobs::within(&hub, job, &format!("{track}/{file}"), &method, &headers).await.map(changing)
}
