//! What goes wrong inside a command, and its translation into the public error. It must not know what the command was for.

use std::path::Path;

use rusqlite::ErrorCode;

use super::place;
use crate::error::StoreError;

/// Why a command failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite said no.
    Sql(rusqlite::Error),
    /// No such thing.
    NotFound(String),
    /// What is there contradicts what was asked.
    Conflict(String),
    /// A bug in the caller.
    Invalid(String),
    /// A bug here.
    Internal(String),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Fault {
    /// As the caller sees it.
    pub(super) fn into_error(self, path: &Path) -> StoreError {
        match self {
            Self::Sql(error) => sql_error(error, path),
            Self::NotFound(what) => StoreError::NotFound { what },
            Self::Conflict(what) => StoreError::Conflict { what },
            Self::Invalid(what) => StoreError::Invalid { what },
            Self::Internal(reason) => StoreError::Internal { path: path.to_owned(), reason },
        }
    }
}

fn sql_error(error: rusqlite::Error, path: &Path) -> StoreError {
    let reason = error.to_string();
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full { path },
        // The shared-memory file beside the database reports a full disk as a plain I/O error.
        Some(ErrorCode::SystemIoFailure) if place::is_full(&path) => StoreError::Full { path },
        Some(
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::NoLargeFileSupport,
        ) => StoreError::Disk { path, reason },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt { path, reason },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy { path },
        _ => StoreError::Internal { path, reason },
    }
}
