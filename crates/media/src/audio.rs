//! The sound of a source, encoded as a whole into one file. It must not know chunks.

use std::path::Path;

use kinora_protocol::Digest;
use kinora_protocol::task::AudioSpec;

use crate::command::audio;
use crate::encode::{is_written, settle};
use crate::error::MediaError;
use crate::process::{self, Control};
use crate::tools::Tools;

/// Encodes all audio streams into `out`; gives size, BLAKE3 and processor seconds.
///
/// # Errors
/// See [`MediaError`].
pub async fn encode(
    tools: &Tools,
    spec: &AudioSpec,
    source: &Path,
    out: &Path,
    control: &Control,
) -> Result<(u64, Digest, f64), MediaError> {
    let args = audio::encode(spec, source, out);
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
    Ok((size, digest, finished.cpu_seconds))
}
