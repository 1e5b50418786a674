//! BLAKE3 of files, in constant memory. It must not know what a file is.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use kinora_protocol::Digest;
use tokio_util::sync::CancellationToken;

use crate::error::MediaError;

const BUFFER: usize = 1 << 20;

/// Why a read was given up.
#[derive(Debug, thiserror::Error)]
#[error("cancelled")]
pub(crate) struct Cancelled;

/// A reader that fails once the work is cancelled: files of many gigabytes are read, and nobody waits for that.
pub struct Cancellable<'a, R> {
    inner: R,
    cancel: &'a CancellationToken,
}

impl<'a, R: Read> Cancellable<'a, R> {
    /// Wraps a reader.
    pub fn new(inner: R, cancel: &'a CancellationToken) -> Self {
        Self { inner, cancel }
    }
}

impl<R: Read> Read for Cancellable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(std::io::Error::other(Cancelled));
        }
        self.inner.read(buffer)
    }
}

/// Size and BLAKE3 of a file.
///
/// # Errors
/// When it cannot be read, or the work was cancelled.
pub fn file(path: &Path, cancel: &CancellationToken) -> Result<(u64, Digest), MediaError> {
    let source = File::open(path).map_err(MediaError::io(path))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(Cancellable::new(source, cancel)).map_err(MediaError::io(path))?;
    Ok((hasher.count(), Digest::from_bytes(hasher.finalize().as_bytes())))
}

/// Makes a file durably of what `write` puts into it; gives its size and BLAKE3.
///
/// # Errors
/// Those of `write`, and when the file cannot be made or synced. What is there of it then is left to the caller.
pub fn durable(
    path: &Path,
    write: impl FnOnce(&mut Hashing<BufWriter<File>>) -> Result<(), MediaError>,
) -> Result<(u64, Digest), MediaError> {
    let file = File::create(path).map_err(MediaError::io(path))?;
    let mut writer = Hashing::new(BufWriter::with_capacity(BUFFER, file));
    write(&mut writer)?;
    let (buffered, size, digest) = writer.finish();
    let file = buffered.into_inner().map_err(|e| MediaError::io(path)(e.into_error()))?;
    file.sync_all().map_err(MediaError::io(path))?;
    Ok((size, digest))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancelled_work_reads_no_further() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"abc").unwrap();
        let cancel = CancellationToken::new();
        assert_eq!(file(&path, &cancel).unwrap(), (3, Digest::from_bytes(blake3::hash(b"abc").as_bytes())));
        cancel.cancel();
        assert!(matches!(file(&path, &cancel), Err(MediaError::Cancelled { .. })));
    }
}
