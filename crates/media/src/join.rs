//! Chunks put end to end: fragmented MP4 with absolute times needs no rewriting. Of chunk 0 everything up to its index of
//! fragments is kept, of the others everything from their first fragment on. Copying bytes is all that happens here.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use kinora_protocol::Digest;
use tokio_util::sync::CancellationToken;

use crate::error::MediaError;
use crate::fragments::{self, TopBox};
use crate::hash::{self, Cancellable, Hashing};

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
    hash::durable(out, |writer| {
        for (ordinal, Input { path, digest }) in chunks.iter().enumerate() {
            let mut file = File::open(path).map_err(MediaError::io(path))?;
            let part = part(&mut file, ordinal == 0).map_err(MediaError::io(path))?;
            file.rewind().map_err(MediaError::io(path))?;
            // All of the file is hashed on the way, also what is left out of the join.
            let mut whole = Hashing::new(io::sink());
            let mut source = Cancellable::new(&file, cancel);
            io::copy(&mut source.by_ref().take(part.start), &mut whole).map_err(MediaError::io(path))?;
            copy_hashed(&mut source.by_ref().take(part.end - part.start), &mut whole, writer)
                .map_err(MediaError::io(out))?;
            io::copy(&mut source, &mut whole).map_err(MediaError::io(path))?;
            if whole.finish().2 != *digest {
                let reason =
                    "its bytes are not those that were accepted; run the same command again to make it anew";
                return Err(MediaError::not_exact(path.display().to_string(), reason));
            }
        }
        Ok(())
    })
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
        let Some(TopBox { kind, size, .. }) = fragments::box_at(file, at, length)? else {
            let reason = "its boxes do not fit: the chunk is damaged";
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        };
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
