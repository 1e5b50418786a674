//! Jobs as they are seen from outside.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::class::Tags;
use crate::id::Digest;
use crate::recipe::Recipe;

/// The phase of a job, as stored and shown. Which changes are legal stands in `jobs::state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum JobPhase {
    /// Accepted; nothing has started.
    Queued,
    /// Fewer nodes than the recipe requires.
    WaitingForNodes,
    /// Nodes are being measured.
    Benchmarking,
    /// Tasks run.
    Processing,
    /// All chunks are done; they are joined and packaged.
    Combining,
    /// The output is published.
    Completed,
    /// It cannot be done; the failure says why.
    Failed,
    /// Someone stopped it.
    Cancelled,
    /// Someone holds it; what is done is kept.
    Paused,
}

impl JobPhase {
    /// All phases.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::WaitingForNodes,
        Self::Benchmarking,
        Self::Processing,
        Self::Combining,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Paused,
    ];

    /// The name in the store and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "Queued",
            Self::WaitingForNodes => "WaitingForNodes",
            Self::Benchmarking => "Benchmarking",
            Self::Processing => "Processing",
            Self::Combining => "Combining",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
            Self::Paused => "Paused",
        }
    }

    /// Nothing follows it, short of a retry.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// What comes of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// A file, made by its recipe.
    #[default]
    Encode,
    /// What is to be known about media that the hub keeps (see [`crate::describe`]).
    Describe(Digest),
}

/// A job as submitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRequest {
    /// The file to work on.
    pub input: PathBuf,
    /// What comes of it.
    #[serde(default)]
    pub work: Work,
    /// Where the result goes. Of a description only the name counts.
    pub output: PathBuf,
    /// What to do.
    pub recipe: Recipe,
    /// A second submission with the same key is the same job.
    pub idempotency_key: Option<String>,
    /// Greater runs first.
    pub priority: i32,
    /// Nothing of it runs before so many nodes are ready.
    #[serde(default)]
    pub required_nodes: u32,
    /// It fails if it is not done by then, in milliseconds since 1970.
    #[serde(default)]
    pub deadline_ms: Option<i64>,
    /// Only nodes that have all of these work on it.
    #[serde(default)]
    pub tags: Tags,
}
