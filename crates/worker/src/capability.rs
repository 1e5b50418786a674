//! What this machine can do. Software encoders are believed when ffmpeg lists them; a hardware encoder counts only after a
//! trial encode.

use kinora_media::Tools;
use kinora_media::trial::{self, Trial};
use kinora_protocol::encode::Encoder;
use kinora_protocol::node::Capabilities;

/// Capabilities of this machine; of the hardware encoders only `wanted` are tried.
pub async fn detect(tools: &Tools, wanted: &[Encoder]) -> Capabilities {
    let mut encoders = Vec::new();
    for &encoder in &tools.built_in {
        let works = encoder.is_software()
            || (wanted.contains(&encoder) && trial::encoder(tools, encoder).await == Trial::Works);
        if works {
            encoders.push(encoder);
        }
    }
    let cores =
        std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX));
    Capabilities { ffmpeg: tools.build.clone(), encoders, cores }
}
