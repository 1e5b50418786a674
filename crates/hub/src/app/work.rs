//! The bytes of a task, for nodes on other machines: what one attempt may read, and where its result goes. Bytes are moved
//! and hashed here, never looked into.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::Stream;
use kinora_protocol::routes::Capability;
use kinora_protocol::task::{Blob, Segment, TaskSpec, blob_name, part_name};
use kinora_protocol::{Attempt, Digest, ErrorCode, Failure, NodeId, TaskId};
use kinora_store::Claimed;
use kinora_vault::Vault;
use tokio::sync::mpsc;

use super::incoming::{self, Lost};
use crate::{Hub, Result, off_thread};

/// Pieces that are read ahead of a slow node.
const AHEAD: usize = 4;
/// Hex digits of a seal.
const SEAL_DIGITS: usize = 32;

/// What an attempt may not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// The seal is not the hub's: nothing is said about the task.
    Forged,
    /// Another attempt has the task, or none.
    LeaseLost(Failure),
    /// Not among the bytes that the task needs.
    OutOfBounds(Failure),
    /// What arrived is not what was sent.
    Garbled(Failure),
    /// The hub's disk cannot take or give it.
    Disk(Failure),
}

impl Hub {
    /// The right of one attempt, to be given to its node.
    pub(crate) fn capability(&self, task: TaskId, attempt: Attempt, node: &NodeId) -> Capability {
        let text = format!("{task}.{attempt}.{node}");
        let mut seal = blake3::keyed_hash(&self.inner.secret, text.as_bytes()).to_hex().to_string();
        seal.truncate(SEAL_DIGITS);
        Capability { task, attempt, seal }
    }

    /// The lease that a capability stands for, if it is in force.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn authorised(&self, asked: &Capability) -> Result<std::result::Result<Claimed, Denied>> {
        let attempts = self.store().attempts(asked.task).await?;
        let Some(made) = attempts.into_iter().find(|a| a.lease.attempt == asked.attempt) else {
            return Ok(Err(Denied::Forged));
        };
        let lease = made.lease;
        // Compared as hashes, so that the time taken tells nothing.
        let seal = |capability: &Capability| blake3::hash(capability.seal.as_bytes());
        if seal(&self.capability(lease.task, lease.attempt, &lease.node)) != seal(asked) {
            return Ok(Err(Denied::Forged));
        }
        let held = self.store().leases_of(&lease.node).await?;
        Ok(held.into_iter().find(|c| c.lease == lease).ok_or_else(|| {
            let why = format!("attempt {} of task {} is over", lease.attempt, lease.task);
            Denied::LeaseLost(Failure::new(ErrorCode::LeaseLost, why))
        }))
    }

    /// Ranges of a task's source, end to end.
    ///
    /// # Errors
    /// [`Denied`] when the task does not need them, or the file cannot be read.
    pub async fn read_source(
        &self,
        claimed: &Claimed,
        ranges: Vec<(u64, u64)>,
    ) -> std::result::Result<impl Stream<Item = std::io::Result<Bytes>> + use<>, Denied> {
        let Some((path, allowed)) = source(&claimed.spec) else {
            let why = format!("{} tasks have no source", claimed.kind.name());
            return Err(Denied::OutOfBounds(Failure::new(ErrorCode::BadInput, why)));
        };
        let outside = |(from, len): &&(u64, u64)| {
            let end = from.checked_add(*len);
            !allowed.iter().any(|s| *from >= s.from && end.is_some_and(|end| end <= s.from + s.len))
        };
        if let Some((from, len)) = ranges.iter().find(outside) {
            let why = format!("bytes {from}+{len} are not among those that the task needs");
            return Err(Denied::OutOfBounds(Failure::new(ErrorCode::BadInput, why)));
        }
        self.count_moved(claimed, ranges.iter().map(|(_, len)| len).sum());
        stream(self.vault(), path, ranges, Seal::Digest).await
    }

    /// A blob that a task works on, by its position in the spec.
    ///
    /// # Errors
    /// [`Denied`] when there is none, or it cannot be read.
    pub async fn read_input(
        &self,
        claimed: &Claimed,
        position: usize,
    ) -> std::result::Result<impl Stream<Item = std::io::Result<Bytes>> + use<>, Denied> {
        let blob = inputs(&claimed.spec).into_iter().nth(position);
        let Some(Blob { path, size, .. }) = blob else {
            let why = format!("task {} has no input {position}", claimed.lease.task);
            return Err(Denied::OutOfBounds(Failure::new(ErrorCode::BadInput, why)));
        };
        self.count_moved(claimed, size);
        stream(self.vault(), &self.inner.blobs.join(path), vec![(0, size)], Seal::None).await
    }

    /// Takes a result in: hashed while it comes, durable before it is answered. It counts only when the node then says that
    /// the task is done and the hub accepts that.
    ///
    /// # Errors
    /// [`Denied`] when it ends early or cannot be kept; nothing of it is left then.
    pub async fn receive(
        &self,
        claimed: &Claimed,
        body: impl Stream<Item = std::result::Result<Bytes, String>> + Unpin,
        expected: Option<Digest>,
    ) -> std::result::Result<Blob, Denied> {
        let (name, path) = self.result_place(claimed);
        let mut growing = path.as_os_str().to_owned();
        growing.push(".incoming");
        let growing = PathBuf::from(growing);
        let outcome = self.keep(claimed, body, expected, &growing, &path).await;
        if outcome.is_err() {
            let _ = tokio::fs::remove_file(&growing).await;
        }
        outcome.map(|(size, digest)| Blob { path: name, size, digest })
    }

    async fn keep(
        &self,
        claimed: &Claimed,
        body: impl Stream<Item = std::result::Result<Bytes, String>> + Unpin,
        expected: Option<Digest>,
        growing: &Path,
        path: &Path,
    ) -> std::result::Result<(u64, Digest), Denied> {
        let disk = |error: std::io::Error| {
            Denied::Disk(Failure::new(ErrorCode::Disk, format!("the hub cannot keep the result: {error}")))
        };
        let (vault, named) = (self.vault().clone(), growing.to_owned());
        let file = off_thread(move || vault.create(&named)).await.map_err(disk)?;
        let (size, digest) = incoming::fill(file, body, u64::MAX).await.map_err(|lost| match lost {
            Lost::TooLong => disk(std::io::ErrorKind::FileTooLarge.into()),
            Lost::Cut(why) => {
                let why = format!("the result was cut off: {why}");
                Denied::Garbled(Failure::new(ErrorCode::BadInput, why))
            }
            Lost::Disk(error) => disk(error),
        })?;
        if let Some(expected) = expected.filter(|e| *e != digest) {
            let why = format!("the result arrived with BLAKE3 {digest} and was sent with {expected}");
            return Err(Denied::Garbled(Failure::new(ErrorCode::BadInput, why)));
        }
        tokio::fs::rename(growing, path).await.map_err(disk)?;
        self.count_moved(claimed, size);
        Ok((size, digest))
    }

    /// The name of an attempt's result, and where it is. A package goes beside its output, so that a rename publishes it.
    pub(super) fn result_place(&self, claimed: &Claimed) -> (PathBuf, PathBuf) {
        if let TaskSpec::Package(task) = &claimed.spec {
            let path = part_name(&task.work.output, claimed.job, claimed.lease.attempt);
            return (path.clone(), path);
        }
        let name = blob_name(claimed.job, claimed.kind, claimed.lease.task, claimed.lease.attempt);
        let path = self.inner.blobs.join(&name);
        (name, path)
    }
}

/// The file that a task reads.
pub(crate) fn source_of(spec: &TaskSpec) -> Option<&Path> {
    source(spec).map(|(path, _)| path)
}

/// The file that a task reads, and which parts of it.
fn source(spec: &TaskSpec) -> Option<(&Path, Vec<Segment>)> {
    let all = |len: u64| vec![Segment { at: 0, from: 0, len }];
    Some(match spec {
        // Its size is not known before it is probed.
        TaskSpec::Probe { source } => (source.as_path(), all(u64::MAX)),
        TaskSpec::Analyze(spec) => {
            (spec.source.as_path(), spec.stretches.iter().flat_map(|s| s.window.segments.clone()).collect())
        }
        TaskSpec::Chunk(task) => (task.source.as_path(), task.work.window.segments.clone()),
        TaskSpec::Audio(task) => (task.source.as_path(), all(task.size)),
        TaskSpec::Package(task) => (task.source.as_path(), all(task.size)),
        TaskSpec::Describe(task) => (task.source.as_path(), all(task.size)),
        TaskSpec::Measure(task) => (task.source.as_path(), task.work.window.segments.clone()),
        TaskSpec::Join(_) | TaskSpec::Survey(_) => return None,
    })
}

/// The blobs that a task works on, in the order in which nodes ask for them.
fn inputs(spec: &TaskSpec) -> Vec<Blob> {
    match spec {
        TaskSpec::Join(spec) => spec.chunks.clone(),
        TaskSpec::Survey(spec) => spec.measures.clone(),
        TaskSpec::Package(task) => task.work.video.iter().chain(&task.work.audio).cloned().collect(),
        TaskSpec::Probe { .. }
        | TaskSpec::Analyze(_)
        | TaskSpec::Chunk(_)
        | TaskSpec::Audio(_)
        | TaskSpec::Describe(_)
        | TaskSpec::Measure(_) => Vec::new(),
    }
}

/// What follows the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seal {
    /// Nothing: the receiver knows their digest.
    None,
    /// Their BLAKE3.
    Digest,
}

/// Reads ranges of a file on a thread of its own, as fast as they are taken.
async fn stream(
    vault: &Vault,
    path: &Path,
    ranges: Vec<(u64, u64)>,
    seal: Seal,
) -> std::result::Result<impl Stream<Item = std::io::Result<Bytes>> + use<>, Denied> {
    let (vault, named) = (vault.clone(), path.to_owned());
    let file = off_thread(move || vault.read(&named)).await.map_err(|error| {
        Denied::Disk(Failure::new(ErrorCode::Disk, format!("{}: {error}", path.display())))
    })?;
    let mut file = file.cursor();
    let (pieces, taken) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let send = |piece: std::io::Result<Bytes>| pieces.blocking_send(piece).is_ok();
        let mut hasher = blake3::Hasher::new();
        for (mut from, len) in ranges {
            let end = from.saturating_add(len);
            while from < end {
                let most = usize::try_from(end - from).unwrap_or(usize::MAX);
                let piece = match file.piece(from, most) {
                    Ok(piece) if piece.is_empty() => Err(ErrorKind::UnexpectedEof.into()),
                    Ok(piece) => Ok(Bytes::from(piece)),
                    Err(error) => Err(error),
                };
                if let Ok(piece) = &piece {
                    from += piece.len() as u64;
                    if seal == Seal::Digest {
                        hasher.update(piece);
                    }
                }
                // What cannot be read ends it; perhaps nobody takes it any more.
                let broken = piece.is_err();
                if !send(piece) || broken {
                    return;
                }
            }
        }
        if seal == Seal::Digest {
            send(Ok(Bytes::copy_from_slice(hasher.finalize().as_bytes())));
        }
    });
    Ok(futures_util::stream::unfold(taken, |mut taken| async move { Some((taken.recv().await?, taken)) }))
}
