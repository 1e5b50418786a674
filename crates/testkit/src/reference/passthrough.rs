//! The yardstick: one ffmpeg that encodes a whole file and keeps every frame and its time.
//!
//! It must not know how the product cuts, encodes or joins.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::frames::Rotation;
use super::probe::{stream_entry, video_time_base};
use crate::clips::Container;
use crate::ffmpeg;

/// What to write.
#[derive(Clone, Debug)]
pub struct Passthrough {
    pub container: Container,
    /// Video encoder arguments; `lossless` gives some whose pictures are those of the source.
    pub video: Vec<String>,
    /// Sound encoder arguments.
    pub audio: Vec<String>,
    pub rotation: Rotation,
    /// Further input options, for example `-fflags +genpts`.
    pub input: Vec<String>,
}

impl Passthrough {
    /// Lossless pictures, AAC or Opus sound, display matrix kept.
    pub fn lossless(src: &Path, container: Container) -> Result<Passthrough> {
        let sound: &[&str] = match container {
            Container::Webm => &["-c:a", "libopus"],
            _ => &["-c:a", "aac"],
        };
        Ok(Passthrough {
            container,
            video: lossless(src, container)?,
            audio: sound.iter().map(|arg| (*arg).to_owned()).collect(),
            rotation: Rotation::Keep,
            input: Vec::new(),
        })
    }
}

/// Arguments of an encoder that gives back the very pictures of `src` and fits the container.
pub fn lossless(src: &Path, container: Container) -> Result<Vec<String>> {
    let side = |entry| -> Result<u32> { Ok(stream_entry(src, "v:0", entry)?.parse()?) };
    // x264 takes no odd sizes with halved chroma.
    let odd = side("width")? % 2 == 1 || side("height")? % 2 == 1;
    let args: &[&str] = match container {
        Container::Webm => &[
            "-c:v",
            "libvpx-vp9",
            "-lossless",
            "1",
            "-deadline",
            "realtime",
            "-cpu-used",
            "8",
            "-row-mt",
            "1",
        ],
        Container::Mkv => &["-c:v", "ffv1", "-level", "3", "-g", "1"],
        _ if odd => &[
            "-c:v",
            "libvpx-vp9",
            "-lossless",
            "1",
            "-deadline",
            "realtime",
            "-cpu-used",
            "8",
            "-row-mt",
            "1",
        ],
        _ => &["-c:v", "libx264", "-preset", "ultrafast", "-qp", "0"],
    };
    Ok(args.iter().map(|arg| (*arg).to_owned()).collect())
}

/// Encodes `src` into `folder` in one run and gives the file's path. Picture 0, all sound, text and, in Matroska,
/// attachments; every frame at its own time, counted from the start of the file.
pub fn passthrough(src: &Path, folder: &Path, what: &Passthrough) -> Result<PathBuf> {
    let stem = src.file_stem().and_then(|stem| stem.to_str()).context("the source's name is no text")?;
    let out = folder.join(format!("{stem}.passthrough.{}", what.container.extension()));
    let time_base = video_time_base(src)?;
    let mut command = ffmpeg::ffmpeg();
    command.args(["-max_error_rate", "1"]);
    if what.rotation == Rotation::Keep {
        command.arg("-noautorotate");
    }
    command.args(&what.input).arg("-i").arg(ffmpeg::file_arg(src));
    command.args(["-map", "0:v:0", "-map", "0:a?"]);
    match what.container {
        Container::Mkv => command.args(["-map", "0:s?", "-map", "0:t?", "-c:s", "copy"]),
        Container::Webm => command.args(["-map", "0:s?", "-c:s", "webvtt"]),
        _ => command.args(["-map", "0:s?", "-c:s", "mov_text", "-write_tmcd", "0"]),
    };
    command.args(["-fps_mode", "passthrough"]);
    command.args(["-enc_time_base:v", &format!("{}/{}", time_base.0, time_base.1)]);
    if what.container.is_iso() {
        command.args(["-video_track_timescale", &time_base.1.to_string()]);
        // The first picture's time is kept in these units; the default are milliseconds.
        command.args(["-movie_timescale", "90000"]);
    }
    command.args(&what.video).args(&what.audio).arg(ffmpeg::file_arg(&out));
    ffmpeg::output(&mut command)?;
    Ok(out)
}
