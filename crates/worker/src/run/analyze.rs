//! Scene changes near wished cuts.

use kinora_media::scene;
use kinora_protocol::Failure;
use kinora_protocol::task::{AnalyzeSpec, Segment, TaskOutput};

use super::Attempt;
use crate::reach::Parts;

pub(super) async fn run(attempt: &Attempt<'_>, spec: &AnalyzeSpec) -> Result<TaskOutput, Failure> {
    let segments: Vec<Segment> = spec.stretches.iter().flat_map(|s| s.window.segments.clone()).collect();
    let source = attempt.source(&spec.source, Parts::Some(&segments)).await?;
    let scenes =
        scene::detect(&attempt.worker.tools, spec, &source.path, attempt.scratch, attempt.control).await?;
    Ok(TaskOutput::Analyze { scenes })
}
