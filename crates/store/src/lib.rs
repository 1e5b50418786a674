//! The one place where the state of jobs and tasks lives, and the only crate with SQL.
//!
//! It keeps what it is told, guards every change with the state that the change may start from, and answers after the
//! disk has it. It must not decide what to do next, read a clock, or know ffmpeg, the network or blobs.
//!
//! The types here are the same for every backend; [`Store`] is the one on SQLite.

mod access;
mod error;
mod folder;
mod job;
mod lease;
mod media;
mod node;
mod outbox;
mod sqlite;
mod task;
mod upload;
mod webhook;

pub use access::{
    AuditEntry, AuditRow, Carried, Chain, Enrolled, EnrollmentRow, KeyRow, NodeKeyRow, Rotated, SessionRow,
    TeamRow, UserChanged, UserFacts, UserRow, UserUpdate,
};
pub use error::{Result, StoreError};
pub use folder::{FolderFileRow, FolderResult, FolderRow, Undertaking};
pub use job::{JobDeletion, JobRow, NewJob, Owner, PhaseChange, Retried, Submitted};
pub use lease::{
    Accepted, AfterExpiry, AfterFailure, AttemptOutcome, AttemptRow, Avoid, Claimed, Completion, Expired,
    FailOutcome, JobAttempt, Lease, Stopped, Wanted,
};
pub use media::{CachedChunk, Deletion, Holder, InUse, LibraryRow, MediaRow, Stored};
pub use node::{NodeRow, Withheld};
pub use outbox::OutboxRow;
pub use sqlite::{Stats, Store};
pub use task::{
    ChunkSum, Chunks, Counts, Dep, Expansion, Gate, GateOpening, Graph, NewTask, RefusedReopen, Reopen,
    Reopening, Sums, TaskRow, TaskState,
};
pub use upload::{Part, UploadRow};
pub use webhook::{DeliveryRow, Tried, WebhookRow};
