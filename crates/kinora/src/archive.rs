//! Copies of hubs as archives: whole or refused, and put where a hub finds them. How one is taken is for the hub.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Write};
use std::path::{Component, Path};

use kinora_access::private;
use kinora_protocol::backup::{CHECKSUMS, MANIFEST, Manifest, STORE};
use kinora_protocol::{ErrorCode, Failure};
use kinora_store::Store;

/// Bytes of what stands in memory: the manifest, and the list of checksums.
const LONGEST: u64 = 1 << 30;
const PIECE: usize = 1 << 20;

fn bad(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorCode::BadInput, format!("{}: {why}", path.display()))
}

fn disk(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(ErrorCode::Disk, format!("{}: {error}", path.display()))
}

/// A thread broke.
pub fn broke(error: tokio::task::JoinError) -> Failure {
    Failure::new(ErrorCode::Internal, format!("reading stopped ({error})"))
}

/// A name that leads nowhere else.
fn is_plain(name: &Path) -> bool {
    name.components().next().is_some() && name.components().all(|part| matches!(part, Component::Normal(_)))
}

/// Reads a copy to its end, and writes its files below a folder, if there is one. What is not whole is refused.
pub fn read(path: &Path, to: Option<&Path>) -> Result<Manifest, Failure> {
    let file = File::open(path).map_err(|e| disk(path, &e))?;
    let mut archive = tar::Archive::new(BufReader::with_capacity(PIECE, file));
    let cut = |e: std::io::Error| bad(path, format!("it is no whole copy of a hub: {e}"));
    let mut manifest: Option<Manifest> = None;
    let (mut found, mut sums) = (BTreeMap::new(), None);
    for entry in archive.entries().map_err(cut)? {
        let mut entry = entry.map_err(cut)?;
        let name = entry.path().map_err(cut)?.into_owned();
        if !is_plain(&name) || !entry.header().entry_type().is_file() || sums.is_some() {
            return Err(bad(path, format!("{} has no place in a copy of a hub", name.display())));
        }
        let text = name.to_string_lossy().into_owned();
        if manifest.is_none() {
            if text != MANIFEST {
                return Err(bad(path, "it is no copy of a hub"));
            }
            let json = whole(&mut entry).map_err(cut)?;
            found.insert(text, blake3::hash(&json).to_hex().to_string());
            manifest = Some(facts(path, &json)?);
        } else if text == CHECKSUMS {
            sums = Some(String::from_utf8(whole(&mut entry).map_err(cut)?).map_err(|e| bad(path, e))?);
        } else {
            let mut out = to.map(|to| create(&to.join(&name))).transpose()?;
            let digest = copy(&mut entry, out.as_mut()).map_err(|e| match to {
                Some(to) => disk(&to.join(&name), &e),
                None => cut(e),
            })?;
            found.insert(text, digest);
        }
    }
    let (Some(manifest), Some(sums)) = (manifest, sums) else {
        return Err(bad(path, "it is cut off: its end is not there"));
    };
    let wanted: BTreeMap<String, String> = sums
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(digest, name)| (name.to_owned(), digest.to_owned()))
        .collect();
    if let Some((name, _)) = found.iter().find(|(name, digest)| wanted.get(*name) != Some(digest)) {
        return Err(bad(path, format!("{name} in it is damaged")));
    }
    if found.len() != wanted.len() || found.len() as u64 != manifest.files + 1 || !found.contains_key(STORE) {
        return Err(bad(path, "files are missing in it"));
    }
    Ok(manifest)
}

fn facts(path: &Path, json: &[u8]) -> Result<Manifest, Failure> {
    let manifest: Manifest =
        serde_json::from_slice(json).map_err(|e| bad(path, format!("it is no copy of a hub: {e}")))?;
    if manifest.format == Manifest::FORMAT {
        return Ok(manifest);
    }
    Err(bad(path, format!("version {} of Kinora made it, and this one cannot read it", manifest.version)))
}

fn whole(entry: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn create(path: &Path) -> Result<File, Failure> {
    if let Some(folder) = path.parent() {
        private::folder(folder).map_err(|e| disk(folder, &e))?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|e| disk(path, &e))
}

/// Copies a file, and says what it holds.
fn copy(from: &mut impl Read, to: Option<&mut File>) -> std::io::Result<String> {
    let (mut hasher, mut piece, mut to) = (blake3::Hasher::new(), vec![0; PIECE], to);
    loop {
        let read = from.read(&mut piece)?;
        if read == 0 {
            break;
        }
        hasher.update(&piece[..read]);
        if let Some(to) = &mut to {
            to.write_all(&piece[..read])?;
        }
    }
    if let Some(to) = to {
        to.sync_all()?;
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// What file systems keep for themselves at their root.
const OF_THE_DISK: &str = "lost+found";
/// Where files are until all of them are known to be whole.
const GROWING: &str = ".restoring";

/// Makes the folder of a hub from a copy.
pub async fn restore(copy: &Path, data: &Path) -> Result<Manifest, Failure> {
    let failed = |e: std::io::Error| disk(data, &e);
    private::folder(data).map_err(failed)?;
    let data = data.canonicalize().map_err(failed)?;
    let growing = data.join(GROWING);
    let _ = std::fs::remove_dir_all(&growing);
    let entries = std::fs::read_dir(&data).map_err(failed)?.flatten();
    if entries.map(|entry| entry.file_name()).any(|name| name != OF_THE_DISK) {
        return Err(bad(
            &data,
            "there is something in it already: name a folder that is not there, or empty",
        ));
    }
    private::folder(&growing).map_err(|e| disk(&growing, &e))?;
    let outcome = put(copy, &growing, &data).await;
    let _ = std::fs::remove_dir_all(&growing);
    if outcome.is_err() {
        // One that was made for it goes, too.
        let _ = std::fs::remove_dir(&data);
    }
    outcome
}

async fn put(copy: &Path, growing: &Path, data: &Path) -> Result<Manifest, Failure> {
    let (from, to) = (copy.to_owned(), growing.to_owned());
    let read = tokio::task::spawn_blocking(move || read(&from, Some(&to))).await;
    let manifest = read.map_err(broke)??;
    let of_store = |e: kinora_store::StoreError| Failure::from(kinora_hub::HubError::from(e));
    let store = Store::open(&growing.join(STORE)).await.map_err(of_store)?;
    let moved = store.relocate(Path::new(&manifest.data), data).await;
    let closed = store.close().await;
    moved.and(closed).map_err(of_store)?;
    let mut names: Vec<_> =
        std::fs::read_dir(growing).map_err(|e| disk(growing, &e))?.flatten().map(|e| e.file_name()).collect();
    // Without the store it is no hub: that comes last.
    names.sort_by_key(|name| name == STORE);
    for name in names {
        std::fs::rename(growing.join(&name), data.join(&name)).map_err(|e| disk(&data.join(&name), &e))?;
    }
    #[cfg(unix)]
    File::open(data).and_then(|folder| folder.sync_all()).map_err(|e| disk(data, &e))?;
    Ok(manifest)
}
