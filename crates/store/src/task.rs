//! Tasks and their graph as the store takes and gives them.
//!
//! ```text
//!            deps done,            claim              complete
//!            gate open
//!  waiting ─────────────▶ ready ─────────▶ leased ─────────────▶ done
//!     ▲                   ▲ │ ▲              │ │                   │
//!     │ a dependency      │ │ └──────────────┘ │ last try, fatal   │
//!     │ is opened again   │ │  retry, expiry,  └──────▶ failed     │
//!     └───────────────────┼─┘  release                    │        │
//!                         ├───────────────────────────────┴────────┘
//!                         │      retry of the job, reopen
//!                     cancelled ◀── waiting, ready, leased: the job failed or was cancelled
//! ```

use kinora_protocol::class::Class;
use kinora_protocol::job::JobPhase;
use kinora_protocol::node::Progress;
use kinora_protocol::task::{TaskKind, TaskOutput, TaskSpec};
use kinora_protocol::{Attempt, Digest, Failure, JobId, NodeId, TaskId};

use crate::error::StoreError;
use crate::lease::Lease;

/// A task to be stored. Its kind is that of its spec.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTask {
    /// Position among its kind: with job and kind, the task's name.
    pub ordinal: u32,
    /// Who may take it.
    pub class: Class,
    /// Greater goes first.
    pub priority: i32,
    /// Among equal priorities, smaller goes first.
    pub rank: f64,
    /// Tries before the job fails, at least one.
    pub max_attempts: u32,
    /// The work.
    pub spec: TaskSpec,
    /// The result, if there is one already: the task is done from the start and nothing waits for it.
    pub done: Option<TaskOutput>,
    /// Under which key its result is kept for other jobs.
    pub cache_key: Option<Digest>,
    /// Whether the caller has a word before it runs.
    pub gate: Gate,
}

/// Something of the caller's between the last dependency of a task and its start: a check, or a spec that only the results
/// of the dependencies can fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gate {
    /// The task needs none.
    None,
    /// It waits for `open_gate`.
    Closed,
    /// It was opened. If a dependency is opened again, the gate closes.
    Open,
}

impl Gate {
    /// All gates.
    pub const ALL: [Self; 3] = [Self::None, Self::Closed, Self::Open];

    /// The name in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Closed => "closed",
            Self::Open => "open",
        }
    }
}

/// One task waits for another, both by position in [`Graph::tasks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dep {
    /// This first.
    pub before: usize,
    /// Then this.
    pub after: usize,
}

/// Tasks and what waits for what.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Graph {
    /// The tasks.
    pub tasks: Vec<NewTask>,
    /// The edges.
    pub deps: Vec<Dep>,
}

impl Graph {
    /// How many undone tasks each task waits for.
    ///
    /// # Errors
    /// An edge leads nowhere, or a task waits for itself, at once or around a ring: the job would never end.
    pub(crate) fn pending(&self) -> Result<Vec<u32>, StoreError> {
        let invalid = |what: String| StoreError::Invalid { what };
        let count = self.tasks.len();
        let mut edges = self.deps.clone();
        edges.sort_unstable();
        edges.dedup();
        let mut all = vec![0_u32; count];
        let mut pending = vec![0_u32; count];
        for Dep { before, after } in &edges {
            if *before >= count || *after >= count {
                return Err(invalid(format!("edge {before} to {after} in a graph of {count} tasks")));
            }
            all[*after] += 1;
            pending[*after] += u32::from(self.tasks[*before].done.is_none());
        }
        let mut free: Vec<usize> = (0..count).filter(|i| all[*i] == 0).collect();
        let mut sorted = 0;
        while let Some(before) = free.pop() {
            sorted += 1;
            let from = edges.partition_point(|e| e.before < before);
            for edge in edges[from..].iter().take_while(|e| e.before == before) {
                all[edge.after] -= 1;
                if all[edge.after] == 0 {
                    free.push(edge.after);
                }
            }
        }
        if sorted < count {
            return Err(invalid("tasks that wait for each other in a ring".to_owned()));
        }
        Ok(pending)
    }
}

/// What became of an expansion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expansion {
    /// The tasks are there, and the finished one is done.
    Created {
        /// Their ids, in the order of the graph.
        tasks: Vec<TaskId>,
    },
    /// All was there already. Nothing changed.
    Already,
    /// The finishing task is not this node's any more. Nothing changed.
    LeaseLost,
    /// The job has ended. Nothing changed.
    Ended(JobPhase),
}

/// The state of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// For other tasks, or for its gate.
    Waiting,
    /// For a node.
    Ready,
    /// A node has it.
    Leased,
    /// Its result is accepted.
    Done,
    /// No try is left.
    Failed,
    /// The job ended before it did.
    Cancelled,
}

impl TaskState {
    /// All states.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Ready, Self::Leased, Self::Done, Self::Failed, Self::Cancelled];

    /// The name in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Ready => "ready",
            Self::Leased => "leased",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A task as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRow {
    /// Id.
    pub id: TaskId,
    /// Job.
    pub job: JobId,
    /// Kind.
    pub kind: TaskKind,
    /// Position among its kind.
    pub ordinal: u32,
    /// State.
    pub state: TaskState,
    /// Gate.
    pub gate: Gate,
    /// Who may take it.
    pub class: Class,
    /// Greater goes first.
    pub priority: i32,
    /// Smaller goes first.
    pub rank: f64,
    /// The last attempt; 0 before the first.
    pub attempt: Attempt,
    /// Attempts that count against `max_attempts`: not those that were given back, nor those before it was opened again.
    pub tries: u32,
    /// Tries before the job fails.
    pub max_attempts: u32,
    /// Undone tasks that it waits for.
    pub pending_deps: u32,
    /// Who has it, or whose result it is; `None` for a result taken from earlier work.
    pub node: Option<NodeId>,
    /// When the lease ends.
    pub lease_until_ms: Option<i64>,
    /// A second attempt that runs beside the first.
    pub backup: Option<Lease>,
    /// How far the present attempt is.
    pub progress: Progress,
    /// Under which key its result is kept.
    pub cache_key: Option<Digest>,
    /// The work.
    pub spec: TaskSpec,
    /// The accepted result.
    pub output: Option<TaskOutput>,
    /// Why the last attempt failed, if it did.
    pub failure: Option<Failure>,
}

/// The chunks of a job without their specs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunks {
    /// Summed up.
    pub sums: Vec<ChunkSum>,
    /// Positions of those that somebody has.
    pub leased: Vec<u32>,
}

/// The chunks of a job that are in one state, by the node that has them or did them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkSum {
    /// State.
    pub state: TaskState,
    /// Node; none for chunks that nobody has, or that were there already.
    pub node: Option<NodeId>,
    /// How many.
    pub chunks: u32,
    /// Output frames of these.
    pub frames: u64,
}

/// How many tasks are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Waiting.
    pub waiting: u64,
    /// Ready.
    pub ready: u64,
    /// Leased.
    pub leased: u64,
    /// Done.
    pub done: u64,
    /// Failed.
    pub failed: u64,
    /// Cancelled.
    pub cancelled: u64,
}

impl Counts {
    /// All of them.
    pub fn total(self) -> u64 {
        self.waiting + self.ready + self.leased + self.done + self.failed + self.cancelled
    }

    /// The number in this state.
    pub fn of(&mut self, state: TaskState) -> &mut u64 {
        match state {
            TaskState::Waiting => &mut self.waiting,
            TaskState::Ready => &mut self.ready,
            TaskState::Leased => &mut self.leased,
            TaskState::Done => &mut self.done,
            TaskState::Failed => &mut self.failed,
            TaskState::Cancelled => &mut self.cancelled,
        }
    }
}

/// A done task to be done again, because a check flagged its result.
#[derive(Debug, Clone, PartialEq)]
pub struct Reopen {
    /// The task.
    pub task: TaskId,
    /// The new work, of the same kind.
    pub spec: TaskSpec,
    /// The new result's key. What was kept under the old one is forgotten.
    pub cache_key: Option<Digest>,
}

/// What became of reopening: all of them or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reopening {
    /// They are ready again.
    Reopened {
        /// Tasks that wait for them again.
        waiting: Vec<TaskId>,
    },
    /// This task cannot be opened again. Nothing changed.
    Refused(TaskId, RefusedReopen),
}

/// Why a task cannot be opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedReopen {
    /// It is not done but in this state.
    NotDone(TaskState),
    /// This task has used its result, or is doing so.
    Used(TaskId),
    /// The job has ended.
    JobEnded(JobPhase),
}

/// What became of opening a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateOpening {
    /// The task is ready.
    Opened,
    /// It was open, or there is none. Nothing changed.
    AlreadyOpen,
    /// The task still waits for others, or has ended. Nothing changed.
    Refused(TaskState),
}

/// How much there is of everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    /// Jobs in each phase that any is in.
    pub jobs: Vec<(JobPhase, u64)>,
    /// Tasks that could be handed out, by kind.
    pub ready: Vec<(TaskKind, u64)>,
    /// Tasks that somebody is at, by kind.
    pub running: Vec<(TaskKind, u64)>,
    /// When the oldest job came that has tasks to hand out, and nobody is at any of them.
    pub oldest_ready_ms: Option<i64>,
    /// Bytes of media.
    pub media_bytes: u64,
    /// Bytes of chunks that are kept for later jobs.
    pub chunk_bytes: u64,
    /// What webhooks are still to be told.
    pub deliveries: u64,
}
