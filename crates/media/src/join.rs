//! Chunks put end to end: fragmented MP4 with absolute times needs no rewriting. Of chunk 0 everything up to its index of
//! fragments is kept, of the others everything from their first fragment on. Copying bytes is all that happens here.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
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
    /// Lengths of its renditions, which stand one after the other; empty where there is one.
    pub parts: Vec<u64>,
}

/// Joined renditions, one after the other in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Bytes of the file.
    pub size: u64,
    /// Its BLAKE3.
    pub digest: Digest,
    /// Lengths of the renditions; empty where there is one.
    pub parts: Vec<u64>,
}

impl Input {
    /// Where in the file a rendition is.
    fn place(&self, rendition: usize, length: u64) -> Range<u64> {
        let start = self.parts.iter().take(rendition).sum();
        let end = self.parts.get(rendition).map_or(length, |part| start + part);
        start..end.min(length)
    }
}

/// Joins `chunks` in order into `out`, durably; gives size and BLAKE3.
///
/// # Errors
/// When a chunk is not what it was when it was accepted, a file cannot be read or written, or the work was cancelled.
pub fn join(chunks: &[Input], out: &Path, cancel: &CancellationToken) -> Result<Joined, MediaError> {
    let renditions = chunks.first().map_or(0, |chunk| chunk.parts.len());
    let mut parts = vec![0; renditions];
    let (size, digest) = hash::durable(out, |writer| {
        parts.fill(0);
        for rendition in 0..renditions.max(1) {
            let written = one(chunks, rendition, (&mut *writer, out), cancel)?;
            if let Some(part) = parts.get_mut(rendition) {
                *part = written;
            }
        }
        Ok(())
    })?;
    Ok(Joined { size, digest, parts })
}

/// Writes one of the renditions; gives its length.
fn one(
    chunks: &[Input],
    rendition: usize,
    (writer, out): (&mut impl Write, &Path),
    cancel: &CancellationToken,
) -> Result<u64, MediaError> {
    let mut written = 0;
    for (ordinal, input) in chunks.iter().enumerate() {
        let Input { path, digest, .. } = input;
        let mut file = File::open(path).map_err(MediaError::io(path))?;
        let length = file.metadata().map_err(MediaError::io(path))?.len();
        let place = input.place(rendition, length);
        let part = part(&mut file, place, ordinal == 0).map_err(MediaError::io(path))?;
        written += part.end - part.start;
        if rendition > 0 {
            // The whole file was compared with its digest when the first rendition was written.
            file.seek(SeekFrom::Start(part.start)).map_err(MediaError::io(path))?;
            let mut source = Cancellable::new(&file, cancel).take(part.end - part.start);
            copy_hashed(&mut source, &mut io::sink(), writer).map_err(MediaError::io(out))?;
            continue;
        }
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
    Ok(written)
}

/// Gives a rendition of a joined file a file of its own.
///
/// # Errors
/// When a file cannot be read or written, or the work was cancelled.
pub fn extract(
    joined: &Path,
    parts: &[u64],
    rendition: usize,
    to: &Path,
    cancel: &CancellationToken,
) -> Result<(), MediaError> {
    let mut file = File::open(joined).map_err(MediaError::io(joined))?;
    let start = parts.iter().take(rendition).sum();
    let length = parts.get(rendition).copied().unwrap_or(0);
    file.seek(SeekFrom::Start(start)).map_err(MediaError::io(joined))?;
    let mut into = File::create(to).map_err(MediaError::io(to))?;
    let copied = io::copy(&mut Cancellable::new(&file, cancel).take(length), &mut into);
    if copied.map_err(MediaError::io(to))? != length {
        return Err(MediaError::not_exact(joined.display().to_string(), "it ends before its last rendition"));
    }
    Ok(())
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

/// What of a rendition goes into the join.
fn part(file: &mut File, place: Range<u64>, first: bool) -> io::Result<Part> {
    let Range { start: head, end: length } = place;
    let (mut at, mut moof, mut end) = (head, None, length);
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
    let start = if first { head } else { moof.ok_or_else(damaged)? };
    if start > end || moof.is_none() {
        return Err(damaged());
    }
    Ok(Part { start, end })
}
