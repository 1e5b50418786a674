//! What is to be known of a whole film before its frames can be worked on: it is measured in stretches, and one task makes of that
//! what each frame needs. It must not know how anything is measured.
//!
//! All of it is in whole numbers, so that it is the same on each machine that has it.

use serde::{Deserialize, Serialize};

/// What frames are measured for, besides the cuts between scenes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Wanted {
    /// Brightness and colour of scenes.
    pub tones: bool,
    /// How the camera moves, and for how long its path is smoothed, in milliseconds.
    pub motion: Option<u32>,
    /// Where chapters begin.
    #[serde(default)]
    pub chapters: bool,
    /// What is in frames.
    #[serde(default)]
    pub objects: bool,
}

/// A frame, measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// Its time in ticks.
    pub at: i64,
    /// How bright its brightest parts are, in thousandths of white.
    pub bright: u16,
    /// Difference to the frame before, in thousandths; nothing for the first of a film.
    pub change: Option<u16>,
    /// Difference to the one before that.
    pub change_of_two: Option<u16>,
    /// Brightness and colour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tones: Option<Tones>,
    /// Of the camera since the frame before; nothing where it cannot be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub motion: Option<Motion>,
    /// What a detector found in it; nothing where none looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Vec<Seen>>,
}

/// The sides of a picture, in the unit of [`Area`].
pub const WHOLE: i32 = 10_000;

/// A part of a picture, in ten-thousandths of its width and height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Area {
    /// From the left.
    pub x: i32,
    /// From the top.
    pub y: i32,
    /// To the right of that.
    pub width: i32,
    /// Down from it.
    pub height: i32,
}

impl Area {
    /// What two areas have in common, by what they cover together: 0 to 1.
    pub fn shared(&self, other: &Self) -> f64 {
        let along = |a: i32, b: i32, c: i32, d: i32| f64::from(((a + b).min(c + d) - a.max(c)).max(0));
        let common = along(self.x, self.width, other.x, other.width)
            * along(self.y, self.height, other.y, other.height);
        let covers = |area: &Self| f64::from(area.width) * f64::from(area.height);
        common / (covers(self) + covers(other) - common).max(1.0)
    }
}

/// A thing in a frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// What it is.
    pub class: String,
    /// How sure that is, in thousandths.
    pub score: u16,
    /// Where it is.
    pub area: Area,
}

/// A thing in a frame that is known from frames before and after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Object {
    /// Which, from 1: the same in all frames.
    pub track: u32,
    /// What it is.
    pub class: String,
    /// How sure that is, in thousandths.
    pub score: u16,
    /// Where it is.
    pub area: Area,
}

/// What is in a frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Objects {
    /// The frame's time in ticks.
    pub at: i64,
    /// By their numbers.
    pub objects: Vec<Object>,
}

/// Brightness and colour of a frame, in thousandths of the way from black to white.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tones {
    /// One in a hundred samples is darker.
    pub black: u16,
    /// Half of them are.
    pub middle: u16,
    /// One in a hundred is brighter.
    pub white: u16,
    /// How blue what is nearly gray is: from -500 to 500, 0 for gray.
    pub blue: i16,
    /// How red it is.
    pub red: i16,
    /// How much is nearly gray, in thousandths of the picture.
    pub gray: u16,
    /// Mean distance of colours from gray.
    pub colourful: u16,
}

/// A movement of the whole picture, or the sum of several: it is turned and made larger around its middle, then moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Motion {
    /// To the right, in millionths of the picture's width.
    pub x: i32,
    /// Down, in millionths of the picture's width.
    pub y: i32,
    /// Clockwise, in microradians.
    pub turn: i32,
    /// By how much larger: natural logarithm in millionths.
    pub zoom: i32,
}

/// From where a frame's picture is taken, so that the camera is steady.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Pose {
    /// The frame's time in ticks.
    pub at: i64,
    /// Where in it a place of the steady picture lies.
    #[serde(flatten)]
    pub motion: Motion,
}

/// How brightness and colour of a scene become better. All is in thousandths of the way from black to white.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Correction {
    /// Time of the scene's first frame in ticks.
    pub from: i64,
    /// What becomes black.
    pub black: u16,
    /// What becomes white.
    pub white: u16,
    /// Exponent in between: 1000 for none.
    pub gamma: u16,
    /// What is added to blue difference.
    pub blue: i16,
    /// What is added to red difference.
    pub red: i16,
    /// Factor of all colour.
    pub saturation: u16,
}

impl Correction {
    /// A scene that stays as it is.
    pub fn none(from: i64) -> Self {
        Self { from, black: 0, white: 1000, gamma: 1000, blue: 0, red: 0, saturation: 1000 }
    }

    /// Whether it stays as it is.
    pub fn is_none(&self) -> bool {
        *self == Self::none(self.from)
    }
}

/// A part of a film that is worth to be seen first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Highlight {
    /// Its first frame.
    pub from: i64,
    /// Its end.
    pub to: i64,
    /// How much happens in it, in thousandths.
    pub score: u16,
}

/// What is known of a film.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Survey {
    /// Times of first frames of scenes in ticks, ascending, without the film's first.
    pub cuts: Vec<i64>,
    /// Times of first frames of chapters in ticks, where chapters are wanted and there is more than one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chapters: Vec<i64>,
    /// Of each scene, where colour is to become better.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub corrections: Vec<Correction>,
    /// Of each frame, where the camera is to become steady.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poses: Vec<Pose>,
    /// Of each frame with something in it, where things are to be found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<Objects>,
}

impl Survey {
    /// The corrections in force in `[from, to)`.
    pub fn corrections_in(&self, from: i64, to: i64) -> &[Correction] {
        let first = self.corrections.partition_point(|one| one.from <= from).saturating_sub(1);
        let end = self.corrections.partition_point(|one| one.from < to);
        self.corrections.get(first..end).unwrap_or_default()
    }

    /// What is in frames in `[from, to)`.
    pub fn objects_in(&self, from: i64, to: i64) -> &[Objects] {
        let first = self.objects.partition_point(|frame| frame.at < from);
        let end = self.objects.partition_point(|frame| frame.at < to);
        self.objects.get(first..end).unwrap_or_default()
    }

    /// The poses of frames in `[from, to)`, with the one before: a frame that has none takes that.
    pub fn poses_in(&self, from: i64, to: i64) -> &[Pose] {
        let first = self.poses.partition_point(|pose| pose.at < from).saturating_sub(1);
        let end = self.poses.partition_point(|pose| pose.at < to);
        self.poses.get(first..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_survey() {
        let at = |from| Correction { black: 10, ..Correction::none(from) };
        let pose = |at| Pose { at, motion: Motion::default() };
        let survey = Survey {
            cuts: vec![10, 20],
            chapters: Vec::new(),
            corrections: vec![at(0), at(10), at(20)],
            poses: (0..30).map(pose).collect(),
            objects: vec![Objects { at: 5, objects: Vec::new() }],
        };
        let of = |from, to| survey.corrections_in(from, to).iter().map(|one| one.from).collect::<Vec<_>>();
        assert_eq!(of(0, 30), [0, 10, 20]);
        assert_eq!(of(5, 10), [0]);
        assert_eq!(of(10, 11), [10]);
        assert_eq!(of(-5, 5), [0]);
        assert_eq!(of(25, 99), [20]);
        assert_eq!(survey.poses_in(4, 7).iter().map(|pose| pose.at).collect::<Vec<_>>(), [3, 4, 5, 6]);
        assert_eq!((survey.objects_in(5, 6).len(), survey.objects_in(6, 9).len()), (1, 0));
        let area = |x, width| Area { x, y: 0, width, height: 100 };
        assert_eq!(area(0, 100).shared(&area(50, 100)), 1.0 / 3.0);
        assert_eq!(area(0, 100).shared(&area(200, 100)), 0.0);
        assert!(Survey::default().corrections_in(0, 9).is_empty());
        assert!(Correction::none(3).is_none() && !at(3).is_none());
    }
}
