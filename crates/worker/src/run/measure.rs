//! Frames of one stretch, measured.

use kinora_media::{measure, pictures};
use kinora_protocol::Failure;
use kinora_protocol::task::{MeasureSpec, SourceTask, TaskOutput};

use super::Attempt;
use crate::reach::Parts;

pub(super) async fn run(
    attempt: &Attempt<'_>,
    task: &SourceTask<MeasureSpec>,
) -> Result<TaskOutput, Failure> {
    let source = attempt.source(&task.source, Parts::Some(&task.work.window.segments)).await?;
    let from = (source.path.as_path(), task.size);
    let programs = (&attempt.worker.tools, attempt.worker.models.as_ref() as &dyn pictures::Models);
    let (measured, cpu_seconds) =
        measure::measure(programs, &task.work, from, attempt.scratch, attempt.control).await?;
    let blob = attempt.write(&measured).await?;
    Ok(TaskOutput::Measure { blob, frames: measured.len() as u64, cpu_seconds })
}
