//! Where the structural bytes of a container are, read from a file with few and small reads. It reads structure only:
//! it must not know packets, and it must not decide which bytes a chunk needs.
//!
//! The file is hostile until shown otherwise: sizes are checked before they are used, counts are bounded, and whatever
//! does not add up makes the layout [`Layout::Opaque`], which costs bytes and never frames.

mod avi;
mod matroska;
mod mp4;
mod transport;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use kinora_plan::layout::Layout;

pub use avi::seekable;

/// More boxes, elements or chunks than this on one level are not walked through: some eleven hours of fragments of one
/// frame each, at 50 frames per second.
const MAX_PARTS: usize = 1 << 22;

/// The layout of `file`; `format` is ffmpeg's name of the demuxer. AVI comes back as not seekable: whether its packets
/// can be told apart by time shows in the packets, see [`seekable`].
///
/// # Errors
/// Only when the file cannot be read; an unusual or broken one is [`Layout::Opaque`].
pub fn read(file: &mut File, format: &str) -> io::Result<Layout> {
    let mut source = Source::new(file)?;
    let named = |name: &str| format.split(',').any(|part| part == name);
    let found = if named("mov") || named("mp4") {
        mp4::read(&mut source)?
    } else if named("matroska") || named("webm") {
        matroska::read(&mut source)?
    } else if named("mpegts") {
        transport::read(&mut source)?
    } else if named("avi") {
        avi::read(&mut source)?
    } else {
        Err(format!("no windows are made of {format}"))
    };
    Ok(found.unwrap_or_else(|reason| Layout::Opaque { reason }))
}

/// A layout, or why there is none.
type Found = Result<Layout, String>;

/// Reads small pieces at any offset.
struct Source<'a> {
    file: &'a mut File,
    size: u64,
}

impl<'a> Source<'a> {
    fn new(file: &'a mut File) -> io::Result<Self> {
        let size = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, size })
    }

    /// As many of `buffer`'s bytes as the file has from `at`.
    fn some<'b>(&mut self, at: u64, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
        if at >= self.size {
            return Ok(&[]);
        }
        self.file.seek(SeekFrom::Start(at))?;
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&buffer[..filled])
    }

    /// `N` bytes from `at`; `None` where the file ends before.
    fn exact<const N: usize>(&mut self, at: u64) -> io::Result<Option<[u8; N]>> {
        let mut bytes = [0; N];
        let whole = self.some(at, &mut bytes)?.len() == N;
        Ok(whole.then_some(bytes))
    }
}

#[cfg(test)]
mod tests;
