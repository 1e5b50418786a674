//! The flags of `kinora encode`: one definition each, which feeds parser, help, manual and completions.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kinora_protocol::recipe::{AudioCodec, Chapters, Container, Quality, Verify, VideoCodec};

use super::enhance::EnhanceFlags;
use super::recipe;

/// Flags of `kinora encode`.
#[derive(Debug, Args)]
#[command(after_help = "Interrupted, by Ctrl-C or a crash, the same command goes on where it stopped.")]
pub struct EncodeArgs {
    /// The video, or sound alone
    pub input: PathBuf,
    /// The result; its extension names the container (.mp4, .mkv, .mov, .webm; .m4a, .opus, .mka for sound alone)
    pub output: PathBuf,
    /// What to do
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// Chunks at once; chosen from cores and encoder when absent
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024), help_heading = "Splitting")]
    pub jobs: Option<u32>,
    /// A program that makes no progress for so many seconds is stopped and tried again
    #[arg(long, value_name = "S", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Splitting")]
    pub stall_timeout: u64,
    /// Write the proof report (JSON) here
    #[arg(long, value_name = "FILE", help_heading = "Checks and state")]
    pub proof: Option<PathBuf>,
    /// Where unfinished work is kept [default: a hidden folder beside the output]
    #[arg(long, value_name = "DIR", help_heading = "Checks and state")]
    pub state_dir: Option<PathBuf>,
    /// Keep the state when done: a later run with another recipe reuses its chunks
    #[arg(long, help_heading = "Checks and state")]
    pub keep_state: bool,
    /// Print one JSON object at the end
    #[arg(long)]
    pub json: bool,
}

/// Flags that make a recipe: of every command that takes one.
#[derive(Debug, Args)]
pub struct RecipeArgs {
    /// Video codec; chosen from the source when absent; none leaves sound alone
    #[arg(long, value_enum, help_heading = "Video")]
    pub codec: Option<CodecArg>,
    /// ffmpeg's encoder name, for example libx264 or hevc_nvenc
    #[arg(long, value_name = "NAME", help_heading = "Video")]
    pub encoder: Option<String>,
    /// Constant quality in the encoder's own scale
    #[arg(long, value_name = "N", group = "rate", help_heading = "Video")]
    pub crf: Option<f64>,
    /// Average video bit rate, for example 4M or 800k
    #[arg(long, value_name = "R", group = "rate", value_parser = recipe::bits, help_heading = "Video")]
    pub bitrate: Option<u64>,
    /// Named quality [default: medium]
    #[arg(long, value_enum, group = "rate", help_heading = "Video")]
    pub quality: Option<QualityArg>,
    /// Preset in the encoder's own words: medium, 8, …
    #[arg(long, value_name = "P", help_heading = "Video")]
    pub preset: Option<String>,
    /// Output size: WIDTHxHEIGHT, a height, or maxHEIGHT for sources that are higher
    #[arg(long, value_name = "WxH|H|maxH", help_heading = "Video")]
    pub scale: Option<String>,
    /// Constant output frame rate; every source frame and its time when absent
    #[arg(long, value_name = "N[/D]", help_heading = "Video")]
    pub fps: Option<String>,
    /// Contrast of the brightness: 1 leaves it as it is, 0 to 4
    #[arg(long, value_name = "X", help_heading = "Video")]
    pub contrast: Option<f64>,
    /// Sharpening: 0 leaves pictures as they are, up to 5
    #[arg(long, value_name = "X", help_heading = "Video")]
    pub sharpen: Option<f64>,
    /// Expert parameters as for ffmpeg, checked against an allow-list
    #[arg(long, value_name = "PARAMS", allow_hyphen_values = true, help_heading = "Video")]
    pub ffmpeg_params: Option<String>,
    /// Sound; chosen from the container when absent
    #[arg(long, value_enum, help_heading = "Sound and container")]
    pub audio: Option<AudioArg>,
    /// Audio bit rate per stream, for example 160k
    #[arg(long, value_name = "R", value_parser = recipe::bits, help_heading = "Sound and container")]
    pub audio_bitrate: Option<u64>,
    /// What is to become better
    #[command(flatten)]
    pub enhance: EnhanceFlags,
    /// Container, when the extension does not say
    #[arg(long, value_enum, help_heading = "Sound and container")]
    pub container: Option<ContainerArg>,
    /// Wished chunk length in seconds; chosen from cores, encoder and length when absent
    #[arg(long, value_name = "S", help_heading = "Splitting")]
    pub chunk_seconds: Option<f64>,
    /// How often a task is tried before the job fails [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100), help_heading = "Splitting")]
    pub max_attempts: Option<u32>,
    /// Seconds before a task that failed is tried again; twice as many before each further try [default: 0.25]
    #[arg(long, value_name = "S", help_heading = "Splitting")]
    pub retry_delay: Option<f64>,
    /// Chapters that begin where the picture changes most, in place of the source's
    #[arg(long, value_enum, value_name = "auto")]
    pub chapters: Option<ChaptersArg>,
    /// How the result is checked [default: fast]
    #[arg(long, value_enum, help_heading = "Checks and state")]
    pub verify: Option<VerifyArg>,
    /// A preset (see `kinora presets`) or a file with a recipe (TOML or JSON); flags go over it
    #[arg(long, value_name = "NAME|FILE", help_heading = "Checks and state")]
    pub recipe: Option<PathBuf>,
}

/// `--codec`.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[allow(missing_docs)]
pub enum CodecArg {
    H264,
    Hevc,
    Av1,
    Vp9,
    Ffv1,
    Prores,
    Copy,
    None,
}

/// `--quality`.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[allow(missing_docs)]
pub enum QualityArg {
    Low,
    Medium,
    High,
    Lossless,
}

/// `--audio`.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[allow(missing_docs)]
pub enum AudioArg {
    Aac,
    Opus,
    Copy,
    None,
}

/// `--container`.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[allow(missing_docs)]
pub enum ContainerArg {
    Mp4,
    Mov,
    Mkv,
    Webm,
    Hls,
    M4a,
    Mka,
    Opus,
}

/// `--chapters`.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[allow(missing_docs)]
pub enum ChaptersArg {
    Auto,
}

/// `--verify`.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[allow(missing_docs)]
pub enum VerifyArg {
    Fast,
    Full,
    Off,
}

impl From<CodecArg> for VideoCodec {
    fn from(arg: CodecArg) -> Self {
        match arg {
            CodecArg::H264 => Self::H264,
            CodecArg::Hevc => Self::Hevc,
            CodecArg::Av1 => Self::Av1,
            CodecArg::Vp9 => Self::Vp9,
            CodecArg::Ffv1 => Self::Ffv1,
            CodecArg::Prores => Self::Prores,
            CodecArg::Copy => Self::Copy,
            CodecArg::None => Self::None,
        }
    }
}

impl From<QualityArg> for Quality {
    fn from(arg: QualityArg) -> Self {
        match arg {
            QualityArg::Low => Self::Low,
            QualityArg::Medium => Self::Medium,
            QualityArg::High => Self::High,
            QualityArg::Lossless => Self::Lossless,
        }
    }
}

impl From<AudioArg> for AudioCodec {
    fn from(arg: AudioArg) -> Self {
        match arg {
            AudioArg::Aac => Self::Aac,
            AudioArg::Opus => Self::Opus,
            AudioArg::Copy => Self::Copy,
            AudioArg::None => Self::None,
        }
    }
}

impl From<ContainerArg> for Container {
    fn from(arg: ContainerArg) -> Self {
        match arg {
            ContainerArg::Mp4 => Self::Mp4,
            ContainerArg::Mov => Self::Mov,
            ContainerArg::Mkv => Self::Mkv,
            ContainerArg::Webm => Self::Webm,
            ContainerArg::Hls => Self::Hls,
            ContainerArg::M4a => Self::M4a,
            ContainerArg::Mka => Self::Mka,
            ContainerArg::Opus => Self::Opus,
        }
    }
}

impl From<ChaptersArg> for Chapters {
    fn from(arg: ChaptersArg) -> Self {
        match arg {
            ChaptersArg::Auto => Self::Auto,
        }
    }
}

impl From<VerifyArg> for Verify {
    fn from(arg: VerifyArg) -> Self {
        match arg {
            VerifyArg::Fast => Self::Fast,
            VerifyArg::Full => Self::Full,
            VerifyArg::Off => Self::Off,
        }
    }
}
