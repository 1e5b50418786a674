//! Stable public error codes, and a failure as it is stored and shown.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What went wrong, in words that never change: scripts match on these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The input is missing, unreadable, not a regular file, or not media that we take.
    BadInput,
    /// The recipe asks for something impossible or unknown.
    BadRecipe,
    /// ffmpeg or ffprobe is missing or unusable.
    ToolMissing,
    /// ffmpeg ended with an error, crashed or was stopped for making no progress.
    ToolFailed,
    /// ffmpeg or ffprobe was stopped for what it asked for or used up.
    Confined,
    /// A result does not match the plan.
    NotExact,
    /// The disk is full or cannot be written.
    Disk,
    /// Someone cancelled it.
    Cancelled,
    /// The lease ended before the work did.
    LeaseLost,
    /// Another run works on the same output.
    Busy,
    /// The hub does not answer.
    Unreachable,
    /// Whoever answers for the hub cannot be told apart from somebody else.
    Untrusted,
    /// Nobody is known by what the request says who it is from.
    Unauthenticated,
    /// Whom the request is from may not do that.
    Forbidden,
    /// Too much of it in too short a time.
    TooMany,
    /// A bug in Kinora.
    Internal,
}

impl ErrorCode {
    /// Whether the same work can succeed when it is tried again unchanged.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::ToolFailed | Self::Confined | Self::NotExact | Self::LeaseLost => true,
            Self::BadInput
            | Self::BadRecipe
            | Self::ToolMissing
            | Self::Disk
            | Self::Cancelled
            | Self::Busy
            | Self::Unreachable
            | Self::Untrusted
            | Self::Unauthenticated
            | Self::Forbidden
            | Self::TooMany
            | Self::Internal => false,
        }
    }
}

/// A failure with its public sentence and, apart from it, the detail (an ffmpeg stderr tail, say).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Failure {
    /// Stable code.
    pub code: ErrorCode,
    /// One sentence that names the thing and the reason.
    pub message: String,
    /// Longer text for the log; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Failure {
    /// A failure without detail.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: String::new() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
