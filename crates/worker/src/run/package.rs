//! The final container.

use kinora_media::package::{self, Inputs};
use kinora_protocol::Failure;
use kinora_protocol::task::{PackageSpec, SourceTask, TaskOutput};

use super::Attempt;

pub(super) async fn run(
    attempt: &Attempt<'_>,
    task: &SourceTask<PackageSpec>,
) -> Result<TaskOutput, Failure> {
    let video = task.work.video.as_ref().map(|blob| attempt.path_of(blob));
    let audio = task.work.audio.as_ref().map(|blob| attempt.path_of(blob));
    let inputs = Inputs { video: video.as_deref(), audio: audio.as_deref(), source: &task.source };
    let tools = &attempt.worker.tools;
    let output =
        package::package(tools, attempt.grant.job, &task.work, inputs, attempt.scratch, attempt.control)
            .await?;
    Ok(TaskOutput::Package(output))
}
