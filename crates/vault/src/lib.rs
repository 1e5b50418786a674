//! Files of a hub that are encrypted where they lie. An object is a head with its key, wrapped by a master key, and segments of 64 KiB,
//! each sealed with AES-256-GCM (NIST SP 800-38D); any range is read without the rest. Whether a file is encrypted goes by where it
//! is and by how the hub was started, never by what is in it: nobody can put a readable file in an encrypted one's place.
//!
//! It knows files. What is in them, and who may have it, is decided elsewhere.

use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use convert::{Converted, Rewrapped};
pub use master::{BadMaster, Masters};
pub use reader::{Cursor, Reader, Wait};
pub use writer::Writer;

mod at;
mod convert;
mod header;
mod master;
mod reader;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

/// By what an object is told from others. It is sealed with each of its segments.
pub(crate) type ObjectId = [u8; 16];

/// Where files are, and whether those are encrypted. Clones share it.
#[derive(Debug, Clone)]
pub struct Vault {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// What is below these is encrypted.
    folders: Vec<PathBuf>,
    /// Of these, the one with files that are written on for long.
    growing: PathBuf,
    masters: Option<Masters>,
}

impl Vault {
    /// One that encrypts nothing.
    pub fn open_to_all() -> Self {
        Self { inner: Arc::new(Inner { folders: Vec::new(), growing: PathBuf::new(), masters: None }) }
    }

    /// One in which all that is below these folders, by their real names, is encrypted, and below `growing`, where files are that are written on for long.
    pub fn new(mut folders: Vec<PathBuf>, growing: PathBuf, masters: Masters) -> Self {
        folders.push(growing.clone());
        Self { inner: Arc::new(Inner { folders, growing, masters: Some(masters) }) }
    }

    /// The keys, if what is at this place is encrypted.
    fn masters_of(&self, path: &Path) -> Option<&Masters> {
        let masters = self.inner.masters.as_ref()?;
        let within = |path: &Path| self.inner.folders.iter().any(|folder| path.starts_with(folder));
        // It may be known by a name that leads here by a link.
        let leads_here = || path.parent()?.canonicalize().ok().map(|real| within(&real.join("file")));
        (within(path) || leads_here() == Some(true)).then_some(masters)
    }

    /// Whether what is at this place is encrypted.
    pub fn seals(&self, path: &Path) -> bool {
        self.masters_of(path).is_some()
    }

    /// Whether anything is.
    pub fn is_sealed(&self) -> bool {
        self.inner.masters.is_some()
    }

    /// The name of the master key that opens what is new.
    pub fn newest(&self) -> Option<String> {
        self.inner.masters.as_ref().map(|masters| masters.names().remove(0))
    }

    /// Opens a file.
    ///
    /// # Errors
    /// It is not there, is not to be opened with these keys, or does not end where it did.
    pub fn read(&self, path: &Path) -> Result<Reader> {
        match self.masters_of(path) {
            Some(masters) => Reader::sealed(path, masters),
            None => Reader::plain(path),
        }
    }

    /// Makes a file, or makes it anew.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn create(&self, path: &Path) -> Result<Writer> {
        self.go_on(path, 0)
    }

    /// Goes on with a file of which so many bytes were kept.
    ///
    /// # Errors
    /// The disk fails, or they are not there.
    pub fn go_on(&self, path: &Path, at: u64) -> Result<Writer> {
        match self.masters_of(path) {
            Some(masters) => Writer::sealed(path, at, masters),
            None => Writer::plain(path, at),
        }
    }

    /// Ends a file of which all bytes were kept, if nobody did: it can be read then.
    ///
    /// # Errors
    /// The disk fails, or they are not there.
    pub fn finish(&self, path: &Path, length: u64) -> Result<()> {
        if !self.seals(path) {
            return Ok(());
        }
        if !self.read(path).is_ok_and(|reader| reader.length() == length) {
            self.go_on(path, length)?.finish()?;
        }
        writer::drop_tail(path);
        Ok(())
    }

    /// Removes a file that is being written, with what is beside it.
    ///
    /// # Errors
    /// It is not there, or the disk fails.
    pub fn remove(&self, path: &Path) -> Result<()> {
        if self.seals(path) {
            writer::drop_tail(path);
        }
        std::fs::remove_file(path)
    }

    /// Bytes that can be read of a file that takes so many on the disk.
    pub fn length_of(&self, path: &Path, on_disk: u64) -> Option<u64> {
        if self.seals(path) { segment::plain_length(on_disk) } else { Some(on_disk) }
    }
}

/// Random bytes of the system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::other(format!("the system gives no random numbers ({e})")))?;
    Ok(bytes)
}

/// An error that says of which file.
pub(crate) fn named(path: &Path, error: Error) -> Error {
    Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Names in a folder have to survive a power cut, where a file system can see to that.
pub(crate) fn sync_folder(of: &Path) {
    #[cfg(unix)]
    if let Some(folder) = of.parent()
        && let Ok(folder) = std::fs::File::open(folder)
    {
        let _ = folder.sync_all();
    }
    #[cfg(not(unix))]
    let _ = of;
}
