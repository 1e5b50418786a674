//! Typed values to argument lists. Everything that reaches ffmpeg is built here from types; no string that a user wrote
//! gets through unparsed. Nothing here runs a program.

use std::ffi::OsString;
use std::path::Path;

pub mod audio;
pub mod chunk;
pub mod describe;
pub mod encoder;
pub mod hls;
pub mod input;
pub mod inspect;
pub mod package;
pub mod scene;
#[cfg(test)]
mod tests;

/// An argument list under construction.
#[derive(Debug, Clone, Default)]
pub struct Args(Vec<OsString>);

impl Args {
    /// Adds plain words.
    pub fn words(&mut self, words: impl IntoIterator<Item = impl Into<OsString>>) -> &mut Self {
        self.0.extend(words.into_iter().map(Into::into));
        self
    }

    /// Adds an option and its value.
    pub fn option(&mut self, name: &str, value: impl Into<OsString>) -> &mut Self {
        self.0.push(name.into());
        self.0.push(value.into());
        self
    }

    /// Adds a file as ffmpeg's `file:` protocol, so that no name is taken for an option, a URL or a device.
    pub fn file(&mut self, path: &Path) -> &mut Self {
        self.0.push(file_url(path));
        self
    }

    /// The finished list.
    pub fn finish(self) -> Vec<OsString> {
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
