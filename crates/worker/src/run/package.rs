//! The final container.

use kinora_media::package::{self, Inputs};
use kinora_protocol::Failure;
use kinora_protocol::task::{PackageSpec, SourceTask, TaskOutput};

use super::Attempt;
use crate::reach::Parts;

pub(super) async fn run(
    attempt: &Attempt<'_>,
    task: &SourceTask<PackageSpec>,
) -> Result<TaskOutput, Failure> {
    let source = attempt.source(&task.source, Parts::All).await?;
    // In the order in which the hub counts them.
    let (mut video, mut audio) = (None, None);
    let blobs = [(&task.work.video, &mut video), (&task.work.audio, &mut audio)];
    for (position, (blob, path)) in blobs.into_iter().filter_map(|(b, p)| Some((b.as_ref()?, p))).enumerate()
    {
        *path = Some(attempt.input(position, blob).await?);
    }
    let inputs = Inputs { video: video.as_deref(), audio: audio.as_deref(), source: &source.path };
    let tools = &attempt.worker.tools;
    let (name, path) = attempt.result();
    let output = package::package(tools, &task.work, inputs, attempt.scratch, &path, attempt.control).await?;
    attempt.hand_in((name, path), (output.size, output.digest.clone())).await?;
    Ok(TaskOutput::Package(output))
}
