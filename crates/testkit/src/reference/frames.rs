//! Time and hash of every frame that ffmpeg decodes from a file.
//!
//! It must not know what the frames are compared with.

use std::path::Path;

use anyhow::{Context, Result};

use super::probe::{TimeBase, video_time_base};
use crate::ffmpeg;

/// One decoded frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub pts_ticks: i64,
    pub time_base: TimeBase,
    /// MD5 of the picture, in hexadecimal.
    pub hash: String,
}

impl Frame {
    /// `self - other` as an exact fraction of a second; the denominator is positive.
    pub fn time_since(&self, other: &Frame) -> (i128, i128) {
        let (a, b) = (self.time_base, other.time_base);
        let ticks = i128::from(self.pts_ticks) * i128::from(a.0) * i128::from(b.1)
            - i128::from(other.pts_ticks) * i128::from(b.0) * i128::from(a.1);
        (ticks, i128::from(a.1) * i128::from(b.1))
    }

    /// For people only.
    pub fn seconds(&self) -> f64 {
        self.pts_ticks as f64 * self.time_base.0 as f64 / self.time_base.1 as f64
    }
}

/// What times count from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Times as the file has them (`-copyts`).
    File,
    /// The file's start is 0, as ffmpeg does it by default. The start may be that of the sound.
    Start,
    /// The first frame is 0: for files whose muxer moved all streams, as Matroska's does when sound has priming
    /// before 0.
    FirstFrame,
}

/// What becomes of a display matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// Pictures as they are coded; a copied matrix stays.
    Keep,
    /// Pictures are turned and the matrix is gone.
    Apply,
}

/// How a file is decoded.
#[derive(Clone, Debug)]
pub struct Decode {
    pub origin: Origin,
    pub rotation: Rotation,
    /// Pixel format to convert to; the file's own if none.
    pub pix_fmt: Option<String>,
    /// Further input options, for example `-fflags +genpts`.
    pub input: Vec<String>,
}

impl Default for Decode {
    fn default() -> Decode {
        Decode { origin: Origin::File, rotation: Rotation::Keep, pix_fmt: None, input: Vec::new() }
    }
}

/// Every frame of the first video stream in display order, times in the stream's own time base.
pub fn frames(path: &Path, decode: &Decode) -> Result<Vec<Frame>> {
    let time_base = video_time_base(path)?;
    let mut command = ffmpeg::ffmpeg();
    // A damaged file still has frames; without the limit, ffmpeg fails when most of it is broken.
    command.args(["-max_error_rate", "1"]);
    // FirstFrame too: ffmpeg's own shift is in microseconds and would round.
    if decode.origin != Origin::Start {
        command.arg("-copyts");
    }
    if decode.rotation == Rotation::Keep {
        command.arg("-noautorotate");
    }
    command.args(&decode.input).arg("-i").arg(ffmpeg::file_arg(path));
    command.args(["-map", "0:v:0", "-fps_mode", "passthrough"]);
    // As a ratio, because newer versions refuse -1. Without it, times would be rounded to the frame rate.
    command.args(["-enc_time_base", &format!("{}/{}", time_base.0, time_base.1)]);
    if let Some(format) = &decode.pix_fmt {
        command.args(["-pix_fmt", format]);
    }
    command.args(["-f", "framehash", "-hash", "md5", "-"]);
    let mut frames = parse(&String::from_utf8_lossy(&ffmpeg::output(&mut command)?))
        .with_context(|| format!("cannot read the frames of {}", path.display()))?;
    if let (Origin::FirstFrame, Some(first)) = (decode.origin, frames.first().map(|frame| frame.pts_ticks)) {
        for frame in &mut frames {
            frame.pts_ticks -= first;
        }
    }
    Ok(frames)
}

/// Lines of `stream, dts, pts, duration, size, hash` after a header with the time base.
fn parse(text: &str) -> Result<Vec<Frame>> {
    let mut time_base = None;
    let mut frames = Vec::new();
    for line in text.lines() {
        if let Some(ratio) = line.strip_prefix("#tb 0: ") {
            let (num, den) = ratio.split_once('/').context("the time base is no ratio")?;
            time_base = Some((num.parse()?, den.parse()?));
        }
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [_, _, pts, _, _, hash] = fields[..] else { anyhow::bail!("not a frame: {line}") };
        frames.push(Frame {
            pts_ticks: pts.parse()?,
            time_base: time_base.context("no time base before the first frame")?,
            hash: hash.to_owned(),
        });
    }
    Ok(frames)
}
