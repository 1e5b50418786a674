//! Media facts: what a probe found in a file. Facts only; what to do with them is decided in `plan`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::rational::Rational;

/// The probe of one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MediaFacts {
    /// ffmpeg's demuxer name, for example `mov,mp4,m4a,3gp,3g2,mj2`.
    pub format: String,
    /// File size in bytes.
    pub size: u64,
    /// Least start time over all streams as the demuxer reports it, in µs.
    pub start_us: Option<i64>,
    /// Declared duration in µs: display only, never planned from.
    pub duration_us: Option<i64>,
    /// Overall bit rate in bit/s.
    pub bit_rate: Option<u64>,
    /// Container tags.
    pub tags: BTreeMap<String, String>,
    /// All streams in file order.
    pub streams: Vec<Stream>,
    /// Number of chapters.
    pub chapters: u32,
}

/// What a look at media came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is a video, or sound.
    Admitted(Box<MediaFacts>),
    /// It is nothing that is taken, and why.
    Refused(String),
}

/// What a look for malware came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scan {
    /// It was not looked at yet, or could not be: nobody gets it.
    Pending,
    /// Nothing was found.
    Clean,
    /// Nobody gets it.
    Blocked {
        /// What was found.
        found: String,
    },
}

impl Verdict {
    /// Declared duration in µs of media that is taken.
    pub fn duration_us(&self) -> Option<i64> {
        match self {
            Self::Admitted(facts) => facts.duration_us,
            Self::Refused(_) => None,
        }
    }
}

/// One stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Stream {
    /// Index in the file.
    pub index: u32,
    /// ffmpeg's codec name; `None` when unknown to this build.
    pub codec: Option<String>,
    /// Start time in µs.
    pub start_us: Option<i64>,
    /// Unit of the stream's timestamps, in seconds.
    pub time_base: Rational,
    /// Language and title, and other tags.
    pub tags: BTreeMap<String, String>,
    /// ffmpeg's names of the dispositions that are set.
    pub dispositions: Vec<String>,
    /// What kind of stream it is.
    pub kind: StreamKind,
}

/// The kind of a stream with the facts of that kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(
    clippy::large_enum_variant,
    reason = "a file has a few streams, and most have one of the two large ones"
)]
pub enum StreamKind {
    /// Moving pictures.
    Video(VideoFacts),
    /// A still cover picture that the container calls a video stream.
    Cover,
    /// Sound.
    Audio(AudioFacts),
    /// Subtitles, text or bitmap.
    Subtitle,
    /// A file carried along (fonts).
    Attachment,
    /// Timed metadata and everything else.
    Data,
}

/// Facts of a video stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VideoFacts {
    /// Coded display width in samples, before rotation.
    pub width: u32,
    /// Coded display height in samples, before rotation.
    pub height: u32,
    /// ffmpeg's pixel format name.
    pub pix_fmt: String,
    /// ffmpeg's guess of the base frame rate.
    pub r_frame_rate: Rational,
    /// Average frame rate.
    pub avg_frame_rate: Option<Rational>,
    /// `progressive`, `tt`, `bb`, `tb`, `bt` or absent.
    pub field_order: Option<String>,
    /// Sample aspect ratio when it is not 1:1 or unknown.
    pub sample_aspect: Option<Rational>,
    /// Clockwise rotation that a player applies, in degrees: 0, 90, 180, 270.
    pub rotation: u16,
    /// Colour description.
    pub color: Color,
    /// HDR10 static metadata.
    pub hdr: Option<HdrStatic>,
}

/// Colour description by ffmpeg's names; `None` is unspecified.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Color {
    /// `tv` or `pc`.
    pub range: Option<String>,
    /// Matrix coefficients.
    pub space: Option<String>,
    /// Transfer characteristics.
    pub transfer: Option<String>,
    /// Primaries.
    pub primaries: Option<String>,
    /// Chroma sample position.
    pub chroma_location: Option<String>,
}

/// HDR10 static metadata (SMPTE ST 2086 and CTA-861.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HdrStatic {
    /// Mastering display volume.
    pub mastering: Option<Mastering>,
    /// Content light level.
    pub light: Option<ContentLight>,
}

/// Mastering display colour volume (SMPTE ST 2086).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Mastering {
    /// Red, green, blue and white point x, y as exact ratios.
    pub chromaticity: [Rational; 8],
    /// Least luminance in cd/m².
    pub min_luminance: Rational,
    /// Greatest luminance in cd/m².
    pub max_luminance: Rational,
}

/// Content light level (CTA-861.3), in cd/m².
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ContentLight {
    /// MaxCLL.
    pub max_content: u32,
    /// MaxFALL.
    pub max_average: u32,
}

/// Facts of an audio stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AudioFacts {
    /// Samples per second.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u32,
    /// ffmpeg's layout name, when known.
    pub layout: Option<String>,
}

impl MediaFacts {
    /// The video stream that is worked on: the first that is not a cover.
    pub fn video(&self) -> Option<(&Stream, &VideoFacts)> {
        self.streams.iter().find_map(|s| match &s.kind {
            StreamKind::Video(v) => Some((s, v)),
            _ => None,
        })
    }

    /// All audio streams in file order.
    pub fn audio(&self) -> impl Iterator<Item = (&Stream, &AudioFacts)> {
        self.streams.iter().filter_map(|s| match &s.kind {
            StreamKind::Audio(a) => Some((s, a)),
            _ => None,
        })
    }

    /// Whether the demuxer goes by this name.
    pub fn is_format(&self, name: &str) -> bool {
        self.format.split(',').any(|part| part == name)
    }
}
