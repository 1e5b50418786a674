//! Where the time of an attempt went, as its node saw it: for traces, and for nothing that is decided.

use serde::{Deserialize, Serialize};

/// What a node was at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// Got what the work needs.
    Fetch,
    /// Did the work.
    Work,
    /// Brought the result to where the hub keeps it.
    HandIn,
}

impl StepKind {
    /// The name in traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Work => "work",
            Self::HandIn => "hand in",
        }
    }
}

/// A part of the time of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What was done.
    pub kind: StepKind,
    /// Microseconds from when the node heard of the attempt.
    pub start_us: u64,
    /// Microseconds that it took.
    pub us: u64,
}
