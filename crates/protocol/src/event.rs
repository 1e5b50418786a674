//! What happened, for those who watch. Events are a view: nothing depends on one being delivered.

use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::id::{Attempt, JobId, TaskId};
use crate::job::JobPhase;
use crate::node::Progress;
use crate::task::{FrameRange, Preroll, TaskKind};

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A job entered a phase.
    Job {
        /// Job.
        job: JobId,
        /// Phase.
        phase: JobPhase,
        /// Why, when it failed.
        failure: Option<Failure>,
    },
    /// The plan stands: the chunks, in order, and which of them were there already.
    Planned {
        /// Job.
        job: JobId,
        /// Output frames of each chunk.
        chunks: Vec<FrameRange>,
        /// Those taken from earlier work.
        reused: Vec<u32>,
    },
    /// A task changed.
    Task {
        /// Job.
        job: JobId,
        /// Task.
        task: TaskId,
        /// Kind.
        kind: TaskKind,
        /// Position among its kind.
        ordinal: u32,
        /// What happened to it.
        change: TaskChange,
    },
}

/// What happened to a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum TaskChange {
    /// A node has it.
    Leased {
        /// Fence.
        attempt: Attempt,
    },
    /// It moves.
    Progress(Progress),
    /// It is done.
    Done,
    /// The attempt failed; it runs again.
    Retry {
        /// Why.
        failure: Failure,
    },
    /// A check flagged it; it runs again from further back.
    Redo {
        /// How far back.
        preroll: Preroll,
    },
    /// It failed for good.
    Failed {
        /// Why.
        failure: Failure,
    },
}
