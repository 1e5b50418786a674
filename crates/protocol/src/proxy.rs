//! Proxies: forms of media that browsers play, made on demand. What they are made with stands in `plan`.

use serde::{Deserialize, Serialize};

use crate::id::{Digest, JobId};

/// A form of media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProxyKind {
    /// H.264 and AAC in MP4, its index in front: every browser plays it.
    Mp4,
    /// VP9, or AV1 where no worker has an encoder for that, and Opus in WebM: a second source.
    Webm,
    /// HLS and DASH in several sizes.
    Hls,
}

impl ProxyKind {
    /// All of them, in the order in which a player is best offered them.
    pub const ALL: [Self; 3] = [Self::Hls, Self::Mp4, Self::Webm];

    /// The word in the path.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Webm => "webm",
            Self::Hls => "hls",
        }
    }

    /// The media type that a player is told.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Mp4 => "video/mp4",
            Self::Webm => "video/webm",
            Self::Hls => "application/vnd.apple.mpegurl",
        }
    }
}

impl std::str::FromStr for ProxyKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == text);
        known.ok_or_else(|| format!("{text:?} is no kind of proxy: write mp4, webm or hls"))
    }
}

/// How a proxy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProxyState {
    /// Nobody asked for it.
    Absent,
    /// It is being made.
    Working,
    /// It can be played.
    Ready,
    /// It cannot be made, or somebody stopped it.
    Failed,
}

/// A proxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ProxyView {
    /// Which form.
    pub kind: ProxyKind,
    /// The media type that a player is told.
    pub media_type: String,
    /// How it stands.
    pub state: ProxyState,
    /// The job that makes it.
    pub job: Option<JobId>,
    /// Where it can be played, a path on the hub, when it is ready.
    pub url: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
}

/// How media can be played in a browser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ProxiesView {
    /// The media.
    pub media: Digest,
    /// Whether browsers play the media as it is; none before it was looked at.
    pub plays: Option<bool>,
    /// Its proxies, in the order in which a player is best offered them.
    pub proxies: Vec<ProxyView>,
}
