//! BLAKE3 of files, in constant memory. It must not know what a file is.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use kinora_protocol::Digest;

use crate::error::MediaError;

const BUFFER: usize = 1 << 20;

/// Size and BLAKE3 of a file.
///
/// # Errors
/// When it cannot be read.
pub fn file(path: &Path) -> Result<(u64, Digest), MediaError> {
    let mut source = File::open(path).map_err(MediaError::io(path))?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; BUFFER];
    let mut size = 0;
    loop {
        let read = source.read(&mut buffer).map_err(MediaError::io(path))?;
        if read == 0 {
            return Ok((size, Digest::from_bytes(hasher.finalize().as_bytes())));
        }
        size += read as u64;
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
}

/// A writer that hashes what it passes on.
pub struct Hashing<W> {
    inner: W,
    hasher: blake3::Hasher,
    size: u64,
}

impl<W: Write> Hashing<W> {
    /// Wraps a writer.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: blake3::Hasher::new(), size: 0 }
    }

    /// The writer, bytes written and their digest.
    pub fn finish(self) -> (W, u64, Digest) {
        let digest = Digest::from_bytes(self.hasher.finalize().as_bytes());
        (self.inner, self.size, digest)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}
