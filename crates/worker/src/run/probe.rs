//! Facts, packet index, layout and content hash of a file: two readers side by side, as both wait for the disk.

use std::path::Path;

use kinora_media::{MediaError, hash, index};
use kinora_protocol::task::{ProbeOutput, TaskOutput};
use kinora_protocol::{ErrorCode, Failure};

use super::Attempt;
use crate::reach::Parts;

pub(super) async fn run(attempt: &Attempt<'_>, source: &Path) -> Result<TaskOutput, Failure> {
    let tools = &attempt.worker.tools;
    let source = attempt.source(source, Parts::All).await?;
    let source = source.path.as_path();
    let size = admit(source)?;
    let (file, cancel) = (source.to_owned(), attempt.control.cancel.clone());
    let hashing = tokio::task::spawn_blocking(move || hash::file(&file, &cancel));
    let (facts, found) = index::probe_and_index(tools, source, size, attempt.control).await?;
    let (hashed_size, media) =
        hashing.await.map_err(|e| Failure::new(ErrorCode::Internal, format!("hashing stopped: {e}")))??;
    if hashed_size != size {
        let reason =
            format!("{}: it changed while it was read ({size} → {hashed_size} bytes)", source.display());
        return Err(Failure::new(ErrorCode::BadInput, reason));
    }
    let (name, path) = attempt.result();
    let out = path.clone();
    let written = tokio::task::spawn_blocking(move || {
        hash::durable(&out, |writer| {
            found.write(writer).map_err(|e| MediaError::io(&out)(std::io::Error::other(e)))
        })
    })
    .await
    .map_err(|e| Failure::new(ErrorCode::Internal, format!("writing the index stopped: {e}")))?
    .inspect_err(|_| drop(std::fs::remove_file(&path)))?;
    let index = attempt.hand_in((name, path), written).await?;
    Ok(TaskOutput::Probe(Box::new(ProbeOutput { media, facts, index })))
}

/// Only a regular file that is not empty; asked before it is opened, as opening a pipe would wait for ever.
fn admit(source: &Path) -> Result<u64, MediaError> {
    let facts = std::fs::metadata(source).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => MediaError::bad_input(source, "no such file"),
        std::io::ErrorKind::PermissionDenied => MediaError::bad_input(source, "it may not be read"),
        _ => MediaError::bad_input(source, error.to_string()),
    })?;
    if facts.is_dir() {
        return Err(MediaError::bad_input(source, "it is a folder, not a video file"));
    }
    if !facts.is_file() {
        return Err(MediaError::bad_input(source, "it is not a regular file"));
    }
    if facts.len() == 0 {
        return Err(MediaError::bad_input(source, "it is empty"));
    }
    Ok(facts.len())
}
