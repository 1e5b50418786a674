//! Media.

use axum::extract::{Multipart, Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use axum::{Extension, Json};
use futures_util::StreamExt as _;
use kinora_protocol::api::{Import, MediaView, Page};
use kinora_protocol::{Digest, ErrorCode, Failure};
use serde::Deserialize;
use utoipa::IntoParams;

use super::asked;
use super::content::{self, Offer};
use super::openapi::{NewFile, Sent};
use super::problem::Refusal;
pub(super) use super::uploads::unfit;
use crate::Hub;
use crate::app::access::Caller;
use crate::app::import::NotFetched;

/// What a path calls media.
pub(super) fn id(media: &str) -> Result<Digest, Refusal> {
    Digest::try_from(media.to_owned()).map_err(|_| unknown(media))
}

pub(super) fn unknown(media: &str) -> Refusal {
    Refusal::not_found(format!("media {media:?}"))
}

/// What is kept.
#[utoipa::path(
    get,
    path = "/api/v1/media",
    operation_id = "listMedia",
    tag = "media",
    responses((status = 200, description = "As asked", body = Page<MediaView>), Refusal),
)]
pub(super) async fn list(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Page<MediaView>>, Refusal> {
    Ok(Json(Page { items: hub.media_views(&caller.actor.sight()).await?, next: None }))
}

/// A media file.
#[utoipa::path(
    get,
    path = "/api/v1/media/{media}",
    operation_id = "showMedia",
    tag = "media",
    params(("media" = String, Path, description = "Id of the media")),
    responses((status = 200, description = "As asked", body = MediaView), Refusal),
)]
pub(super) async fn show(
    State(hub): State<Hub>,
    Path(media): Path<String>,
) -> Result<Json<MediaView>, Refusal> {
    Ok(Json(hub.media_view(&id(&media)?).await?.ok_or_else(|| unknown(&media))?))
}

/// What may be asked of the bytes of media.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wish {
    /// They are to be kept as a file, not shown.
    #[serde(default)]
    pub(super) download: bool,
}

/// The bytes, whole or in parts; also HEAD.
#[utoipa::path(
    get,
    path = "/api/v1/media/{media}/content",
    operation_id = "mediaContent",
    tag = "media",
    params(("media" = String, Path, description = "Id of the media"), Wish),
    responses(Sent, Refusal),
)]
pub(super) async fn content(
    State(hub): State<Hub>,
    Path(media): Path<String>,
    Query(wish): Query<Wish>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let digest = id(&media)?;
    let row = hub.media_row(&digest).await?.ok_or_else(|| unknown(&media))?;
    if let Some(failure) = hub.barred(&row) {
        return Err(failure.into());
    }
    let offer =
        Offer { path: &row.path, within: None, tag: digest.as_str(), name: &row.name, keep: wish.download };
    content::serve(&hub, offer, &method, &headers).await
}

/// Lets it be looked at for malware once more.
#[utoipa::path(
    post,
    path = "/api/v1/media/{media}/scan",
    operation_id = "scanMedia",
    tag = "media",
    params(("media" = String, Path, description = "Id of the media")),
    responses((status = 202, description = "It waits to be looked at", body = MediaView), Refusal),
)]
pub(super) async fn scan(
    State(hub): State<Hub>,
    Path(media): Path<String>,
) -> Result<(StatusCode, Json<MediaView>), Refusal> {
    let row = hub.scan_again(&id(&media)?).await?.ok_or_else(|| unknown(&media))??;
    Ok((StatusCode::ACCEPTED, Json(hub.shown_media(row))))
}

/// Forgets it.
#[utoipa::path(
    delete,
    path = "/api/v1/media/{media}",
    operation_id = "deleteMedia",
    tag = "media",
    params(("media" = String, Path, description = "Id of the media")),
    responses((status = 204, description = "Done"), Refusal),
)]
pub(super) async fn delete(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(media): Path<String>,
) -> Result<StatusCode, Refusal> {
    let digest = id(&media)?;
    hub.delete_media(&digest, caller.actor.owner()).await?.ok_or_else(|| unknown(&media))??;
    Ok(StatusCode::NO_CONTENT)
}

/// The first file of a form.
#[utoipa::path(
    post,
    path = "/api/v1/media",
    operation_id = "uploadMedia",
    tag = "media",
    request_body(content = NewFile, content_type = "multipart/form-data"),
    responses((status = 201, description = "It is kept", body = MediaView), Refusal),
)]
pub(super) async fn upload(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    mut form: Multipart,
) -> Result<(StatusCode, Json<MediaView>), Refusal> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let bad = |why: String| Refusal::new(StatusCode::BAD_REQUEST, ErrorCode::BadInput, why);
    while let Some(field) = form.next_field().await.map_err(|e| bad(e.body_text()))? {
        let Some(name) = field.file_name().map(str::to_owned) else { continue };
        let pieces = field.map(|piece| piece.map_err(|e| e.body_text()));
        let owner = caller.actor.owner();
        let media = hub.take_media(owner, &name, announced, Box::pin(pieces)).await.map_err(unfit)?;
        return Ok((StatusCode::CREATED, Json(media)));
    }
    Err(bad("the form holds no file".to_owned()))
}

/// Fetches media from the internet. It is answered when all of it has come.
#[utoipa::path(
    post,
    path = "/api/v1/media/import",
    operation_id = "importMedia",
    tag = "media",
    request_body = Import,
    responses((status = 201, description = "It is kept", body = MediaView), Refusal),
)]
pub(super) async fn import(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    body: axum::body::Bytes,
) -> Result<(StatusCode, Json<MediaView>), Refusal> {
    let wanted: Import = asked::json(&body, "the import", ErrorCode::BadInput)?;
    let media = hub.import(caller.actor.owner(), wanted).await.map_err(|why| match why {
        // It is the address that is wrong, not this hub.
        NotFetched::Refused(Failure { code, message, .. })
        | NotFetched::Unreachable(Failure { code, message, .. }) => {
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
        }
        NotFetched::Unfit(why) => unfit(why),
    })?;
    Ok((StatusCode::CREATED, Json(media)))
}
