//! Nodes as last seen.

use kinora_protocol::NodeId;
use kinora_protocol::node::{Capabilities, Slots};
use serde::{Deserialize, Serialize};

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// Id.
    pub id: NodeId,
    /// Name for people.
    pub name: String,
    /// What it can do.
    pub capabilities: Capabilities,
    /// How much at once.
    pub slots: Slots,
    /// When it last said hello.
    pub last_seen_ms: i64,
    /// Why it gets no work.
    pub withheld: Option<Withheld>,
}

/// Why a node gets no work, until somebody says that it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Withheld {
    /// It was told to drain.
    Drain,
    /// It failed what others then did.
    Quarantine {
        /// What it failed.
        why: String,
    },
}
