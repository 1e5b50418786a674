//! A part of what is to be known about media.

use kinora_media::describe;
use kinora_protocol::Failure;
use kinora_protocol::describe::{DescribeOutput, DescribeSpec};
use kinora_protocol::task::{SourceTask, TaskOutput};

use super::Attempt;
use crate::reach::Parts;

pub(super) async fn run(
    attempt: &Attempt<'_>,
    task: &SourceTask<DescribeSpec>,
) -> Result<TaskOutput, Failure> {
    let source = attempt.source(&task.source, Parts::All).await?;
    let (name, path) = attempt.result();
    let tools = &attempt.worker.tools;
    let (found, written) =
        describe::describe(tools, &task.work, &source.path, attempt.scratch, &path, attempt.control)
            .await
            .inspect_err(|_| drop(std::fs::remove_file(&path)))?;
    let blob = match written {
        Some(written) => Some(attempt.hand_in((name, path), written).await?),
        None => None,
    };
    Ok(TaskOutput::Describe(Box::new(DescribeOutput { blob, found })))
}
