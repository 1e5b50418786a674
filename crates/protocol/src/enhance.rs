//! What makes pictures better, as it was settled for one file: all that a node needs to do them, and all that
//! the result depends on. It must not know by which program they are done.

use serde::{Deserialize, Serialize};

use crate::inference::{ModelKey, Network};
use crate::planes::{By, Pass};
use crate::survey::{Survey, Wanted};

/// Luminance of diffuse white in HDR, in cd/m² (ITU-R BT.2408).
pub const REFERENCE_WHITE: u32 = 203;

/// One of them. They stand in the order in which they are done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "enhancement", rename_all = "snake_case")]
pub enum Enhancement {
    /// Whole frames from fields, as many as there were.
    Deinterlace,
    /// Less noise: in the picture, and along time where nothing moves.
    DenoiseLight,
    /// Less noise, by non-local means; by wavelets where samples have more than 8 bits.
    DenoiseStrong {
        /// Whether samples have more than 8 bits.
        deep: bool,
    },
    /// From a high dynamic range to BT.709.
    ToneMap {
        /// Colours that come in.
        from: Colors,
        /// Luminance that becomes white, in cd/m².
        peak: u32,
        /// Format that comes out.
        format: String,
    },
    /// Frames in between, moved to where things would be at their time. The rate is that of the job.
    Interpolate,
    /// Larger pictures.
    Upscale {
        /// Width that comes out, in samples.
        width: u32,
        /// Height that comes out, in samples.
        height: u32,
    },
    /// Sample by sample, between programs: by a model, for instance.
    Pass(Box<Pass>),
    /// Into HDR10.
    Expand {
        /// Colours that come in.
        from: Colors,
        /// Format that comes out.
        format: String,
    },
}

/// How samples stand for colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Colors {
    /// From R'G'B' to luma and chroma.
    pub matrix: Matrix,
    /// Samples to light.
    pub transfer: Transfer,
    /// Which red, green and blue.
    pub primaries: Primaries,
    /// Whether samples use all values.
    pub full_range: bool,
    /// Whether a side has an odd number of samples, so that halved chroma does not cover it evenly.
    pub odd: bool,
}

/// Matrix coefficients (ITU-T H.273).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Matrix {
    Rgb,
    Bt709,
    Bt601,
    Bt2020,
}

/// Transfer characteristics (ITU-T H.273).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Transfer {
    Bt709,
    Srgb,
    Pq,
    Hlg,
}

/// Colour primaries (ITU-T H.273).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Primaries {
    Bt709,
    /// SMPTE 170M: 525 lines.
    Smpte170,
    /// BT.470 B, G: 625 lines.
    Bt470Bg,
    Bt2020,
    DisplayP3,
}

impl Enhancement {
    /// Source frames before and after a frame that it looks at to make that frame.
    pub fn support(&self) -> Support {
        match self {
            Self::DenoiseStrong { .. }
            | Self::ToneMap { .. }
            | Self::Upscale { .. }
            | Self::Expand { .. } => Support::NONE,
            // bwdif takes fields of two frames on each side.
            Self::Deinterlace => Support { before: 2, after: 2 },
            // The filter along time averages five frames.
            Self::DenoiseLight => Support { before: 2, after: 2 },
            Self::Pass(pass) => Support { before: pass.around(), after: pass.around() },
            // Two frames on each side of the gap between two, and one to tell a new scene by.
            Self::Interpolate => Support { before: 3, after: 3 },
        }
    }
}

/// What a film is to be measured for before a chain can be done; nothing where no survey is needed.
pub fn surveyed(chain: &[Enhancement]) -> Option<Wanted> {
    let mut wanted = Wanted::default();
    for one in chain {
        let Enhancement::Pass(pass) = one else { continue };
        match &pass.by {
            By::Grade { .. } => wanted.tones = true,
            By::Steady { smoothing_ms, .. } => wanted.motion = Some(*smoothing_ms),
            By::Network(_) | By::Boxes { .. } => {}
        }
    }
    (wanted != Wanted::default()).then_some(wanted)
}

/// A chain for the part of a film that is shown in `[from, to)`, with what a survey found there.
pub fn with_survey(chain: &[Enhancement], survey: &Survey, part: (i64, i64)) -> Vec<Enhancement> {
    let one = |one: &Enhancement| match one {
        Enhancement::Pass(pass) => Enhancement::Pass(Box::new(pass.with(survey, part))),
        filter => filter.clone(),
    };
    chain.iter().map(one).collect()
}

/// What of a chain has to be done before frames are measured: what is measured are whole frames in the range that is corrected.
pub fn measured_through(chain: &[Enhancement]) -> Vec<Enhancement> {
    let needed = |one: &&Enhancement| matches!(one, Enhancement::Deinterlace | Enhancement::ToneMap { .. });
    chain.iter().filter(needed).cloned().collect()
}

/// The models that a chain needs.
pub fn models(chain: &[Enhancement]) -> impl Iterator<Item = ModelKey> {
    chain.iter().filter_map(|one| match one {
        Enhancement::Pass(pass) => pass.network().map(Network::key),
        _ => None,
    })
}

/// How many frames around one take part in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Support {
    /// Before it.
    pub before: usize,
    /// After it.
    pub after: usize,
}

impl Support {
    /// A frame stands for itself.
    pub const NONE: Self = Self { before: 0, after: 0 };

    /// Of several enhancements in a row.
    pub fn of(chain: &[Enhancement]) -> Self {
        chain.iter().map(Enhancement::support).fold(Self::NONE, |sum, one| Self {
            before: sum.before + one.before,
            after: sum.after + one.after,
        })
    }
}

/// What becomes better about sound, in the order in which it is done: hum, noise, speech, loudness.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct SoundEnhancements {
    /// Frequency of the mains in Hz, whose hum goes.
    pub hum: Option<u32>,
    /// Less noise around speech.
    pub denoise: bool,
    /// Quiet speech as loud as loud speech.
    pub speech: bool,
    /// Loudness of each stream as a whole, in tenths of LUFS.
    pub loudness: Option<i32>,
}

impl SoundEnhancements {
    /// Whether sound stays as it is.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}
