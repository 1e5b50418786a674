//! The hub itself, as it is shown.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::machine::{Machine, MachineDefaults, Tier};

/// The hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SystemView {
    /// Version of Kinora.
    pub version: String,
    /// Version of the node protocol.
    pub node_protocol: u32,
    /// Milliseconds since 1970 at its start.
    pub started_ms: i64,
    /// The machine that it runs on.
    pub machine: Machine,
    /// The class of that machine.
    pub tier: Tier,
    /// What holds on it where nothing else was said.
    pub defaults: MachineDefaults,
    /// Bytes of the longest file that is taken over the network.
    pub longest_upload: u64,
    /// Folders below which files may be named in place of being uploaded.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<String>))]
    pub allowed_folders: Vec<PathBuf>,
    /// How the looking for malware goes, where the hub looks.
    #[serde(default)]
    pub scanner: Option<ScannerView>,
    /// How what is kept is encrypted, where it is.
    #[serde(default)]
    pub encryption: Option<EncryptionView>,
}

/// What the hub says in its log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LogView {
    /// A filter as `tracing` reads it, such as `info,kinora_hub=debug`; it holds until the hub is started again.
    pub filter: String,
}

/// How media and results are encrypted where they lie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EncryptionView {
    /// The newest master key opens all files: older ones may go.
    pub settled: bool,
    /// Files that no master key opens.
    pub unreadable: u64,
}

/// How the looking for malware goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ScannerView {
    /// Media that was not looked at yet: nobody gets it.
    pub waiting: u64,
    /// Why some of it could not be looked at.
    pub trouble: Option<String>,
}

/// A look at all stored bytes: are they what they were?
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ScrubView {
    /// It goes on.
    pub running: bool,
    /// When the last one was begun; none since the hub was started when absent.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub finished_ms: Option<i64>,
    /// Files that were looked at.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Damaged or missing, and made again when somebody needs them, in words.
    pub repaired: Vec<String>,
    /// Damaged or missing for good, in words.
    pub lost: Vec<String>,
}

/// The cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ClusterView {
    /// Nodes that are connected.
    pub nodes: u32,
    /// Processors of these together.
    pub cores: u32,
    /// Attempts in progress.
    pub running: u32,
    /// Output frames per second, all of them together.
    pub fps: f32,
    /// Jobs by phase, those that have not ended.
    pub jobs: BTreeMap<String, u32>,
}
