//! What a machine is made of, and what follows from that where its owner says nothing. How it is found out is not known here.

use serde::{Deserialize, Serialize};

/// A machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Machine {
    /// Operating system and its version.
    pub os: String,
    /// Architecture of its processors.
    pub architecture: String,
    /// Name of its processor, where the system tells.
    pub cpu: Option<String>,
    /// Logical processors that may be used.
    pub cores: u32,
    /// Bytes of memory that may be used; 0 when that is not known.
    pub memory: u64,
    /// Graphics processors by name.
    pub gpus: Vec<String>,
}

/// A class of machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Anything less.
    Low,
    /// From 16 GB of memory and 2 processors on.
    Medium,
    /// From 32 GB and 4 processors on.
    High,
    /// From 64 GB, 8 processors and a GPU on.
    Ultra,
}

/// What holds on a machine where its owner says nothing else. The length of chunks is not among it: it follows from the
/// speeds that were measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MachineDefaults {
    /// Chunks at once at the most.
    pub chunks: u32,
    /// Bytes of finished chunks, or of fetched sources, that are kept.
    pub cache: u64,
}

/// Sizes of memory are sold in these, and systems keep a part for themselves.
const GB: u64 = 1_000_000_000;
/// Encoding a large picture wants about as much for each chunk at once.
const MEMORY_OF_CHUNK: u64 = 2 * GB;

impl Machine {
    /// The class that it belongs to.
    pub fn tier(&self) -> Tier {
        let at_least = |memory: u64, cores: u32| self.memory >= memory * GB && self.cores >= cores;
        match self {
            _ if at_least(64, 8) && !self.gpus.is_empty() => Tier::Ultra,
            _ if at_least(32, 4) => Tier::High,
            _ if at_least(16, 2) => Tier::Medium,
            _ => Tier::Low,
        }
    }

    /// What holds on it unless its owner says otherwise.
    pub fn defaults(&self) -> MachineDefaults {
        // Two chunks fill each other's gaps even on one processor.
        let chunks = self.cores.max(2);
        let room = u32::try_from(self.memory / MEMORY_OF_CHUNK).unwrap_or(u32::MAX);
        let (chunks, gigabytes) = match self.tier() {
            Tier::Low if self.memory == 0 => (chunks, 20),
            Tier::Low => (chunks.min(room.max(1)), 10),
            Tier::Medium => (chunks, 20),
            Tier::High => (chunks, 50),
            Tier::Ultra => (chunks, 100),
        };
        MachineDefaults { chunks, cache: gigabytes << 30 }
    }
}

impl Tier {
    /// The name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Ultra => "ultra",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(gigabytes: u64, cores: u32, gpu: bool) -> Machine {
        // As systems report it: something is missing.
        let memory = gigabytes * (1 << 30) / 100 * 96;
        Machine { cores, memory, gpus: vec!["one".to_owned(); usize::from(gpu)], ..Machine::default() }
    }

    #[test]
    fn classes() {
        for (gigabytes, cores, gpu, tier, chunks) in [
            (64, 8, true, Tier::Ultra, 8),
            (64, 8, false, Tier::High, 8),
            (128, 4, true, Tier::High, 4),
            (32, 4, false, Tier::High, 4),
            (32, 2, false, Tier::Medium, 2),
            (16, 2, false, Tier::Medium, 2),
            (64, 1, true, Tier::Low, 2),
            (8, 8, true, Tier::Low, 4),
            (2, 4, false, Tier::Low, 1),
            (1, 1, false, Tier::Low, 1),
            (0, 4, false, Tier::Low, 4),
        ] {
            let machine = machine(gigabytes, cores, gpu);
            assert_eq!(machine.tier(), tier, "{gigabytes} GB, {cores} cores, GPU: {gpu}");
            assert_eq!(machine.defaults().chunks, chunks, "{gigabytes} GB, {cores} cores, GPU: {gpu}");
        }
    }
}
