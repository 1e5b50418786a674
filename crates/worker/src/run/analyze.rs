//! Scene changes near wished cuts.

use kinora_media::scene;
use kinora_protocol::Failure;
use kinora_protocol::task::{AnalyzeSpec, TaskOutput};

use super::Attempt;

pub(super) async fn run(attempt: &Attempt<'_>, spec: &AnalyzeSpec) -> Result<TaskOutput, Failure> {
    let scenes = scene::detect(&attempt.worker.tools, spec, attempt.scratch, attempt.control).await?;
    Ok(TaskOutput::Analyze { scenes })
}
