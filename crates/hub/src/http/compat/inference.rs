//! The AI calls of `edge`: a model by its name for an uploaded file, which models there are, what they did. What it calls inference is
//! a job here, and its four models are enhancements; those that are not there are refused by name.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use kinora_protocol::api::{NewJob, Source};
use kinora_protocol::recipe::{Denoise, Recipe};
use kinora_protocol::{Digest, ErrorCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::asked;
use super::super::problem::Refusal;
use crate::Hub;
use crate::app::access::Caller;

/// What is to be done.
#[derive(Debug, Deserialize)]
struct Inference {
    model: String,
    /// The handle that the upload gave.
    input: String,
    #[serde(default)]
    parameters: Parameters,
}

/// What may be said of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Parameters {
    /// So many times the size.
    scale: Option<u32>,
    denoise: Option<Denoise>,
    /// LUFS.
    loudness: Option<f64>,
    /// Name of a model that finds things.
    detector: Option<String>,
    /// Whether frames are drawn around what is found.
    draw: Option<bool>,
}

/// The names that the other system has for what it can do.
const MODELS: [&str; 4] = ["video_enhancement", "object_detection", "style_transfer", "audio_enhancement"];
/// What sound is brought to when nobody says, in LUFS: what services for the web ask for.
const LOUDNESS: f64 = -16.0;

/// What one of them comes to.
fn recipe(model: &str, wanted: &Parameters, detects: bool) -> Result<Recipe, Refusal> {
    let refuse = |why: String| Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, ErrorCode::BadRecipe, why));
    let mut recipe = Recipe::default();
    match model {
        "video_enhancement" => {
            recipe.enhance.denoise = Some(wanted.denoise.unwrap_or(Denoise::Neural));
            recipe.enhance.upscale = wanted.scale;
        }
        "object_detection" if detects => {
            recipe.enhance.detect = Some(true);
            recipe.enhance.detector.clone_from(&wanted.detector);
            recipe.enhance.draw = wanted.draw;
        }
        "audio_enhancement" => {
            recipe.audio.denoise = Some(true);
            recipe.audio.loudness = Some(wanted.loudness.unwrap_or(LOUDNESS));
        }
        known if MODELS.contains(&known) => return refuse(format!("{known} is not available on this hub")),
        other => return refuse(format!("there is no model {other:?}: {}", MODELS.join(", "))),
    }
    Ok(recipe)
}

pub(in crate::http) async fn infer(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    body: axum::body::Bytes,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let said: Inference = asked::json(&body, "the inference", ErrorCode::BadRecipe)?;
    let media = Digest::try_from(said.input.clone())
        .map_err(|_| Refusal::not_found(format!("uploaded file {:?}", said.input)))?;
    let recipe = recipe(&said.model, &said.parameters, hub.detects())?;
    let job = NewJob { recipe, preset: Some("web".to_owned()), ..NewJob::of(Source::Media(media)) };
    let job = hub.submit_api(&caller.actor, job, None).await??.id();
    Ok((StatusCode::ACCEPTED, Json(json!({ "task_id": job, "model": said.model, "status": "pending" }))))
}

pub(in crate::http) async fn models(State(hub): State<Hub>) -> Json<Value> {
    let shown = |view: &kinora_protocol::inference::ModelView| {
        let network = &view.network;
        json!({
            "name": network.name, "task": network.task, "version": network.version,
            "sha256": network.sha256, "nodes": view.nodes,
        })
    };
    let models: Vec<Value> = hub.model_views().iter().map(shown).collect();
    let detects = hub.detects();
    let available: Vec<&str> =
        MODELS.into_iter().filter(|name| recipe(name, &Parameters::default(), detects).is_ok()).collect();
    Json(json!({ "models": models, "operations": available }))
}

pub(in crate::http) async fn stats(State(hub): State<Hub>) -> Json<Value> {
    let mut told = serde_json::Map::new();
    for view in hub.model_views() {
        let count = view.count;
        let wanted = count.hits + count.loads;
        told.insert(
            view.network.name,
            json!({
                "inference_count": count.pictures,
                "failures": count.failures,
                "average_latency_ms": (count.pictures > 0).then(|| count.took_us as f64 / 1e3 / count.pictures as f64),
                "cache_hit_rate": (wanted > 0).then(|| count.hits as f64 / wanted as f64),
            }),
        );
    }
    Json(json!({ "models": told }))
}
