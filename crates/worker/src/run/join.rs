//! Chunks put together.

use kinora_media::join::{self, Input};
use kinora_protocol::task::{JoinSpec, TaskOutput};
use kinora_protocol::{ErrorCode, Failure};

use super::Attempt;

pub(super) async fn run(attempt: &Attempt<'_>, spec: &JoinSpec) -> Result<TaskOutput, Failure> {
    // A chunk of damaged source may hold no frame at all: nothing of it goes into the join.
    let filled = spec.chunks.iter().zip(&spec.packets).enumerate().filter(|(_, (_, packets))| **packets > 0);
    let mut chunks = Vec::new();
    for (position, (blob, _)) in filled {
        let parts = spec.parts.get(position).cloned().unwrap_or_default();
        chunks.push(Input { path: attempt.input(position, blob).await?, digest: blob.digest.clone(), parts });
    }
    if chunks.is_empty() {
        return Err(Failure::new(ErrorCode::BadInput, "no frame of the video can be decoded"));
    }
    let (name, path) = attempt.result();
    let cancel = attempt.control.cancel.clone();
    let out = path.clone();
    let joined = tokio::task::spawn_blocking(move || join::join(&chunks, &out, &cancel))
        .await
        .map_err(|e| Failure::new(ErrorCode::Internal, format!("joining stopped: {e}")))?
        .inspect_err(|_| drop(std::fs::remove_file(&path)))?;
    let blob = attempt.hand_in((name, path), (joined.size, joined.digest)).await?;
    Ok(TaskOutput::Join { blob, parts: joined.parts })
}
