//! Bytes that come over the network into a file: hashed on the way, durable at the end. They are written and hashed on other threads
//! while the next ones come. It must not know what they are.

use std::io::Result as IoResult;
use std::sync::Arc;

use blake3::Hasher;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use kinora_protocol::Digest;
use kinora_vault::Writer;
use tokio::task::JoinHandle;

/// Bytes that are handed over at once: many may upload, and each has two such heaps at the most.
const BATCH: usize = 256 << 10;
/// Pieces that are handed over at once, however short they are.
const MOST_PIECES: usize = 512;
/// After so many bytes the disk is told to take them, while more come.
const SYNC_EVERY: u64 = 32 << 20;

/// Why a file did not arrive.
pub(crate) enum Lost {
    /// The sender ended early.
    Cut(String),
    /// It is longer than it may be.
    TooLong,
    /// The disk does not take it.
    Disk(std::io::Error),
}

impl From<std::io::Error> for Lost {
    fn from(error: std::io::Error) -> Self {
        Self::Disk(error)
    }
}

/// A file that bytes flow into.
pub(crate) struct Sink {
    file: Arc<Writer>,
    hash: Hash,
    /// A batch that is being written.
    writing: Option<JoinHandle<IoResult<()>>>,
    /// Bytes of before that are on their way to the disk, so that little is left to do at the end.
    syncing: Option<JoinHandle<IoResult<()>>>,
    batch: Vec<Bytes>,
    waiting: usize,
    /// Bytes since the disk was last told to take them.
    unsynced: u64,
}

/// Where the hasher is.
enum Hash {
    Here(Box<Hasher>),
    Away(JoinHandle<Box<Hasher>>),
    /// Bytes of before are not in it: nothing more comes to it.
    None,
}

async fn ended<T>(work: JoinHandle<T>) -> IoResult<T> {
    work.await.map_err(std::io::Error::other)
}

impl Sink {
    /// Writes to what `file` has. What comes is added to `hasher`.
    pub(crate) fn new(file: Writer, hasher: Option<Hasher>) -> Self {
        Self {
            file: Arc::new(file),
            hash: hasher.map_or(Hash::None, |hasher| Hash::Here(Box::new(hasher))),
            writing: None,
            syncing: None,
            batch: Vec::new(),
            waiting: 0,
            unsynced: 0,
        }
    }

    /// Takes a piece.
    pub(crate) async fn write(&mut self, piece: Bytes) -> IoResult<()> {
        self.waiting += piece.len();
        self.batch.push(piece);
        let many = self.waiting >= BATCH || self.batch.len() >= MOST_PIECES;
        if many { self.hand_over().await } else { Ok(()) }
    }

    /// Lets other threads write and hash what came, each on its own.
    async fn hand_over(&mut self) -> IoResult<()> {
        self.put().await?;
        let batch: Arc<[Bytes]> = std::mem::take(&mut self.batch).into();
        self.unsynced += std::mem::take(&mut self.waiting) as u64;
        self.hash = match std::mem::replace(&mut self.hash, Hash::None) {
            Hash::Here(mut hasher) => {
                let batch = Arc::clone(&batch);
                Hash::Away(tokio::task::spawn_blocking(move || {
                    for piece in batch.iter() {
                        hasher.update(piece);
                    }
                    hasher
                }))
            }
            other => other,
        };
        let file = Arc::clone(&self.file);
        self.writing = Some(tokio::task::spawn_blocking(move || {
            batch.iter().try_for_each(|piece| file.write_all(piece))
        }));
        Ok(())
    }

    /// Waits until what was handed over is written and hashed.
    async fn put(&mut self) -> IoResult<()> {
        self.hash = match std::mem::replace(&mut self.hash, Hash::None) {
            Hash::Away(work) => Hash::Here(ended(work).await?),
            other => other,
        };
        if let Some(work) = self.writing.take() {
            ended(work).await??;
        }
        Ok(())
    }

    /// Lets the disk take bytes every so often, while more come. That it cannot is heard by the one who asked for it, and by nobody
    /// else: whoever uses this ends with [`Self::finish`].
    async fn sync_ahead(&mut self) -> IoResult<()> {
        if self.unsynced < SYNC_EVERY || self.syncing.as_ref().is_some_and(|work| !work.is_finished()) {
            return Ok(());
        }
        self.synced().await?;
        self.unsynced = 0;
        let file = Arc::clone(&self.file);
        self.syncing = Some(tokio::task::spawn_blocking(move || file.flush()));
        Ok(())
    }

    async fn synced(&mut self) -> IoResult<()> {
        match self.syncing.take() {
            Some(work) => ended(work).await?,
            None => Ok(()),
        }
    }

    /// Waits until all of it is written; gives the file.
    pub(crate) async fn written(&mut self) -> IoResult<&Arc<Writer>> {
        if !self.batch.is_empty() {
            self.hand_over().await?;
        }
        self.put().await?;
        Ok(&self.file)
    }

    /// Nothing more comes: makes all of it safe.
    async fn finish(&mut self) -> IoResult<()> {
        self.written().await?;
        self.synced().await?;
        let file = Arc::clone(&self.file);
        ended(tokio::task::spawn_blocking(move || file.finish())).await?
    }

    /// What was hashed does not count any more.
    pub(crate) async fn forget_hash(&mut self) {
        let _ = self.written().await;
        self.hash = Hash::None;
    }

    /// All that came is written and hashed: the hasher, unless there is none.
    pub(crate) async fn into_hasher(mut self) -> Option<Hasher> {
        self.written().await.ok()?;
        match self.hash {
            Hash::Here(hasher) => Some(*hasher),
            Hash::Away(_) | Hash::None => None,
        }
    }
}

/// Makes what was written to a file safe, to go on from there.
pub(crate) async fn keep(file: Arc<Writer>) -> IoResult<()> {
    ended(tokio::task::spawn_blocking(move || file.keep())).await?
}

/// Writes all pieces, `most` bytes of them; gives their size and BLAKE3.
pub(crate) async fn fill(
    file: Writer,
    mut pieces: impl Stream<Item = Result<Bytes, String>> + Unpin,
    most: u64,
) -> Result<(u64, Digest), Lost> {
    let (mut sink, mut size) = (Sink::new(file, Some(Hasher::new())), 0);
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(Lost::Cut)?;
        size += piece.len() as u64;
        if size > most {
            return Err(Lost::TooLong);
        }
        sink.write(piece).await?;
        sink.sync_ahead().await?;
    }
    sink.finish().await?;
    let hasher = sink.into_hasher().await.ok_or_else(|| std::io::Error::other("writing stopped"))?;
    Ok((size, Digest::from_bytes(hasher.finalize().as_bytes())))
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use kinora_vault::Vault;

    use super::*;

    #[tokio::test]
    async fn what_comes_is_written_and_hashed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let pieces: Vec<Bytes> = (0..50_u8).map(|n| Bytes::from(vec![n; 20_000 + usize::from(n)])).collect();
        let all: Vec<u8> = pieces.concat();
        let writer = || Vault::open_to_all().create(file.path()).unwrap();
        let come = || stream::iter(pieces.clone().into_iter().map(Ok));
        // Nothing comes, too.
        let Ok((0, digest)) = fill(writer(), stream::empty(), 0).await else { panic!() };
        assert_eq!(digest, Digest::from_bytes(blake3::hash(b"").as_bytes()));
        let Ok((size, digest)) = fill(writer(), come(), u64::MAX).await else { panic!() };
        assert_eq!(size, all.len() as u64);
        assert_eq!(digest, Digest::from_bytes(blake3::hash(&all).as_bytes()));
        assert_eq!(std::fs::read(file.path()).unwrap(), all);
        let most = all.len() as u64 - 1;
        assert!(matches!(fill(writer(), come(), most).await, Err(Lost::TooLong)));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_file_that_cannot_be_written_is_told() {
        // A file that is full at once.
        let full = std::path::Path::new("/dev/full");
        let Ok(writer) = Vault::open_to_all().create(full) else { panic!("there is no {}", full.display()) };
        let pieces = stream::iter((0..10).map(|_| Ok(Bytes::from(vec![1; BATCH]))));
        assert!(matches!(fill(writer, pieces, u64::MAX).await, Err(Lost::Disk(_))));
    }
}
