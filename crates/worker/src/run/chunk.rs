//! One chunk.

use kinora_media::{encode, pictures};
use kinora_protocol::Failure;
use kinora_protocol::task::{ChunkOutput, ChunkSpec, SourceTask, TaskOutput};

use super::Attempt;
use crate::reach::Parts;

pub(super) async fn run(attempt: &Attempt<'_>, task: &SourceTask<ChunkSpec>) -> Result<TaskOutput, Failure> {
    let source = attempt.source(&task.source, Parts::Some(&task.work.window.segments)).await?;
    let (name, path) = attempt.result();
    let programs = (&attempt.worker.tools, attempt.worker.models.as_ref() as &dyn pictures::Models);
    let from = (source.path.as_path(), task.size);
    let encoded = encode::encode(programs, &task.work, from, attempt.scratch, &path, attempt.control)
        .await
        .inspect_err(|_| drop(std::fs::remove_file(&path)))?;
    Ok(TaskOutput::Chunk(Box::new(ChunkOutput {
        blob: attempt.hand_in((name, path), (encoded.size, encoded.digest)).await?,
        source_frames: encoded.source.count,
        source_times: encoded.source.times,
        times_in: encoded.source.shifted,
        source_hash: encoded.source.pictures,
        head: encoded.source.head,
        tail: encoded.source.tail,
        before: encoded.source.before,
        end: encoded.source.end,
        packets: encoded.packets,
        times: encoded.times,
        config: encoded.config,
        others: encoded.others,
        cpu_seconds: encoded.cpu_seconds,
    })))
}
