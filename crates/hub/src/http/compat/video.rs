//! The video calls of `edge`: upload, process, watch, download. What it calls a task is a job here. Its `edit` and `render` need a
//! timeline, which is not among what can be said of a file.

use axum::extract::{Multipart, Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::{Extension, Json};
use kinora_access::Action;
use kinora_protocol::access::{Kind, Sight};
use kinora_protocol::api::{NewJob, NodeState, Source};
use kinora_protocol::recipe::{AudioCodec, Container, Recipe, Scale, VideoCodec};
use kinora_protocol::{Digest, ErrorCode, Failure, JobId, Rational};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::asked;
use super::super::problem::Refusal;
use super::{form, progress, service};
use crate::Hub;
use crate::app::access::Caller;

/// What is to be done.
#[derive(Debug, Deserialize)]
struct Process {
    operation: Operation,
    /// The handle that the upload gave.
    input_file: String,
    #[serde(default)]
    parameters: Parameters,
    /// Everything here is.
    #[serde(default, rename = "distributed")]
    _distributed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Operation {
    Transcode,
    Enhance,
    Edit,
    Render,
    Analyze,
}

/// What may be said of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Parameters {
    codec: Option<VideoCodec>,
    audio_codec: Option<AudioCodec>,
    crf: Option<f64>,
    /// Bit/s.
    bitrate: Option<u64>,
    preset: Option<String>,
    /// `1280x720` or `720`.
    resolution: Option<Scale>,
    fps: Option<Rational>,
    format: Option<Container>,
    contrast: Option<f64>,
    sharpen: Option<f64>,
}

impl Parameters {
    fn recipe(self) -> Recipe {
        let mut recipe = Recipe { container: self.format, ..Recipe::default() };
        recipe.video.codec = self.codec;
        recipe.video.crf = self.crf;
        recipe.video.bitrate = self.bitrate;
        recipe.video.preset = self.preset;
        recipe.video.scale = self.resolution;
        recipe.video.fps = self.fps;
        recipe.video.contrast = self.contrast;
        recipe.video.sharpen = self.sharpen;
        recipe.audio.codec = self.audio_codec;
        recipe
    }
}

fn unknown(task: &str) -> Refusal {
    Refusal::not_found(format!("task {task:?}"))
}

pub(in crate::http) async fn upload(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    form: Multipart,
) -> Result<Json<Value>, Refusal> {
    let media = form::take(&hub, &caller, &headers, form).await?.media;
    Ok(Json(
        json!({ "file_path": media.id, "filename": media.name, "size": media.size, "status": "uploaded" }),
    ))
}

pub(in crate::http) async fn process(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    body: axum::body::Bytes,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let said: Process = asked::json(&body, "the task", ErrorCode::BadRecipe)?;
    let media = Digest::try_from(said.input_file.clone())
        .map_err(|_| Refusal::not_found(format!("uploaded file {:?}", said.input_file)))?;
    let operation = said.operation;
    let job = match operation {
        Operation::Analyze => {
            hub.may(&caller.actor, Action::Create, (Kind::Media, media.as_str())).await??;
            hub.describe(&media).await?.ok_or_else(|| Refusal::not_found(format!("uploaded file {media}")))?
        }
        Operation::Transcode | Operation::Enhance => {
            let preset = (operation == Operation::Enhance).then(|| "enhance".to_owned());
            let recipe = said.parameters.recipe();
            hub.submit_api(&caller.actor, NewJob { recipe, preset, ..NewJob::of(Source::Media(media)) }, None)
                .await??
                .id()
        }
        Operation::Edit | Operation::Render => {
            let why = "edit and render work on the timeline of a project, not on a file";
            return Err(Failure::new(ErrorCode::BadRecipe, why).into());
        }
    };
    Ok((StatusCode::ACCEPTED, Json(json!({ "task_id": job, "status": "pending" }))))
}

pub(in crate::http) async fn status(
    State(hub): State<Hub>,
    Path(task): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let id: JobId = task.parse().map_err(|_| unknown(&task))?;
    let view = hub.job_view(id).await?.ok_or_else(|| unknown(&task))?;
    Ok(Json(json!({
        "task_id": view.id,
        "status": progress::status(view.phase),
        "progress": progress::rounded(&view),
        "error": view.failure.as_ref().map(|failure| &failure.message),
        "output_file": view.name,
        "nodes": view.shares.iter().map(|share| &share.node).collect::<Vec<_>>(),
    })))
}

pub(in crate::http) async fn download(
    State(hub): State<Hub>,
    Path(task): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    service::result(&hub, &task, true, &method, &headers).await
}

pub(in crate::http) async fn gpu_status(State(hub): State<Hub>) -> Result<Json<Value>, Refusal> {
    let mut gpus = Vec::new();
    for node in
        hub.node_views(&Sight::Nothing).await?.iter().filter(|node| node.state != NodeState::Disconnected)
    {
        let encoders: Vec<_> = node.capabilities.encoders.iter().filter(|e| !e.is_software()).collect();
        let names = node.capabilities.machine.iter().flat_map(|machine| machine.gpus.clone());
        gpus.extend(names.map(|name| json!({ "node_id": node.id, "name": name, "encoders": encoders })));
    }
    Ok(Json(json!({ "gpu_available": !gpus.is_empty(), "gpus": gpus })))
}
