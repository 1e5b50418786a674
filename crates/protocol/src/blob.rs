//! Result files: what they hold, and how they are named.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::id::{Attempt, Digest, JobId, TaskId};
use crate::task::TaskKind;

/// A result file: where it is and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// Path below the blob folder, made by the hub's naming rule.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// BLAKE3 of the bytes.
    pub digest: Digest,
}

/// Name of an attempt's result below the blob folder. It contains the attempt, so that a late one cannot overwrite another's.
pub fn blob_name(job: JobId, kind: TaskKind, task: TaskId, attempt: Attempt) -> PathBuf {
    let extension = match kind {
        TaskKind::Probe => "index",
        TaskKind::Describe => "parts",
        TaskKind::Measure | TaskKind::Survey => "json",
        _ => "mp4",
    };
    PathBuf::from(format!("{job}-{}-{task}-{attempt}.{extension}", kind.name()))
}

/// The name under which a result grows: in the folder of the output so that a rename is enough, and named after job and
/// attempt so that no two write into each other and no output's name makes it too long.
pub fn part_name(output: &Path, job: JobId, attempt: Attempt) -> PathBuf {
    output.with_file_name(format!(".kinora-{job}-{attempt}.part"))
}

/// Whether a file's name is that of a job's unfinished result, by whichever attempt.
pub fn is_part_of(name: &str, job: JobId) -> bool {
    let attempt = name.strip_prefix(&format!(".kinora-{job}-"));
    attempt.is_some_and(|rest| rest.contains(".part"))
}
