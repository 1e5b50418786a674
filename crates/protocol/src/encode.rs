//! What a recipe comes to for one file: the exact settings of the encoder and the picture filters. Every chunk of a job
//! carries the same value, so that chunks agree.

use serde::{Deserialize, Serialize};

use crate::enhance::{self, Enhancement, SoundEnhancements};
use crate::inference::Network;
use crate::media::{Color, HdrStatic};
use crate::rational::Rational;
use crate::recipe::{AudioCodec, Container, Verify, VideoCodec};
use crate::survey::Wanted;

/// A video encoder of ffmpeg that Kinora knows how to drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[allow(missing_docs)]
pub enum Encoder {
    #[serde(rename = "libx264")]
    X264,
    #[serde(rename = "libx265")]
    X265,
    #[serde(rename = "libsvtav1")]
    SvtAv1,
    #[serde(rename = "libaom-av1")]
    Aom,
    #[serde(rename = "libvpx-vp9")]
    Vp9,
    #[serde(rename = "ffv1")]
    Ffv1,
    #[serde(rename = "prores_ks")]
    Prores,
    #[serde(rename = "h264_nvenc")]
    H264Nvenc,
    #[serde(rename = "hevc_nvenc")]
    HevcNvenc,
    #[serde(rename = "av1_nvenc")]
    Av1Nvenc,
    #[serde(rename = "h264_qsv")]
    H264Qsv,
    #[serde(rename = "hevc_qsv")]
    HevcQsv,
    #[serde(rename = "av1_qsv")]
    Av1Qsv,
    #[serde(rename = "h264_amf")]
    H264Amf,
    #[serde(rename = "hevc_amf")]
    HevcAmf,
    #[serde(rename = "h264_videotoolbox")]
    H264VideoToolbox,
    #[serde(rename = "hevc_videotoolbox")]
    HevcVideoToolbox,
    #[serde(rename = "h264_vaapi")]
    H264Vaapi,
    #[serde(rename = "hevc_vaapi")]
    HevcVaapi,
}

impl Encoder {
    /// All that are known, software first, best first within a codec.
    pub const ALL: [Self; 19] = [
        Self::X264,
        Self::X265,
        Self::SvtAv1,
        Self::Aom,
        Self::Vp9,
        Self::Ffv1,
        Self::Prores,
        Self::H264Nvenc,
        Self::HevcNvenc,
        Self::Av1Nvenc,
        Self::H264Qsv,
        Self::HevcQsv,
        Self::Av1Qsv,
        Self::H264Amf,
        Self::HevcAmf,
        Self::H264VideoToolbox,
        Self::HevcVideoToolbox,
        Self::H264Vaapi,
        Self::HevcVaapi,
    ];

    /// ffmpeg's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::X264 => "libx264",
            Self::X265 => "libx265",
            Self::SvtAv1 => "libsvtav1",
            Self::Aom => "libaom-av1",
            Self::Vp9 => "libvpx-vp9",
            Self::Ffv1 => "ffv1",
            Self::Prores => "prores_ks",
            Self::H264Nvenc => "h264_nvenc",
            Self::HevcNvenc => "hevc_nvenc",
            Self::Av1Nvenc => "av1_nvenc",
            Self::H264Qsv => "h264_qsv",
            Self::HevcQsv => "hevc_qsv",
            Self::Av1Qsv => "av1_qsv",
            Self::H264Amf => "h264_amf",
            Self::HevcAmf => "hevc_amf",
            Self::H264VideoToolbox => "h264_videotoolbox",
            Self::HevcVideoToolbox => "hevc_videotoolbox",
            Self::H264Vaapi => "h264_vaapi",
            Self::HevcVaapi => "hevc_vaapi",
        }
    }

    /// By ffmpeg's name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.name() == name)
    }

    /// What it writes.
    pub fn codec(self) -> VideoCodec {
        match self {
            Self::X264
            | Self::H264Nvenc
            | Self::H264Qsv
            | Self::H264Amf
            | Self::H264VideoToolbox
            | Self::H264Vaapi => VideoCodec::H264,
            Self::X265
            | Self::HevcNvenc
            | Self::HevcQsv
            | Self::HevcAmf
            | Self::HevcVideoToolbox
            | Self::HevcVaapi => VideoCodec::Hevc,
            Self::SvtAv1 | Self::Aom | Self::Av1Nvenc | Self::Av1Qsv => VideoCodec::Av1,
            Self::Vp9 => VideoCodec::Vp9,
            Self::Ffv1 => VideoCodec::Ffv1,
            Self::Prores => VideoCodec::Prores,
        }
    }

    /// Whether it runs on the processor alone.
    pub fn is_software(self) -> bool {
        matches!(
            self,
            Self::X264 | Self::X265 | Self::SvtAv1 | Self::Aom | Self::Vp9 | Self::Ffv1 | Self::Prores
        )
    }
}

/// How many bits the encoder may spend.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Rate {
    /// Constant quality in the encoder's own scale, in hundredths (2300 is CRF 23).
    Quality(u32),
    /// Average bit rate in bit/s.
    Bitrate(u64),
    /// Bit-exact samples.
    Lossless,
}

/// One expert parameter that passed the allow-list: an ffmpeg option name without its hyphen, and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ExpertParam {
    /// Option name from the allow-list.
    pub option: String,
    /// Value, checked against the option's type.
    pub value: String,
}

/// Scan of the pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scan {
    /// Whole frames.
    Progressive,
    /// Two fields, the top one first.
    TopFirst,
    /// Two fields, the bottom one first.
    BottomFirst,
}

/// The encoder and all that its bitstream depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EncodeSettings {
    /// Which encoder.
    pub encoder: Encoder,
    /// Rate control.
    pub rate: Rate,
    /// Preset in the encoder's own words.
    pub preset: Option<String>,
    /// Pixel format handed to the encoder.
    pub pix_fmt: String,
    /// Frame rate written into parameter sets, the same in all chunks (a guess for variable frame rate).
    pub nominal_rate: Rational,
    /// Field order.
    pub scan: Scan,
    /// Colour description.
    pub color: Color,
    /// HDR10 static metadata.
    pub hdr: Option<HdrStatic>,
    /// Checked expert parameters, after everything else.
    pub params: Vec<ExpertParam>,
}

/// What happens to a picture between decoder and encoder.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PictureFilters {
    /// Output size in samples.
    pub scale: Option<(u32, u32)>,
    /// Sample aspect ratio set after scaling.
    pub sample_aspect: Option<Rational>,
    /// Contrast of the luma, in thousandths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contrast: Option<u32>,
    /// Strength of sharpening of the luma, in thousandths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharpen: Option<u32>,
}

impl PictureFilters {
    /// Whether pictures come out as they go in, but for their size.
    pub fn keep_samples(&self) -> bool {
        self.contrast.is_none() && self.sharpen.is_none()
    }
}

/// What is done with the sound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AudioSettings {
    /// Codec of the output; `Copy` and `None` need no encoding task.
    pub codec: AudioCodec,
    /// Bit/s per stream.
    pub bitrate: Option<u32>,
    /// What becomes better about it.
    #[serde(default, skip_serializing_if = "SoundEnhancements::is_none")]
    pub enhance: SoundEnhancements,
}

/// A recipe settled for one file and one ffmpeg build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Settled {
    /// Picture.
    pub video: VideoWork,
    /// Sound.
    pub audio: AudioSettings,
    /// Output container.
    pub container: Container,
    /// How it is checked.
    pub verify: Verify,
    /// Whether chapters are made anew, by scenes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chapters: bool,
    /// The model that finds things in the film, where they are wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detect: Option<Network>,
}

impl Settled {
    /// What the whole film is to be measured for; nothing where no survey is needed.
    pub fn surveyed(&self) -> Option<Wanted> {
        let enhanced = self.video.encoded().and_then(|video| enhance::surveyed(&video.enhance));
        let (chapters, objects) = (self.chapters, self.detect.is_some());
        match enhanced {
            None if !chapters && !objects => None,
            enhanced => Some(Wanted { chapters, objects, ..enhanced.unwrap_or_default() }),
        }
    }
}

/// What is done with the picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", from = "StoredVideoWork")]
pub enum VideoWork {
    /// Encoded, in chunks.
    Encode(Box<VideoSettings>),
    /// The source's packets as they are.
    Copy,
    /// Left out, or there is none.
    None,
}

/// What is done with the picture, as it was written at any time: before it could be left out, nothing stood for a copy.
#[derive(Deserialize)]
#[serde(untagged)]
enum StoredVideoWork {
    Now(VideoWorkNow),
    Before(Option<Box<VideoSettings>>),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum VideoWorkNow {
    Encode(Box<VideoSettings>),
    Copy,
    None,
}

impl From<StoredVideoWork> for VideoWork {
    fn from(stored: StoredVideoWork) -> Self {
        match stored {
            StoredVideoWork::Now(VideoWorkNow::Encode(settings))
            | StoredVideoWork::Before(Some(settings)) => Self::Encode(settings),
            StoredVideoWork::Now(VideoWorkNow::Copy) | StoredVideoWork::Before(None) => Self::Copy,
            StoredVideoWork::Now(VideoWorkNow::None) => Self::None,
        }
    }
}

impl VideoWork {
    /// How it is encoded, if it is.
    pub fn encoded(&self) -> Option<&VideoSettings> {
        match self {
            Self::Encode(settings) => Some(settings),
            Self::Copy | Self::None => None,
        }
    }
}

/// How the picture is encoded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VideoSettings {
    /// Encoder settings.
    pub encode: EncodeSettings,
    /// Picture filters.
    pub filters: PictureFilters,
    /// Constant output frame rate, if the recipe asks for one.
    pub fps: Option<Rational>,
    /// What becomes better about the pictures of the source, in this order, before anything else is done with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enhance: Vec<Enhancement>,
    /// Other sizes of the same frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ladder: Option<Ladder>,
}

/// Renditions beside the first one, made from one decode, with key frames at the same frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Ladder {
    /// Wished length of segments in milliseconds: there is a key frame so long after the last one.
    pub segment_ms: u32,
    /// The others, in their order.
    pub others: Vec<Rendition>,
}

/// One size of a video.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Rendition {
    /// Encoder settings.
    pub encode: EncodeSettings,
    /// Picture filters.
    pub filters: PictureFilters,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_before_the_picture_could_be_left_out() {
        let encode = EncodeSettings {
            encoder: Encoder::X264,
            rate: Rate::Quality(2300),
            preset: None,
            pix_fmt: "yuv420p".to_owned(),
            nominal_rate: Rational::new(25, 1).unwrap(),
            scan: Scan::Progressive,
            color: Color::default(),
            hdr: None,
            params: Vec::new(),
        };
        let settings = VideoSettings {
            encode,
            filters: PictureFilters::default(),
            fps: None,
            enhance: Vec::new(),
            ladder: None,
        };
        let before = serde_json::to_value(&settings).unwrap();
        let encoded = VideoWork::Encode(Box::new(settings));
        assert_eq!(serde_json::from_value::<VideoWork>(before).unwrap(), encoded);
        assert_eq!(serde_json::from_str::<VideoWork>("null").unwrap(), VideoWork::Copy);
        for now in [encoded, VideoWork::Copy, VideoWork::None] {
            let text = serde_json::to_string(&now).unwrap();
            assert_eq!(serde_json::from_str::<VideoWork>(&text).unwrap(), now, "{text}");
        }
        assert!(serde_json::from_str::<VideoWork>("\"gone\"").is_err());
    }
}
