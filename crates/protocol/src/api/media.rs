//! Views of media, of what is known about it, and of uploads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::describe::{Histogram, Loudness, Part, Size};
use crate::id::{Digest, UploadId};
use crate::media::{Scan, Verdict};

/// A media file that the hub knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MediaView {
    /// BLAKE3 of its content.
    pub id: Digest,
    /// Name for people.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// When it came.
    pub created_ms: i64,
    /// What a look at it came to; none before it was looked at.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// What a look for malware came to, where the hub looks.
    #[serde(default)]
    pub scan: Option<Scan>,
}

/// What is known about media. A part is absent until it is found out; addresses are paths on the hub.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MetadataView {
    /// The media.
    pub media: Digest,
    /// Its streams, and what else its container says; or why it is not taken.
    pub verdict: Option<Verdict>,
    /// The poster first, then pictures by time.
    pub thumbnails: Option<Vec<ThumbnailView>>,
    /// How often each value of each colour is there, over sampled frames.
    pub histogram: Option<Histogram>,
    /// Scenes, in order.
    pub scenes: Option<Vec<SceneView>>,
    /// Where chapters could begin, in seconds; nothing where there is only one.
    #[serde(default)]
    pub chapters: Vec<f64>,
    /// Parts in which most happens, in order.
    #[serde(default)]
    pub highlights: Vec<HighlightView>,
    /// Small pictures in equal distances.
    pub sprites: Option<SpritesView>,
    /// Loudness of the first audio stream.
    pub loudness: Option<Loudness>,
    /// Where its waveform is, as JSON of `audiowaveform`.
    pub waveform: Option<String>,
    /// Parts that cannot be found out, and why.
    pub failed: BTreeMap<Part, String>,
}

/// A picture of media.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ThumbnailView {
    /// From the start of the media.
    pub seconds: f64,
    /// Where it is.
    pub url: String,
}

/// A scene.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SceneView {
    /// Time of its first frame.
    pub start_seconds: f64,
    /// That of the next one's, or the end of the video.
    pub end_seconds: f64,
}

/// A part of media that is worth to be seen first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HighlightView {
    /// Time of its first frame.
    pub start_seconds: f64,
    /// Its end.
    pub end_seconds: f64,
    /// How much happens in it: 0 to 1.
    pub score: f64,
}

/// Small pictures for a player's time line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SpritesView {
    /// WebVTT that says which picture is where.
    pub vtt: String,
    /// How many.
    pub count: u64,
    /// Of one picture.
    pub tile: Size,
}

/// An upload that is on its way, or has arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct UploadView {
    /// Id.
    pub id: UploadId,
    /// Name for people.
    pub name: String,
    /// Bytes that it will have, once that is known.
    pub length: Option<u64>,
    /// Bytes that are on the hub's disk for certain.
    pub offset: u64,
    /// The media that it became.
    pub media: Option<Digest>,
    /// When it was begun.
    pub created_ms: i64,
    /// When it is dropped, unless something comes before.
    pub expires_ms: i64,
}

/// Media to be fetched by the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// Where it is: `http` or `https`.
    pub url: String,
    /// Name for people; the end of the address when absent.
    #[serde(default)]
    pub name: Option<String>,
}
