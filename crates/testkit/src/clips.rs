//! Clips that are hard to split: made with ffmpeg from synthetic pictures, or real ones of a shared folder.
//!
//! It must not know how the product reads or splits them: a clip names its trap and its features, no more.

mod avi;
mod bytes;
mod cache;
mod matroska;
mod mp4;
mod recipe;
mod shared;
mod transport;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub use shared::{shared, shared_folder};

/// Container of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Container {
    Mp4,
    Mov,
    Mkv,
    Webm,
    Ts,
    Avi,
}

impl Container {
    /// The container that a file name's ending stands for.
    pub fn of(path: &Path) -> Option<Container> {
        Some(match path.extension()?.to_str()? {
            "mp4" | "m4v" => Container::Mp4,
            "mov" => Container::Mov,
            "mkv" => Container::Mkv,
            "webm" => Container::Webm,
            "ts" | "m2ts" => Container::Ts,
            "avi" => Container::Avi,
            _ => return None,
        })
    }

    /// File name ending, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Container::Mp4 => "mp4",
            Container::Mov => "mov",
            Container::Mkv => "mkv",
            Container::Webm => "webm",
            Container::Ts => "ts",
            Container::Avi => "avi",
        }
    }

    /// Whether the format is one of the ISO base media family, whose video times are exact.
    pub fn is_iso(self) -> bool {
        matches!(self, Container::Mp4 | Container::Mov)
    }
}

/// What a clip is known to hold, for tests that choose clips or expect something of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feature {
    /// Frames that are shown before a key frame but decoded after it.
    OpenGop,
    /// Frames whose coding order is not their display order.
    BFrames,
    /// Distances between frames differ.
    Vfr,
    /// More ticks per second than the 10 million that libvpx and libaom count in.
    FineClock,
    /// 33-bit timestamps start again from 0 inside.
    PtsWrap,
    /// The first timestamp is far from 0.
    LateStart,
    /// An edit list hides packets that must be decoded.
    EditList,
    /// ISO file in fragments.
    Fragmented,
    /// ISO file whose index comes after the media.
    MoovAtEnd,
    /// Ends in the middle of a packet.
    Truncated,
    /// Bytes in the middle are wrong.
    Corrupt,
    /// One key frame, the first one.
    SingleGop,
    /// Periodic intra refresh in place of key frames.
    IntraRefresh,
    /// Every frame is a key frame.
    IntraOnly,
    /// The container stores no PTS. What ffprobe prints is a guess, or nothing where there are B-frames.
    MissingPts,
    /// Width or height is odd.
    OddSize,
    Interlaced,
    /// More than eight bits per sample.
    TenBit,
    /// Static HDR10 metadata.
    Hdr10,
    Hlg,
    /// A display matrix that turns the picture.
    Rotated,
    MultiAudio,
    Subtitles,
    Chapters,
    Attachment,
    /// Sound goes on after the last picture.
    AudioLonger,
    /// Sound starts clearly later than the picture.
    AudioLate,
    NoAudio,
    /// Hidden reference frames that travel in the packet of a shown one.
    AltRef,
    /// Streams that are neither picture, sound nor text.
    DataStreams,
}

/// One clip, ready on the disk.
#[derive(Clone, Debug)]
pub struct Clip {
    /// File name without its ending; unique within its set.
    pub name: String,
    pub path: PathBuf,
    pub container: Container,
    /// What goes wrong with a naive splitter, in a few words.
    pub trap: &'static str,
    pub expect: &'static [Feature],
}

impl Clip {
    pub fn has(&self, feature: Feature) -> bool {
        self.expect.contains(&feature)
    }

    /// Bytes are missing or wrong: which frames come out depends on the decoder's concealment.
    pub fn is_damaged(&self) -> bool {
        self.has(Feature::Truncated) || self.has(Feature::Corrupt)
    }
}

/// The generated clips, made below `dir` unless this version of them is there. Safe to call from several
/// processes and threads at once. A clip whose encoder is missing is left out, and said so on stderr.
pub fn generated(dir: &Path) -> Result<Vec<Clip>> {
    cache::generated(dir)
}

/// `generated` in the folder that all tests of the workspace share.
pub fn all() -> Result<Vec<Clip>> {
    generated(&folder())
}

/// One generated clip by its name.
pub fn named(name: &str) -> Result<Clip> {
    all()?.into_iter().find(|clip| clip.name == name).with_context(|| format!("no generated clip {name}"))
}

/// `target/testkit` of the workspace.
pub fn folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| workspace().join("target")).join("testkit")
}

fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}
