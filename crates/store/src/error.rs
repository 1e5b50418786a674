//! What can go wrong in a store, told so that an operator knows what to do. It must not know which backend it was.

use std::path::PathBuf;

use kinora_protocol::ErrorCode;

/// A result of the store.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why the store did not do what it was asked. Nothing was changed, with one exception: after [`StoreError::Disk`] it is
/// unknown whether the change survives a crash, so ask again; every change can be repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened, read or written.
    #[error(
        "the store {path} cannot be read or written: {reason}; check the disk, the folder and its permissions"
    )]
    Disk {
        /// The store.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// No room.
    #[error(
        "no space is left for the store {path}; free some and try again, nothing that was accepted is lost"
    )]
    Full {
        /// The store.
        path: PathBuf,
    },
    /// The file is damaged, or something else.
    #[error(
        "the store {path} is damaged or is no Kinora store: {reason}; move it away or restore it from a backup"
    )]
    Corrupt {
        /// The store.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A later version of Kinora made it.
    #[error(
        "the store {path} has schema {found}, this version of Kinora knows {supported}; use the newer version"
    )]
    Newer {
        /// The store.
        path: PathBuf,
        /// The file's schema.
        found: i64,
        /// The newest that is known here.
        supported: i64,
    },
    /// Another process has it.
    #[error("the store {path} is in use by another process; stop that one or wait until it ends")]
    Busy {
        /// The store.
        path: PathBuf,
    },
    /// It was closed.
    #[error("the store {path} is closed")]
    Closed {
        /// The store.
        path: PathBuf,
    },
    /// There is no such thing.
    #[error("there is no {what}")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// What is there contradicts what was asked.
    #[error("{what}")]
    Conflict {
        /// What contradicts what.
        what: String,
    },
    /// The call makes no sense: a bug in the caller.
    #[error("{what}")]
    Invalid {
        /// What makes no sense.
        what: String,
    },
    /// A bug in the store.
    #[error("the store {path} failed: {reason}; please report this")]
    Internal {
        /// The store.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
}

impl StoreError {
    /// The public code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Disk { .. } | Self::Full { .. } | Self::Corrupt { .. } | Self::Newer { .. } => {
                ErrorCode::Disk
            }
            Self::Busy { .. } => ErrorCode::Busy,
            Self::Closed { .. }
            | Self::NotFound { .. }
            | Self::Conflict { .. }
            | Self::Invalid { .. }
            | Self::Internal { .. } => ErrorCode::Internal,
        }
    }
}
