//! What is told of the things in a film: in JSON beside the result, and by the API.

use serde::{Deserialize, Serialize};

/// What was found in a film.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ObjectsView {
    /// Name of the model that found it.
    pub detector: String,
    /// Each thing, by its number.
    pub objects: Vec<TrackView>,
    /// Each frame with something in it, in order.
    pub frames: Vec<FrameObjects>,
}

/// A thing from its first frame to its last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TrackView {
    /// Its number, from 1.
    pub id: u32,
    /// What it is.
    pub class: String,
    /// Time of its first frame.
    pub first_seconds: f64,
    /// Time of its last frame.
    pub last_seconds: f64,
    /// Frames that it is in.
    pub frames: u64,
    /// How sure it is what it is, where it is surest: 0 to 1.
    pub score: f64,
}

/// What is in one frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FrameObjects {
    /// Time of the frame.
    pub seconds: f64,
    /// The things in it.
    pub objects: Vec<ObjectView>,
}

/// A thing in one frame. Lengths are parts of the source picture's width and height.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ObjectView {
    /// Its number.
    pub id: u32,
    /// What it is.
    pub class: String,
    /// How sure that is: 0 to 1.
    pub score: f64,
    /// From the left.
    pub x: f64,
    /// From the top.
    pub y: f64,
    /// To the right of that.
    pub width: f64,
    /// Down from it.
    pub height: f64,
}
