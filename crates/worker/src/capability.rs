//! What this machine can do. Software encoders are believed when ffmpeg lists them; a hardware encoder counts only after a
//! trial encode.

use std::time::Duration;

use kinora_media::process::{self, Control, Invocation, LineMeans};
use kinora_media::trial::{self, Trial};
use kinora_media::{MediaError, Tools};
use kinora_protocol::encode::Encoder;
use kinora_protocol::node::Capabilities;

/// How long ffmpeg may take to list its encoders.
const LIST_LIMIT: Duration = Duration::from_secs(20);

/// Encoders that this ffmpeg was built with.
///
/// # Errors
/// When ffmpeg cannot be run.
pub async fn built_in(tools: &Tools) -> Result<Vec<Encoder>, MediaError> {
    let invocation = Invocation {
        what: "listing encoders".to_owned(),
        program: tools.ffmpeg.clone(),
        args: ["-hide_banner", "-v", "error", "-encoders"].iter().map(Into::into).collect(),
    };
    let mut found = Vec::new();
    process::run_lines(&invocation, &Control::quiet(LIST_LIMIT), |line| {
        let name = line.split_whitespace().nth(1).unwrap_or("");
        found.extend(Encoder::from_name(name));
        LineMeans::Nothing
    })
    .await?;
    Ok(found)
}

/// Capabilities of this machine; of the hardware encoders only `wanted` are tried.
///
/// # Errors
/// When ffmpeg cannot be run.
pub async fn detect(tools: &Tools, wanted: &[Encoder]) -> Result<Capabilities, MediaError> {
    let mut encoders = Vec::new();
    for encoder in built_in(tools).await? {
        let works = encoder.is_software()
            || (wanted.contains(&encoder) && trial::encoder(tools, encoder).await == Trial::Works);
        if works {
            encoders.push(encoder);
        }
    }
    let cores =
        std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX));
    Ok(Capabilities { ffmpeg: tools.build.clone(), encoders, cores })
}
