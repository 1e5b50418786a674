//! `service`: a file is uploaded, enhanced for browsers and described at once; its id is that of the job.

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Multipart, Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::{Extension, Json};
use kinora_protocol::api::{JobView, MetadataView, NewJob, Source};
use kinora_protocol::job::JobPhase;
use kinora_protocol::media::Verdict;
use kinora_protocol::{Digest, ErrorCode, JobId};
use serde_json::{Value, json};

use super::super::jobs;
use super::super::problem::Refusal;
use super::super::sockets::WATCHER;
use super::{form, progress};
use crate::Hub;
use crate::app::access::Caller;

/// What is made of each file.
const PRESET: &str = "enhance";

fn unknown(file: &str) -> Refusal {
    Refusal::not_found(format!("file {file:?}"))
}

async fn job(hub: &Hub, file: &str) -> Result<JobView, Refusal> {
    let id: JobId = file.parse().map_err(|_| unknown(file))?;
    hub.job_view(id).await?.ok_or_else(|| unknown(file))
}

async fn media(hub: &Hub, file: &str) -> Result<Digest, Refusal> {
    let id: JobId = file.parse().map_err(|_| unknown(file))?;
    hub.media_of(id).await?.ok_or_else(|| unknown(file))
}

pub(in crate::http) async fn upload(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    form: Multipart,
) -> Result<Json<Value>, Refusal> {
    let media = form::take(&hub, &caller, &headers, form).await?.media;
    hub.describe(&media.id).await?;
    let asked = NewJob { preset: Some(PRESET.to_owned()), ..NewJob::of(Source::Media(media.id)) };
    let file = hub.submit_api(&caller.actor, asked, None).await??.id();
    Ok(Json(json!({ "file_id": file, "filename": media.name, "status": "processing" })))
}

fn enhancement(view: &JobView) -> Value {
    json!({
        "file_id": view.id,
        "status": progress::status(view.phase),
        "progress": progress::rounded(view),
        "error": view.failure.as_ref().map(|failure| &failure.message),
        "processed_video": format!("/processed_videos/{}", view.id),
    })
}

pub(in crate::http) async fn enhancement_status(
    State(hub): State<Hub>,
    Path(file): Path<String>,
) -> Result<Json<Value>, Refusal> {
    Ok(Json(enhancement(&job(&hub, &file).await?)))
}

/// Whether all is known that can be.
fn described(known: &MetadataView) -> &'static str {
    let (picture, sound) = match &known.verdict {
        Some(Verdict::Refused(_)) => return "failed",
        Some(Verdict::Admitted(facts)) => (facts.video().is_some(), facts.audio().next().is_some()),
        None => return "processing",
    };
    use kinora_protocol::describe::Part;
    let there = [
        (Part::Thumbnails, !picture || known.thumbnails.is_some()),
        (Part::Histogram, !picture || known.histogram.is_some()),
        (Part::Scenes, !picture || known.scenes.is_some()),
        (Part::Sound, !sound || known.waveform.is_some()),
    ];
    match there.into_iter().all(|(part, there)| there || known.failed.contains_key(&part)) {
        true => "completed",
        false => "processing",
    }
}

pub(in crate::http) async fn metadata_status(
    State(hub): State<Hub>,
    Path(file): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let media = media(&hub, &file).await?;
    let known = hub.metadata_view(&media).await?.ok_or_else(|| unknown(&file))?;
    Ok(Json(json!({
        "file_id": file,
        "status": described(&known),
        "metadata": format!("/metadata/{file}.json"),
    })))
}

pub(in crate::http) async fn metadata(
    State(hub): State<Hub>,
    Path(name): Path<String>,
) -> Result<Json<MetadataView>, Refusal> {
    let file = name.strip_suffix(".json").ok_or_else(|| unknown(&name))?;
    let media = media(&hub, file).await?;
    Ok(Json(hub.metadata_view(&media).await?.ok_or_else(|| unknown(file))?))
}

/// The result of a job, also in ranges.
pub(super) async fn result(
    hub: &Hub,
    file: &str,
    keep: bool,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let view = job(hub, file).await?;
    if view.phase != JobPhase::Completed {
        let why = format!("{file} is {}: there is no result", progress::status(view.phase));
        return Err(Refusal::new(StatusCode::CONFLICT, ErrorCode::BadInput, why));
    }
    jobs::result(hub, view.id, keep, method, headers).await
}

pub(in crate::http) async fn processed(
    State(hub): State<Hub>,
    Path(file): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    result(&hub, &file, false, &method, &headers).await
}

pub(in crate::http) async fn connect(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(client): Path<String>,
    upgrade: WebSocketUpgrade,
) -> Response {
    WATCHER.of(upgrade).on_upgrade(move |socket| async move {
        let told = |view: &JobView| {
            let mut told = enhancement(view);
            told["type"] = json!("video_enhancement_status");
            told["client_id"] = json!(client);
            told
        };
        progress::tell(&hub, caller, socket, told).await;
    })
}
