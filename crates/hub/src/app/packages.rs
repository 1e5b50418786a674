//! Results that are many files in one archive: where in it each of them is. How they are sent is not known here.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use kinora_protocol::recipe::Container;
use kinora_protocol::{Digest, ErrorCode, Failure, JobId};
use kinora_vault::Vault;

use super::media::{Asked, Output};
use crate::{Hub, HubError, Result};

/// Archives whose contents are remembered: of those that people watch now.
const REMEMBERED: usize = 64;

/// Where in an archive its files are.
type Contents = Arc<BTreeMap<String, Range<u64>>>;

/// An archive as it was when it was read: another result may have taken its place since.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    length: u64,
    modified: Option<SystemTime>,
}

/// What was read of archives.
#[derive(Debug, Default)]
pub(crate) struct Packages {
    known: Mutex<Vec<(Stamp, Contents)>>,
}

impl Packages {
    fn recall(&self, stamp: &Stamp) -> Option<Contents> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.iter().position(|(of, _)| of == stamp)?;
        // Those used last are at the end.
        let entry = known.remove(found);
        let contents = Arc::clone(&entry.1);
        known.push(entry);
        Some(contents)
    }

    fn remember(&self, stamp: Stamp, contents: Contents) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(of, _)| of.path != stamp.path);
        if known.len() >= REMEMBERED {
            known.remove(0);
        }
        known.push((stamp, contents));
    }
}

/// A file within an archive.
#[derive(Debug, Clone)]
pub(crate) struct Within {
    /// The archive.
    pub(crate) path: PathBuf,
    /// BLAKE3 of the archive.
    pub(crate) digest: Digest,
    /// Where in it the file is.
    pub(crate) place: Range<u64>,
}

impl Hub {
    /// A file of a job's result that is a package.
    ///
    /// # Errors
    /// When the store or the archive cannot be read; that there is none is the inner error.
    pub(crate) async fn file_within(&self, job: JobId, name: &str) -> Result<Asked<Option<Within>>> {
        let Output { path, container, made } = match self.output_of(job).await? {
            Ok(found) => found,
            Err(failure) => return Ok(Err(failure)),
        };
        if container != Some(Container::Hls) {
            let why = format!("the result of job {job} is no HLS package");
            return Ok(Err(Failure::new(ErrorCode::BadInput, why)));
        }
        let failed = |e: std::io::Error| HubError::Blob { path: path.clone(), reason: e.to_string() };
        let facts = tokio::fs::metadata(&path).await.map_err(failed)?;
        let stamp = Stamp { path: path.clone(), length: facts.len(), modified: facts.modified().ok() };
        if self.vault().length_of(&path, stamp.length) != Some(made.size) {
            let why = format!("{}: it is not the result of job {job} any more", path.display());
            return Ok(Err(Failure::new(ErrorCode::Disk, why)));
        }
        let contents = match self.inner.packages.recall(&stamp) {
            Some(contents) => contents,
            None => {
                let (vault, archive) = (self.vault().clone(), path.clone());
                let read = tokio::task::spawn_blocking(move || contents(&vault, &archive)).await;
                let read =
                    read.map_err(|e| HubError::Inconsistent(format!("reading an archive stopped ({e})")))?;
                let contents = Arc::new(read.map_err(failed)?);
                self.inner.packages.remember(stamp, Arc::clone(&contents));
                contents
            }
        };
        let place = contents.get(name).cloned();
        Ok(Ok(place.map(|place| Within { path, digest: made.digest, place })))
    }
}

fn contents(vault: &Vault, path: &Path) -> std::io::Result<BTreeMap<String, Range<u64>>> {
    let mut archive = tar::Archive::new(vault.read(path)?.cursor());
    let mut found = BTreeMap::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let start = entry.raw_file_position();
        found.insert(name, start..start + entry.size());
    }
    Ok(found)
}
