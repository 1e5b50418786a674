//! Chunks put end to end: fragmented MP4 with absolute times needs no rewriting. Of chunk 0 everything up to its index of
//! fragments is kept, of the others everything from their first fragment on. Copying bytes is all that happens here.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use kinora_protocol::Digest;
use tokio_util::sync::CancellationToken;

use crate::error::MediaError;
use crate::hash::{Cancellable, Hashing};

/// Top-level boxes of a chunk are at most this many: one fragment is two boxes, and a chunk has a fragment per key frame.
const MAX_BOXES: usize = 4_000_000;

/// The part of a chunk file that goes into the join.
struct Part {
    start: u64,
    end: u64,
}

/// A chunk file and the BLAKE3 that it must still have.
#[derive(Debug, Clone)]
pub struct Input {
    /// The file.
    pub path: PathBuf,
    /// Digest of all its bytes when it was accepted.
    pub digest: Digest,
}

/// Joins `chunks` in order into `out`, durably; gives size and BLAKE3.
///
/// # Errors
/// When a chunk is not what it was when it was accepted, a file cannot be read or written, or the work was cancelled.
pub fn join(chunks: &[Input], out: &Path, cancel: &CancellationToken) -> Result<(u64, Digest), MediaError> {
    let target = File::create(out).map_err(MediaError::io(out))?;
    let mut writer = Hashing::new(BufWriter::with_capacity(1 << 20, target));
    for (ordinal, Input { path, digest }) in chunks.iter().enumerate() {
        let mut file = File::open(path).map_err(MediaError::io(path))?;
        let part = part(&mut file, ordinal == 0).map_err(MediaError::io(path))?;
        file.rewind().map_err(MediaError::io(path))?;
        // All of the file is hashed on the way, also what is left out of the join.
        let mut whole = Hashing::new(io::sink());
        let mut source = Cancellable::new(&file, cancel);
        io::copy(&mut source.by_ref().take(part.start), &mut whole).map_err(MediaError::io(path))?;
        copy_hashed(&mut source.by_ref().take(part.end - part.start), &mut whole, &mut writer)
            .map_err(MediaError::io(out))?;
        io::copy(&mut source, &mut whole).map_err(MediaError::io(path))?;
        if whole.finish().2 != *digest {
            let reason =
                "its bytes are not those that were accepted; run the same command again to make it anew";
            return Err(MediaError::not_exact(path.display().to_string(), reason));
        }
    }
    writer.flush().map_err(MediaError::io(out))?;
    let (buffered, size, digest) = writer.finish();
    let target = buffered.into_inner().map_err(|e| MediaError::io(out)(e.into_error()))?;
    target.sync_all().map_err(MediaError::io(out))?;
    Ok((size, digest))
}

fn copy_hashed(from: &mut impl Read, hash: &mut impl Write, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = from.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|b| !b.is_empty()) else { return Ok(()) };
        hash.write_all(bytes)?;
        to.write_all(bytes)?;
    }
}

fn part(file: &mut File, first: bool) -> io::Result<Part> {
    let length = file.seek(SeekFrom::End(0))?;
    let (mut at, mut moof, mut end) = (0, None, length);
    for _ in 0..MAX_BOXES {
        if at >= length {
            break;
        }
        let (kind, size) = box_at(file, at, length)?;
        match &kind {
            b"moof" => moof = moof.or(Some(at)),
            b"mfra" => {
                end = at;
                break;
            }
            _ => {}
        }
        at += size;
    }
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the chunk holds no fragment: it is damaged");
    let start = if first { 0 } else { moof.ok_or_else(damaged)? };
    if start > end || moof.is_none() {
        return Err(damaged());
    }
    Ok(Part { start, end })
}

/// Type and size of the box at an offset; ISO/IEC 14496-12, 4.2.
fn box_at(file: &mut File, at: u64, length: u64) -> io::Result<([u8; 4], u64)> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "its boxes do not fit: the chunk is damaged");
    file.seek(SeekFrom::Start(at))?;
    let mut header = [0; 16];
    let available = usize::try_from((length - at).min(16)).unwrap_or(16);
    file.read_exact(header.get_mut(..available).ok_or_else(damaged)?)?;
    let [a, b, c, d, k0, k1, k2, k3, large @ ..] = header;
    let size = match u32::from_be_bytes([a, b, c, d]) {
        0 => length - at,
        1 => u64::from_be_bytes(large),
        size => u64::from(size),
    };
    if size < 8 || size > length - at {
        return Err(damaged());
    }
    Ok(([k0, k1, k2, k3], size))
}
