//! Changes to a finished clip's bytes that no ffmpeg option makes, the same ones every time.
//!
//! It must not know which recipe asks.

use std::fs::{self, OpenOptions};
use std::path::Path;

use anyhow::{Context, Result};

/// Turns by 90 degrees: (0 1 0, -1 0 0, height 0 1), in the fixed point of a track header.
const TURN_90: [u32; 9] = [0, 0x0001_0000, 0, 0xffff_0000, 0, 0, 180 << 16, 0, 0x4000_0000];
/// From the box type to the matrix of a version 0 track header.
const MATRIX_IN_TKHD: usize = 4 + 40;

/// Keeps `part` of `whole` of the file.
pub(super) fn truncate(path: &Path, part: u64, whole: u64) -> Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    // One byte past the even share, so that the end is not by chance that of a block.
    file.set_len(file.metadata()?.len() * part / whole + 1)?;
    Ok(())
}

/// Flips bits of 60 bytes in the middle fifth.
pub(super) fn corrupt_middle(path: &Path) -> Result<()> {
    let mut data = fs::read(path)?;
    let (from, span) = (data.len() * 2 / 5, data.len() / 5);
    let mut state: u64 = 0x2545_f491_4f6c_dd1d;
    for _ in 0..60 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        data[from + (state >> 33) as usize % span] ^= 0x5a;
    }
    fs::write(path, data)?;
    Ok(())
}

/// Writes a display matrix of 90 degrees into the first track header. The option for it is another one in every
/// ffmpeg version; the box is not.
pub(super) fn rotate_90(path: &Path) -> Result<()> {
    let mut data = fs::read(path)?;
    let header = data.windows(4).position(|four| four == b"tkhd").context("no track header in the clip")?;
    let matrix = header + MATRIX_IN_TKHD;
    let bytes: Vec<u8> = TURN_90.iter().flat_map(|word| word.to_be_bytes()).collect();
    data.get_mut(matrix..matrix + bytes.len())
        .context("the track header is cut off")?
        .copy_from_slice(&bytes);
    fs::write(path, data)?;
    Ok(())
}
