//! Parts of sources that were fetched. Each source is a sparse file of its full length with the fetched bytes in their
//! places, so that whatever reads a source can read this one, as long as it reads no further than was asked for. It must
//! not know where the bytes come from.

use std::collections::HashMap;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kinora_protocol::node::FileMark;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};

use crate::ranges::Ranges;

/// The cache of a node.
#[derive(Debug)]
pub struct MediaCache {
    folder: PathBuf,
    /// Bytes that are kept at the most, but for files in use.
    budget: u64,
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Debug, Default)]
struct Shelf {
    kept: HashMap<(PathBuf, FileMark), Arc<Kept>>,
    /// Counts uses: names new folders and tells what was used last.
    uses: u64,
}

/// A source that somebody needs. What is over the budget goes when nobody does.
#[derive(Debug)]
pub struct Held {
    kept: Arc<Kept>,
    /// Dropped after it, as fields are in their order.
    _after: Tidying,
}

/// Drops what is over the budget.
#[derive(Debug)]
struct Tidying {
    shelf: Arc<Mutex<Shelf>>,
    budget: u64,
}

/// One source, as far as it is here. It is not dropped while somebody holds it.
#[derive(Debug)]
pub struct Kept {
    path: PathBuf,
    present: AsyncMutex<Ranges>,
    bytes: AtomicU64,
    used: AtomicU64,
}

impl MediaCache {
    /// An empty cache in `folder`; what an earlier one left there is removed.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(folder: PathBuf, budget: u64) -> io::Result<Self> {
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder, budget, shelf: Arc::default() })
    }

    /// The file for a source, made if there is none.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn hold(&self, source: &Path, mark: FileMark) -> io::Result<Held> {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.uses += 1;
        let now = shelf.uses;
        let key = (source.to_owned(), mark);
        if let Some(kept) = shelf.kept.get(&key) {
            kept.used.store(now, Ordering::Relaxed);
            return Ok(self.held(Arc::clone(kept)));
        }
        shelf.make_room(self.budget);
        let folder = self.folder.join(now.to_string());
        std::fs::create_dir(&folder)?;
        // Its own name, as some demuxers go by it and errors name it.
        let path = folder.join(source.file_name().unwrap_or_default());
        std::fs::File::create(&path)?.set_len(mark.size)?;
        let kept = Arc::new(Kept {
            path,
            present: AsyncMutex::default(),
            bytes: AtomicU64::new(0),
            used: AtomicU64::new(now),
        });
        shelf.kept.insert(key, Arc::clone(&kept));
        Ok(self.held(kept))
    }

    fn held(&self, kept: Arc<Kept>) -> Held {
        Held { kept, _after: Tidying { shelf: Arc::clone(&self.shelf), budget: self.budget } }
    }
}

impl Deref for Held {
    type Target = Kept;

    fn deref(&self) -> &Kept {
        &self.kept
    }
}

impl Drop for Tidying {
    fn drop(&mut self) {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner).make_room(self.budget);
    }
}

impl Shelf {
    /// Drops what nobody holds, those used longest ago first, until it fits.
    fn make_room(&mut self, budget: u64) {
        let mut total: u64 = self.kept.values().map(|k| k.bytes.load(Ordering::Relaxed)).sum();
        // Without a budget also what was not noted yet, as its transfer was cut off.
        while total > budget || (budget == 0 && !self.kept.is_empty()) {
            let free = self.kept.iter().filter(|(_, kept)| Arc::strong_count(kept) == 1);
            let Some(oldest) =
                free.min_by_key(|(_, k)| k.used.load(Ordering::Relaxed)).map(|(key, _)| key.clone())
            else {
                return;
            };
            if let Some(kept) = self.kept.remove(&oldest) {
                total -= kept.bytes.load(Ordering::Relaxed);
                if let Some(folder) = kept.path.parent() {
                    let _ = std::fs::remove_dir_all(folder);
                }
            }
        }
    }
}

impl Kept {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// To see what is missing and to note what came. Others who want parts of the same source wait meanwhile, as they often
    /// want the same parts.
    pub async fn fill(&self) -> Filling<'_> {
        Filling { kept: self, present: self.present.lock().await }
    }
}

/// A source that somebody is filling.
#[derive(Debug)]
pub struct Filling<'a> {
    kept: &'a Kept,
    present: MutexGuard<'a, Ranges>,
}

impl Filling<'_> {
    /// What of `wanted` is not there, in portions to be fetched one by one.
    pub fn missing(&self, wanted: &[(u64, u64)]) -> Vec<Vec<(u64, u64)>> {
        batches(wanted.iter().flat_map(|(from, len)| self.present.missing(*from, *len)).collect())
    }

    /// These are there now.
    pub fn note(&mut self, ranges: &[(u64, u64)]) {
        for (from, len) in ranges {
            self.present.insert(*from, *len);
        }
        self.kept.bytes.store(self.present.bytes(), Ordering::Relaxed);
    }
}

/// Bytes asked for at a time: what is lost when a connection breaks.
const BATCH_BYTES: u64 = 64 << 20;
/// Ranges asked for at a time.
const BATCH_RANGES: usize = 8192;

/// Ranges in groups of a size to be fetched at once; long ones are divided.
fn batches(missing: Vec<(u64, u64)>) -> Vec<Vec<(u64, u64)>> {
    let mut groups = Vec::new();
    let (mut group, mut room) = (Vec::new(), BATCH_BYTES);
    for (mut from, mut len) in missing {
        while len > 0 {
            let part = len.min(room);
            group.push((from, part));
            (from, len, room) = (from + part, len - part, room - part);
            if room == 0 || group.len() == BATCH_RANGES {
                groups.push(std::mem::take(&mut group));
                room = BATCH_BYTES;
            }
        }
    }
    if !group.is_empty() {
        groups.push(group);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: FileMark = FileMark { size: 1000, modified_ns: 1 };

    async fn fill(kept: &Kept, wanted: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let mut filling = kept.fill().await;
        let missing = filling.missing(wanted);
        missing.iter().for_each(|batch| filling.note(batch));
        missing.concat()
    }

    #[tokio::test]
    async fn nothing_is_fetched_twice() {
        let folder = tempfile::tempdir().unwrap();
        let cache = MediaCache::open(folder.path().join("media"), 1 << 30).unwrap();
        let kept = cache.hold(Path::new("/films/a.mp4"), MARK).unwrap();
        assert_eq!(std::fs::metadata(kept.path()).unwrap().len(), 1000);
        assert_eq!(kept.path().file_name().unwrap(), "a.mp4");
        assert_eq!(fill(&kept, &[(0, 100), (500, 10)]).await, [(0, 100), (500, 10)]);
        let again = cache.hold(Path::new("/films/a.mp4"), MARK).unwrap();
        assert_eq!(fill(&again, &[(50, 100), (500, 10)]).await, [(100, 50)]);
        let changed = cache.hold(Path::new("/films/a.mp4"), FileMark { modified_ns: 2, ..MARK }).unwrap();
        assert_eq!(fill(&changed, &[(0, 1)]).await, [(0, 1)]);
    }

    #[tokio::test]
    async fn what_failed_is_asked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = MediaCache::open(folder.path().join("media"), 1 << 30).unwrap();
        let kept = cache.hold(Path::new("a"), FileMark { size: 200 << 20, modified_ns: 0 }).unwrap();
        let mut filling = kept.fill().await;
        let batches = filling.missing(&[(0, 150 << 20)]);
        assert_eq!(batches.len(), 3);
        filling.note(&batches[0]);
        drop(filling);
        assert_eq!(fill(&kept, &[(0, 150 << 20)]).await, [(64 << 20, 64 << 20), (128 << 20, 22 << 20)]);
    }

    #[tokio::test]
    async fn what_nobody_holds_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let cache = MediaCache::open(folder.path().join("media"), 150).unwrap();
        let (a, b) = (cache.hold(Path::new("a"), MARK).unwrap(), cache.hold(Path::new("b"), MARK).unwrap());
        fill(&a, &[(0, 100)]).await;
        fill(&b, &[(0, 100)]).await;
        let (first, second) = (a.path().to_owned(), b.path().to_owned());
        drop(b);
        cache.hold(Path::new("c"), MARK).unwrap();
        assert!(first.exists(), "it is held");
        assert!(!second.exists());
    }
}
