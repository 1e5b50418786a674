//! Reading and writing at a place of a file, without the place where it stands.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};

/// Reads at a place, as much as is there at once.
#[cfg(unix)]
pub(crate) fn read(file: &File, memory: &mut [u8], at: u64) -> Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, memory, at)
}

#[cfg(windows)]
pub(crate) fn read(file: &File, memory: &mut [u8], at: u64) -> Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, memory, at)
}

#[cfg(unix)]
fn write(file: &File, bytes: &[u8], at: u64) -> Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, at)
}

#[cfg(windows)]
fn write(file: &File, bytes: &[u8], at: u64) -> Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, at)
}

/// Reads what the system has in memory; nothing when that is not known or the disk would have to be asked.
#[cfg(target_os = "linux")]
pub(crate) fn read_cached(file: &File, memory: &mut [u8], at: u64) -> usize {
    use rustix::io::{ReadWriteFlags, preadv2};
    let mut slices = [std::io::IoSliceMut::new(memory)];
    preadv2(file, &mut slices, at, ReadWriteFlags::NOWAIT).unwrap_or(0)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn read_cached(_: &File, _: &mut [u8], _: u64) -> usize {
    0
}

pub(crate) fn read_exact(file: &File, mut memory: &mut [u8], mut at: u64) -> Result<()> {
    while !memory.is_empty() {
        match read(file, memory, at) {
            Ok(0) => return Err(Error::new(ErrorKind::UnexpectedEof, "the file ended early")),
            Ok(got) => {
                memory = &mut memory[got..];
                at += got as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(crate) fn write_all(file: &File, mut bytes: &[u8], mut at: u64) -> Result<()> {
    while !bytes.is_empty() {
        match write(file, bytes, at) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(put) => {
                bytes = &bytes[put..];
                at += put as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
