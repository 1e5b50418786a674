//! `render`: a file is uploaded with a list of enhancements, and watched. Enhancements that are not there are refused by name: nobody is
//! given a file that is not what was asked for.

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Multipart, Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::{Extension, Json};
use kinora_protocol::access::Sight;
use kinora_protocol::api::{JobView, NewJob, NodeState, Source};
use kinora_protocol::recipe::{ColorChange, Denoise, HdrChange, Recipe};
use kinora_protocol::{ErrorCode, JobId};
use serde_json::{Value, json};

use super::super::problem::Refusal;
use super::super::sockets::WATCHER;
use super::{form, progress, service};
use crate::app::access::Caller;
use crate::{Hub, now_ms};

/// What the other system offers.
const ENHANCEMENTS: [&str; 8] = [
    "upscaling",
    "noise_reduction",
    "color_enhancement",
    "stabilization",
    "object_detection",
    "scene_analysis",
    "audio_enhancement",
    "hdr_processing",
];
/// The one that needs a model which does not come with Kinora.
const DETECTION: &str = "object_detection";
/// What sound is brought to, in LUFS: what services for the web ask for.
const LOUDNESS: f64 = -16.0;

/// What enhancements come to.
fn recipe(wanted: &[String]) -> Recipe {
    let mut recipe = Recipe::default();
    for name in wanted {
        match name.as_str() {
            "upscaling" => recipe.enhance.upscale = Some(2),
            "noise_reduction" => recipe.enhance.denoise = Some(Denoise::Neural),
            "color_enhancement" => recipe.enhance.color = Some(ColorChange::Auto),
            "stabilization" => recipe.enhance.stabilize = Some(true),
            DETECTION => {
                (recipe.enhance.detect, recipe.enhance.draw) = (Some(true), Some(true));
            }
            "hdr_processing" => recipe.enhance.hdr = Some(HdrChange::Auto),
            "audio_enhancement" => {
                recipe.audio.denoise = Some(true);
                recipe.audio.loudness = Some(LOUDNESS);
            }
            _ => {}
        }
    }
    recipe
}

/// Names of files that are taken; whether one is a video is seen from its content.
const FORMATS: [&str; 12] =
    ["mp4", "mov", "mkv", "webm", "avi", "ts", "m2ts", "mpg", "mxf", "flv", "wmv", "ogv"];

fn unknown(job: &str) -> Refusal {
    Refusal::not_found(format!("job {job:?}"))
}

/// The enhancements that a form names: one field for each, a list with commas, or one in JSON.
fn wanted(values: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for value in values {
        match serde_json::from_str::<Vec<String>>(value) {
            Ok(list) => found.extend(list),
            Err(_) => found.extend(value.split(',').map(|name| name.trim().to_owned())),
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

/// Whether all wishes can be done; an error names one that cannot.
fn check(wanted: &[String], detects: bool) -> Result<(), Refusal> {
    let refuse = |why: String| Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, ErrorCode::BadRecipe, why));
    if let Some(odd) = wanted.iter().find(|name| !ENHANCEMENTS.contains(&name.as_str())) {
        return refuse(format!("there is no enhancement {odd:?}: {}", ENHANCEMENTS.join(", ")));
    }
    if !detects && wanted.iter().any(|name| name == DETECTION) {
        return refuse(format!("{DETECTION} is not available on this hub: no node has a model for it"));
    }
    Ok(())
}

pub(in crate::http) async fn upload(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    form: Multipart,
) -> Result<Json<Value>, Refusal> {
    let form = form::take(&hub, &caller, &headers, form).await?;
    let wanted = wanted(form.values.get("enhancements").map_or(&[][..], Vec::as_slice));
    check(&wanted, hub.detects())?;
    hub.describe(&form.media.id).await?;
    let recipe = recipe(&wanted);
    let asked = NewJob { recipe, preset: Some("web".to_owned()), ..NewJob::of(Source::Media(form.media.id)) };
    let job = hub.submit_api(&caller.actor, asked, None).await??.id();
    Ok(Json(json!({ "job_id": job, "status": "pending", "enhancements": wanted })))
}

fn shown(view: &JobView, metadata: &Value) -> Value {
    let ended = view.finished_ms.unwrap_or_else(now_ms);
    json!({
        "job_id": view.id,
        "status": progress::status(view.phase),
        "progress": progress::rounded(view),
        "error": view.failure.as_ref().map(|failure| &failure.message),
        "metadata": metadata,
        "processing_stats": {
            "frames": view.frames,
            "frames_done": view.done,
            "fps": view.fps,
            "eta_seconds": view.eta_seconds,
            "elapsed_seconds": (ended - view.created_ms) as f64 / 1000.0,
            "chunks": view.chunks,
            "shares": view.shares,
        },
    })
}

pub(in crate::http) async fn status(
    State(hub): State<Hub>,
    Path(job): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let id: JobId = job.parse().map_err(|_| unknown(&job))?;
    let view = hub.job_view(id).await?.ok_or_else(|| unknown(&job))?;
    let known = match hub.media_of(id).await? {
        Some(media) => hub.metadata_view(&media).await?,
        None => None,
    };
    Ok(Json(shown(&view, &json!(known))))
}

pub(in crate::http) async fn download(
    State(hub): State<Hub>,
    Path(job): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    service::result(&hub, &job, true, &method, &headers).await
}

pub(in crate::http) async fn system_info(State(hub): State<Hub>) -> Result<Json<Value>, Refusal> {
    let system = hub.system_view();
    let nodes = hub.node_views(&Sight::Nothing).await?;
    let there = nodes.iter().filter(|node| node.state != NodeState::Disconnected);
    let accelerated =
        there.flat_map(|node| &node.capabilities.encoders).any(|encoder| !encoder.is_software());
    Ok(Json(json!({
        "hardware_tier": system.tier,
        "total_ram_gb": (system.machine.memory as f64 / 1e9 * 10.0).round() / 10.0,
        "available_cores": system.machine.cores,
        "gpu_acceleration": accelerated,
        "gpus": system.machine.gpus,
        "supported_formats": FORMATS,
    })))
}

pub(in crate::http) async fn health(State(hub): State<Hub>) -> Result<Json<Value>, Refusal> {
    let jobs = hub.open_jobs().await?;
    Ok(Json(json!({
        "status": "healthy",
        "timestamp": now_ms() / 1000,
        "version": hub.system_view().version,
        "active_jobs": jobs.len(),
    })))
}

pub(in crate::http) async fn connect(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    upgrade: WebSocketUpgrade,
) -> Response {
    WATCHER.of(upgrade).on_upgrade(move |socket| async move {
        progress::tell(&hub, caller, socket, |view| shown(view, &Value::Null)).await;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enhancements_in_all_ways_of_forms() {
        let words = |values: &[&str]| wanted(&values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>());
        assert_eq!(words(&["upscaling, hdr_processing", "scene_analysis"]).len(), 3);
        assert_eq!(words(&["[\"upscaling\",\"stabilization\"]"]), ["upscaling", "stabilization"]);
        assert_eq!(words(&["", " "]), Vec::<String>::new());
        assert!(check(&words(&["scene_analysis", "stabilization"]), false).is_ok());
        assert!(check(&words(&["magic"]), true).is_err());
        assert!(check(&words(&[DETECTION]), false).is_err() && check(&words(&[DETECTION]), true).is_ok());
    }
}
