//! What a node and the hub say to each other. In one process the messages travel over channels; between machines, as JSON
//! over one WebSocket that the node opens.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::class::Tags;
use crate::encode::Encoder;
use crate::error::Failure;
use crate::id::{Attempt, JobId, NodeId, TaskId};
use crate::inference::{Inference, ModelCount};
use crate::machine::{Machine, MachineDefaults};
use crate::step::Step;
use crate::task::{TaskKind, TaskOutput, TaskSpec};

/// What a machine can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Capabilities {
    /// First line of `ffmpeg -version`, part of every chunk's key.
    pub ffmpeg: String,
    /// Encoders whose trial encode succeeded.
    pub encoders: Vec<Encoder>,
    /// Logical processors it may use.
    pub cores: u32,
    /// What its encoders were measured to make; empty before.
    #[serde(default)]
    pub speeds: Vec<Speed>,
    /// What it is made of, where it tells.
    #[serde(default)]
    pub machine: Option<Machine>,
    /// How the programs that open media are confined.
    #[serde(default)]
    pub sandbox: Sandboxing,
    /// Why not each of them has a control group of its own, which bounds the memory that it really uses and its threads; nothing where
    /// each has.
    #[serde(default)]
    pub without_control_groups: Option<String>,
    /// What runs models on it.
    #[serde(default)]
    pub inference: Inference,
}

/// How the programs that open media are confined on a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Sandboxing {
    /// Files, system calls, network and what they may use.
    Full,
    /// Some of that.
    Partial {
        /// What the system cannot do.
        missing: Vec<String>,
    },
    /// Not at all.
    Off {
        /// Why.
        reason: String,
    },
}

impl Default for Sandboxing {
    fn default() -> Self {
        Self::Off { reason: "it does not say".to_owned() }
    }
}

impl Sandboxing {
    /// `full`, `partial` or `off`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Partial { .. } => "partial",
            Self::Off { .. } => "off",
        }
    }

    /// In a line, for people.
    pub fn words(&self) -> String {
        match self {
            Self::Full => "full".to_owned(),
            Self::Partial { missing } => format!("partial: {}", missing.join("; ")),
            Self::Off { reason } => format!("off: {reason}"),
        }
    }
}

impl Capabilities {
    /// What holds unless the machine's owner says otherwise.
    pub fn defaults(&self) -> MachineDefaults {
        let known = self.machine.clone().unwrap_or(Machine { cores: self.cores, ..Machine::default() });
        known.defaults()
    }
}

/// What one encoder makes of the benchmark's picture on a machine that does nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Speed {
    /// Encoder.
    pub encoder: Encoder,
    /// Frames of 1280x720 per minute.
    pub frames_per_minute: u32,
}

/// How many tasks of a kind of work a node runs at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Slots {
    /// Chunks.
    pub chunks: u32,
    /// Everything else.
    pub other: u32,
}

/// The classes of work that slots are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotClass {
    /// Heavy: one encoder each.
    Chunk,
    /// Light: mostly input and output.
    Other,
    /// Nobody waits for it: one at a time.
    Describe,
}

impl SlotClass {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Other, Self::Chunk, Self::Describe];

    /// Which slot a kind of task takes.
    pub fn of(kind: TaskKind) -> Self {
        match kind {
            // Both keep a machine's processors busy.
            TaskKind::Chunk | TaskKind::Measure => Self::Chunk,
            TaskKind::Probe
            | TaskKind::Analyze
            | TaskKind::Audio
            | TaskKind::Join
            | TaskKind::Package
            | TaskKind::Survey => Self::Other,
            TaskKind::Describe => Self::Describe,
        }
    }

    /// The name in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chunk => "chunk",
            Self::Other => "other",
            Self::Describe => "describe",
        }
    }
}

/// How far a running task is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Progress {
    /// Output frames done.
    pub frames: u64,
    /// Output frames per second now.
    pub fps: f32,
}

/// What a node says of itself when it connects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`] of the node.
    pub protocol: u32,
    /// Who. Kept by the machine, so that it survives restarts.
    pub node: NodeId,
    /// Name for people.
    pub name: String,
    /// Version of Kinora.
    pub version: String,
    /// What it can do.
    pub capabilities: Capabilities,
    /// How much at once.
    pub slots: Slots,
    /// What jobs may ask for.
    #[serde(default)]
    pub tags: Tags,
    /// Greater gets work first.
    #[serde(default)]
    pub priority: i32,
    /// Attempts that it is still at, from before the connection broke.
    #[serde(default)]
    pub holding: Vec<(TaskId, Attempt)>,
}

/// A file as the machine that has it sees it: when size or time have changed, it is another file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileMark {
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970 when it was last written.
    pub modified_ns: u64,
}

impl From<&std::fs::Metadata> for FileMark {
    fn from(facts: &std::fs::Metadata) -> Self {
        let since = facts.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified_ns = since.and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or(0);
        Self { size: facts.len(), modified_ns }
    }
}

/// By this a node finds out whether the hub's files are its own, too: it can read what the hub wrote there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// The folder where the hub keeps blobs.
    pub blobs: PathBuf,
    /// A file elsewhere in the hub's folder.
    pub file: PathBuf,
    /// What the file holds.
    pub text: String,
}

/// Version of what is said here. A hub takes nodes of its own version only: there is one binary.
pub const PROTOCOL: u32 = 11;

/// A running attempt.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Renewal {
    /// Task.
    pub task: TaskId,
    /// Fence.
    pub attempt: Attempt,
    /// How far.
    pub progress: Progress,
}

/// From node to hub.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToHub {
    /// First message.
    Hello(Box<Hello>),
    /// After the welcome: it can be given work.
    Ready {
        /// Paths of the hub's are good here, for reading and for writing.
        shares_files: bool,
        /// What the benchmark found.
        speeds: Vec<Speed>,
    },
    /// The leases are still wanted.
    Renew {
        /// All attempts in progress.
        running: Vec<Renewal>,
    },
    /// The task is done and its blobs are where the hub keeps them. Said again after each reconnection until it is noted.
    Complete {
        /// Task.
        task: TaskId,
        /// Fence.
        attempt: Attempt,
        /// Result.
        output: Box<TaskOutput>,
        /// Where its time went.
        #[serde(default)]
        steps: Vec<Step>,
    },
    /// The attempt failed. Said again after each reconnection until it is noted.
    Fail {
        /// Task.
        task: TaskId,
        /// Fence.
        attempt: Attempt,
        /// Why.
        failure: Failure,
        /// Where its time went.
        #[serde(default)]
        steps: Vec<Step>,
    },
    /// How busy the machine is.
    Load(Load),
    /// What models did there since it said so last, by their names.
    Models {
        /// Those that did something.
        added: BTreeMap<String, ModelCount>,
    },
    /// It takes no more work and finishes what runs.
    Draining,
    /// It goes, and has stopped what it was at.
    Bye,
}

/// How busy a machine is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Load {
    /// Part of its processors that is busy, from 0 to 1.
    pub cpu: f32,
    /// Its graphics processors, as far as their drivers say.
    pub gpus: Vec<GpuLoad>,
}

/// How busy a graphics processor is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct GpuLoad {
    /// What it is called.
    pub name: String,
    /// Part of the time that it is busy, from 0 to 1.
    pub busy: f32,
}

/// What an operator of a hub sets for its nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeLimits {
    /// How long each encoder is measured, in seconds; 0 for not at all.
    pub benchmark_seconds: Option<f64>,
    /// A program that makes no progress for so many seconds is stopped.
    pub stall_seconds: Option<u64>,
}

/// From hub to node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToNode {
    /// Answer to the hello.
    Welcome {
        /// Version of the hub.
        version: String,
        /// Milliseconds that a lease lasts without being renewed.
        lease_ms: u64,
        /// Where the hub's own files are; left out where that is known.
        shared: Option<Shared>,
        /// What holds where the node's own machine says nothing else.
        #[serde(default)]
        limits: NodeLimits,
    },
    /// The node is not taken; it need not come back as it is.
    Refused(Failure),
    /// Work, with the right to it until the lease ends.
    Lease(Box<Grant>),
    /// What was said of this attempt is stored, or will never be.
    Noted {
        /// Task.
        task: TaskId,
        /// Fence.
        attempt: Attempt,
    },
    /// Stop this attempt; its result is not wanted.
    Cancel {
        /// Task.
        task: TaskId,
        /// Fence.
        attempt: Attempt,
    },
    /// Take no more work; finish what runs.
    Drain,
    /// Say this in your log from now on.
    Log {
        /// In the words of the log's own filter.
        filter: String,
    },
    /// Go away, and do not come back by yourself.
    Disconnect,
}

/// One attempt of one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    /// Job.
    pub job: JobId,
    /// Task.
    pub task: TaskId,
    /// Fence.
    pub attempt: Attempt,
    /// Work.
    pub spec: TaskSpec,
    /// The right to its bytes, as text in paths (`routes::Capability`).
    pub capability: String,
    /// The source that the work reads, if the hub can see it.
    pub source: Option<FileMark>,
}
