//! Jobs.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use kinora_protocol::api::{EventView, JobView, NewJob, Page, TaskView};
use kinora_protocol::proof::Proof;
use kinora_protocol::{ErrorCode, JobId};
use kinora_store::{JobRow, Submitted};
use serde::Deserialize;

use super::content::{self, Offer};
use super::media::Wish;
use super::problem::Refusal;
use crate::Hub;

/// Longest idempotency key.
const LONGEST_KEY: usize = 200;
/// Entries of a page.
const PAGE: u32 = 50;
const LARGEST_PAGE: u32 = 500;

#[derive(Debug, Deserialize)]
pub(super) struct Part {
    after: Option<JobId>,
    limit: Option<u32>,
}

fn id(text: &str) -> Result<JobId, Refusal> {
    text.parse().map_err(|_| Refusal::not_found(format!("job {text:?}")))
}

pub(super) async fn submit(
    State(hub): State<Hub>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Result<(StatusCode, Json<JobView>), Refusal> {
    let wrong = |why: String| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, ErrorCode::BadRecipe, why);
    let job: NewJob = serde_json::from_slice(&body).map_err(|e| wrong(format!("the job: {e}")))?;
    let key = match headers.get("idempotency-key") {
        None => None,
        Some(value) => {
            let key = value.to_str().ok().filter(|k| !k.is_empty() && k.len() <= LONGEST_KEY);
            let bad = || wrong(format!("the Idempotency-Key has to be 1 to {LONGEST_KEY} plain characters"));
            Some(key.ok_or_else(bad)?.to_owned())
        }
    };
    let submitted = hub.submit_api(job, key).await??;
    let status = match submitted {
        Submitted::Created(_) => StatusCode::CREATED,
        Submitted::Existing(_) => StatusCode::OK,
    };
    Ok((status, Json(view(&hub, submitted.id()).await?)))
}

/// A job without its tasks.
async fn row(hub: &Hub, job: &str) -> Result<JobRow, Refusal> {
    let job = id(job)?;
    hub.job(job).await?.ok_or_else(|| Refusal::not_found(format!("job {job}")))
}

async fn view(hub: &Hub, job: JobId) -> Result<JobView, Refusal> {
    hub.job_view(job).await?.ok_or_else(|| Refusal::not_found(format!("job {job}")))
}

pub(super) async fn list(
    State(hub): State<Hub>,
    Query(part): Query<Part>,
) -> Result<Json<Page<JobView>>, Refusal> {
    let limit = part.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
    Ok(Json(hub.job_views(part.after, limit).await?))
}

pub(super) async fn show(State(hub): State<Hub>, Path(job): Path<String>) -> Result<Json<JobView>, Refusal> {
    Ok(Json(view(&hub, id(&job)?).await?))
}

/// Forgets it.
pub(super) async fn delete(State(hub): State<Hub>, Path(job): Path<String>) -> Result<StatusCode, Refusal> {
    let job = id(&job)?;
    hub.delete_job(job).await?.ok_or_else(|| Refusal::not_found(format!("job {job}")))??;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn tasks(
    State(hub): State<Hub>,
    Path(job): Path<String>,
) -> Result<Json<Page<TaskView>>, Refusal> {
    let job = row(&hub, &job).await?.id;
    Ok(Json(Page { items: hub.task_views(job).await?, next: None }))
}

/// Where to go on in a list of events.
#[derive(Debug, Deserialize)]
pub(super) struct Since {
    #[serde(default)]
    after: i64,
    limit: Option<u32>,
}

pub(super) async fn events(
    State(hub): State<Hub>,
    Path(job): Path<String>,
    Query(since): Query<Since>,
) -> Result<Json<Page<EventView>>, Refusal> {
    let job = row(&hub, &job).await?.id;
    let limit = since.limit.unwrap_or(LARGEST_PAGE).clamp(1, LARGEST_PAGE);
    Ok(Json(hub.job_events(job, since.after, limit).await?))
}

pub(super) async fn proof(State(hub): State<Hub>, Path(job): Path<String>) -> Result<Json<Proof>, Refusal> {
    let job = id(&job)?;
    let proof = hub.proof(job).await?;
    Ok(Json(proof.ok_or_else(|| Refusal::not_found(format!("proof of job {job}: it is not completed")))?))
}

/// The result, whole or in parts; also HEAD.
pub(super) async fn output(
    State(hub): State<Hub>,
    Path(job): Path<String>,
    Query(wish): Query<Wish>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (path, digest) = hub.output_of(id(&job)?).await??;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let offer = Offer { path: &path, tag: digest.as_str(), name: &name, keep: wish.download };
    content::serve(offer, &method, &headers).await
}

pub(super) async fn act(
    State(hub): State<Hub>,
    Path((job, verb)): Path<(String, String)>,
) -> Result<Json<JobView>, Refusal> {
    let JobRow { id: job, phase, .. } = row(&hub, &job).await?;
    let done = match verb.as_str() {
        "cancel" => hub.cancel(job).await?,
        "pause" => hub.pause(job).await?,
        "resume" => hub.resume(job).await?,
        "retry" => hub.retry(job).await?,
        other => return Err(Refusal::not_found(format!("{other:?} for jobs"))),
    };
    if !done {
        let why = format!("a job that is {} cannot be told to {verb}", phase.name());
        return Err(Refusal::new(StatusCode::CONFLICT, ErrorCode::BadInput, why));
    }
    Ok(Json(view(&hub, job).await?))
}
