//! `kinora enhance`: an encode that has to make something better, here or on a hub.

use std::process::ExitCode;

use clap::Args;
use kinora_protocol::recipe::Recipe;
use kinora_protocol::{ErrorCode, Failure};

use super::encode::{self, EncodeArgs, recipe};
use super::remote::HubAddress;
use super::submit::{self, SubmitArgs};
use super::values;
use crate::config::Config;

mod preview;

/// Flags of `kinora enhance`.
#[derive(Debug, Args)]
#[command(
    after_help = "Enhancements are done in an order of their own, whatever the order of the flags. docs/enhance.md tells what each does."
)]
pub struct EnhanceArgs {
    /// What to make of what
    #[command(flatten)]
    pub encode: EncodeArgs,
    /// Let this hub do it, with all its workers
    #[arg(long, value_name = "URL", conflicts_with_all = ["jobs", "state_dir", "keep_state", "proof"])]
    pub hub: Option<String>,
    /// Only show the frame at this time (seconds, or H:M:S) as it is and beside it as it becomes: the result is a .png
    #[arg(long, value_name = "T", value_parser = values::moment, conflicts_with_all = ["hub", "proof"])]
    pub preview: Option<i64>,
}

/// Runs the command to its exit status.
pub async fn run(args: EnhanceArgs, config: &Config) -> ExitCode {
    let EnhanceArgs { encode, hub, preview } = args;
    if let Some(at_us) = preview {
        return super::answer(preview::run(&encode, at_us, config).await, encode.json);
    }
    if let Err(failure) = recipe::build(&encode.recipe, Some(&encode.output)).and_then(|r| something(&r)) {
        return super::answer(Err(failure), encode.json);
    }
    let Some(hub) = hub else { return encode::run(encode, config).await };
    let hub = HubAddress { hub, json: encode.json };
    let job = SubmitArgs::fetched(encode.input, hub, encode.recipe, encode.output);
    let json = job.hub.json;
    super::answer(submit::run(&job, config).await, json)
}

/// Whether anything is to become better.
fn something(recipe: &Recipe) -> Result<(), Failure> {
    let (video, audio) = (&recipe.video, &recipe.audio);
    let picture = !recipe.enhance.is_empty() || video.contrast.is_some() || video.sharpen.is_some();
    let sound =
        audio.denoise.is_some() || audio.hum.is_some() || audio.speech.is_some() || audio.loudness.is_some();
    if picture || sound {
        return Ok(());
    }
    Err(Failure::new(
        ErrorCode::BadRecipe,
        "nothing is to become better: give --denoise, --upscale, --interpolate, --stabilize, --color, --detect, --hdr, --sharpen, --contrast, --deinterlace, \
         --audio-denoise, --audio-hum, --speech or --loudness, or a recipe with one of them",
    ))
}
