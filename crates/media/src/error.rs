//! What can go wrong with media, each naming the file or program and the reason, and the public failure it becomes.

use std::io;
use std::path::{Path, PathBuf};

use kinora_protocol::{ErrorCode, Failure};

use crate::hash::Cancelled;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// The program is not installed.
    #[error(
        "{program} was not found: install ffmpeg (for example `apt install ffmpeg`) or name it with --ffmpeg"
    )]
    ToolMissing {
        /// Program name.
        program: String,
    },
    /// The program exists but cannot be used.
    #[error("{program} cannot be used: {reason}")]
    ToolUnusable {
        /// Program path.
        program: String,
        /// Why.
        reason: String,
    },
    /// The program ended with an error.
    #[error("{what}: {program} ended with {status}{}", last_line(.tail))]
    ToolFailed {
        /// What was being done.
        what: String,
        /// Program name.
        program: String,
        /// Exit status or signal.
        status: String,
        /// End of its standard error.
        tail: String,
    },
    /// The program could not be confined, or did what it may not.
    #[error("{what}: {reason}")]
    Sandbox {
        /// What was being done, and by what.
        what: String,
        /// Why not.
        reason: String,
    },
    /// The program made no progress and was stopped.
    #[error("{what}: {program} made no progress for {seconds} s and was stopped")]
    Stalled {
        /// What was being done.
        what: String,
        /// Program name.
        program: String,
        /// How long.
        seconds: u64,
        /// End of its standard error.
        tail: String,
    },
    /// The work was cancelled.
    #[error("{what}: cancelled")]
    Cancelled {
        /// What was being done.
        what: String,
    },
    /// The input is not media that we take.
    #[error("{}: {reason}", path.display())]
    BadInput {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A result is not what the plan says.
    #[error("{what}: {reason}")]
    NotExact {
        /// What was checked.
        what: String,
        /// What differs.
        reason: String,
    },
    /// A model did not work.
    #[error("{what}: {reason}")]
    Model {
        /// What was being done.
        what: String,
        /// Why.
        reason: String,
    },
    /// Reading or writing a file failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn last_line(tail: &str) -> String {
    tail.lines().rev().find(|l| !l.trim().is_empty()).map(|l| format!(": {}", l.trim())).unwrap_or_default()
}

/// ffmpeg's words for a full disk or quota, in its standard error.
fn says_disk_full(tail: &str) -> bool {
    tail.contains("No space left on device") || tail.contains("Disk quota exceeded")
}

impl MediaError {
    /// For `map_err` on file operations.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| {
            if source.get_ref().is_some_and(|reason| reason.is::<Cancelled>()) {
                return Self::Cancelled { what: path.display().to_string() };
            }
            Self::Io { path: path.to_owned(), source }
        }
    }

    /// The input is refused.
    pub fn bad_input(path: &Path, reason: impl Into<String>) -> Self {
        Self::BadInput { path: path.to_owned(), reason: reason.into() }
    }

    /// A check did not hold.
    pub fn not_exact(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::NotExact { what: what.into(), reason: reason.into() }
    }

    /// The public code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::ToolMissing { .. } | Self::ToolUnusable { .. } => ErrorCode::ToolMissing,
            Self::ToolFailed { tail, .. } if says_disk_full(tail) => ErrorCode::Disk,
            Self::ToolFailed { .. } | Self::Stalled { .. } | Self::Model { .. } => ErrorCode::ToolFailed,
            Self::Sandbox { .. } => ErrorCode::Confined,
            Self::Cancelled { .. } => ErrorCode::Cancelled,
            Self::BadInput { .. } => ErrorCode::BadInput,
            Self::NotExact { .. } => ErrorCode::NotExact,
            Self::Io { .. } => ErrorCode::Disk,
        }
    }
}

impl From<MediaError> for Failure {
    fn from(error: MediaError) -> Self {
        let detail = match &error {
            MediaError::ToolFailed { tail, .. } | MediaError::Stalled { tail, .. } => tail.clone(),
            MediaError::ToolMissing { .. }
            | MediaError::ToolUnusable { .. }
            | MediaError::Sandbox { .. }
            | MediaError::Cancelled { .. }
            | MediaError::BadInput { .. }
            | MediaError::NotExact { .. }
            | MediaError::Model { .. }
            | MediaError::Io { .. } => String::new(),
        };
        let message = match &error {
            MediaError::ToolFailed { what, tail, .. } if says_disk_full(tail) => {
                format!("{what}: no space left on the device: free some, then run the same command again")
            }
            MediaError::Io { path, source } if source.kind() == io::ErrorKind::StorageFull => {
                format!(
                    "{}: no space left on the device: free some, then run the same command again",
                    path.display()
                )
            }
            other => other.to_string(),
        };
        Self { code: error.code(), message, detail }
    }
}
