//! What a node gives back.

use serde::{Deserialize, Serialize};

use super::TaskKind;
use crate::blob::Blob;
use crate::describe::DescribeOutput;
use crate::id::Digest;
use crate::media::MediaFacts;

/// What a node gives back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TaskOutput {
    /// Facts, with the index as a blob.
    Probe(Box<ProbeOutput>),
    /// Scene changes found: first timestamp of the new scene, ticks, with its score in thousandths.
    Analyze {
        /// First frames of new scenes, in ticks, ascending.
        scenes: Vec<i64>,
    },
    /// A chunk.
    Chunk(Box<ChunkOutput>),
    /// The sound.
    Audio {
        /// The file.
        blob: Blob,
        /// Processor seconds.
        cpu_seconds: f64,
    },
    /// The joined video.
    Join {
        /// The file.
        blob: Blob,
        /// Lengths of the renditions in it; empty where there is one.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        parts: Vec<u64>,
    },
    /// The published result.
    Package(PackageOutput),
    /// A part of a description.
    Describe(Box<DescribeOutput>),
    /// Frames of a stretch.
    Measure {
        /// A list of [`crate::survey::Measured`] in JSON.
        blob: Blob,
        /// Frames that came out of the decoder.
        frames: u64,
        /// Processor seconds.
        cpu_seconds: f64,
    },
    /// What they come to.
    Survey {
        /// A [`crate::survey::Survey`] in JSON.
        blob: Blob,
    },
}

impl TaskOutput {
    /// The kind of task that it is the result of.
    pub fn kind(&self) -> TaskKind {
        match self {
            Self::Probe(_) => TaskKind::Probe,
            Self::Analyze { .. } => TaskKind::Analyze,
            Self::Chunk(_) => TaskKind::Chunk,
            Self::Audio { .. } => TaskKind::Audio,
            Self::Join { .. } => TaskKind::Join,
            Self::Package(_) => TaskKind::Package,
            Self::Describe(_) => TaskKind::Describe,
            Self::Measure { .. } => TaskKind::Measure,
            Self::Survey { .. } => TaskKind::Survey,
        }
    }

    /// Its blob, if it has one.
    pub fn blob(&self) -> Option<&Blob> {
        match self {
            Self::Probe(probe) => Some(&probe.index),
            Self::Chunk(chunk) => Some(&chunk.blob),
            Self::Audio { blob, .. }
            | Self::Join { blob, .. }
            | Self::Measure { blob, .. }
            | Self::Survey { blob } => Some(blob),
            Self::Describe(part) => part.blob.as_ref(),
            Self::Analyze { .. } | Self::Package(_) => None,
        }
    }
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeOutput {
    /// BLAKE3 of the file: its name as media.
    pub media: Digest,
    /// Facts.
    pub facts: MediaFacts,
    /// Packet index and container layout (`plan::index`).
    pub index: Blob,
}

/// A checked chunk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChunkOutput {
    /// The file.
    pub blob: Blob,
    /// Source frames that came out of the decoder in `[a, b)`.
    pub source_frames: u64,
    /// Digest over their timestamps.
    pub source_times: Digest,
    /// Digest over the same timestamps with the chunk's shift: what its packets must have without resampling.
    pub times_in: Digest,
    /// Digest over the pictures: checksums and sizes.
    pub source_hash: Digest,
    /// Checksums of the first six frames.
    pub head: Vec<u32>,
    /// Checksums of up to six frames past the end.
    pub tail: Vec<u32>,
    /// Checksums of the frames before the first that its filters saw.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<u32>,
    /// Checksums of its last frames, as many as the next chunk's filters see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub end: Vec<u32>,
    /// Packets in the file.
    pub packets: u64,
    /// Digest over their presentation times, guard included.
    pub times: Digest,
    /// Digest over the codec configuration: all chunks of a job must have the same.
    pub config: Digest,
    /// The other renditions, which follow the first in the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<OtherRendition>,
    /// Processor seconds of ffmpeg.
    pub cpu_seconds: f64,
}

impl ChunkOutput {
    /// Lengths of all renditions in the file, in their order; empty where there is one.
    pub fn parts(&self) -> Vec<u64> {
        let others: Vec<u64> = self.others.iter().map(|other| other.length).collect();
        match others.iter().sum::<u64>() {
            0 => Vec::new(),
            sum => [vec![self.blob.size.saturating_sub(sum)], others].concat(),
        }
    }
}

/// What was counted of a rendition other than the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherRendition {
    /// Bytes of the chunk's file that are it.
    pub length: u64,
    /// Packets.
    pub packets: u64,
    /// Digest over their presentation times, guard included.
    pub times: Digest,
    /// Digest over the codec configuration.
    pub config: Digest,
}

/// The published result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PackageOutput {
    /// Video packets counted in the result.
    pub packets: u64,
    /// Digest over their times in ticks where the container keeps ticks.
    pub times_checked: TimesCheck,
    /// Frames counted by decoding, when the check was `full`.
    pub decoded: Option<u64>,
    /// What was counted of each sound stream of a result that is sound alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sound: Vec<SoundCheck>,
    /// Bytes.
    pub size: u64,
    /// BLAKE3 of the result.
    pub digest: Digest,
}

/// What was counted of a sound stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SoundCheck {
    /// Packets: as many as its encoder wrote, or as the source has where it is copied.
    pub packets: u64,
    /// From the start of the first packet to the end of the last in microseconds, or 0 where they have no times.
    pub span_us: i64,
    /// Where the last packet of the source ends in microseconds, where it has times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_end_us: Option<i64>,
    /// Microseconds of sound that the packets of the source hold and that did not come out of its decoder; 0 for less than what an
    /// encoder adds.
    #[serde(default)]
    pub missing_us: i64,
    /// Microseconds of samples that were decoded from it, when the check was `full`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoded_us: Option<i64>,
}

/// How exactly the result's timestamps were compared with the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TimesCheck {
    /// Equal to the tick.
    Exact,
    /// Equal within one millisecond: Matroska stores no more.
    Millisecond,
    /// Not compared.
    Skipped,
}
