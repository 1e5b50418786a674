//! The proof report: what was planned, what was counted, and what was compared, so that anyone can check it again.

use serde::{Deserialize, Serialize};

use crate::encode::Settled;
use crate::id::{Digest, JobId};
use crate::recipe::Verify;
use crate::task::{FrameRange, Preroll, SoundCheck, TimesCheck};

/// Version of the report's shape.
pub const PROOF_VERSION: u32 = 1;

/// The whole report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Proof {
    /// Shape of this document.
    pub version: u32,
    /// Job.
    pub job: JobId,
    /// Whether every check that was asked for held.
    pub verified: bool,
    /// Which checks were asked for.
    pub verify: Verify,
    /// ffmpeg build that indexed, decoded and encoded.
    pub ffmpeg: String,
    /// Content of the source.
    pub source: SourceProof,
    /// Settings of encoder, filters, audio and container.
    pub settings: Settled,
    /// The chunks in order.
    pub chunks: Vec<ChunkProof>,
    /// The result.
    pub output: OutputProof,
    /// What was found and mended or accepted on the way.
    pub notes: Vec<String>,
    /// Those of the notes that say what of the source is not in the result: streams that do not fit, parts that are damaged.
    #[serde(default)]
    pub lost: Vec<String>,
}

/// What the source is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SourceProof {
    /// BLAKE3 of the file.
    pub media: Digest,
    /// Bytes.
    pub size: u64,
    /// Frames that its index promises.
    pub indexed_frames: u64,
    /// Frames that came out of its decoder.
    pub decoded_frames: u64,
    /// Digest over their timestamps.
    pub times: Digest,
}

/// One chunk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ChunkProof {
    /// Output frames.
    pub frames: FrameRange,
    /// First and end source timestamps in ticks of `1/hz` seconds.
    pub ticks: (i64, i64),
    /// Ticks per second.
    pub hz: i64,
    /// Frames counted on their way into the encoder.
    pub counted: u64,
    /// Digest over their times and checksums.
    pub source_hash: Digest,
    /// Packets counted on their way out.
    pub packets: u64,
    /// BLAKE3 of the chunk file.
    pub blob: Digest,
    /// Whether it was taken from earlier work.
    pub reused: bool,
    /// How far back decoding had to start.
    pub preroll: Preroll,
    /// Whether the frames past its end hash as the next chunk's first; `None` when not checked or at the end.
    pub seam: Option<bool>,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OutputProof {
    /// Frames planned.
    pub planned: u64,
    /// Video packets counted in the result.
    pub packets: u64,
    /// How timestamps were compared.
    pub times: TimesCheck,
    /// Frames decoded from the result, when asked for.
    pub decoded: Option<u64>,
    /// Each sound stream of a result that is sound alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sound: Vec<SoundCheck>,
    /// Bytes.
    pub size: u64,
    /// BLAKE3 of the file.
    pub digest: Digest,
}
