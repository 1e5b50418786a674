//! A copy of all that the hub keeps, taken while it works: the store as it is at one moment, and the files that it speaks of, which
//! stay as they were by a second name. What is done with it is for the caller.

use std::fs::DirEntry;
use std::io::{ErrorKind, Read as _, Result, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::Stream;
use kinora_protocol::backup::{CHECKSUMS, MANIFEST, Manifest, STORE};
use kinora_protocol::{ErrorCode, Failure};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::sealing::{FOLDERS, STATE, UPLOADS};
use super::uploads::RESERVE;
use crate::app::media::Asked;
use crate::{Hub, HubError, now_ms, off_thread};

/// What the folders begin with that a copy is kept in. Each is where its files are, as a second name does not leave a file system.
const PREFIX: &str = ".backup-";
/// Folders whose files get a second name: they are not written to once they are there, or at their end only.
const LINKED: [&str; 4] = [FOLDERS[0], FOLDERS[1], FOLDERS[2], UPLOADS];
/// What else is the hub's, and small: it may be written anew, and is copied. Nothing that others put beside it.
const COPIED: [&str; 2] = [STATE, "tls"];
/// Bytes that are sent at once.
const PIECE: usize = 256 << 10;
/// Pieces that wait for a slow client.
const AHEAD: usize = 8;

/// A copy, as long as it is held.
#[derive(Debug)]
pub(crate) struct Backup {
    manifest: Manifest,
    files: Vec<Held>,
    /// Where its files are; they go with it.
    _folders: Vec<TempDir>,
}

/// A file of a copy.
#[derive(Debug)]
struct Held {
    name: String,
    path: PathBuf,
    /// So many of its bytes belong to the copy.
    length: u64,
}

/// Whether a name is one that we give what is on its way and comes again. People name results, and extensions of media.
fn is_coming(top: &str, name: &str) -> bool {
    match top {
        "media" => name.starts_with(".incoming-"),
        "blobs" => name.ends_with(".incoming"),
        "outputs" => name.starts_with(".kinora-") && name.contains(".part"),
        "uploads" | "tls" => name.ends_with(".new"),
        _ => false,
    }
}

/// The folder of the hub's that a name begins with.
fn top_of(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

/// Takes names for files.
struct Taker {
    files: Vec<Held>,
    folders: Vec<TempDir>,
}

/// Its entries that are not passing; what lies beside a file that grows comes before it: so a newer one means that the file has more.
fn entries(top: &str, folder: &Path) -> Result<Vec<(String, DirEntry)>> {
    let found = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        found => found?,
    };
    let mut all = Vec::new();
    for entry in found {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let passes = name == "lost+found" || name.starts_with(PREFIX) || is_coming(top, &name);
        if !passes {
            all.push((name, entry));
        }
    }
    all.sort_by_key(|(name, _)| !name.ends_with(".tail"));
    Ok(all)
}

fn is_gone<T>(outcome: &Result<T>) -> bool {
    outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

impl Taker {
    fn folder_in(&mut self, folder: &Path) -> Result<PathBuf> {
        let made = tempfile::Builder::new().prefix(PREFIX).tempdir_in(folder)?;
        let path = made.path().to_owned();
        self.folders.push(made);
        Ok(path)
    }

    fn keep(&mut self, name: String, path: PathBuf) {
        self.files.push(Held { name, path, length: 0 });
    }

    /// Gives all files of a folder a second name.
    fn link(&mut self, from: &Path, below: &str, to: &Path) -> Result<()> {
        for (name, entry) in entries(top_of(below), from)? {
            let (kind, below, to) = (entry.file_type()?, format!("{below}/{name}"), to.join(&name));
            if kind.is_dir() {
                std::fs::create_dir(&to)?;
                self.link(&entry.path(), &below, &to)?;
            } else if kind.is_file() {
                let linked = std::fs::hard_link(entry.path(), &to);
                // It was a part of something, which is there by now.
                if !is_gone(&linked) {
                    linked?;
                    self.keep(below, to);
                }
            }
        }
        Ok(())
    }

    /// Copies a file, or all files below a folder.
    fn copy(&mut self, from: &Path, below: &str, to: &Path) -> Result<()> {
        if from.is_dir() {
            std::fs::create_dir(to)?;
            for (name, entry) in entries(top_of(below), from)? {
                self.copy(&entry.path(), &format!("{below}/{name}"), &to.join(name))?;
            }
            return Ok(());
        }
        let copied = std::fs::copy(from, to);
        if !is_gone(&copied) {
            copied?;
            self.keep(below.to_owned(), to.to_owned());
        }
        Ok(())
    }

    /// All but the store, which lies in `own`.
    fn take(mut self, data: &Path, own: &Path) -> Result<Self> {
        for name in LINKED {
            let folder = data.join(name);
            if folder.is_dir() {
                let to = self.folder_in(&folder)?;
                self.link(&folder, name, &to)?;
            }
        }
        for name in COPIED {
            if data.join(name).exists() {
                self.copy(&data.join(name), name, &own.join(name))?;
            }
        }
        for file in &mut self.files {
            file.length = std::fs::metadata(&file.path)?.len();
        }
        Ok(self)
    }
}

/// Removes what a hub that was killed left of copies.
pub(crate) fn drop_left(data: &Path) {
    let folders = LINKED.iter().map(|name| data.join(name)).chain([data.to_owned()]);
    for entry in folders.filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

impl Hub {
    /// Takes a copy of all that there is. What needs to go waits meanwhile, which is as long as it takes to write the store and to
    /// name the files.
    ///
    /// # Errors
    /// When the store or the disk fails; the inner error says that another one is being taken.
    pub(crate) async fn take_backup(&self) -> crate::Result<Asked<Backup>> {
        // In a task of its own: it is brought to its end, and what it made is removed, also when whoever asked is gone.
        let hub = self.clone();
        let taken = tokio::spawn(async move { hub.take_all().await }).await;
        taken.map_err(|e| HubError::Inconsistent(format!("taking a copy stopped ({e})")))?
    }

    async fn take_all(&self) -> crate::Result<Asked<Backup>> {
        let Ok(_alone) = self.inner.backups.try_lock() else {
            return Ok(Err(Failure::new(ErrorCode::Busy, "another copy is being taken: try again")));
        };
        let data = self.inner.data.clone();
        let failed = |e: std::io::Error| HubError::Blob { path: data.clone(), reason: e.to_string() };
        let size = std::fs::metadata(data.join(STORE)).map_err(failed)?.len();
        if fs4::available_space(&data).map_err(failed)? < size.saturating_add(RESERVE) {
            let why = format!("there is no room for a copy of the store, which has {size} bytes");
            return Ok(Err(Failure::new(ErrorCode::Disk, why)));
        }
        let mut taker = Taker { files: Vec::new(), folders: Vec::new() };
        let own = taker.folder_in(&data).map_err(failed)?;
        // In the order in which others take them: media that goes takes its proxies with it.
        let (nothing_comes, nothing_goes) = (self.inner.library.lock().await, self.inner.kept.write().await);
        self.store().copy_to(&own.join(STORE)).await?;
        taker.keep(STORE.to_owned(), own.join(STORE));
        let from = data.clone();
        let taken = off_thread(move || taker.take(&from, &own)).await;
        let Taker { files, folders } = taken.map_err(failed)?;
        drop((nothing_goes, nothing_comes));
        let manifest = Manifest {
            format: Manifest::FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            taken_ms: now_ms(),
            data: data.to_string_lossy().into_owned(),
            encrypted: self.vault().is_sealed(),
            files: files.len() as u64,
            bytes: files.iter().map(|file| file.length).sum(),
        };
        Ok(Ok(Backup { manifest, files, _folders: folders }))
    }
}

impl Backup {
    /// All of it in one archive (tar), with the BLAKE3 of each file at its end.
    pub(crate) fn archive(self) -> impl Stream<Item = Result<Bytes>> {
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

    fn write(&self, out: &mut Pieces) -> Result<()> {
        let mut archive = tar::Builder::new(out);
        let manifest = serde_json::to_vec_pretty(&self.manifest)?;
        append(&mut archive, MANIFEST, manifest.len() as u64, &mut manifest.as_slice())?;
        let mut sums = format!("{}  {MANIFEST}\n", blake3::hash(&manifest).to_hex());
        for Held { name, path, length } in &self.files {
            // What came to its end later is not of this copy, and what was taken back from it was never said to be safe.
            let file = std::fs::File::open(path)?;
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
) -> Result<()> {
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
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let read = self.from.read(into)?;
        self.hasher.update(&into[..read]);
        Ok(read)
    }
}

/// Hands pieces to whoever takes them.
struct Pieces {
    pieces: mpsc::Sender<Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        let piece = Bytes::from(std::mem::take(&mut self.piece));
        if piece.is_empty() {
            return Ok(());
        }
        self.pieces.blocking_send(Ok(piece)).map_err(|_| ErrorKind::BrokenPipe.into())
    }
}
