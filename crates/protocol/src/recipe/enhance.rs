//! What is to become better about pictures and sound, as a user writes it. In which order that is done, and with which
//! filters, is settled in `plan`.

use serde::{Deserialize, Serialize};

use crate::rational::Rational;

/// What is to become better about the picture. The order is always the same, whatever the order in which it is written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct EnhanceRecipe {
    /// Whole frames from fields. What cannot be done with fields does it by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deinterlace: Option<bool>,
    /// Less noise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denoise: Option<Denoise>,
    /// Brightness and colour of each scene.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color: Option<ColorChange>,
    /// What is in pictures, and where, told beside the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detect: Option<bool>,
    /// The model of `detect`; the only one that there is when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detector: Option<String>,
    /// Frames around it in the picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draw: Option<bool>,
    /// A steady camera.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stabilize: Option<bool>,
    /// How long a movement of the camera has to take for `stabilize` to leave it, in seconds: 0.1 to 5; 0.7 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoothing: Option<f64>,
    /// To or from a high dynamic range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hdr: Option<HdrChange>,
    /// Frames a second, with what moves in between where it would be at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interpolate: Option<Rational>,
    /// So many times the width and the height: 2 to 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upscale: Option<u32>,
    /// By what pictures are upscaled: `lanczos`, or the name of a model. When absent, a model of Kinora's own where a node can
    /// run it, else `lanczos`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upscaler: Option<String>,
    /// The model of `denoise = neural`; Kinora's own when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denoiser: Option<String>,
}

/// Names the upscaler that is no model.
pub const LANCZOS: &str = "lanczos";

impl EnhanceRecipe {
    /// This, and where it says nothing, what another says.
    pub(super) fn over(self, base: Self) -> Self {
        Self {
            deinterlace: self.deinterlace.or(base.deinterlace),
            denoise: self.denoise.or(base.denoise),
            color: self.color.or(base.color),
            detect: self.detect.or(base.detect),
            detector: self.detector.or(base.detector),
            draw: self.draw.or(base.draw),
            stabilize: self.stabilize.or(base.stabilize),
            smoothing: self.smoothing.or(base.smoothing),
            hdr: self.hdr.or(base.hdr),
            interpolate: self.interpolate.or(base.interpolate),
            upscale: self.upscale.or(base.upscale),
            upscaler: self.upscaler.or(base.upscaler),
            denoiser: self.denoiser.or(base.denoiser),
        }
    }

    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How much noise is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Denoise {
    /// A little of it, along time where nothing moves; it costs less than the encoder.
    Light,
    /// Most of it, by non-local means; some fine structure goes with it, and it is slow.
    Strong,
    /// Most of it, by a model that looks at three frames; fine structure stays.
    Neural,
}

/// What becomes of brightness and colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ColorChange {
    /// Black, white, what lies between, tint and colour of each scene, as they were measured in it.
    Auto,
}

/// Between dynamic ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum HdrChange {
    /// BT.709 or alike into HDR10 (BT.2020, PQ, 10 bits), its white at 203 cd/m² (ITU-R BT.2408).
    Sdr2Hdr,
    /// HDR10 or HLG into BT.709 with 8 bits, by tone mapping.
    Hdr2Sdr,
    /// `hdr2sdr` where the source is HDR, and nothing where it is not.
    Auto,
}
