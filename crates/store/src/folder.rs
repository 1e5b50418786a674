//! Folders that are watched, and their files, as stored.

use std::path::PathBuf;

use kinora_protocol::folder::{FileState, NewFolder};
use kinora_protocol::job::JobPhase;
use kinora_protocol::node::FileMark;
use kinora_protocol::{Digest, Failure, FolderId, JobId};

/// A folder that is watched.
#[derive(Debug, Clone, PartialEq)]
pub struct FolderRow {
    /// Its id.
    pub id: FolderId,
    /// What was asked for, with what is usual where nothing was said.
    pub folder: NewFolder,
    /// Whether files are taken up.
    pub enabled: bool,
    /// When it was made.
    pub created_ms: i64,
}

/// A file that was taken up. Its content is its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderFileRow {
    /// The folder.
    pub folder: FolderId,
    /// BLAKE3 of its content.
    pub digest: Digest,
    /// Its path below the folder.
    pub name: String,
    /// What the file was when it was taken up.
    pub mark: FileMark,
    /// What became of it.
    pub state: FileState,
    /// Its job.
    pub job: Option<JobId>,
    /// Where the result is, unless the hub keeps it.
    pub result: Option<PathBuf>,
    /// What went wrong.
    pub error: Option<String>,
    /// When this last changed.
    pub updated_ms: i64,
}

/// What was made of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderResult {
    /// BLAKE3 of the result.
    pub digest: Digest,
    /// The whole path of the file.
    pub source: PathBuf,
}

/// A file that was taken up, with how its job stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Undertaking {
    /// The file.
    pub file: FolderFileRow,
    /// The phase of its job and why it failed; none when the job was forgotten.
    pub job: Option<(JobPhase, Option<Failure>)>,
}
