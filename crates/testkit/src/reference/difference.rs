//! The first way in which two files are not the same.
//!
//! It must not know how differences are looked for.

use std::fmt;

/// What kind of thing differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    FrameCount,
    FramePicture,
    FrameTime,
    AudioStreams,
    AudioFormat,
    AudioStart,
    AudioLength,
    AudioSamples,
    Tags,
    /// One of the files could not be read, so nothing is known.
    Unreadable,
}

/// A difference, with enough around it to find the cause.
#[derive(Debug)]
pub struct Difference {
    pub kind: Kind,
    pub text: String,
}

impl Difference {
    pub(super) fn new(kind: Kind, text: impl Into<String>) -> Difference {
        Difference { kind, text: text.into() }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.text)
    }
}

impl std::error::Error for Difference {}

impl From<anyhow::Error> for Difference {
    fn from(error: anyhow::Error) -> Difference {
        Difference::new(Kind::Unreadable, format!("{error:#}"))
    }
}
