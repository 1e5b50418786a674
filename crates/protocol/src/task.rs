//! Tasks: what a node leases, and what it gives back. A spec holds all that the node needs; a node asks for nothing more.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

mod measure;
mod output;

pub use measure::{Levels, MeasureSpec, SurveySpec};
pub use output::{
    ChunkOutput, OtherRendition, PackageOutput, ProbeOutput, SoundCheck, TaskOutput, TimesCheck,
};

pub use crate::blob::{Blob, blob_name, is_part_of, part_name};
use crate::describe::DescribeSpec;
use crate::encode::{AudioSettings, EncodeSettings, Ladder, PictureFilters, Settled};
use crate::enhance::Enhancement;
use crate::id::Digest;
use crate::media::{AudioFacts, MediaFacts};
use crate::rational::Rational;
use crate::recipe::Verify;

/// The kinds of task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// Facts, packet index, container layout and content hash of a media file.
    Probe,
    /// Scene changes near wished cuts.
    Analyze,
    /// One range of output frames.
    Chunk,
    /// All sound, in one piece.
    Audio,
    /// Chunks put together and checked against the plan.
    Join,
    /// The final container, checked and published.
    Package,
    /// A part of what is to be known about media.
    Describe,
    /// Frames of one stretch, measured.
    Measure,
    /// What the measures of all stretches come to.
    Survey,
}

impl TaskKind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Probe,
        Self::Analyze,
        Self::Measure,
        Self::Survey,
        Self::Chunk,
        Self::Audio,
        Self::Join,
        Self::Package,
        Self::Describe,
    ];

    /// The name in the store and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Analyze => "analyze",
            Self::Chunk => "chunk",
            Self::Audio => "audio",
            Self::Join => "join",
            Self::Package => "package",
            Self::Describe => "describe",
            Self::Measure => "measure",
            Self::Survey => "survey",
        }
    }
}

/// A half-open range of output frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FrameRange {
    /// First frame.
    pub start: u64,
    /// One past the last frame.
    pub end: u64,
}

impl FrameRange {
    /// Number of frames.
    pub fn count(self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// A range of bytes in the source and where it goes in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Offset in the window.
    pub at: u64,
    /// Offset in the source.
    pub from: u64,
    /// Bytes.
    pub len: u64,
}

/// Bytes that the window has and the source has not: a box or element header that spans a gap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// Offset in the window.
    pub at: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// A file that ffmpeg takes for the source but that holds only the bytes a chunk needs; all else reads as zeros.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Length of the window in bytes.
    pub length: u64,
    /// What is copied from the source, in order of `at`, not overlapping.
    pub segments: Vec<Segment>,
    /// What is written over it afterwards.
    pub patches: Vec<Patch>,
    /// Where to seek before decoding, in ticks; `None` decodes from the window's start.
    pub seek: Option<i64>,
}

impl Window {
    /// The whole source, decoded from its start.
    pub fn whole(size: u64) -> Self {
        Self {
            length: size,
            segments: vec![Segment { at: 0, from: 0, len: size }],
            patches: vec![],
            seek: None,
        }
    }

    /// Whether the source itself can stand in for the window: the same bytes at the same offsets, and more.
    pub fn source_serves(&self, size: u64) -> bool {
        self.length == size && self.patches.is_empty() && self.segments.iter().all(|s| s.at == s.from)
    }

    /// Bytes that have to be moved.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.len).sum()
    }
}

/// How far back from its first frame a chunk starts to decode. Raised when a check fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Preroll {
    /// The measured default: two key frames, three in MPEG-TS.
    Normal,
    /// Eight key frames.
    Deep,
    /// From the start of the file: by definition what an unsplit run sees.
    FromStart,
}

impl Preroll {
    /// The next one to try, if any.
    pub fn deeper(self) -> Option<Self> {
        match self {
            Self::Normal => Some(Self::Deep),
            Self::Deep => Some(Self::FromStart),
            Self::FromStart => None,
        }
    }
}

/// Where timestamps of a source live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// The stream's time base as the demuxer gives it.
    pub source: Rational,
    /// Ticks per second of all planned times: the denominator of `source`.
    pub hz: i64,
    /// Start time S of the file in µs, taken off the output's timestamps.
    pub start_us: i64,
    /// Timestamps wrap at 2^33 (MPEG transport and program streams).
    pub wraps: bool,
    /// The container has no timestamps: ffmpeg makes them up (`+genpts`).
    pub generate: bool,
}

/// Constant-rate resampling of a chunk: output frame n shows the last source frame at or before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resample {
    /// Output frames per second.
    pub rate: Rational,
    /// Output frames of this chunk, counted from the first of the job.
    pub frames: FrameRange,
    /// Source time of the job's output frame 0, in ticks.
    pub origin: i64,
}

/// Frames around a chunk that its filters look at and that it does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// Time of the first frame that the filters see, in ticks: at or before the chunk's first.
    pub from: i64,
    /// Frames between it and the chunk's first.
    pub before: u32,
    /// End of what they see, in ticks: at or past the chunk's end.
    pub to: i64,
}

/// What a chunk must come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expect {
    /// Source frames in `[a, b)`.
    pub source_frames: u64,
    /// Digest over the planned source timestamps (see `plan::digest`).
    pub source_times: Digest,
    /// Output frames.
    pub frames: u64,
    /// Digest over the planned output timestamps, with the guard shift.
    pub times: Digest,
}

/// One chunk: source frames with `a <= pts < b`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChunkSpec {
    /// Position in the job, from 0.
    pub ordinal: u32,
    /// Index of the video stream in the file.
    pub stream: u32,
    /// Output frames that it makes.
    pub frames: FrameRange,
    /// First timestamp, in ticks.
    pub a: i64,
    /// End timestamp, not included, in ticks.
    pub b: i64,
    /// End of the frames that are hashed for the seam check (6 frames past `b`), in ticks.
    pub seam_end: i64,
    /// Ticks added to every timestamp: the guard minus the start time.
    pub shift: i64,
    /// Timestamps of the source.
    pub clock: Clock,
    /// Which bytes are needed.
    pub window: Window,
    /// How far back decoding starts.
    pub preroll: Preroll,
    /// Encoder.
    pub encode: EncodeSettings,
    /// What becomes better about the source's pictures, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enhance: Vec<Enhancement>,
    /// What that looks at around the chunk; none where frames stand for themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
    /// Filters.
    pub filters: PictureFilters,
    /// Frame rate conversion.
    pub resample: Option<Resample>,
    /// Other sizes of the same frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ladder: Option<Ladder>,
    /// What must come out.
    pub expect: Expect,
    /// How it is checked.
    pub verify: Verify,
    /// Threads for the encoder; its own choice when absent.
    pub threads: Option<u32>,
}

impl ChunkSpec {
    /// The times of the frames that its filters see: from, and the end, which is not included.
    pub fn seen(&self) -> (i64, i64) {
        self.context.map_or((self.a, self.b), |context| (context.from, context.to))
    }
}

/// Work for a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TaskSpec {
    /// See [`TaskKind::Probe`].
    Probe {
        /// The file.
        source: PathBuf,
    },
    /// See [`TaskKind::Analyze`].
    Analyze(AnalyzeSpec),
    /// See [`TaskKind::Chunk`].
    Chunk(Box<SourceTask<ChunkSpec>>),
    /// See [`TaskKind::Audio`].
    Audio(SourceTask<AudioSpec>),
    /// See [`TaskKind::Join`].
    Join(JoinSpec),
    /// See [`TaskKind::Package`].
    Package(Box<SourceTask<PackageSpec>>),
    /// See [`TaskKind::Describe`].
    Describe(SourceTask<DescribeSpec>),
    /// See [`TaskKind::Measure`].
    Measure(Box<SourceTask<MeasureSpec>>),
    /// See [`TaskKind::Survey`].
    Survey(SurveySpec),
}

impl TaskSpec {
    /// Its kind.
    pub fn kind(&self) -> TaskKind {
        match self {
            Self::Probe { .. } => TaskKind::Probe,
            Self::Analyze(_) => TaskKind::Analyze,
            Self::Chunk(_) => TaskKind::Chunk,
            Self::Audio(_) => TaskKind::Audio,
            Self::Join(_) => TaskKind::Join,
            Self::Package(_) => TaskKind::Package,
            Self::Describe(_) => TaskKind::Describe,
            Self::Measure(_) => TaskKind::Measure,
            Self::Survey(_) => TaskKind::Survey,
        }
    }
}

/// A task that reads the source media.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceTask<T> {
    /// The file as this node reaches it.
    pub source: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// What to do.
    pub work: T,
}

/// Where to look for scene changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnalyzeSpec {
    /// The file.
    pub source: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Index of the video stream in the file.
    pub stream: u32,
    /// Timestamps of the source.
    pub clock: Clock,
    /// One stretch per wished cut.
    pub stretches: Vec<Stretch>,
}

/// A stretch of source to look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stretch {
    /// First timestamp, ticks.
    pub a: i64,
    /// End, not included, ticks.
    pub b: i64,
    /// Bytes to decode it.
    pub window: Window,
}

/// All sound of the source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AudioSpec {
    /// Settings.
    pub settings: AudioSettings,
    /// Start time of the source in µs.
    pub start_us: i64,
    /// Seconds by which the sound is late, so that no muxer moves it.
    pub guard_seconds: i64,
    /// The audio streams in file order.
    pub streams: Vec<AudioFacts>,
    /// The container has no timestamps.
    pub generate: bool,
}

/// Chunks to put together, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JoinSpec {
    /// The chunk files.
    pub chunks: Vec<Blob>,
    /// Packets that each holds.
    pub packets: Vec<u64>,
    /// For each chunk the lengths of its renditions, which stand one after the other; empty where there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Vec<u64>>,
}

/// The final container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PackageSpec {
    /// Joined video; `None` copies the source's.
    pub video: Option<Blob>,
    /// Lengths of the renditions in it; empty where there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<u64>,
    /// Seconds by which the encoded audio is late.
    pub audio_guard: i64,
    /// Encoded audio; `None` copies the source's or leaves it out, as `settled` says.
    pub audio: Option<Blob>,
    /// The settled recipe.
    pub settled: Settled,
    /// Source facts, for streams, dispositions and tags.
    pub facts: MediaFacts,
    /// Timestamps of the source.
    pub clock: Clock,
    /// Output frames; for a copy, packets of the source.
    pub frames: u64,
    /// Frames that the source's index promises.
    pub indexed_frames: u64,
    /// ffmpeg build that made the chunks.
    pub build: String,
    /// What the user should know about the settled recipe.
    pub notes: Vec<String>,
    /// First frames of chapters after the start of the film, in µs; nothing where they are the source's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chapters: Vec<i64>,
    /// What each chunk holds, in order; empty for a copy.
    pub chunks: Vec<ChunkCheck>,
    /// Where the result is put.
    pub output: PathBuf,
}

/// What is known of a joined chunk, for checking the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkCheck {
    /// Packets.
    pub packets: u64,
    /// Digest over their presentation times, guard included.
    pub times: Digest,
    /// Digest over the pictures, where a lossless result can be compared with the source.
    pub pictures: Option<Digest>,
}
