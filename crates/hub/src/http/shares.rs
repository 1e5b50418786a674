//! With whom media and jobs are shared.

use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use kinora_protocol::ErrorCode;
use kinora_protocol::access::{Kind, ShareView, Sharee};
use kinora_protocol::api::Page;
use serde::Deserialize;
use utoipa::IntoParams;

use super::asked;
use super::problem::Refusal;
use crate::Hub;
use crate::app::access::Caller;

/// With whom.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct With {
    /// `user:NAME`, `team:NAME` or `everyone`.
    #[param(value_type = String)]
    with: Sharee,
}

async fn media_of(hub: &Hub, text: &str) -> Result<(Kind, String), Refusal> {
    let id = super::media::id(text)?;
    let there = hub.media_row(&id).await?.is_some();
    if there { Ok((Kind::Media, id.to_string())) } else { Err(super::media::unknown(text)) }
}

async fn job_of(hub: &Hub, text: &str) -> Result<(Kind, String), Refusal> {
    Ok((Kind::Job, super::jobs::row(hub, text).await?.id.to_string()))
}

type Thing = Result<(Kind, String), Refusal>;
type Shares = Result<Json<Page<ShareView>>, Refusal>;

async fn all(hub: &Hub, thing: Thing) -> Shares {
    let (kind, id) = thing?;
    Ok(Json(Page { items: hub.shares(kind, &id).await?, next: None }))
}

async fn put(hub: &Hub, caller: &Caller, thing: Thing, body: &[u8]) -> Shares {
    let (kind, id) = thing?;
    let ShareView { with, right } = asked::json(body, "the share", ErrorCode::BadInput)?;
    Ok(Json(Page { items: hub.share(&caller.actor, (kind, &id), with, Some(right)).await??, next: None }))
}

async fn end(hub: &Hub, caller: &Caller, thing: Thing, with: With) -> Shares {
    let (kind, id) = thing?;
    Ok(Json(Page { items: hub.share(&caller.actor, (kind, &id), with.with, None).await??, next: None }))
}

/// Who may do what with media.
#[utoipa::path(
    get,
    path = "/api/v1/media/{media}/shares",
    operation_id = "listMediaShares",
    tag = "access",
    params(("media" = String, Path, description = "Id of the media")),
    responses((status = 200, description = "As asked", body = Page<ShareView>), Refusal),
)]
pub(super) async fn of_media(State(hub): State<Hub>, Path(media): Path<String>) -> Shares {
    all(&hub, media_of(&hub, &media).await).await
}

/// Shares media, or changes how.
#[utoipa::path(
    put,
    path = "/api/v1/media/{media}/shares",
    operation_id = "shareMedia",
    tag = "access",
    params(("media" = String, Path, description = "Id of the media")),
    request_body = ShareView,
    responses((status = 200, description = "All who may do something with it", body = Page<ShareView>), Refusal),
)]
pub(super) async fn share_media(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(media): Path<String>,
    body: axum::body::Bytes,
) -> Shares {
    put(&hub, &caller, media_of(&hub, &media).await, &body).await
}

/// Ends a share of media.
#[utoipa::path(
    delete,
    path = "/api/v1/media/{media}/shares",
    operation_id = "unshareMedia",
    tag = "access",
    params(("media" = String, Path, description = "Id of the media"), With),
    responses((status = 200, description = "All who may still do something with it", body = Page<ShareView>), Refusal),
)]
pub(super) async fn unshare_media(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(media): Path<String>,
    Query(with): Query<With>,
) -> Shares {
    end(&hub, &caller, media_of(&hub, &media).await, with).await
}

/// Who may do what with a job.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}/shares",
    operation_id = "listJobShares",
    tag = "access",
    params(("job" = String, Path, description = "Id of the job")),
    responses((status = 200, description = "As asked", body = Page<ShareView>), Refusal),
)]
pub(super) async fn of_job(State(hub): State<Hub>, Path(job): Path<String>) -> Shares {
    all(&hub, job_of(&hub, &job).await).await
}

/// Shares a job with its result, or changes how.
#[utoipa::path(
    put,
    path = "/api/v1/jobs/{job}/shares",
    operation_id = "shareJob",
    tag = "access",
    params(("job" = String, Path, description = "Id of the job")),
    request_body = ShareView,
    responses((status = 200, description = "All who may do something with it", body = Page<ShareView>), Refusal),
)]
pub(super) async fn share_job(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(job): Path<String>,
    body: axum::body::Bytes,
) -> Shares {
    put(&hub, &caller, job_of(&hub, &job).await, &body).await
}

/// Ends a share of a job.
#[utoipa::path(
    delete,
    path = "/api/v1/jobs/{job}/shares",
    operation_id = "unshareJob",
    tag = "access",
    params(("job" = String, Path, description = "Id of the job"), With),
    responses((status = 200, description = "All who may still do something with it", body = Page<ShareView>), Refusal),
)]
pub(super) async fn unshare_job(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(job): Path<String>,
    Query(with): Query<With>,
) -> Shares {
    end(&hub, &caller, job_of(&hub, &job).await, with).await
}
