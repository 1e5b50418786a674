//! The sound of a source, encoded as a whole into one file. It must not know chunks.

use std::path::Path;

use kinora_protocol::Digest;
use kinora_protocol::task::AudioSpec;

use crate::command::audio;
use crate::encode::{is_written, settle};
use crate::error::MediaError;
use crate::process::{self, Control};
use crate::tools::Tools;
use enhance::Work;

mod denoise;
mod enhance;
mod limit;

/// What is done to interleaved samples between two programs: as many come out as go in.
trait Stage: Send + 'static {
    /// Takes samples of whole frames, and gives those that are ready.
    fn push(&mut self, samples: &[f32]) -> Vec<f32>;
    /// What is left.
    fn finish(self) -> Vec<f32>;
}

/// Encodes all audio streams into `out`, with `scratch` for what is made on the way; gives size, BLAKE3 and processor seconds.
///
/// # Errors
/// See [`MediaError`].
pub async fn encode(
    tools: &Tools,
    spec: &AudioSpec,
    (source, scratch): (&Path, &Path),
    out: &Path,
    control: &Control,
) -> Result<(u64, Digest, f64), MediaError> {
    let (args, before) = match spec.settings.enhance.is_none() {
        true => (audio::encode(spec, source, out), 0.0),
        false => {
            let work = Work { tools, spec, scratch, control };
            let (prepared, seconds) = enhance::prepare(&work, source).await?;
            (audio::encode_prepared(spec, &prepared, out), seconds)
        }
    };
    let what = "encoding the sound".to_owned();
    let finished = process::run(&tools.ffmpeg(what.as_str(), args), control).await?;
    if !is_written(out) {
        return Err(MediaError::not_exact(what, "ffmpeg said it succeeded but wrote no file"));
    }
    let (size, digest) = settle(out, control).await?;
    if let Some(written) = finished.written.filter(|written| size < *written) {
        let reason = format!("its file has {size} bytes where ffmpeg wrote {written}");
        return Err(MediaError::not_exact(what, reason));
    }
    Ok((size, digest, before + finished.cpu_seconds))
}
