//! Pictures that are worked on sample by sample here, between the programs that have the filters. It must not know how that is
//! computed.

use serde::{Deserialize, Serialize};

use crate::inference::Network;
use crate::media::Color;
use crate::rational::Rational;
use crate::survey::{Correction, Objects, Pose, Survey};

/// Pictures, and what is done to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Pass {
    /// The pictures that go in.
    pub picture: Planar,
    /// Whether they are red, green and blue before, and become luma and chroma for it.
    pub from_rgb: bool,
    /// By what something becomes of them.
    pub by: By,
}

/// By what something becomes of pictures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A model.
    Network(Network),
    /// What a survey found that makes brightness and colour of scenes better.
    Grade {
        /// Of the scenes in this part of the film, by time.
        corrections: Vec<Correction>,
    },
    /// What a survey found that makes the camera steady.
    Steady {
        /// How long a movement has to take for it to be meant, in milliseconds.
        smoothing_ms: u32,
        /// Of the frames in this part of the film, by time.
        poses: Vec<Pose>,
    },
    /// Frames around what a detector found.
    Boxes {
        /// In the frames of this part of the film, by time.
        objects: Vec<Objects>,
    },
}

impl By {
    /// Changes when what comes of pictures by Kinora's own arithmetic does: a chunk that was made before is another one then.
    pub fn revision(&self) -> u32 {
        match self {
            // Its weights are named by their hash.
            Self::Network(_) => 1,
            Self::Grade { .. } => 1,
            Self::Steady { .. } => 1,
            Self::Boxes { .. } => 1,
        }
    }
}

impl Pass {
    /// Frames on each side of a frame that it looks at.
    pub fn around(&self) -> usize {
        match &self.by {
            By::Network(network) => network.frames as usize / 2,
            By::Grade { .. } | By::Steady { .. } | By::Boxes { .. } => 0,
        }
    }

    /// The pictures that come out.
    pub fn made(&self) -> Planar {
        match &self.by {
            By::Network(network) => self.picture.scaled(network.scale),
            By::Grade { .. } | By::Steady { .. } | By::Boxes { .. } => self.picture.clone(),
        }
    }

    /// The same for the part of a film that is shown in `[from, to)`, with what a survey found there.
    pub fn with(&self, survey: &Survey, (from, to): (i64, i64)) -> Self {
        let by = match &self.by {
            By::Network(network) => By::Network(network.clone()),
            By::Grade { .. } => By::Grade { corrections: survey.corrections_in(from, to).to_vec() },
            By::Boxes { .. } => By::Boxes { objects: survey.objects_in(from, to).to_vec() },
            By::Steady { smoothing_ms, .. } => {
                By::Steady { smoothing_ms: *smoothing_ms, poses: survey.poses_in(from, to).to_vec() }
            }
        };
        Self { by, ..self.clone() }
    }

    /// The model that does it, if one does.
    pub fn network(&self) -> Option<&Network> {
        match &self.by {
            By::Network(network) => Some(network),
            By::Grade { .. } | By::Steady { .. } | By::Boxes { .. } => None,
        }
    }
}

/// Pictures whose luma and chroma lie in planes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Planar {
    /// Samples in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Pixel format, in ffmpeg's words.
    pub format: String,
    /// How often columns and rows of the chroma are halved; nothing where there is no colour.
    pub halved: Option<[u32; 2]>,
    /// Bits of a sample; those with more than eight take two bytes, the low one first.
    pub depth: u32,
    /// How samples stand for colours.
    pub color: Color,
    /// Width of a sample by its height.
    pub sample_aspect: Option<Rational>,
}

impl Planar {
    /// Width and height of the planes, luma first.
    pub fn planes(&self) -> Vec<(usize, usize)> {
        let part = |length: u32, halvings: u32| length.div_ceil(1 << halvings.min(8)) as usize;
        let luma = (self.width as usize, self.height as usize);
        let chroma = self.halved.map(|[across, down]| (part(self.width, across), part(self.height, down)));
        std::iter::once(luma).chain(chroma).chain(chroma).collect()
    }

    /// Bytes of a sample.
    pub fn sample(&self) -> usize {
        if self.depth > 8 { 2 } else { 1 }
    }

    /// Bytes of a picture.
    pub fn bytes(&self) -> usize {
        self.planes().iter().map(|(width, height)| width * height).sum::<usize>() * self.sample()
    }

    /// Whether samples use all values.
    pub fn full_range(&self) -> bool {
        self.color.range.as_deref() == Some("pc") || self.format.starts_with("yuvj")
    }

    /// Whether chroma samples lie on the first of the luma samples that they stand for, across and down; else between them.
    pub fn sited(&self) -> [bool; 2] {
        match self.color.chroma_location.as_deref() {
            Some("center") => [false, false],
            Some("topleft") => [true, true],
            Some("top") => [false, true],
            // As JPEG has it.
            None if self.format.starts_with("yuvj") => [false, false],
            // As all others have it.
            _ => [true, false],
        }
    }

    /// The same in so many times the size.
    pub fn scaled(&self, factor: u32) -> Self {
        let times = |length: u32| length.saturating_mul(factor);
        Self { width: times(self.width), height: times(self.height), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_of_odd_pictures() {
        let mut picture = Planar {
            width: 641,
            height: 361,
            format: "yuv420p10le".to_owned(),
            halved: Some([1, 1]),
            depth: 10,
            color: Color::default(),
            sample_aspect: None,
        };
        assert_eq!(picture.planes(), [(641, 361), (321, 181), (321, 181)]);
        assert_eq!(picture.bytes(), 2 * (641 * 361 + 2 * 321 * 181));
        assert_eq!(picture.scaled(2).planes(), [(1282, 722), (641, 361), (641, 361)]);
        picture.halved = None;
        assert_eq!((picture.planes(), picture.sample()), (vec![(641, 361)], 2));
    }
}
