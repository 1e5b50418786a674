//! What is kept between jobs: media that were looked at, chunks that were made.

use std::path::PathBuf;

use kinora_protocol::Digest;
use kinora_protocol::media::MediaFacts;
use kinora_protocol::task::{Blob, TaskOutput};

/// A media file that was probed.
#[derive(Debug, Clone, PartialEq)]
pub struct MediaRow {
    /// Cheap name of the file as it was: path, size and time, say. Made by the caller.
    pub fingerprint: String,
    /// BLAKE3 of its content.
    pub digest: Digest,
    /// Facts.
    pub facts: MediaFacts,
    /// Packet index.
    pub index: Blob,
}

/// Media that was given to the hub to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryRow {
    /// BLAKE3 of its content.
    pub digest: Digest,
    /// Name for people.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Where it is.
    pub path: PathBuf,
    /// When it came.
    pub created_ms: i64,
}

/// A result kept for other jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct CachedChunk {
    /// Key.
    pub key: Digest,
    /// Result.
    pub output: TaskOutput,
    /// Bytes of its blob.
    pub bytes: u64,
    /// When it was last made or used.
    pub used_ms: i64,
}
