//! Files that were there before: those that anybody can read are encrypted, those that older master keys open are opened by the
//! current one. Both can be broken off at any moment and begun again.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Result};
use std::path::{Path, PathBuf};

use crate::writer::{TAIL, tail_of};
use crate::{Masters, Vault, header, named, sync_folder};

/// What a file is written under until it takes the other one's place.
const GROWING: &str = ".kinora-sealing";
const PIECE: usize = 1 << 20;

/// What was done to files that anybody could read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Converted {
    /// Files.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
}

/// What was done to files that older master keys opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// Files that the current one opens now.
    pub files: u64,
    /// Files that no key opens, and why.
    pub lost: Vec<String>,
}

/// All files below a folder that are objects; a folder that is not there has none. What lies beside those that grow is none.
fn files(folder: &Path, growing: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut left) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = left.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(named(&folder, error)),
        };
        for entry in entries {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            let name = entry.file_name().to_string_lossy().into_owned();
            let beside = path.starts_with(growing) && name.contains(TAIL);
            if name.starts_with(GROWING) {
                let _ = std::fs::remove_file(&path);
            } else if kind.is_dir() {
                left.push(path);
            } else if kind.is_file() && !beside {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// It is the file that it was, for whoever goes by its time.
fn rewrap(file: &File, masters: &Masters) -> Result<bool> {
    let time = file.metadata()?.modified();
    let rewrapped = header::rewrap(file, masters)?;
    if let (true, Ok(time)) = (rewrapped, time) {
        file.set_modified(time)?;
    }
    Ok(rewrapped)
}

impl Vault {
    /// Encrypts what is there and is not.
    ///
    /// # Errors
    /// The disk fails; what is done stays.
    pub fn convert(&self) -> Result<Converted> {
        let mut done = Converted::default();
        let Some(masters) = &self.inner.masters else { return Ok(done) };
        for folder in &self.inner.folders {
            for path in files(folder, &self.inner.growing)? {
                let is_sealed = File::open(&path).is_ok_and(|file| header::open(&file, masters).is_ok());
                if !is_sealed {
                    done.files += 1;
                    done.bytes += self
                        .seal(&path, path.starts_with(&self.inner.growing))
                        .map_err(|e| named(&path, e))?;
                }
            }
        }
        Ok(done)
    }

    fn seal(&self, path: &Path, grows: bool) -> Result<u64> {
        let new = path.with_file_name(format!("{GROWING}-{}", std::process::id()));
        let mut old = File::open(path)?;
        let facts = old.metadata()?;
        let outcome = (|| {
            let (writer, mut piece) = (self.create(&new)?, vec![0; PIECE]);
            loop {
                match old.read(&mut piece)? {
                    0 => break,
                    read => writer.write_all(&piece[..read])?,
                }
            }
            if grows {
                writer.keep()?;
                std::fs::rename(tail_of(&new), tail_of(path))?;
            } else {
                writer.finish()?;
            }
            if let Ok(time) = facts.modified() {
                OpenOptions::new().write(true).open(&new)?.set_modified(time)?;
            }
            std::fs::set_permissions(&new, facts.permissions())?;
            std::fs::rename(&new, path)?;
            sync_folder(path);
            Ok(facts.len())
        })();
        if outcome.is_err() {
            let _ = std::fs::remove_file(&new);
        }
        outcome
    }

    /// Lets the current master key, and no other, open what is there.
    ///
    /// # Errors
    /// A folder cannot be listed; what is done stays.
    pub fn rewrap(&self) -> Result<Rewrapped> {
        let mut done = Rewrapped::default();
        let Some(masters) = &self.inner.masters else { return Ok(done) };
        for folder in &self.inner.folders {
            for path in files(folder, &self.inner.growing)? {
                let opened = OpenOptions::new().read(true).write(true).open(&path);
                match opened.and_then(|file| rewrap(&file, masters)) {
                    Ok(rewrapped) => done.files += u64::from(rewrapped),
                    // It was dropped meanwhile, or is being begun.
                    Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof) => {}
                    Err(error) => done.lost.push(format!("{}: {error}", path.display())),
                }
            }
        }
        Ok(done)
    }
}
