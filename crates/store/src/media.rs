//! What is kept between jobs: media that were looked at, chunks that were made.

use std::collections::HashSet;
use std::path::PathBuf;

use kinora_protocol::media::{MediaFacts, Scan, Verdict};
use kinora_protocol::task::{Blob, TaskOutput};
use kinora_protocol::{Attempt, Digest, JobId, TaskId};

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
#[derive(Debug, Clone, PartialEq)]
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
    /// What a look at it came to.
    pub verdict: Option<Verdict>,
    /// What a look for malware came to; none before there was one.
    pub scan: Option<Scan>,
}

/// What became of a wish to forget media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletion {
    /// It is forgotten; its file was here.
    Deleted(PathBuf),
    /// It has other owners, and is theirs from now on.
    GivenUp,
    /// This job reads it.
    InUse(JobId),
    /// There is none.
    Unknown,
}

/// A file that is kept beyond its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What it is kept for.
    pub holder: Holder,
    /// Where it is and what it ought to be.
    pub blob: Blob,
}

/// What a file is kept for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// Other jobs that need this chunk.
    Chunk(Digest),
    /// Other jobs of this source.
    Index(String),
    /// What is known about this media.
    Description(Digest),
}

/// Blobs that must stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InUse {
    /// Paths below the blob folder: results of jobs that are not completed, and results kept for other jobs.
    pub paths: HashSet<String>,
    /// Attempts that run.
    pub attempts: HashSet<(TaskId, Attempt)>,
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
