//! All sound in one piece.

use kinora_media::audio;
use kinora_protocol::Failure;
use kinora_protocol::task::{AudioSpec, SourceTask, TaskOutput};

use super::{Attempt, blob};

pub(super) async fn run(attempt: &Attempt<'_>, task: &SourceTask<AudioSpec>) -> Result<TaskOutput, Failure> {
    let (name, path) = attempt.blob();
    let (size, digest, cpu_seconds) =
        audio::encode(&attempt.worker.tools, &task.work, &task.source, &path, attempt.control)
            .await
            .inspect_err(|_| {
                let _ = std::fs::remove_file(&path);
            })?;
    Ok(TaskOutput::Audio { blob: blob(name, (size, digest)), cpu_seconds })
}
