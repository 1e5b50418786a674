//! What is to be measured, and of what a survey is made.

use serde::{Deserialize, Serialize};

use super::{Clock, FrameRange, Preroll, Window};
use crate::blob::Blob;
use crate::enhance::Enhancement;
use crate::inference::Network;
use crate::survey::Wanted;

/// How samples stand for brightness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Levels {
    /// Red, green and blue, of all values.
    Rgb,
    /// Luma of all values.
    Full,
    /// Luma with room below and above.
    Limited,
    /// The same without colour.
    LimitedGray,
}

/// Frames of one stretch: those with `a <= pts < b`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasureSpec {
    /// Position in the job, from 0.
    pub ordinal: u32,
    /// Index of the video stream in the file.
    pub stream: u32,
    /// The frames in it.
    pub frames: FrameRange,
    /// First timestamp, in ticks.
    pub a: i64,
    /// End timestamp, not included, in ticks.
    pub b: i64,
    /// Times of the frames that are looked at to measure these: from, and the end, which is not included.
    pub seen: (i64, i64),
    /// Timestamps of the source.
    pub clock: Clock,
    /// Which bytes are needed.
    pub window: Window,
    /// How far back decoding starts.
    pub preroll: Preroll,
    /// What is done to frames before they are measured.
    pub through: Vec<Enhancement>,
    /// What they are scaled to.
    pub size: (u32, u32),
    /// How samples stand for brightness before.
    pub levels: Levels,
    /// What for.
    pub wanted: Wanted,
    /// The model that finds things, where they are wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector: Option<Network>,
}

/// All stretches of a film, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SurveySpec {
    /// What was measured, by stretch.
    pub measures: Vec<Blob>,
    /// Ticks per second.
    pub hz: i64,
    /// Size of what was measured.
    pub size: (u32, u32),
    /// What for.
    pub wanted: Wanted,
    /// The model that found things, if any were wanted: the one that the job is settled with, whoever comes and goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector: Option<Network>,
}
