//! Nodes as last seen.

use kinora_protocol::NodeId;
use kinora_protocol::node::{Capabilities, Slots};

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
}
