//! Segments: an object is cut into pieces of one length, each encrypted for itself, so that a range is the arithmetic of this file.
//! Each has a nonce of its own, drawn at random: a segment may be written again without a nonce coming twice. The place in the
//! object and whether it ends there are sealed with it, so that segments can be neither exchanged nor left out.

use std::io::{Error, ErrorKind, Result};

use ring::aead::{Aad, LessSafeKey, Nonce};

use crate::header::HEADER;
use crate::{ObjectId, random};

/// Bytes of a segment as its readers see it.
pub(crate) const SEGMENT: usize = 64 << 10;
pub(crate) const NONCE: usize = 12;
pub(crate) const TAG: usize = 16;
/// Bytes that each segment has more on the disk.
pub(crate) const OVERHEAD: usize = NONCE + TAG;
/// Bytes of a segment on the disk.
pub(crate) const RAW: usize = SEGMENT + OVERHEAD;

/// What a segment is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Others follow.
    Middle = 0,
    /// The object ends with it; it is shorter than others, perhaps empty.
    Last = 1,
    /// The object grows: it is beside it, and what is in it belongs there.
    Tail = 2,
}

/// What an object is encrypted with.
#[derive(Debug)]
pub(crate) struct Cipher {
    id: ObjectId,
    key: LessSafeKey,
}

impl Cipher {
    pub(crate) fn new(id: ObjectId, key: LessSafeKey) -> Self {
        Self { id, key }
    }

    fn aad(&self, kind: Kind, index: u64) -> Aad<[u8; 25]> {
        let mut about = [0; 25];
        about[..16].copy_from_slice(&self.id);
        about[16..24].copy_from_slice(&index.to_le_bytes());
        about[24] = kind as u8;
        Aad::from(about)
    }

    /// Adds a segment to `raw`.
    pub(crate) fn seal(&self, kind: Kind, index: u64, plain: &[u8], raw: &mut Vec<u8>) -> Result<()> {
        let nonce: [u8; NONCE] = random()?;
        raw.extend_from_slice(&nonce);
        let start = raw.len();
        raw.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = self.key.seal_in_place_separate_tag(nonce, self.aad(kind, index), &mut raw[start..]);
        let tag = sealed.map_err(|_| Error::other("a segment cannot be encrypted"))?;
        raw.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// Opens a segment in its place; its bytes begin at [`NONCE`]. Gives how many they are.
    pub(crate) fn open(&self, kind: Kind, index: u64, raw: &mut [u8]) -> Result<usize> {
        let damaged = || Error::new(ErrorKind::InvalidData, format!("segment {index} is damaged"));
        let (nonce, sealed) = raw.split_at_mut_checked(NONCE).ok_or_else(damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged())?;
        let plain = self.key.open_in_place(nonce, self.aad(kind, index), sealed);
        plain.map(|plain| plain.len()).map_err(|_| damaged())
    }
}

/// Where a segment begins on the disk.
pub(crate) fn place(index: u64) -> u64 {
    HEADER as u64 + index * RAW as u64
}

/// Bytes of an object of so many on the disk; `None` when no object has that length.
pub(crate) fn plain_length(raw: u64) -> Option<u64> {
    let body = raw.checked_sub(HEADER as u64)?;
    let last = (body % RAW as u64).checked_sub(OVERHEAD as u64)?;
    Some(body / RAW as u64 * SEGMENT as u64 + last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        let raw = |plain: u64| place(plain / SEGMENT as u64) + plain % SEGMENT as u64 + OVERHEAD as u64;
        let one = SEGMENT as u64;
        for plain in [0, 1, one - 1, one, one + 1, 7 * one, 7 * one + 5] {
            assert_eq!(plain_length(raw(plain)), Some(plain));
        }
        for none in [0, 1, HEADER as u64 - 1, HEADER as u64, raw(0) - 1, place(1), place(1) + 27] {
            assert_eq!(plain_length(none), None, "{none}");
        }
    }
}
