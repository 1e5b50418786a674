//! Files that were there before: those that anybody can read are encrypted, those that older master keys open are opened by the
//! current one. Both can be broken off at any moment and begun again.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read as _, Result};
use std::path::{Path, PathBuf};

use crate::writer::{TAIL, tail_of};
use crate::{Masters, Vault, header, named, sync_folder};

/// What a file is written under until it takes the other one's place.
const GROWING: &str = ".kinora-sealing";
const PIECE: usize = 1 << 20;
/// What file systems keep for themselves at their root.
const OF_THE_DISK: &str = "lost+found";

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
    /// Files that were not there any more when it was their turn.
    pub missed: u64,
    /// Files that no key opens, and why.
    pub lost: Vec<String>,
}

/// All files below a folder that are objects; a folder that is not there has none. What lies beside those that grow is none. Of what
/// cannot be listed is told why.
fn files(folder: &Path, growing: &Path, mut lost: impl FnMut(Error) -> Result<()>) -> Result<Vec<PathBuf>> {
    let (mut found, mut left) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = left.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                lost(named(&folder, error))?;
                continue;
            }
        };
        for entry in entries {
            // What goes while it is looked at is nobody's loss.
            let Ok(entry) = entry else { continue };
            let Ok(kind) = entry.file_type() else { continue };
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let beside = path.starts_with(growing) && name.contains(TAIL);
            if name.starts_with(GROWING) {
                let _ = std::fs::remove_file(&path);
            } else if kind.is_dir() && name != OF_THE_DISK {
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

/// Whether a file is encrypted with one of these keys. One that is with another is not encrypted once more.
fn is_sealed(path: &Path, masters: &Masters) -> Result<bool> {
    let file = File::open(path)?;
    match header::open(&file, masters) {
        Ok(_) => Ok(true),
        Err(error) if header::is_one(&file) => Err(error),
        Err(_) => Ok(false),
    }
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
            for path in files(folder, &self.inner.growing, Err)? {
                if !is_sealed(&path, masters).map_err(|e| named(&path, e))? {
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

    /// Lets the current master key, and no other, open what is there, as long as it may go on.
    ///
    /// # Errors
    /// It may not.
    pub fn rewrap(&self, mut goes_on: impl FnMut() -> bool) -> Result<Rewrapped> {
        let mut done = Rewrapped::default();
        let Some(masters) = &self.inner.masters else { return Ok(done) };
        // Files go from where they grow to where they are kept, and not back.
        for folder in self.inner.folders.iter().rev() {
            let mut lost = Vec::new();
            let listed = files(folder, &self.inner.growing, |why| {
                lost.push(why.to_string());
                Ok(())
            });
            done.lost.extend(lost);
            for path in listed? {
                if !goes_on() {
                    return Err(ErrorKind::Interrupted.into());
                }
                let opened = OpenOptions::new().read(true).write(true).open(&path);
                match opened.and_then(|file| rewrap(&file, masters)) {
                    Ok(rewrapped) => done.files += u64::from(rewrapped),
                    // It was dropped meanwhile, has another name, or is being begun.
                    Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof) => {
                        done.missed += 1;
                    }
                    Err(error) => done.lost.push(format!("{}: {error}", path.display())),
                }
            }
        }
        Ok(done)
    }
}
