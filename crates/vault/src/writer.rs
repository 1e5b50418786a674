//! Files as they are written: at once, or bit by bit over days. What was kept is there after a crash, and nothing else of what came
//! after it. A segment that is not full yet lies beside the object until it is, as what is on the disk is never written over.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::master::Masters;
use crate::segment::{Cipher, Kind, NONCE, RAW, SEGMENT, place};
use crate::{at, header, sync_folder};

/// Segments that are written at once.
const AT_ONCE: usize = 4;

/// A file that is being written. It is used from several threads, one after another.
pub struct Writer {
    path: PathBuf,
    how: How,
}

enum How {
    Plain(Mutex<Plain>),
    Sealed(Box<Mutex<Sealing>>),
}

struct Plain {
    file: File,
    at: u64,
}

struct Sealing {
    file: File,
    cipher: Cipher,
    /// Full segments that were written.
    full: u64,
    /// What is not enough for one.
    pending: Vec<u8>,
    /// Memory for what is written.
    raw: Vec<u8>,
}

fn locked<T>(one: &Mutex<T>) -> MutexGuard<'_, T> {
    one.lock().unwrap_or_else(PoisonError::into_inner)
}

fn gone() -> Error {
    Error::new(ErrorKind::UnexpectedEof, "bytes that were safe are gone")
}

/// What is added to an object's name for what lies beside it.
pub(crate) const TAIL: &str = ".tail";

/// The place beside an object for what is not enough for a segment.
pub(crate) fn tail_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TAIL);
    name.into()
}

impl Writer {
    pub(crate) fn plain(path: &Path, at: u64) -> Result<Self> {
        let fresh = at == 0;
        let file = OpenOptions::new().write(true).create(fresh).truncate(fresh).open(path)?;
        if file.metadata()?.len() < at {
            return Err(gone());
        }
        if !fresh {
            // What was written and not kept comes again.
            file.set_len(at)?;
        }
        Ok(Self { path: path.to_owned(), how: How::Plain(Mutex::new(Plain { file, at })) })
    }

    pub(crate) fn sealed(path: &Path, at: u64, masters: &Masters) -> Result<Self> {
        let fresh = at == 0;
        if fresh {
            // Whoever has an older one open goes on with that.
            remove_if_there(path)?;
            drop_tail(path);
        }
        let file = OpenOptions::new().read(true).write(true).create(fresh).truncate(fresh).open(path)?;
        let cipher = if fresh { header::begin(&file, masters)? } else { header::open(&file, masters)? };
        let mut sealing = Sealing { file, cipher, full: 0, pending: Vec::new(), raw: Vec::new() };
        if !fresh {
            sealing.go_on(path, at)?;
        }
        Ok(Self { path: path.to_owned(), how: How::Sealed(Box::new(Mutex::new(sealing))) })
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// The disk does not take them.
    pub fn write_all(&self, bytes: &[u8]) -> Result<()> {
        match &self.how {
            How::Plain(plain) => {
                let mut plain = locked(plain);
                at::write_all(&plain.file, bytes, plain.at)?;
                plain.at += bytes.len() as u64;
                Ok(())
            }
            How::Sealed(sealing) => locked(sealing).write_all(bytes),
        }
    }

    /// Lets the disk take what was written so far; that is not enough to go on from here after a crash.
    ///
    /// # Errors
    /// It cannot.
    pub fn flush(&self) -> Result<()> {
        self.file()?.sync_data()
    }

    /// Makes all that was written safe, to go on from here.
    ///
    /// # Errors
    /// The disk cannot.
    pub fn keep(&self) -> Result<()> {
        // More may be written meanwhile. What lies beside the object is as it was before the rest of it was made safe: so all full
        // segments before it are safe when it takes the place of the one before.
        let tail = match &self.how {
            How::Plain(_) => None,
            How::Sealed(sealing) => Some(locked(sealing).tail()?),
        };
        self.file()?.sync_data()?;
        tail.map_or(Ok(()), |tail| put_tail(&self.path, &tail))
    }

    /// Takes back all but so many bytes, which were kept.
    ///
    /// # Errors
    /// The disk fails.
    pub fn cut(&self, to: u64) -> Result<()> {
        match &self.how {
            How::Plain(plain) => {
                let mut plain = locked(plain);
                plain.at = to;
                plain.file.set_len(to)
            }
            How::Sealed(sealing) => locked(sealing).go_on(&self.path, to),
        }
    }

    /// Nothing more comes: it can be read, and is safe.
    ///
    /// # Errors
    /// The disk does not take the end.
    pub fn finish(&self) -> Result<()> {
        if let How::Sealed(sealing) = &self.how {
            locked(sealing).end()?;
        }
        self.file()?.sync_data()
    }

    /// The file, so that nobody waits for the disk with it in hand.
    fn file(&self) -> Result<File> {
        match &self.how {
            How::Plain(plain) => locked(plain).file.try_clone(),
            How::Sealed(sealing) => locked(sealing).file.try_clone(),
        }
    }
}

impl Sealing {
    fn write_all(&mut self, mut bytes: &[u8]) -> Result<()> {
        while self.pending.len() + bytes.len() >= SEGMENT {
            self.raw.clear();
            let mut sealed = 0;
            while sealed < AT_ONCE && self.pending.len() + bytes.len() >= SEGMENT {
                let (now, later) = bytes.split_at(SEGMENT - self.pending.len());
                let index = self.full + sealed as u64;
                if self.pending.is_empty() {
                    self.cipher.seal(Kind::Middle, index, now, &mut self.raw)?;
                } else {
                    self.pending.extend_from_slice(now);
                    self.cipher.seal(Kind::Middle, index, &self.pending, &mut self.raw)?;
                    self.pending.clear();
                }
                (bytes, sealed) = (later, sealed + 1);
            }
            at::write_all(&self.file, &self.raw, place(self.full))?;
            self.full += sealed as u64;
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.raw.clear();
        self.cipher.seal(Kind::Last, self.full, &self.pending, &mut self.raw)?;
        at::write_all(&self.file, &self.raw, place(self.full))
    }

    /// What is not enough for a segment, as it lies beside the object.
    fn tail(&self) -> Result<Vec<u8>> {
        let mut raw = Vec::from(self.full.to_le_bytes());
        self.cipher.seal(Kind::Tail, self.full, &self.pending, &mut raw)?;
        Ok(raw)
    }

    /// What lies beside the object, if it belongs to this segment.
    fn kept_tail(&self, path: &Path, index: u64) -> Option<Vec<u8>> {
        let mut raw = std::fs::read(tail_of(path)).ok()?;
        let of = u64::from_le_bytes(raw.get(..8)?.try_into().ok()?);
        if of != index || raw.len() > 8 + RAW {
            return None;
        }
        let length = self.cipher.open(Kind::Tail, index, &mut raw[8..]).ok()?;
        Some(raw[8 + NONCE..8 + NONCE + length].to_vec())
    }

    /// Stands where it was when so many bytes were kept.
    fn go_on(&mut self, path: &Path, at: u64) -> Result<()> {
        let (full, rest) = (at / SEGMENT as u64, usize::try_from(at % SEGMENT as u64).unwrap_or(0));
        if self.file.metadata()?.len() < place(full) {
            return Err(gone());
        }
        let kept = self.kept_tail(path, full).filter(|kept| kept.len() >= rest);
        let beside = rest == 0 || kept.is_some();
        self.pending = match kept {
            Some(kept) => kept,
            None if rest == 0 => Vec::new(),
            // More was kept than was said: it is a whole segment by now. Or it was ended.
            None => self.segment(full)?,
        };
        if self.pending.len() < rest {
            return Err(gone());
        }
        self.pending.truncate(rest);
        self.full = full;
        if !beside {
            put_tail(path, &self.tail()?)?;
        }
        self.file.set_len(place(full))
    }

    /// A segment that was written, full or the last one.
    fn segment(&self, index: u64) -> Result<Vec<u8>> {
        let left = self.file.metadata()?.len().saturating_sub(place(index));
        let mut raw = vec![0; RAW.min(usize::try_from(left).unwrap_or(RAW))];
        at::read_exact(&self.file, &mut raw, place(index))?;
        let kind = if raw.len() == RAW { Kind::Middle } else { Kind::Last };
        let length = self.cipher.open(kind, index, &mut raw)?;
        Ok(raw[NONCE..NONCE + length].to_vec())
    }
}

/// Lays it beside an object, in place of the one before.
fn put_tail(path: &Path, raw: &[u8]) -> Result<()> {
    let (tail, new) = (tail_of(path), new_tail_of(path));
    let file = File::create(&new)?;
    at::write_all(&file, raw, 0)?;
    file.sync_all()?;
    std::fs::rename(&new, &tail)?;
    sync_folder(&tail);
    Ok(())
}

/// Nothing is left beside an object.
pub(crate) fn drop_tail(path: &Path) {
    let _ = std::fs::remove_file(tail_of(path));
    let _ = std::fs::remove_file(new_tail_of(path));
}

fn new_tail_of(path: &Path) -> PathBuf {
    let mut name = tail_of(path).into_os_string();
    name.push(".new");
    name.into()
}

fn remove_if_there(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
