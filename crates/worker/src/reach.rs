//! How a node gets at the bytes of its tasks: by the hub's paths where both see the same files, else over the network. Tasks
//! are given paths in either case and cannot tell.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kinora_protocol::client::{Client, Pieces};
use kinora_protocol::node::{FileMark, Grant, Shared};
use kinora_protocol::task::{Blob, Segment};
use kinora_protocol::{Digest, ErrorCode, Failure};
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use crate::cache::{Held, MediaCache};
use crate::claim::disk;
use crate::jitter;

/// How long to wait before a hub that cannot be reached is asked again.
const AGAIN: Duration = Duration::from_secs(2);
/// How often bytes that arrive damaged or not to their end are asked for.
const TRIES: u32 = 10;
/// Bytes of the digest that follows a source's ranges.
const SEAL: usize = 32;

/// How a node reaches the hub's files.
#[derive(Debug)]
pub enum Reach {
    /// It is a part of the hub's own process.
    Same,
    /// It is a process of its own, perhaps on another machine.
    Apart(Remote),
}

/// What a process of its own needs.
#[derive(Debug)]
pub struct Remote {
    /// The hub.
    pub client: Client,
    /// Sources as far as they were fetched.
    pub cache: MediaCache,
    /// Whether the hub's paths are used where they are good here, too.
    pub use_paths: bool,
    /// Where the hub keeps blobs, if that is a folder here, too.
    blobs: Mutex<Option<PathBuf>>,
}

/// Where an attempt finds the hub's blobs and leaves its own: decided once for each, as a reconnection may find otherwise.
#[derive(Debug)]
pub(crate) enum Blobs<'a> {
    /// In this folder, which is the hub's.
    Here(PathBuf),
    /// With the hub.
    There(&'a Remote),
}

/// A source as a task reads it. Its parts stay where they are as long as this is held.
#[derive(Debug)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    _kept: Option<Held>,
}

/// Which parts of a source a task reads.
#[derive(Debug, Clone, Copy)]
pub enum Parts<'a> {
    /// Every byte.
    All,
    /// These, by their place in the source.
    Some(&'a [Segment]),
}

impl Remote {
    /// For a hub, with a cache for its sources.
    pub fn new(client: Client, cache: MediaCache, use_paths: bool) -> Self {
        Self { client, cache, use_paths, blobs: Mutex::default() }
    }

    fn shared(&self) -> MutexGuard<'_, Option<PathBuf>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches a blob that a task works on into `scratch`.
    ///
    /// # Errors
    /// As [`Reach::source`].
    pub(crate) async fn fetch(
        &self,
        grant: &Grant,
        (position, blob): (usize, &Blob),
        scratch: &Path,
        cancel: &CancellationToken,
    ) -> Result<PathBuf, Failure> {
        let name = format!("input-{position}");
        let path = scratch.join(name).with_extension(blob.path.extension().unwrap_or_default());
        persist(cancel, || async {
            let pieces = self.client.work_input(&grant.capability, position).await?;
            whole(pieces, &path, &blob.digest).await
        })
        .await?;
        Ok(path)
    }

    /// Sends a result that lies at `path` to the hub, and removes it here.
    ///
    /// # Errors
    /// As [`Reach::source`].
    pub(crate) async fn hand_in(
        &self,
        grant: &Grant,
        path: &Path,
        digest: &Digest,
        cancel: &CancellationToken,
    ) -> Result<(), Failure> {
        persist(cancel, || async {
            self.client.work_result(&grant.capability, path, digest).await.map(|_| ())
        })
        .await?;
        let _ = tokio::fs::remove_file(path).await;
        Ok(())
    }
}

impl Reach {
    /// Finds out whether the hub's files are here, too.
    pub fn look(&self, shared: Option<&Shared>) -> bool {
        let Self::Apart(remote) = self else { return true };
        let here = shared.filter(|shared| remote.use_paths && reads_and_writes(shared));
        *remote.shared() = here.map(|shared| shared.blobs.clone());
        here.is_some()
    }

    /// Where the hub's blobs are now; `own` is the folder of a node in the hub's process.
    pub(crate) fn blobs(&self, own: &Path) -> Blobs<'_> {
        match self {
            Self::Same => Blobs::Here(own.to_owned()),
            Self::Apart(remote) => {
                let shared = remote.shared().clone();
                shared.map_or(Blobs::There(remote), Blobs::Here)
            }
        }
    }

    /// A source with the parts that a task reads.
    ///
    /// # Errors
    /// The hub does not have it, the lease is lost, the disk is full, or the work was cancelled.
    pub(crate) async fn source(
        &self,
        grant: &Grant,
        path: &Path,
        parts: Parts<'_>,
        cancel: &CancellationToken,
    ) -> Result<Source, Failure> {
        let by_path = || Source { path: path.to_owned(), _kept: None };
        let Self::Apart(remote) = self else { return Ok(by_path()) };
        let mark = grant.source.ok_or_else(|| {
            Failure::new(ErrorCode::BadInput, format!("{}: the hub cannot read it", path.display()))
        })?;
        let shares = remote.shared().is_some();
        if shares && std::fs::metadata(path).is_ok_and(|facts| FileMark::from(&facts) == mark) {
            return Ok(by_path());
        }
        let kept = remote.cache.hold(path, mark).map_err(|e| disk("a source cannot be kept here", &e))?;
        let wanted: Vec<(u64, u64)> = match parts {
            Parts::All => vec![(0, mark.size)],
            Parts::Some(segments) => segments.iter().map(|s| (s.from, s.len)).collect(),
        };
        let mut filling = kept.fill().await;
        for ranges in filling.missing(&wanted) {
            persist(cancel, || async {
                let pieces = remote.client.work_source(&grant.capability, ranges.clone()).await?;
                place(pieces, kept.path(), &ranges).await
            })
            .await?;
            filling.note(&ranges);
        }
        drop(filling);
        Ok(Source { path: kept.path().to_owned(), _kept: Some(kept) })
    }
}

/// Whether what the hub wrote can be read here, and something be written beside it.
fn reads_and_writes(shared: &Shared) -> bool {
    if !std::fs::read_to_string(&shared.file).is_ok_and(|text| text == shared.text) {
        return false;
    }
    let path = shared.blobs.join(format!(".kinora-try-{}", std::process::id()));
    let written = std::fs::write(&path, b"").is_ok();
    let _ = std::fs::remove_file(&path);
    written
}

/// Tries again while the hub cannot be reached: the lease decides how long that makes sense, and the hub says when it is
/// over.
async fn persist<T, Fut: Future<Output = Result<T, Failure>>>(
    cancel: &CancellationToken,
    transfer: impl Fn() -> Fut,
) -> Result<T, Failure> {
    let mut damaged = 0;
    loop {
        let outcome = tokio::select! {
            outcome = transfer() => outcome,
            () = cancel.cancelled() => Err(cancelled()),
        };
        match outcome {
            Err(failure) if failure.code == ErrorCode::NotExact && damaged + 1 >= TRIES => {
                return Err(failure);
            }
            // Whoever keeps the connection finds out who answers, where that is not clear.
            Err(failure)
                if matches!(
                    failure.code,
                    ErrorCode::Unreachable | ErrorCode::Untrusted | ErrorCode::TooMany | ErrorCode::NotExact
                ) =>
            {
                damaged += u32::from(failure.code == ErrorCode::NotExact);
                tracing::warn!("{failure}; tried again");
                tokio::select! {
                    () = tokio::time::sleep(jitter::around(AGAIN)) => {}
                    () = cancel.cancelled() => return Err(cancelled()),
                }
            }
            outcome => return outcome,
        }
    }
}

fn cancelled() -> Failure {
    Failure::new(ErrorCode::Cancelled, "a transfer was cancelled")
}

fn damaged(what: &str) -> Failure {
    Failure::new(ErrorCode::NotExact, format!("{what} arrived damaged or cut off"))
}

/// Writes ranges to their places as they come, and checks the digest that follows them.
async fn place(mut pieces: Pieces, path: &Path, ranges: &[(u64, u64)]) -> Result<(), Failure> {
    let failed = |e: std::io::Error| disk(&path.display().to_string(), &e);
    let mut file = tokio::fs::OpenOptions::new().write(true).open(path).await.map_err(failed)?;
    let mut ranges = ranges.iter().copied();
    let (mut left, mut hasher, mut seal) = (0, blake3::Hasher::new(), Vec::new());
    while let Some(mut piece) = pieces.next().await? {
        while !piece.is_empty() {
            if left == 0 {
                match ranges.next() {
                    Some((from, len)) => {
                        file.seek(std::io::SeekFrom::Start(from)).await.map_err(failed)?;
                        left = len;
                    }
                    // What follows the last range is the seal.
                    None => {
                        seal.extend_from_slice(&piece);
                        break;
                    }
                }
            }
            let part = piece.split_to(piece.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
            hasher.update(&part);
            file.write_all(&part).await.map_err(failed)?;
            left -= part.len() as u64;
        }
        if seal.len() > SEAL {
            return Err(damaged("a part of a source"));
        }
    }
    file.flush().await.map_err(failed)?;
    if seal == hasher.finalize().as_bytes() { Ok(()) } else { Err(damaged("a part of a source")) }
}

/// Writes a whole file and checks its digest.
async fn whole(mut pieces: Pieces, path: &Path, digest: &Digest) -> Result<(), Failure> {
    let failed = |e: std::io::Error| disk(&path.display().to_string(), &e);
    let mut file = File::create(path).await.map_err(failed)?;
    let mut hasher = blake3::Hasher::new();
    while let Some(piece) = pieces.next().await? {
        hasher.update(&piece);
        file.write_all(&piece).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)?;
    let arrived = Digest::from_bytes(hasher.finalize().as_bytes());
    if arrived == *digest { Ok(()) } else { Err(damaged("a blob")) }
}
