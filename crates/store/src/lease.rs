//! Leases: the right of one node to one attempt of one task, and how it ends.

use kinora_protocol::class::Class;
use kinora_protocol::task::{TaskKind, TaskSpec};
use kinora_protocol::{Attempt, Failure, JobId, NodeId, TaskId};

/// The fence: every word of a node about its work names all three, and counts only while they hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lease {
    /// Task.
    pub task: TaskId,
    /// Which try.
    pub attempt: Attempt,
    /// Whose.
    pub node: NodeId,
}

/// A node that asks for one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Who.
    pub node: NodeId,
    /// What it can do.
    pub classes: Vec<Class>,
    /// Which tasks it is not given.
    pub avoid: Avoid,
}

/// Tasks that a node is not given although it could do them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Avoid {
    /// It takes whatever is first.
    Nothing,
    /// Those that it failed at or fell silent with: another node is to try, for ten seconds.
    OwnFailures,
}

/// Work handed out.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// Job.
    pub job: JobId,
    /// The lease.
    pub lease: Lease,
    /// Kind.
    pub kind: TaskKind,
    /// Position among its kind.
    pub ordinal: u32,
    /// What it asks of a node.
    pub class: Class,
    /// The work.
    pub spec: TaskSpec,
    /// Tries that count, with this one.
    pub tries: u32,
    /// How many may be made.
    pub max_attempts: u32,
    /// Nodes on which earlier attempts failed or fell silent, in order, each once.
    pub failed_on: Vec<NodeId>,
}

/// A lease that ended because its job did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// Job.
    pub job: JobId,
    /// Kind.
    pub kind: TaskKind,
    /// Position among its kind.
    pub ordinal: u32,
    /// The lease that is no more.
    pub lease: Lease,
}

/// What became of a completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion {
    /// The task is done by this call.
    Accepted(Accepted),
    /// The same lease completed it before. Nothing changed.
    AlreadyDone,
    /// Someone else has the task, or nobody. Nothing changed; the result is not wanted.
    LeaseLost,
}

/// What a completion set free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Job.
    pub job: JobId,
    /// Tasks that became ready.
    pub released: Vec<TaskId>,
    /// Tasks that wait for nothing but their gate.
    pub gated: Vec<TaskId>,
    /// No task of the job is left undone.
    pub last: bool,
    /// The lease that worked on the same task and lost.
    pub beaten: Option<Lease>,
}

/// What to do with a failed task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// Try again, not before this time; if no try is left, as [`AfterFailure::Fatal`].
    Retry {
        /// Time.
        not_before_ms: i64,
    },
    /// The task failed and the job with it.
    Fatal,
}

/// What became of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailOutcome {
    /// The task is ready again.
    Retrying {
        /// Tries left.
        tries_left: u32,
    },
    /// Another node works on the task, too, and goes on.
    StillRunning,
    /// The task and its job failed.
    TaskFailed {
        /// Other leases of the job that ended with it.
        stopped: Vec<Stopped>,
    },
    /// The lease was over. Nothing changed.
    LeaseLost,
}

/// A lease that was not renewed in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// Job.
    pub job: JobId,
    /// Kind.
    pub kind: TaskKind,
    /// Position among its kind.
    pub ordinal: u32,
    /// The lease that is no more.
    pub lease: Lease,
    /// What follows.
    pub then: AfterExpiry,
}

/// What follows an expired lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AfterExpiry {
    /// The task is ready again.
    Retrying {
        /// Tries left.
        tries_left: u32,
    },
    /// Another node works on the task, too, and goes on.
    StillRunning,
    /// It was the last try: the task and its job failed.
    TaskFailed {
        /// Other leases of the job that ended with it.
        stopped: Vec<Stopped>,
    },
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptOutcome {
    /// Its result was accepted.
    Done,
    /// The node said so.
    Failed,
    /// The node fell silent.
    Expired,
    /// Given back without fault.
    Released,
    /// The job ended.
    Cancelled,
}

impl AttemptOutcome {
    /// All outcomes.
    pub const ALL: [Self; 5] = [Self::Done, Self::Failed, Self::Expired, Self::Released, Self::Cancelled];

    /// The name in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Released => "released",
            Self::Cancelled => "cancelled",
        }
    }
}

/// An attempt, with what its task is to the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobAttempt {
    /// Kind of the task.
    pub kind: TaskKind,
    /// Position of the task among its kind.
    pub ordinal: u32,
    /// The attempt.
    pub attempt: AttemptRow,
}

/// One attempt of a task, past or present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRow {
    /// The lease it had or has.
    pub lease: Lease,
    /// Start.
    pub started_ms: i64,
    /// End; `None` while it runs.
    pub ended_ms: Option<i64>,
    /// How it ended.
    pub outcome: Option<AttemptOutcome>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// How its node's programs were confined (`full`, `partial` or `off`), where it had said.
    pub sandbox: Option<String>,
}
