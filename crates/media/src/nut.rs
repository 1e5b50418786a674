//! NUT, the container in which raw pictures go between ffmpeg and us through pipes: it keeps any unit of time and any pixel
//! format. One video stream; what ffmpeg writes is read, and what we write ffmpeg reads. It must not know what is done with
//! pictures.
//!
//! Format: "NUT Open Container Format" 20080206 (nut.txt), in the parts that raw video needs.

mod reader;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

/// What a file begins with.
const MAGIC: &[u8] = b"nut/multimedia container\0";
/// Packets begin with one of these.
const MAIN: u64 = 0x4E4D_7A56_1F5F_04AD;
const STREAM: u64 = 0x4E53_1140_5BF2_F9DB;
const INFO: u64 = 0x4E49_AB68_B596_BA78;
const SYNCPOINT: u64 = 0x4E4B_E4AD_EECA_4569;
/// A packet that is longer than this has a checksum of its header.
const SHORT_PACKET: u64 = 4096;

/// Flags of frames.
mod flag {
    pub(super) const KEY: u64 = 1;
    pub(super) const CODED_PTS: u64 = 8;
    pub(super) const STREAM_ID: u64 = 16;
    pub(super) const SIZE_MSB: u64 = 32;
    pub(super) const CHECKSUM: u64 = 64;
    pub(super) const RESERVED: u64 = 128;
    pub(super) const SM_DATA: u64 = 256;
    pub(super) const HEADER_IDX: u64 = 1024;
    pub(super) const MATCH_TIME: u64 = 2048;
    pub(super) const CODED: u64 = 4096;
    pub(super) const INVALID: u64 = 8192;
}

/// CRC-32 with the generator 0x04C11DB7, most significant bit first, from 0.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum: u32, byte| {
        (0..8).fold(sum ^ (u32::from(*byte) << 24), |sum, _| {
            if sum >> 31 == 1 { (sum << 1) ^ 0x04C1_1DB7 } else { sum << 1 }
        })
    })
}

/// A picture with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Presentation time in the stream's unit.
    pub pts: i64,
    /// All planes, row after row, without padding.
    pub bytes: Vec<u8>,
}

/// What is not NUT, or not what raw video needs of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pictures from ffmpeg cannot be read: {0}")]
pub struct Garbled(pub(super) &'static str);

#[cfg(test)]
mod tests;
