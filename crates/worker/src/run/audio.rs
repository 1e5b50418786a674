//! All sound in one piece.

use kinora_media::audio;
use kinora_protocol::Failure;
use kinora_protocol::task::{AudioSpec, SourceTask, TaskOutput};

use super::Attempt;
use crate::reach::Parts;

pub(super) async fn run(attempt: &Attempt<'_>, task: &SourceTask<AudioSpec>) -> Result<TaskOutput, Failure> {
    let source = attempt.source(&task.source, Parts::All).await?;
    let (name, path) = attempt.result();
    let (size, digest, cpu_seconds) = audio::encode(
        &attempt.worker.tools,
        &task.work,
        (&source.path, attempt.scratch),
        &path,
        attempt.control,
    )
    .await
    .inspect_err(|_| drop(std::fs::remove_file(&path)))?;
    let blob = attempt.hand_in((name, path), (size, digest)).await?;
    Ok(TaskOutput::Audio { blob, cpu_seconds })
}
