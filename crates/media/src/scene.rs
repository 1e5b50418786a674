//! Scene changes near wished cuts. A stretch that cannot be decoded gives none: a cut is then made elsewhere.

use std::path::Path;

use kinora_protocol::task::AnalyzeSpec;

use crate::command::scene;
use crate::encode;
use crate::error::MediaError;
use crate::inspect::FrameLine;
use crate::process::{self, Control, LineMeans};
use crate::tools::Tools;

/// Looks at each stretch of `source`; gives source times of first frames of scenes, in ticks, ascending.
///
/// # Errors
/// When cancelled or when ffmpeg is missing.
pub async fn detect(
    tools: &Tools,
    spec: &AnalyzeSpec,
    source: &Path,
    scratch: &Path,
    control: &Control,
) -> Result<Vec<i64>, MediaError> {
    let mut scenes = Vec::new();
    for stretch in &spec.stretches {
        let input = encode::input(&stretch.window, source, spec.size, scratch).await?;
        let args = scene::detect(&spec.clock, stretch, spec.stream, tools.passthrough(), &input);
        let invocation = tools.ffmpeg("looking for scene changes", args);
        let outcome = process::run_lines(&invocation, control, |line| {
            scenes.extend(FrameLine::parse(line).map(|f| f.pts));
            LineMeans::Movement
        })
        .await;
        match outcome {
            Ok(_) | Err(MediaError::ToolFailed { .. }) => {}
            // The next stretches would hang as well, each for the whole limit.
            Err(MediaError::Stalled { .. }) => break,
            Err(error) => return Err(error),
        }
    }
    scenes.sort_unstable();
    scenes.dedup();
    Ok(scenes)
}
