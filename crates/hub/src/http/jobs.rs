//! Jobs.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::{Extension, Json};
use kinora_protocol::api::{EventView, JobVerb, JobView, NewJob, Page, TaskView};
use kinora_protocol::objects::ObjectsView;
use kinora_protocol::proof::Proof;
use kinora_protocol::{ErrorCode, JobId};
use kinora_store::{JobRow, Submitted};
use serde::Deserialize;
use utoipa::IntoParams;

use super::asked;
use super::content::{self, Offer};
use super::media::Wish;
use super::openapi::Sent;
use super::problem::Refusal;
use crate::Hub;
use crate::app::access::Caller;
use crate::app::media::Output;
use crate::app::objects::Told;
use crate::app::traces;

/// Longest idempotency key.
const LONGEST_KEY: usize = 200;
/// Entries of a page.
const PAGE: u32 = 50;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Part {
    /// The last job of the page before.
    after: Option<JobId>,
    /// Jobs of a page, up to 500.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

fn id(text: &str) -> Result<JobId, Refusal> {
    text.parse().map_err(|_| Refusal::not_found(format!("job {text:?}")))
}

/// Accepts a job.
#[utoipa::path(
    post,
    path = "/api/v1/jobs",
    operation_id = "submitJob",
    tag = "jobs",
    params(("idempotency-key" = Option<String>, Header, description = "A second submission with the same key is the same job")),
    request_body = NewJob,
    responses((status = 201, description = "It is accepted", body = JobView), (status = 200, description = "The key was used before, by this job", body = JobView), Refusal),
)]
pub(super) async fn submit(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Result<(StatusCode, Json<JobView>), Refusal> {
    let wrong = |why: String| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, ErrorCode::BadRecipe, why);
    let (caller_trace, from_us) = (asked::trace(&headers), traces::now_us());
    let job: NewJob = asked::json(&body, "the job", ErrorCode::BadRecipe)?;
    let key = match headers.get("idempotency-key") {
        None => None,
        Some(value) => {
            let key = value.to_str().ok().filter(|k| !k.is_empty() && k.len() <= LONGEST_KEY);
            let bad = || wrong(format!("the Idempotency-Key has to be 1 to {LONGEST_KEY} plain characters"));
            Some(key.ok_or_else(bad)?.to_owned())
        }
    };
    let submitted = hub.submit_api(&caller.actor, job, key).await??;
    if let Some(trace) = caller_trace {
        hub.traces().asked(submitted.id(), trace, from_us);
    }
    let status = match submitted {
        Submitted::Created(_) => StatusCode::CREATED,
        Submitted::Existing(_) => StatusCode::OK,
    };
    Ok((status, Json(view(&hub, submitted.id()).await?)))
}

/// A job without its tasks.
pub(super) async fn row(hub: &Hub, job: &str) -> Result<JobRow, Refusal> {
    let job = id(job)?;
    hub.job(job).await?.ok_or_else(|| Refusal::not_found(format!("job {job}")))
}

async fn view(hub: &Hub, job: JobId) -> Result<JobView, Refusal> {
    hub.job_view(job).await?.ok_or_else(|| Refusal::not_found(format!("job {job}")))
}

/// The jobs, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/jobs",
    operation_id = "listJobs",
    tag = "jobs",
    params(Part),
    responses((status = 200, description = "As asked", body = Page<JobView>), Refusal),
)]
pub(super) async fn list(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Query(part): Query<Part>,
) -> Result<Json<Page<JobView>>, Refusal> {
    let limit = asked::limit(part.limit, PAGE)?;
    Ok(Json(hub.job_views(&caller.actor.sight(), part.after, limit).await?))
}

/// A job.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}",
    operation_id = "showJob",
    tag = "jobs",
    params(("job" = String, Path, description = "Id of the job")),
    responses((status = 200, description = "As asked", body = JobView), Refusal),
)]
pub(super) async fn show(State(hub): State<Hub>, Path(job): Path<String>) -> Result<Json<JobView>, Refusal> {
    Ok(Json(view(&hub, id(&job)?).await?))
}

/// Forgets it.
#[utoipa::path(
    delete,
    path = "/api/v1/jobs/{job}",
    operation_id = "deleteJob",
    tag = "jobs",
    params(("job" = String, Path, description = "Id of the job")),
    responses((status = 204, description = "Done"), Refusal),
)]
pub(super) async fn delete(State(hub): State<Hub>, Path(job): Path<String>) -> Result<StatusCode, Refusal> {
    let job = id(&job)?;
    hub.delete_job(job).await?.ok_or_else(|| Refusal::not_found(format!("job {job}")))??;
    Ok(StatusCode::NO_CONTENT)
}

/// Its tasks.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}/tasks",
    operation_id = "listTasks",
    tag = "jobs",
    params(("job" = String, Path, description = "Id of the job")),
    responses((status = 200, description = "As asked", body = Page<TaskView>), Refusal),
)]
pub(super) async fn tasks(
    State(hub): State<Hub>,
    Path(job): Path<String>,
) -> Result<Json<Page<TaskView>>, Refusal> {
    let job = row(&hub, &job).await?.id;
    Ok(Json(Page { items: hub.task_views(job).await?, next: None }))
}

/// Where to go on in a list of events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Since {
    /// The position of the last event that was seen.
    #[serde(default)]
    pub(super) after: i64,
    /// Events of a page, up to 500.
    #[param(minimum = 1, maximum = 500)]
    pub(super) limit: Option<u32>,
}

/// What happened to it.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}/events",
    operation_id = "listEvents",
    tag = "jobs",
    params(("job" = String, Path, description = "Id of the job"), Since),
    responses((status = 200, description = "As asked", body = Page<EventView>), Refusal),
)]
pub(super) async fn events(
    State(hub): State<Hub>,
    Path(job): Path<String>,
    Query(since): Query<Since>,
) -> Result<Json<Page<EventView>>, Refusal> {
    let job = row(&hub, &job).await?.id;
    let limit = asked::limit(since.limit, asked::LARGEST_PAGE)?;
    Ok(Json(hub.job_events(job, since.after, limit).await?))
}

/// Proof that its result is exact.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}/proof",
    operation_id = "jobProof",
    tag = "jobs",
    params(("job" = String, Path, description = "Id of the job")),
    responses((status = 200, description = "As asked", body = Proof), Refusal),
)]
pub(super) async fn proof(State(hub): State<Hub>, Path(job): Path<String>) -> Result<Json<Proof>, Refusal> {
    let job = id(&job)?;
    let proof = hub.proof(job).await?;
    Ok(Json(proof.ok_or_else(|| Refusal::not_found(format!("proof of job {job}: it is not completed")))?))
}

/// The result, whole or in parts; also HEAD.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}/output",
    operation_id = "jobOutput",
    tag = "jobs",
    params(("job" = String, Path, description = "Id of the job"), Wish),
    responses(Sent, Refusal),
)]
pub(super) async fn output(
    State(hub): State<Hub>,
    Path(job): Path<String>,
    Query(wish): Query<Wish>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    result(&hub, id(&job)?, wish.download, &method, &headers).await
}

/// The result of a job, to be kept as a file or shown.
pub(super) async fn result(
    hub: &Hub,
    job: JobId,
    keep: bool,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let Output { path, made, .. } = hub.output_of(job).await??;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let offer = Offer { path: &path, within: None, tag: made.digest.as_str(), name: &name, keep };
    content::serve(hub, offer, method, headers).await
}

/// What was found in the film of a completed job, by frame and by thing.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}/objects",
    operation_id = "jobObjects",
    tag = "jobs",
    params(("job" = String, Path, description = "Id of the job")),
    responses((status = 200, description = "As asked", body = ObjectsView), Refusal),
)]
pub(super) async fn objects(
    State(hub): State<Hub>,
    Path(job): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    told(&hub, id(&job)?, Told::Json, &method, &headers).await
}

/// The same as WebVTT with metadata: a cue for each frame, with its things in JSON.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}/objects.vtt",
    operation_id = "jobObjectsVtt",
    tag = "jobs",
    params(("job" = String, Path, description = "Id of the job")),
    responses((status = 200, description = "A cue for each frame", body = String, content_type = "text/vtt"), Refusal),
)]
pub(super) async fn objects_vtt(
    State(hub): State<Hub>,
    Path(job): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    told(&hub, id(&job)?, Told::Vtt, &method, &headers).await
}

async fn told(
    hub: &Hub,
    job: JobId,
    which: Told,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let (path, Output { made, .. }) = hub.objects_of(job, which).await??;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let tag = format!("{}-{which:?}", made.digest.as_str());
    let offer = Offer { path: &path, within: None, tag: &tag, name: &name, keep: false };
    content::serve(hub, offer, method, headers).await
}

/// A file of a result that is an HLS package: master.m3u8, manifest.mpd.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}/hls/{file}",
    operation_id = "packageList",
    tag = "jobs",
    params(("job" = String, Path, description = "Id of the job"), ("file" = String, Path, description = "Name of the file")),
    responses(Sent, Refusal),
)]
pub(super) async fn package_list(
    State(hub): State<Hub>,
    Path((job, file)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    within(&hub, id(&job)?, &file, &method, &headers).await
}

/// A file of one of its tracks: a playlist or a segment.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}/hls/{track}/{file}",
    operation_id = "packageFile",
    tag = "jobs",
    params(("job" = String, Path, description = "Id of the job"), ("track" = String, Path, description = "v0, a0, s0 and so on"), ("file" = String, Path, description = "Name of the file")),
    responses(Sent, Refusal),
)]
pub(super) async fn package_file(
    State(hub): State<Hub>,
    Path((job, track, file)): Path<(String, String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    within(&hub, id(&job)?, &format!("{track}/{file}"), &method, &headers).await
}

/// A file of a result that is a package.
pub(super) async fn within(
    hub: &Hub,
    job: JobId,
    name: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let found = hub.file_within(job, name).await??;
    let found = found.ok_or_else(|| Refusal::not_found(format!("{name:?} in the package of job {job}")))?;
    // A file of a package is known by the package and its place there.
    let tag = format!("{}-{}", found.digest, found.place.start);
    let name = name.rsplit('/').next().unwrap_or(name);
    let offer = Offer { path: &found.path, within: Some(found.place), tag: &tag, name, keep: false };
    content::serve(hub, offer, method, headers).await
}

/// Cancels, pauses, resumes or retries it.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{job}/{verb}",
    operation_id = "actOnJob",
    tag = "jobs",
    params(("job" = String, Path, description = "Id of the job"), ("verb" = JobVerb, Path, description = "What to do")),
    responses((status = 200, description = "As asked", body = JobView), Refusal),
)]
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
