//! Typed values to argument lists. Everything that reaches ffmpeg is built here from types; no string that a user wrote
//! gets through unparsed. Nothing here runs a program.

use std::ffi::OsString;
use std::ops::Deref;
use std::path::{Path, PathBuf};

pub mod audio;
pub mod chunk;
pub mod describe;
pub mod encoder;
mod enhance;
pub mod hls;
pub mod input;
pub mod inspect;
pub mod measure;
pub mod package;
pub mod scene;
#[cfg(test)]
mod tests;

/// A finished argument list and the files in it: what a program may touch is read off what it is told to do.
#[derive(Debug, Clone, Default)]
pub struct Line {
    words: Vec<OsString>,
    /// Files that it reads.
    pub reads: Vec<PathBuf>,
    /// Files that it writes.
    pub writes: Vec<PathBuf>,
    /// Whether it uses a hardware coder.
    pub hardware: bool,
    /// Words that say what media may have; the machine that runs it says how much that is.
    limits: Vec<(usize, Limit)>,
}

/// What media may have at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Samples of a picture.
    Pixels,
    /// Streams.
    Streams,
    /// Bytes of one allocation.
    Allocation,
}

/// How much media may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Samples of a picture.
    pub pixels: u64,
    /// Streams.
    pub streams: u64,
    /// Bytes of one allocation.
    pub allocation: u64,
}

impl Default for Limits {
    fn default() -> Self {
        // 8192 x 4352.
        Self { pixels: 35_651_584, streams: 64, allocation: 512 << 20 }
    }
}

impl Limits {
    fn of(self, limit: Limit) -> u64 {
        match limit {
            Limit::Pixels => self.pixels,
            Limit::Streams => self.streams,
            Limit::Allocation => self.allocation,
        }
    }
}

impl Line {
    /// The same with the limits of this machine.
    pub fn within(mut self, limits: Limits) -> Self {
        for (at, limit) in &self.limits {
            if let Some(word) = self.words.get_mut(*at) {
                *word = limits.of(*limit).to_string().into();
            }
        }
        self
    }
}

impl Deref for Line {
    type Target = [OsString];

    fn deref(&self) -> &[OsString] {
        &self.words
    }
}

/// An argument list under construction.
#[derive(Debug, Clone, Default)]
pub struct Args(Line);

impl Args {
    /// Adds plain words.
    pub fn words(&mut self, words: impl IntoIterator<Item = impl Into<OsString>>) -> &mut Self {
        self.0.words.extend(words.into_iter().map(Into::into));
        self
    }

    /// Adds an option and its value.
    pub fn option(&mut self, name: &str, value: impl Into<OsString>) -> &mut Self {
        self.0.words.push(name.into());
        self.0.words.push(value.into());
        self
    }

    /// Adds a file that is read, as ffmpeg's `file:` protocol, so that no name is taken for an option, a URL or a device.
    pub fn reads(&mut self, path: &Path) -> &mut Self {
        self.0.words.push(file_url(path));
        self.0.reads.push(path.to_owned());
        self
    }

    /// Adds a file that is written, in the same way.
    pub fn writes(&mut self, path: &Path) -> &mut Self {
        self.0.words.push(file_url(path));
        self.0.writes.push(path.to_owned());
        self
    }

    /// Adds what others say.
    pub fn append(&mut self, others: Self) -> &mut Self {
        let Line { words, reads, writes, hardware, limits } = others.0;
        let before = self.0.words.len();
        self.0.limits.extend(limits.into_iter().map(|(at, limit)| (before + at, limit)));
        self.0.words.extend(words);
        self.0.reads.extend(reads);
        self.0.writes.extend(writes);
        self.0.hardware |= hardware;
        self
    }

    /// Adds an option whose value is a limit.
    pub fn limit(&mut self, name: &str, limit: Limit) -> &mut Self {
        self.option(name, Limits::default().of(limit).to_string());
        self.0.limits.push((self.0.words.len() - 1, limit));
        self
    }

    /// Says that a hardware coder is used.
    pub fn uses_hardware(&mut self) -> &mut Self {
        self.0.hardware = true;
        self
    }

    /// The finished list.
    pub fn finish(self) -> Line {
        self.0
    }
}

/// `file:<path>`.
pub fn file_url(path: &Path) -> OsString {
    let mut url = OsString::from("file:");
    url.push(path);
    url
}

/// For snapshots: the list as one line.
#[cfg(test)]
pub fn shown(args: &[OsString]) -> String {
    args.iter().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
