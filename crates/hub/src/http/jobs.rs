//! Jobs.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kinora_protocol::api::{EventView, JobView, NewJob, Page, TaskView};
use kinora_protocol::proof::Proof;
use kinora_protocol::{ErrorCode, JobId};
use kinora_store::{JobRow, Submitted};
use serde::Deserialize;

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

/// The result, whole.
pub(super) async fn output(State(hub): State<Hub>, Path(job): Path<String>) -> Result<Response, Refusal> {
    let job = id(&job)?;
    let path = hub.output_of(job).await??;
    let file = tokio::fs::File::open(&path).await.map_err(|error| {
        Refusal::new(StatusCode::GONE, ErrorCode::Disk, format!("{}: {error}", path.display()))
    })?;
    let length = file.metadata().await.map(|m| m.len()).unwrap_or(0);
    let body = Body::from_stream(tokio_util::io::ReaderStream::with_capacity(file, 256 << 10));
    Ok(([(header::CONTENT_LENGTH, length.to_string())], body).into_response())
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
