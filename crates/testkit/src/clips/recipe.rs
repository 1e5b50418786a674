//! The shape of a recipe for a clip and the bench that it is carried out on.
//!
//! It must not know any single recipe, nor where finished clips are kept.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Container, Feature, avi, matroska, mp4, transport};
use crate::ffmpeg;

/// How to make one clip.
pub(super) struct Recipe {
    pub name: &'static str,
    pub container: Container,
    pub trap: &'static str,
    pub expect: &'static [Feature],
    /// ffmpeg encoders without which the clip cannot be made.
    pub needs: &'static [&'static str],
    pub make: fn(&Bench) -> Result<()>,
}

impl Recipe {
    pub fn file(&self) -> String {
        format!("{}.{}", self.name, self.container.extension())
    }
}

/// Every recipe, in the order of the set.
pub(super) fn all() -> Vec<&'static Recipe> {
    [mp4::RECIPES, matroska::RECIPES, transport::RECIPES, avi::RECIPES].into_iter().flatten().collect()
}

/// A folder of its own for one recipe.
pub(super) struct Bench {
    folder: PathBuf,
    file: String,
}

impl Bench {
    pub fn new(folder: &Path, file: String) -> Bench {
        Bench { folder: folder.to_owned(), file }
    }

    /// Where the clip must be at the end.
    pub fn out(&self) -> PathBuf {
        self.folder.join(&self.file)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// One ffmpeg run whose last argument is the clip; `args` is split at blanks, so paths are relative.
    pub fn encode(&self, args: &str) -> Result<()> {
        self.encode_to(args, &self.file)
    }

    /// `encode` to another name, for recipes with several steps.
    pub fn encode_to(&self, args: &str, file: &str) -> Result<()> {
        let mut command = ffmpeg::ffmpeg();
        command.current_dir(&self.folder).args(args.split_whitespace());
        // The same ffmpeg makes the same bytes: no random ids, no encoder names.
        command.args(["-fflags", "+bitexact", file]);
        ffmpeg::output(&mut command).map(drop)
    }
}

/// Input arguments: moving test pictures of 320x180 with a counter, so that no two frames are the same.
pub(super) fn pictures(rate: &str, seconds: u32) -> String {
    format!("-f lavfi -i testsrc2=size=320x180:rate={rate}:duration={seconds}")
}

/// Input arguments: a zoom into a fractal, all detail and motion.
pub(super) fn fractal(rate: &str, seconds: u32) -> String {
    sized_fractal("320x180", rate, seconds)
}

/// `fractal` in another size, odd ones too.
pub(super) fn sized_fractal(size: &str, rate: &str, seconds: u32) -> String {
    let frames = format!("mandelbrot=size={size}:rate={rate}:maxiter=400:end_scale=0.02:end_pts=200");
    format!("-f lavfi -t {seconds} -i {frames}")
}

/// Input arguments: two channels that glide upwards, so that no stretch of sound equals another.
pub(super) fn sound(seconds: u32) -> String {
    gliding_sound(220, seconds)
}

pub(super) fn gliding_sound(hertz: u32, seconds: u32) -> String {
    let left = format!("0.3*sin(2*PI*({hertz}+40*t)*t)");
    let right = format!("0.3*sin(2*PI*({hertz}*1.5+25*t)*t)");
    format!("-f lavfi -i aevalsrc={left}|{right}:s=48000:d={seconds}")
}

/// H.264, quick and small.
pub(super) const X264: &str = "-c:v libx264 -preset veryfast -crf 26 -pix_fmt yuv420p";
/// Sound of most clips.
pub(super) const AAC: &str = "-c:a aac -b:a 64k";
