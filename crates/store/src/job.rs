//! Jobs as the store takes and gives them. Which phase may follow which is decided by the caller.

use kinora_protocol::job::{JobPhase, JobRequest};
use kinora_protocol::{Digest, Failure, JobId, UserId};

use crate::lease::Stopped;
use crate::task::Graph;

/// A job to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Its id, made by the caller.
    pub id: JobId,
    /// What it starts in: `Queued`, or `WaitingForNodes`, in which nothing of it runs.
    pub phase: JobPhase,
    /// What is asked.
    pub request: JobRequest,
    /// Its first tasks.
    pub graph: Graph,
    /// Whose it is.
    pub owner: Owner,
}

/// Whose something is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Owner {
    /// Nobody's: it is for admins.
    #[default]
    Nobody,
    /// A user's.
    User(UserId),
    /// For whoever may see some media.
    Media(Digest),
}

impl From<Option<UserId>> for Owner {
    fn from(user: Option<UserId>) -> Self {
        user.map_or(Self::Nobody, Self::User)
    }
}

/// What became of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submitted {
    /// The job is stored.
    Created(JobId),
    /// The idempotency key was used before, by this job. Nothing changed.
    Existing(JobId),
}

impl Submitted {
    /// The job, new or not.
    pub fn id(self) -> JobId {
        match self {
            Self::Created(id) | Self::Existing(id) => id,
        }
    }
}

/// What became of a wish to forget a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobDeletion {
    /// It is forgotten.
    Deleted,
    /// It has not ended.
    NotEnded(JobPhase),
    /// There is none.
    Unknown,
}

/// A job as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    /// Id.
    pub id: JobId,
    /// Phase.
    pub phase: JobPhase,
    /// The phase that a paused job goes on with.
    pub paused_from: Option<JobPhase>,
    /// What is asked.
    pub request: JobRequest,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// When it was submitted.
    pub created_ms: i64,
    /// When its phase last changed.
    pub updated_ms: i64,
    /// When it ended.
    pub finished_ms: Option<i64>,
    /// Bytes that went over the network for it.
    pub moved_bytes: u64,
}

/// What became of a change of phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PhaseChange {
    /// The job is in the new phase.
    Changed {
        /// Leases that ended with it; their nodes are to be told. Empty unless the job failed or was cancelled.
        stopped: Vec<Stopped>,
    },
    /// Not from the phase that the job is in. Nothing changed.
    Refused(JobPhase),
}

/// What became of a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// The job is in `Processing` again.
    Changed {
        /// How many tasks are open again.
        reopened: usize,
    },
    /// Only failed and cancelled jobs can be retried; this one is in another phase.
    Refused(JobPhase),
}
