//! Where the structural bytes of a container are: facts that `media` reads and `window` plans from.
//! It must not know how the bytes are read or written.

use serde::{Deserialize, Serialize};

/// A stretch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bytes {
    /// Offset of the first byte.
    pub at: u64,
    /// How many.
    pub len: u64,
}

impl Bytes {
    /// One past the last byte.
    pub fn end(self) -> u64 {
        self.at + self.len
    }
}

/// The layout of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layout {
    /// MP4 or QuickTime with one sample table.
    Mp4 {
        /// All bytes that are not the payload of an `mdat` box: other boxes, and the headers of `mdat` boxes.
        structure: Vec<Bytes>,
    },
    /// Fragmented MP4.
    Fragmented {
        /// Length of everything before the first `moof` (`ftyp`, `moov`, `sidx`).
        head: u64,
        /// Offsets of the `moof` boxes.
        moofs: Vec<u64>,
    },
    /// Matroska or WebM.
    Matroska {
        /// Length of everything before the first `Cluster`.
        head: u64,
        /// The clusters, in order.
        clusters: Vec<Bytes>,
    },
    /// MPEG transport stream of 188-byte packets.
    Transport {
        /// Offsets of the packets that carry the PAT and the PMTs.
        tables: Vec<u64>,
    },
    /// AVI.
    Avi {
        /// Length of everything before the first chunk of `movi`.
        head: u64,
        /// Whether packets can be told apart by time: false with B-frames, as AVI has no timestamps.
        seekable: bool,
    },
    /// Anything else: the whole file is needed.
    Opaque {
        /// Why, in a few words.
        reason: String,
    },
}
