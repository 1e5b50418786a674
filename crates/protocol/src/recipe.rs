//! A recipe: what to do with media, as a user writes it (TOML, JSON, command line). What it comes to for a given file
//! and machine is settled in `plan`.

use serde::{Deserialize, Serialize};

use crate::rational::Rational;

mod enhance;

pub use enhance::{ColorChange, Denoise, EnhanceRecipe, HdrChange, LANCZOS};

/// What to do with one media file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// The picture.
    pub video: VideoRecipe,
    /// The sound.
    pub audio: AudioRecipe,
    /// What is to become better about the picture.
    #[serde(skip_serializing_if = "EnhanceRecipe::is_empty")]
    pub enhance: EnhanceRecipe,
    /// Chapters of the result; those of the source when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chapters: Option<Chapters>,
    /// Container; from the output's extension when absent.
    pub container: Option<Container>,
    /// What an HLS package is made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ladder: Option<LadderRecipe>,
    /// How it is split.
    pub chunks: ChunkRecipe,
    /// How it is checked.
    pub verify: Verify,
}

impl Recipe {
    /// This recipe, and where it says nothing, what another says.
    pub fn over(self, base: Self) -> Self {
        let (video, under) = (self.video, base.video);
        let rated = video.crf.is_some() || video.bitrate.is_some() || video.quality.is_some();
        let (crf, bitrate, quality) = if rated {
            (video.crf, video.bitrate, video.quality)
        } else {
            (under.crf, under.bitrate, under.quality)
        };
        Self {
            video: VideoRecipe {
                codec: video.codec.or(under.codec),
                encoder: video.encoder.or(under.encoder),
                crf,
                bitrate,
                quality,
                preset: video.preset.or(under.preset),
                scale: video.scale.or(under.scale),
                fps: video.fps.or(under.fps),
                contrast: video.contrast.or(under.contrast),
                sharpen: video.sharpen.or(under.sharpen),
                ffmpeg_params: video.ffmpeg_params.or(under.ffmpeg_params),
            },
            audio: AudioRecipe {
                codec: self.audio.codec.or(base.audio.codec),
                bitrate: self.audio.bitrate.or(base.audio.bitrate),
                denoise: self.audio.denoise.or(base.audio.denoise),
                hum: self.audio.hum.or(base.audio.hum),
                speech: self.audio.speech.or(base.audio.speech),
                loudness: self.audio.loudness.or(base.audio.loudness),
            },
            enhance: self.enhance.over(base.enhance),
            chapters: self.chapters.or(base.chapters),
            container: self.container.or(base.container),
            ladder: self.ladder.or(base.ladder),
            chunks: ChunkRecipe {
                seconds: self.chunks.seconds.or(base.chunks.seconds),
                max_attempts: self.chunks.max_attempts.or(base.chunks.max_attempts),
                retry_delay: self.chunks.retry_delay.or(base.chunks.retry_delay),
            },
            verify: if self.verify == Verify::default() { base.verify } else { self.verify },
        }
    }
}

/// Where chapters come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Chapters {
    /// Made anew: they begin where the picture changes most.
    Auto,
}

/// Video part of a recipe.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct VideoRecipe {
    /// Codec; chosen from the source when absent.
    pub codec: Option<VideoCodec>,
    /// ffmpeg's encoder name; the best software encoder of the codec when absent.
    pub encoder: Option<String>,
    /// Constant rate factor in the encoder's own scale.
    pub crf: Option<f64>,
    /// Average bit rate in bit/s.
    pub bitrate: Option<u64>,
    /// Named quality, used when neither `crf` nor `bitrate` is set.
    pub quality: Option<Quality>,
    /// Encoder preset in the encoder's own words.
    pub preset: Option<String>,
    /// Output size.
    pub scale: Option<Scale>,
    /// Constant output frame rate; every source frame and its time when absent.
    pub fps: Option<Rational>,
    /// Contrast of the luma around its middle: 1 leaves it as it is; 0 to 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contrast: Option<f64>,
    /// Sharpening of the luma: 0 leaves it as it is; up to 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sharpen: Option<f64>,
    /// Expert parameters as on an ffmpeg command line; parsed against an allow-list.
    pub ffmpeg_params: Option<String>,
}

/// The same video in several sizes, cut at the same frames.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct LadderRecipe {
    /// Wished length of segments in seconds, 1 to 30; 4 when absent.
    pub segment_seconds: Option<f64>,
    /// The renditions; as they fit the source when absent. Where one says nothing, what the recipe says of the picture holds.
    pub renditions: Option<Vec<RenditionRecipe>>,
}

/// One of several sizes of a video.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct RenditionRecipe {
    /// Output size.
    pub scale: Option<Scale>,
    /// Constant rate factor in the encoder's own scale.
    pub crf: Option<f64>,
    /// Average bit rate in bit/s.
    pub bitrate: Option<u64>,
}

/// Output size in samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scale {
    /// Exactly this size.
    Exact {
        /// Width.
        width: u32,
        /// Height.
        height: u32,
    },
    /// This height; the width follows from the aspect ratio, rounded to even.
    Height(u32),
    /// As [`Self::Height`], where the source is higher.
    AtMost(u32),
}

impl std::str::FromStr for Scale {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |t: &str| t.parse::<u32>().ok().filter(|n| (2..=16384).contains(n));
        let lines = |t: &str| number(t.strip_suffix('p').unwrap_or(t));
        let parsed = match (text.strip_prefix("max"), text.split_once(['x', 'X'])) {
            (Some(most), _) => lines(most).map(Self::AtMost),
            (None, Some((w, h))) => {
                number(w).zip(number(h)).map(|(width, height)| Self::Exact { width, height })
            }
            (None, None) => lines(text).map(Self::Height),
        };
        parsed.ok_or_else(|| {
            format!("{text:?} is not a size: write WIDTHxHEIGHT, a height or maxHEIGHT, from 2 to 16384")
        })
    }
}

impl TryFrom<String> for Scale {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Scale> for String {
    fn from(scale: Scale) -> Self {
        match scale {
            Scale::Exact { width, height } => format!("{width}x{height}"),
            Scale::Height(height) => height.to_string(),
            Scale::AtMost(height) => format!("max{height}"),
        }
    }
}

/// Video codec of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// H.264 / AVC.
    H264,
    /// H.265 / HEVC.
    Hevc,
    /// AV1.
    Av1,
    /// VP9.
    Vp9,
    /// FFV1, lossless.
    Ffv1,
    /// Apple ProRes.
    Prores,
    /// The source's packets as they are.
    Copy,
    /// No picture: sound alone.
    None,
}

impl VideoCodec {
    /// The name used in recipes and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::Hevc => "hevc",
            Self::Av1 => "av1",
            Self::Vp9 => "vp9",
            Self::Ffv1 => "ffv1",
            Self::Prores => "prores",
            Self::Copy => "copy",
            Self::None => "none",
        }
    }
}

/// Named quality.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// Small files.
    Low,
    /// The encoder's own middle.
    #[default]
    Medium,
    /// Hard to tell from the source.
    High,
    /// Every decoded sample equals the source's.
    Lossless,
}

/// Audio part of a recipe.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct AudioRecipe {
    /// Codec; chosen from the container when absent.
    pub codec: Option<AudioCodec>,
    /// Bit rate per stream in bit/s; the encoder's default for the channels when absent.
    pub bitrate: Option<u32>,
    /// Less noise around speech.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denoise: Option<bool>,
    /// Less hum of mains at this frequency in Hz, 50 or 60, and at its multiples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hum: Option<u32>,
    /// Quiet speech as loud as loud speech.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speech: Option<bool>,
    /// Loudness of each stream as a whole in LUFS (EBU R 128): -70 to -5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loudness: Option<f64>,
}

/// Audio codec of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum AudioCodec {
    /// AAC-LC.
    Aac,
    /// Opus.
    Opus,
    /// The source's packets as they are.
    Copy,
    /// No sound.
    None,
}

/// Container of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Container {
    /// MPEG-4 part 14.
    Mp4,
    /// QuickTime.
    Mov,
    /// Matroska.
    Mkv,
    /// WebM.
    Webm,
    /// HLS and DASH over the same fragmented MP4, all files in one tar archive.
    Hls,
    /// MPEG-4 part 14 with sound alone.
    M4a,
    /// Matroska with sound alone.
    Mka,
    /// Opus in Ogg.
    Opus,
}

impl Container {
    /// From a file extension, case ignored.
    pub fn from_extension(extension: &str) -> Option<Self> {
        match extension.to_ascii_lowercase().as_str() {
            "mp4" | "m4v" => Some(Self::Mp4),
            "mov" => Some(Self::Mov),
            "mkv" => Some(Self::Mkv),
            "webm" => Some(Self::Webm),
            "tar" => Some(Self::Hls),
            "m4a" => Some(Self::M4a),
            "mka" => Some(Self::Mka),
            "opus" => Some(Self::Opus),
            _ => None,
        }
    }

    /// The usual extension, without a dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Mov => "mov",
            Self::Mkv => "mkv",
            Self::Webm => "webm",
            Self::Hls => "tar",
            Self::M4a => "m4a",
            Self::Mka => "mka",
            Self::Opus => "opus",
        }
    }

    /// Whether it has no place for pictures.
    pub fn is_sound_alone(self) -> bool {
        match self {
            Self::M4a | Self::Mka | Self::Opus => true,
            Self::Mp4 | Self::Mov | Self::Mkv | Self::Webm | Self::Hls => false,
        }
    }
}

/// How a job is split.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ChunkRecipe {
    /// Wished chunk length in seconds; chosen from cores, encoder and length when absent.
    pub seconds: Option<f64>,
    /// How often a task is tried before the job fails.
    pub max_attempts: Option<u32>,
    /// Seconds before a task that failed is tried again; twice as many before each further try.
    pub retry_delay: Option<f64>,
}

/// How the result is checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// Every frame counted, timed and checksummed going in, every packet counted and timed going out.
    #[default]
    Fast,
    /// `fast`, and the result is decoded.
    Full,
    /// Nothing beyond ffmpeg's exit status and the number of frames.
    Off,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_its_text() {
        for text in ["640x360", "720", "max1080"] {
            assert_eq!(String::from(text.parse::<Scale>().unwrap()), text);
        }
        assert_eq!("max720p".parse(), Ok(Scale::AtMost(720)));
        for text in ["", "max", "max1", "0", "640x", "maxx", "20000"] {
            assert!(text.parse::<Scale>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_said_goes_over_what_was_said_before() {
        let video = |crf, bitrate| VideoRecipe { crf, bitrate, ..VideoRecipe::default() };
        let base = Recipe {
            video: VideoRecipe { codec: Some(VideoCodec::H264), ..video(Some(22.0), None) },
            container: Some(Container::Mp4),
            ..Recipe::default()
        };
        let rated = Recipe { video: video(None, Some(1_000_000)), ..Recipe::default() }.over(base.clone());
        assert_eq!(rated.video.codec, Some(VideoCodec::H264));
        assert_eq!(
            (rated.video.crf, rated.video.bitrate),
            (None, Some(1_000_000)),
            "two rates make no sense"
        );
        let other = Recipe { container: Some(Container::Mkv), ..Recipe::default() }.over(base);
        assert_eq!((other.container, other.video.crf), (Some(Container::Mkv), Some(22.0)));
    }
}
