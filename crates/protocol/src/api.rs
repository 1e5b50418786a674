//! What the HTTP surface takes and gives: views of what the store and the nodes hold, for people and programs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::class::Tags;
use crate::error::{ErrorCode, Failure};
use crate::event::Event;
use crate::id::{Attempt, Digest, JobId, NodeId, TaskId};
use crate::job::{JobPhase, Work};
use crate::machine::Tier;
use crate::node::{Capabilities, Progress, Slots};
use crate::recipe::Recipe;
use crate::task::TaskKind;

mod health;
mod media;
mod system;

pub use health::{Health, ReadyView};
pub use media::{
    HighlightView, Import, MediaView, MetadataView, SceneView, SpritesView, ThumbnailView, UploadView,
};
pub use system::{ClusterView, EncryptionView, LogView, ScannerView, ScrubView, SystemView};

/// An error as RFC 9457 has it, with our code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Problem {
    /// Always `about:blank`: the code says it all.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Stable code.
    pub code: ErrorCode,
    /// One sentence that names the thing and the reason.
    pub detail: String,
}

/// Bytes of a source that a node wants, each by offset and length, in the order in which they are sent; after them come the
/// 32 bytes of the BLAKE3 of them all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Ranges {
    /// Offset and length.
    pub ranges: Vec<(u64, u64)>,
}

/// Where the input of a job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Media that was uploaded.
    Media(Digest),
    /// A file on the hub's machine, below an allowed folder.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    Path(PathBuf),
}

/// A job as it is submitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewJob {
    /// What to work on.
    pub source: Source,
    /// What to do.
    #[serde(default)]
    pub recipe: Recipe,
    /// A preset by its name: what the recipe does not say is as it has it.
    #[serde(default)]
    pub preset: Option<String>,
    /// Name of the result, whose extension names the container; made from the source's when absent.
    #[serde(default)]
    pub name: Option<String>,
    /// Where the result goes on the hub's machine, below an allowed folder; kept by the hub when absent.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub output: Option<PathBuf>,
    /// Greater runs first.
    #[serde(default)]
    pub priority: i32,
    /// Nothing of it runs before so many nodes are ready; as the hub is set when absent.
    #[serde(default)]
    pub required_nodes: Option<u32>,
    /// It fails if it is not done so many seconds after it was submitted; as the hub is set when absent.
    #[serde(default)]
    pub deadline_seconds: Option<u32>,
    /// Only nodes that have all of these work on it.
    #[serde(default)]
    pub tags: Tags,
}

impl NewJob {
    /// What is done with a source when nothing else is said.
    pub fn of(source: Source) -> Self {
        Self {
            source,
            recipe: Recipe::default(),
            preset: None,
            name: None,
            output: None,
            priority: 0,
            required_nodes: None,
            deadline_seconds: None,
            tags: Tags::NONE,
        }
    }
}

/// A recipe with a name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PresetView {
    /// What it is asked for by.
    pub name: String,
    /// What it is for.
    pub title: String,
    /// What it does.
    pub recipe: Recipe,
}

/// A job as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct JobView {
    /// Id.
    pub id: JobId,
    /// What comes of it.
    #[serde(default)]
    pub work: Work,
    /// Phase.
    pub phase: JobPhase,
    /// The phase that a paused job goes on with.
    pub paused_from: Option<JobPhase>,
    /// Name of the result.
    pub name: String,
    /// What is done.
    pub recipe: Recipe,
    /// Greater runs first.
    pub priority: i32,
    /// Only nodes that have all of these work on it.
    #[serde(default)]
    pub tags: Tags,
    /// What it waits for that no node here can give, in words.
    pub stuck: Option<String>,
    /// Output frames; 0 until the plan stands.
    pub frames: u64,
    /// Those that are done.
    pub done: u64,
    /// Output frames per second now.
    pub fps: f32,
    /// Seconds to go, by the present speed.
    pub eta_seconds: Option<f64>,
    /// Chunks.
    pub chunks: ChunkCounts,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// When it was submitted.
    pub created_ms: i64,
    /// When it ended.
    pub finished_ms: Option<i64>,
    /// Which node did how much.
    pub shares: Vec<Share>,
    /// Bytes that went over the network for it, in both directions.
    pub moved_bytes: u64,
}

/// How many chunks are how far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ChunkCounts {
    /// All.
    pub total: u32,
    /// A node is at them.
    pub running: u32,
    /// Done.
    pub done: u32,
    /// Of these, taken from earlier work.
    pub reused: u32,
}

/// The part of one node in a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Share {
    /// Who.
    pub node: NodeId,
    /// Chunks done.
    pub chunks: u32,
    /// Output frames done.
    pub frames: u64,
}

/// A task of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TaskView {
    /// Id.
    pub id: TaskId,
    /// Kind.
    pub kind: TaskKind,
    /// Position among its kind.
    pub ordinal: u32,
    /// `waiting`, `ready`, `leased`, `done`, `failed` or `cancelled`.
    pub state: String,
    /// Output frames, of a chunk.
    pub frames: Option<(u64, u64)>,
    /// Who has it, or did it.
    pub node: Option<NodeId>,
    /// How far the present attempt is.
    pub progress: Progress,
    /// All attempts, in order.
    pub attempts: Vec<AttemptView>,
}

/// An attempt, past or present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AttemptView {
    /// Fence.
    pub attempt: Attempt,
    /// Whose.
    pub node: NodeId,
    /// Start.
    pub started_ms: i64,
    /// End.
    pub ended_ms: Option<i64>,
    /// `done`, `failed`, `expired`, `released` or `cancelled`.
    pub outcome: Option<String>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// How the programs that it ran were confined: `full`, `partial` or `off`.
    #[serde(default)]
    pub sandbox: Option<String>,
}

/// Something that happened to a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EventView {
    /// Its position among all events of the hub: what comes later has a greater one.
    pub seq: i64,
    /// What happened. Failures come without their detail, which tasks have.
    pub event: Event,
}

/// The state of a node, as shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum NodeState {
    /// It has just come.
    Connected,
    /// It is being measured.
    Benchmarking,
    /// It works.
    Processing,
    /// It has nothing to do.
    Idle,
    /// It finishes what it has and takes nothing more.
    Draining,
    /// It is not there.
    Disconnected,
}

impl NodeState {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Benchmarking => "benchmarking",
            Self::Processing => "processing",
            Self::Idle => "idle",
            Self::Draining => "draining",
            Self::Disconnected => "disconnected",
        }
    }
}

/// A node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NodeView {
    /// Id.
    pub id: NodeId,
    /// Name for people.
    pub name: String,
    /// State.
    pub state: NodeState,
    /// It was told to drain: it gets no more work until it is undrained.
    #[serde(default)]
    pub drained: bool,
    /// Why it gets no more work until it is undrained: it failed what other nodes then did.
    pub quarantined: Option<String>,
    /// What it can do.
    pub capabilities: Capabilities,
    /// The class of its machine, where that is known.
    pub tier: Option<Tier>,
    /// How much at once.
    pub slots: Slots,
    /// What jobs may ask for; known while it is connected.
    #[serde(default)]
    pub tags: Tags,
    /// What it is at.
    pub running: Vec<RunningView>,
    /// When it was last heard of.
    pub last_seen_ms: i64,
}

/// An attempt that a node is at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RunningView {
    /// Job.
    pub job: JobId,
    /// Kind.
    pub kind: TaskKind,
    /// Position among its kind.
    pub ordinal: u32,
    /// How far.
    pub progress: Progress,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// What to ask for to get the next part; none after the last.
    pub next: Option<String>,
}

/// What can be told to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum JobVerb {
    /// End it.
    Cancel,
    /// Start nothing more of it.
    Pause,
    /// Let it go on.
    Resume,
    /// Try it again from what is done.
    Retry,
}

impl JobVerb {
    /// The word in the path.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Retry => "retry",
        }
    }
}

/// What can be told to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NodeVerb {
    /// Finish, and take nothing more.
    Drain,
    /// Take work again.
    Undrain,
    /// Go away.
    Disconnect,
    /// Never come back, unless it is let in anew.
    Revoke,
}

impl NodeVerb {
    /// The word in the path.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Undrain => "undrain",
            Self::Disconnect => "disconnect",
            Self::Revoke => "revoke",
        }
    }
}

/// What may be done to a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WebhookVerb {
    /// Be told things again.
    Enable,
    /// Be told nothing.
    Disable,
    /// Be sent something to try it.
    Ping,
}

impl WebhookVerb {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Enable, Self::Disable, Self::Ping];

    /// The word in the path.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Ping => "ping",
        }
    }
}
