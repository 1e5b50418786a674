//! A copy of all that the hub keeps, taken while it works: the store as it is at one moment, and the files that it speaks of, which
//! stay as they were by a second name. What is done with it is for the caller.

use std::io::{ErrorKind, Read as _, Write};
use std::path::Path;

use bytes::Bytes;
use futures_util::Stream;
use kinora_protocol::backup::{CHECKSUMS, MANIFEST, Manifest, STORE};
use kinora_protocol::{ErrorCode, Failure};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::app::media::Asked;
use crate::{Hub, HubError, Result, now_ms};

/// What the folders begin with that a copy is kept in.
const PREFIX: &str = ".backup-";
/// What is of this process or this moment only, and is not copied.
const PASSING: [&str; 8] =
    ["store.db", "store.db-wal", "store.db-shm", "store.db.lock", "local.json", "here", "scratch", ".ready"];
/// Folders whose files get a second name, as they are not written to once they are there, or only at their end.
const LINKED: [&str; 4] = ["media", "blobs", "outputs", "uploads"];
/// Bytes that are sent at once.
const PIECE: usize = 256 << 10;
/// Pieces that wait for a slow client.
const AHEAD: usize = 8;

/// A copy, as long as it is held.
#[derive(Debug)]
pub(crate) struct Backup {
    manifest: Manifest,
    folder: TempDir,
    /// Names below the folder, with how many bytes of each belong to the copy.
    files: Vec<(String, u64)>,
}

/// Gives all files of a folder a second name in another, with their lengths.
fn link(from: &Path, below: &str, to: &Path, files: &mut Vec<(String, u64)>) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(from) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    std::fs::create_dir_all(to)?;
    for entry in entries {
        let entry = entry?;
        let (kind, name) = (entry.file_type()?, entry.file_name());
        let Some(name) = name.to_str() else { continue };
        let (from, to, below) = (entry.path(), to.join(name), format!("{below}/{name}"));
        if kind.is_dir() && name != "lost+found" {
            link(&from, &below, &to, files)?;
        } else if kind.is_file() {
            let linked = std::fs::hard_link(&from, &to).or_else(|error| match error.kind() {
                // It was a part of something, which is there by now.
                ErrorKind::NotFound => Ok(()),
                _ => std::fs::copy(&from, &to).map(|_| ()),
            });
            linked?;
            if let Ok(facts) = std::fs::metadata(&to) {
                files.push((below, facts.len()));
            }
        }
    }
    Ok(())
}

/// Copies what else is in a folder: small files, which may be written anew.
fn copy_rest(data: &Path, to: &Path, files: &mut Vec<(String, u64)>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(data)? {
        let entry = entry?;
        let (kind, name) = (entry.file_type()?, entry.file_name());
        let Some(name) = name.to_str() else { continue };
        let passes = PASSING.contains(&name) || LINKED.contains(&name);
        if passes || name.starts_with('.') || name.starts_with("kinora-work-") || name.ends_with(".new") {
            continue;
        }
        if kind.is_dir() {
            copy_folder(&entry.path(), name, &to.join(name), files)?;
        } else if kind.is_file() {
            let length = std::fs::copy(entry.path(), to.join(name))?;
            files.push((name.to_owned(), length));
        }
    }
    Ok(())
}

fn copy_folder(from: &Path, below: &str, to: &Path, files: &mut Vec<(String, u64)>) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if let (Some(name), true) = (name.to_str(), entry.file_type()?.is_file()) {
            let length = std::fs::copy(entry.path(), to.join(name))?;
            files.push((format!("{below}/{name}"), length));
        }
    }
    Ok(())
}

/// Removes what a hub that was killed left of copies.
pub(crate) fn drop_left(data: &Path) {
    let Ok(entries) = std::fs::read_dir(data) else { return };
    for entry in entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with(PREFIX)) {
        let _ = std::fs::remove_dir_all(entry.path());
    }
}

impl Hub {
    /// Takes a copy of all that there is. What needs to go waits meanwhile, which is as long as it takes to write the store and to
    /// name the files.
    ///
    /// # Errors
    /// When the store or the disk fails; the inner error says that another one is being taken.
    pub(crate) async fn take_backup(&self) -> Result<Asked<Backup>> {
        let Ok(_alone) = self.inner.backups.try_lock() else {
            return Ok(Err(Failure::new(ErrorCode::Busy, "another copy is being taken: try again")));
        };
        let data = self.inner.data.clone();
        let failed = |e: std::io::Error| HubError::Blob { path: data.clone(), reason: e.to_string() };
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&data).map_err(failed)?;
        let place = folder.path().to_owned();
        let (nothing_goes, nothing_comes) = (self.inner.kept.write().await, self.inner.library.lock().await);
        self.store().copy_to(&place.join(STORE)).await?;
        let (from, to) = (data.clone(), place.clone());
        let linked = tokio::task::spawn_blocking(move || {
            let mut files = vec![(STORE.to_owned(), std::fs::metadata(to.join(STORE))?.len())];
            for name in LINKED {
                link(&from.join(name), name, &to.join(name), &mut files)?;
            }
            copy_rest(&from, &to, &mut files)?;
            std::io::Result::Ok(files)
        });
        let files = linked.await.map_err(std::io::Error::other).flatten().map_err(failed)?;
        drop((nothing_goes, nothing_comes));
        let manifest = Manifest {
            format: Manifest::FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            taken_ms: now_ms(),
            data: data.to_string_lossy().into_owned(),
            encrypted: self.vault().is_sealed(),
            files: files.len() as u64,
            bytes: files.iter().map(|(_, length)| length).sum(),
        };
        Ok(Ok(Backup { manifest, folder, files }))
    }
}

impl Backup {
    /// All of it in one archive (tar), with the BLAKE3 of each file at its end.
    pub(crate) fn archive(self) -> impl Stream<Item = std::io::Result<Bytes>> {
        let (pieces, taken) = mpsc::channel(AHEAD);
        tokio::task::spawn_blocking(move || {
            let mut out = Pieces { pieces, piece: Vec::new() };
            if let Err(error) = self.write(&mut out).and_then(|()| out.flush()) {
                // Who goes away hears nothing more.
                let _ = out.pieces.blocking_send(Err(error));
            }
        });
        futures_util::stream::unfold(taken, |mut taken| async move { Some((taken.recv().await?, taken)) })
    }

    fn write(&self, out: &mut Pieces) -> std::io::Result<()> {
        let mut archive = tar::Builder::new(out);
        let manifest = serde_json::to_vec_pretty(&self.manifest)?;
        append(&mut archive, MANIFEST, manifest.len() as u64, &mut manifest.as_slice())?;
        let mut sums = format!("{}  {MANIFEST}\n", blake3::hash(&manifest).to_hex());
        for (name, length) in &self.files {
            // What came to its end later is not of this copy, and what was taken back from it was never said to be safe.
            let file = std::fs::File::open(self.folder.path().join(name))?;
            let mut hashed =
                Hashing { from: file.chain(std::io::repeat(0)).take(*length), hasher: blake3::Hasher::new() };
            append(&mut archive, name, *length, &mut hashed)?;
            sums += &format!("{}  {name}\n", hashed.hasher.finalize().to_hex());
        }
        append(&mut archive, CHECKSUMS, sums.len() as u64, &mut sums.as_bytes())?;
        archive.finish()
    }
}

fn append(
    archive: &mut tar::Builder<&mut Pieces>,
    name: &str,
    length: u64,
    bytes: &mut impl std::io::Read,
) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(length);
    header.set_mode(0o600);
    header.set_mtime(u64::try_from(now_ms() / 1000).unwrap_or(0));
    archive.append_data(&mut header, name, bytes)
}

/// Hashes what is read.
struct Hashing<R> {
    from: R,
    hasher: blake3::Hasher,
}

impl<R: std::io::Read> std::io::Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.from.read(into)?;
        self.hasher.update(&into[..read]);
        Ok(read)
    }
}

/// Hands pieces to whoever takes them.
struct Pieces {
    pieces: mpsc::Sender<std::io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let piece = Bytes::from(std::mem::take(&mut self.piece));
        if piece.is_empty() {
            return Ok(());
        }
        self.pieces.blocking_send(Ok(piece)).map_err(|_| ErrorKind::BrokenPipe.into())
    }
}
