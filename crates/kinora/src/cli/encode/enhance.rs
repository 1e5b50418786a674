//! The flags of what is to become better: one definition each, for every command that takes a recipe.

use clap::{Args, ValueEnum};
use kinora_protocol::recipe::{ColorChange, Denoise, EnhanceRecipe, HdrChange, Recipe};

/// Flags of enhancements. Their order makes no difference.
#[derive(Debug, Default, Args)]
pub struct EnhanceFlags {
    /// Whole frames from interlaced ones
    #[arg(long, help_heading = "Enhancement")]
    pub deinterlace: bool,
    /// Less noise: light costs little, strong is slow and takes fine structure with it, neural keeps it by a model
    #[arg(long, value_enum, help_heading = "Enhancement")]
    pub denoise: Option<DenoiseArg>,
    /// Black, white, tint and colour of each scene, as they are measured in it
    #[arg(long, value_enum, value_name = "auto", help_heading = "Enhancement")]
    pub color: Option<ColorArg>,
    /// A steady camera
    #[arg(long, help_heading = "Enhancement")]
    pub stabilize: bool,
    /// With --stabilize, how long a movement of the camera takes that is left, in seconds: 0.1 to 5 [default: 0.7]
    #[arg(long, value_name = "SECONDS", help_heading = "Enhancement")]
    pub smoothing: Option<f64>,
    /// Find things in the picture and follow them: RESULT.objects.json and RESULT.objects.vtt tell what is where
    #[arg(long, help_heading = "Enhancement")]
    pub detect: bool,
    /// Model for --detect [default: the first that there is]
    #[arg(long, value_name = "NAME", help_heading = "Enhancement")]
    pub detector: Option<String>,
    /// With --detect, frames around things in the picture
    #[arg(long, help_heading = "Enhancement")]
    pub draw: bool,
    /// SDR to HDR10, or HDR10 and HLG to SDR; auto: to SDR where it is HDR
    #[arg(long, value_enum, help_heading = "Enhancement")]
    pub hdr: Option<HdrArg>,
    /// Frames a second, with what moves in between where it would be
    #[arg(long, value_name = "N[/D]", help_heading = "Enhancement", conflicts_with = "fps")]
    pub interpolate: Option<String>,
    /// Width and height times 2, 3 or 4
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=4), help_heading = "Enhancement")]
    pub upscale: Option<u32>,
    /// By what to upscale: lanczos, or a model's name [default: Kinora's own model where one can be run]
    #[arg(long, value_name = "NAME", help_heading = "Enhancement")]
    pub upscaler: Option<String>,
    /// Model for --denoise neural [default: Kinora's own]
    #[arg(long, value_name = "NAME", help_heading = "Enhancement")]
    pub denoiser: Option<String>,
    /// Less noise around speech
    #[arg(long, help_heading = "Enhancement")]
    pub audio_denoise: bool,
    /// Less hum of mains: its frequency in Hz, 50 or 60
    #[arg(long, value_name = "HZ", help_heading = "Enhancement")]
    pub audio_hum: Option<u32>,
    /// Quiet speech as loud as loud speech
    #[arg(long, help_heading = "Enhancement")]
    pub speech: bool,
    /// Loudness of the sound in LUFS (EBU R 128), for example -14 or -23
    #[arg(long, value_name = "LUFS", allow_negative_numbers = true, help_heading = "Enhancement")]
    pub loudness: Option<f64>,
}

impl EnhanceFlags {
    /// Puts what is asked for over what a recipe says.
    ///
    /// # Errors
    /// For rates that are none.
    pub fn over(&self, recipe: &mut Recipe) -> Result<(), String> {
        let rate = |text: &String| text.parse().map_err(|e| format!("--interpolate: {e}"));
        let said = |asked: bool| asked.then_some(true);
        let before = &recipe.enhance;
        recipe.enhance = EnhanceRecipe {
            deinterlace: said(self.deinterlace).or(before.deinterlace),
            denoise: self.denoise.map(Into::into).or(before.denoise),
            color: self.color.map(Into::into).or(before.color),
            detect: said(self.detect).or(before.detect),
            detector: self.detector.clone().or_else(|| before.detector.clone()),
            draw: said(self.draw).or(before.draw),
            stabilize: said(self.stabilize).or(before.stabilize),
            smoothing: self.smoothing.or(before.smoothing),
            hdr: self.hdr.map(Into::into).or(before.hdr),
            interpolate: self.interpolate.as_ref().map(rate).transpose()?.or(before.interpolate),
            upscale: self.upscale.or(before.upscale),
            upscaler: self.upscaler.clone().or_else(|| before.upscaler.clone()),
            // A model that the recipe names is of its own way to take noise away.
            denoiser: self
                .denoiser
                .clone()
                .or_else(|| before.denoiser.clone().filter(|_| self.denoise.is_none())),
        };
        let audio = &mut recipe.audio;
        audio.denoise = said(self.audio_denoise).or(audio.denoise);
        audio.hum = self.audio_hum.or(audio.hum);
        audio.speech = said(self.speech).or(audio.speech);
        audio.loudness = self.loudness.or(audio.loudness);
        Ok(())
    }
}

/// `--denoise`.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[allow(missing_docs)]
pub enum DenoiseArg {
    Light,
    Strong,
    Neural,
}

/// `--color`.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[allow(missing_docs)]
pub enum ColorArg {
    Auto,
}

/// `--hdr`.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[allow(missing_docs)]
pub enum HdrArg {
    Sdr2hdr,
    Hdr2sdr,
    Auto,
}

impl From<DenoiseArg> for Denoise {
    fn from(arg: DenoiseArg) -> Self {
        match arg {
            DenoiseArg::Light => Self::Light,
            DenoiseArg::Strong => Self::Strong,
            DenoiseArg::Neural => Self::Neural,
        }
    }
}

impl From<ColorArg> for ColorChange {
    fn from(arg: ColorArg) -> Self {
        match arg {
            ColorArg::Auto => Self::Auto,
        }
    }
}

impl From<HdrArg> for HdrChange {
    fn from(arg: HdrArg) -> Self {
        match arg {
            HdrArg::Sdr2hdr => Self::Sdr2Hdr,
            HdrArg::Hdr2sdr => Self::Hdr2Sdr,
            HdrArg::Auto => Self::Auto,
        }
    }
}
