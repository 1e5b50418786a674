//! One chunk.

use kinora_media::encode;
use kinora_protocol::Failure;
use kinora_protocol::task::{ChunkOutput, ChunkSpec, SourceTask, TaskOutput};

use super::{Attempt, blob};

pub(super) async fn run(attempt: &Attempt<'_>, task: &SourceTask<ChunkSpec>) -> Result<TaskOutput, Failure> {
    let (name, path) = attempt.blob();
    let source = (task.source.as_path(), task.size);
    let tools = &attempt.worker.tools;
    let encoded = encode::encode(tools, &task.work, source, attempt.scratch, &path, attempt.control)
        .await
        .inspect_err(|_| {
            let _ = std::fs::remove_file(&path);
        })?;
    Ok(TaskOutput::Chunk(ChunkOutput {
        blob: blob(name, (encoded.size, encoded.digest)),
        source_frames: encoded.source.count,
        source_times: encoded.source.times,
        times_in: encoded.source.shifted,
        source_hash: encoded.source.pictures,
        head: encoded.source.head,
        tail: encoded.source.tail,
        packets: encoded.packets,
        times: encoded.times,
        config: encoded.config,
        cpu_seconds: encoded.cpu_seconds,
    }))
}
