//! Facts, packet index, layout and content hash of a file: two readers side by side, as both wait for the disk.

use std::io::Write as _;
use std::path::Path;

use kinora_media::{MediaError, hash, index};
use kinora_protocol::task::{ProbeOutput, TaskOutput};
use kinora_protocol::{ErrorCode, Failure};

use super::{Attempt, blob};

pub(super) async fn run(attempt: &Attempt<'_>, source: &Path) -> Result<TaskOutput, Failure> {
    let tools = &attempt.worker.tools;
    let size = admit(source)?;
    let file = source.to_owned();
    let hashing = tokio::task::spawn_blocking(move || hash::file(&file));
    let (facts, found) = index::probe_and_index(tools, source, size, attempt.control).await?;
    let (hashed_size, media) =
        hashing.await.map_err(|e| Failure::new(ErrorCode::Internal, format!("hashing stopped: {e}")))??;
    if hashed_size != size {
        let reason =
            format!("{}: it changed while it was read ({size} → {hashed_size} bytes)", source.display());
        return Err(Failure::new(ErrorCode::BadInput, reason));
    }
    let (name, path) = attempt.blob("index");
    let bytes = found.to_bytes().map_err(|e| Failure::new(ErrorCode::Internal, e.to_string()))?;
    drop(found);
    let digest = kinora_plan::digest::bytes(&bytes);
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(&path)?;
        file.write_all(&bytes)?;
        file.sync_all()
    };
    write().map_err(MediaError::io(&path))?;
    let index = blob(name, (bytes.len() as u64, digest));
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
