//! Bytes that come over the network into a file: hashed on the way, durable at the end. It must not know what they are.

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use kinora_protocol::Digest;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

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

/// Writes all pieces, `most` bytes of them; gives their size and BLAKE3.
pub(crate) async fn fill(
    file: &mut File,
    mut pieces: impl Stream<Item = Result<Bytes, String>> + Unpin,
    most: u64,
) -> Result<(u64, Digest), Lost> {
    let mut hasher = blake3::Hasher::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(Lost::Cut)?;
        if hasher.count() + piece.len() as u64 > most {
            return Err(Lost::TooLong);
        }
        hasher.update(&piece);
        file.write_all(&piece).await?;
    }
    file.flush().await?;
    file.sync_all().await?;
    Ok((hasher.count(), Digest::from_bytes(hasher.finalize().as_bytes())))
}
