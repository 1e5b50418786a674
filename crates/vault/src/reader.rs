//! Files as they are read: any range of them, whether they are encrypted or not. What is not what was written is an error, never
//! bytes.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::master::Masters;
use crate::segment::{Cipher, Kind, NONCE, RAW, SEGMENT, place, plain_length};
use crate::{at, header};

/// Bytes that are read at once. What is sent soon after it was read is still in the processor's cache then.
const PIECE: usize = 128 << 10;
/// The segments that are as many bytes, and may begin and end within one.
const AT_ONCE: u64 = (PIECE / SEGMENT) as u64;

/// Whether a disk is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Yes.
    Yes,
    /// No: only what the system has in memory is read.
    No,
}

/// A file that can be read at any place.
#[derive(Debug)]
pub struct Reader {
    file: File,
    path: PathBuf,
    length: u64,
    modified: Option<SystemTime>,
    cipher: Option<Cipher>,
}

impl Reader {
    pub(crate) fn plain(path: &Path) -> Result<Self> {
        let file = File::open(path)?;
        let facts = file.metadata()?;
        Ok(Self {
            file,
            path: path.to_owned(),
            length: facts.len(),
            modified: facts.modified().ok(),
            cipher: None,
        })
    }

    /// Opens an object, and makes sure that its end is there.
    pub(crate) fn sealed(path: &Path, masters: &Masters) -> Result<Self> {
        let mut reader = Self::plain(path)?;
        reader.cipher = Some(header::open(&reader.file, masters)?);
        let short = || Error::new(ErrorKind::InvalidData, "its end is not there");
        reader.length = plain_length(reader.length).ok_or_else(short)?;
        let last = reader.length / SEGMENT as u64;
        let mut raw = Vec::new();
        reader.segments(&mut raw, last..last + 1, Wait::Yes)?;
        Ok(reader)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that can be read.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// When it was written last.
    pub fn modified(&self) -> Option<SystemTime> {
        self.modified
    }

    /// Reads from `from` on, at most `most` bytes and perhaps fewer, and says where in `memory` they are. Nothing at the end, or
    /// when the disk would have to be waited for and is not.
    ///
    /// # Errors
    /// It cannot be read, or is not what was written.
    pub fn read(&self, memory: &mut Vec<u8>, from: u64, most: usize, wait: Wait) -> Result<Range<usize>> {
        let left = usize::try_from(self.length.saturating_sub(from)).unwrap_or(usize::MAX);
        let wanted = most.min(PIECE).min(left);
        if wanted == 0 {
            return Ok(0..0);
        }
        if self.cipher.is_none() {
            memory.resize(wanted.max(memory.len()), 0);
            let read = match wait {
                Wait::No => at::read_cached(&self.file, &mut memory[..wanted], from),
                Wait::Yes => at::read(&self.file, &mut memory[..wanted], from)?,
            };
            return Ok(0..read);
        }
        let segment = SEGMENT as u64;
        let (first, end) = (from / segment, (from + wanted as u64).div_ceil(segment));
        let all = self.segments(memory, first..end.min(first + AT_ONCE), wait)?;
        if all.is_empty() {
            return Ok(0..0);
        }
        // What comes before it in its segment was opened with it.
        let start = all.start + usize::try_from(from % segment).unwrap_or(0);
        Ok(start..all.end.min(start + wanted))
    }

    /// Opens whole segments, and puts what is in them one after another.
    fn segments(&self, raw: &mut Vec<u8>, wanted: Range<u64>, wait: Wait) -> Result<Range<usize>> {
        let Some(cipher) = &self.cipher else { return Ok(0..0) };
        let last = self.length / SEGMENT as u64;
        let raw_end = place(last) + self.length % SEGMENT as u64 + crate::segment::OVERHEAD as u64;
        let from = place(wanted.start);
        let bytes = usize::try_from(place(wanted.end).min(raw_end) - from).unwrap_or(0);
        if raw.len() < bytes {
            raw.resize(bytes.max(RAW * wanted.end.saturating_sub(wanted.start) as usize), 0);
        }
        let raw = &mut raw[..bytes];
        match wait {
            Wait::No if at::read_cached(&self.file, raw, from) < bytes => return Ok(0..0),
            Wait::No => {}
            Wait::Yes => at::read_exact(&self.file, raw, from)?,
        }
        let mut end = NONCE;
        for (number, index) in wanted.enumerate() {
            let start = number * RAW;
            let sealed = &mut raw[start..bytes.min(start + RAW)];
            let kind = if index == last { Kind::Last } else { Kind::Middle };
            let length = cipher.open(kind, index, sealed)?;
            if start + NONCE != end {
                raw.copy_within(start + NONCE..start + NONCE + length, end);
            }
            end += length;
        }
        Ok(NONCE..end)
    }

    /// To be read from its beginning.
    pub fn cursor(self) -> Cursor {
        Cursor { reader: self, at: 0, memory: Vec::new(), here: 0..0, from: 0 }
    }
}

/// A file that is read from one place on. What was opened and not taken is kept for the next read.
#[derive(Debug)]
pub struct Cursor {
    reader: Reader,
    at: u64,
    memory: Vec<u8>,
    /// Where in the memory bytes are.
    here: Range<usize>,
    /// Where in the file the first of them is.
    from: u64,
}

impl Cursor {
    /// Bytes from the beginning to the end.
    pub fn length(&self) -> u64 {
        self.reader.length
    }
}

impl Cursor {
    /// Reads from `from` on, at most `most` bytes and perhaps fewer; nothing at the end. Of an encrypted file what was opened besides is
    /// kept for what is asked for next.
    ///
    /// # Errors
    /// It cannot be read, or is not what was written.
    pub fn piece(&mut self, from: u64, most: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if self.reader.cipher.is_none() {
            let here = self.reader.read(&mut bytes, from, most, Wait::Yes)?;
            bytes.truncate(here.end);
            return Ok(bytes);
        }
        self.at = from;
        bytes.resize(most.min(PIECE), 0);
        let read = Read::read(self, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }
}

impl Read for Cursor {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let there = self.from..self.from + self.here.len() as u64;
        if !there.contains(&self.at) {
            self.here = 0..0;
            self.here = self.reader.read(&mut self.memory, self.at, PIECE, Wait::Yes)?;
            self.from = self.at;
        }
        let skipped = usize::try_from(self.at - self.from).unwrap_or(0);
        let bytes = &self.memory[self.here.clone()][skipped..];
        let length = bytes.len().min(into.len());
        into[..length].copy_from_slice(&bytes[..length]);
        self.at += length as u64;
        Ok(length)
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::End(by) => self.reader.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = place.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
