//! Whether what the hub keeps is encrypted, and how it comes to be: what was there before is encrypted at the first start with a
//! master key, and what older master keys open is opened by the newest after each. How it is done is not known here.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kinora_access::private;
use kinora_protocol::api::EncryptionView;
use kinora_protocol::node::FileMark;
use kinora_protocol::task::{TaskOutput, TaskSpec};
use kinora_store::Claimed;
use kinora_vault::{Converted, Masters, Rewrapped, Vault};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::work::source_of;
use crate::{Hub, HubError, Result, off_thread};

/// What says that files are encrypted. It decides, and not what is in them.
pub(super) const STATE: &str = "vault.json";
/// Folders of what is kept, below the hub's.
pub(super) const FOLDERS: [&str; 3] = ["media", "blobs", "outputs"];
pub(super) const UPLOADS: &str = "uploads";
/// Where the node in the hub's process works when nothing is encrypted.
const SCRATCH: &str = "scratch";
/// How long it is waited when a folder cannot be listed.
const AGAIN: Duration = Duration::from_secs(60);

/// What is known of the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// All are encrypted; some may not be yet when it is false.
    complete: bool,
    /// The names of the master keys that may be needed to open them.
    masters: Vec<String>,
}

/// What was found of older master keys.
#[derive(Debug, Default)]
pub(crate) struct Sealing(Mutex<Option<Rewrapped>>);

fn read_state(path: &Path) -> Result<Option<State>> {
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|e| disk(path, &e.into())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(disk(path, &error)),
    }
}

fn write_state(path: &Path, state: &State) -> Result<()> {
    let text = serde_json::to_string(state).map_err(|e| disk(path, &e.into()))?;
    private::write(path, &text).map_err(|e| disk(path, &e))
}

/// The files of a hub, encrypted if there are master keys: what is there and is not yet is first.
///
/// # Errors
/// They are encrypted and there are no keys, or the disk fails.
pub(crate) fn open(data: &Path, masters: Option<Masters>) -> Result<Vault> {
    let path = data.join(STATE);
    let state = read_state(&path)?;
    let Some(masters) = masters else {
        if state.is_some() {
            let why = format!(
                "what is in {} is encrypted: start the hub with --encrypt-at-rest and its master key",
                data.display()
            );
            return Err(HubError::Encrypted(why));
        }
        return Ok(Vault::open_to_all());
    };
    let names = masters.names();
    let mut state = state.unwrap_or(State { complete: false, masters: Vec::new() });
    if let Some(missing) = state.masters.iter().find(|name| !names.contains(name)) {
        let why = format!(
            "files in {} need master key {missing}; given are {}: put it on a line below the one that is to take its place",
            data.display(),
            names.join(", ")
        );
        return Err(HubError::Encrypted(why));
    }
    if !state.masters.contains(&names[0]) {
        state.masters.push(names[0].clone());
        write_state(&path, &state)?;
    }
    let folders = FOLDERS.iter().map(|name| data.join(name)).collect();
    let vault = Vault::new(folders, data.join(UPLOADS), masters);
    // What was worked on in the clear before.
    match std::fs::remove_dir_all(data.join(SCRATCH)) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(disk(data, &error)),
        _ => {}
    }
    if !state.complete {
        tell_of(&vault.convert().map_err(|e| disk(data, &e))?);
        write_state(&path, &State { complete: true, ..state })?;
    }
    Ok(vault)
}

fn tell_of(done: &Converted) {
    if done.files > 0 {
        tracing::info!("{} files of {} bytes that were there are encrypted now", done.files, done.bytes);
    }
}

fn disk(path: &Path, error: &std::io::Error) -> HubError {
    HubError::Blob { path: path.to_owned(), reason: error.to_string() }
}

/// Whether the newest master key opens all that is there.
fn is_settled(data: &Path, newest: &str) -> Result<bool> {
    let state = read_state(&data.join(STATE))?;
    Ok(state.is_some_and(|state| state.complete && state.masters == [newest]))
}

/// All is opened by the newest master key: the others are not needed any more.
fn settle(data: &Path, newest: &str) -> Result<()> {
    write_state(&data.join(STATE), &State { complete: true, masters: vec![newest.to_owned()] })
}

impl Hub {
    /// The files that the hub keeps.
    pub(crate) fn vault(&self) -> &Vault {
        &self.inner.vault
    }

    pub(super) fn uploads_folder(&self) -> PathBuf {
        self.inner.data.join(UPLOADS)
    }

    /// What the hub sees of a file.
    pub(crate) fn mark_of(&self, path: &Path) -> Option<FileMark> {
        let facts = std::fs::metadata(path).ok()?;
        let size = self.vault().length_of(path, facts.len())?;
        Some(FileMark { size, ..FileMark::from(&facts) })
    }

    /// Whether a result can be opened where it is to be encrypted: who began before it was may have left it otherwise.
    pub(super) async fn is_sealed_as_said(
        &self,
        claimed: &Claimed,
        output: &TaskOutput,
    ) -> std::result::Result<(), String> {
        let (path, size) = match output {
            TaskOutput::Package(made) => (self.result_place(claimed).1, made.size),
            other => match other.blob() {
                Some(blob) => (self.inner.blobs.join(&blob.path), blob.size),
                None => return Ok(()),
            },
        };
        // A package may have its name already, and was looked at before it got it.
        if !self.vault().seals(&path) || (matches!(output, TaskOutput::Package(_)) && !path.exists()) {
            return Ok(());
        }
        let vault = self.vault().clone();
        match off_thread(move || vault.read(&path).map(|file| file.length())).await {
            Ok(length) if length == size => Ok(()),
            Ok(length) => Err(format!("the result has {length} bytes in place of {size}")),
            Err(error) => Err(format!("the result is not encrypted as it has to be: {error}")),
        }
    }

    /// What the hub sees of the file that a task reads.
    pub(crate) fn mark_of_source(&self, spec: &TaskSpec) -> Option<FileMark> {
        self.mark_of(source_of(spec)?)
    }

    /// Whether what is kept is encrypted, and whether older master keys may go.
    pub(crate) fn encryption_view(&self) -> Option<EncryptionView> {
        if !self.vault().is_sealed() {
            return None;
        }
        let found = self.found();
        let lost = found.as_ref().map(|found| found.lost.len() as u64);
        Some(EncryptionView { settled: lost == Some(0), unreadable: lost.unwrap_or(0) })
    }

    /// Lets the newest master key open what older ones do.
    pub async fn watch_keys(&self, stop: CancellationToken) {
        while let Some(newest) = self.vault().newest() {
            match self.settle_keys(&newest, &stop).await {
                Ok(()) => break,
                Err(_) if stop.is_cancelled() => return,
                Err(error) => tracing::error!("what older master keys open cannot be looked at: {error}"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
        stop.cancelled().await;
    }

    /// Looks until there is nothing left to do: files get other names meanwhile.
    async fn settle_keys(&self, newest: &str, stop: &CancellationToken) -> Result<()> {
        let data = self.inner.data.clone();
        if is_settled(&data, newest)? {
            *self.found() = Some(Rewrapped::default());
            return Ok(());
        }
        loop {
            let (vault, stop) = (self.vault().clone(), stop.clone());
            let done = off_thread(move || vault.rewrap(|| !stop.is_cancelled())).await;
            let done = done.map_err(|e| disk(&data, &e))?;
            if done.files > 0 {
                tracing::info!("{} files are opened by the newest master key now", done.files);
            }
            if done.files > 0 || done.missed > 0 {
                continue;
            }
            done.lost.iter().for_each(|why| tracing::error!("{why}"));
            if done.lost.is_empty() {
                settle(&data, newest)?;
            }
            *self.found() = Some(done);
            return Ok(());
        }
    }

    fn found(&self) -> MutexGuard<'_, Option<Rewrapped>> {
        self.inner.sealing.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_stays_so() {
        let data = tempfile::tempdir().unwrap();
        std::fs::create_dir(data.path().join("media")).unwrap();
        let media = data.path().join("media/a");
        std::fs::write(&media, b"film").unwrap();
        assert!(!open(data.path(), None).unwrap().is_sealed());
        // It was killed in the middle.
        let masters = |keys: &[&str]| Some(Masters::parse(&keys.concat()).unwrap());
        let (one, two) = (format!("{}\n", "ab".repeat(32)), format!("{}\n", "cd".repeat(32)));
        let name = |key: &str| Masters::parse(key).unwrap().names().remove(0);
        let path = data.path().join(STATE);
        write_state(&path, &State { complete: false, masters: vec![name(&one)] }).unwrap();
        let refused = |keys| match open(data.path(), keys) {
            Err(HubError::Encrypted(why)) => why,
            other => panic!("{other:?}"),
        };
        refused(None);
        assert!(refused(masters(&[&two])).contains(&name(&one)));
        let vault = open(data.path(), masters(&[&one])).unwrap();
        assert_eq!(vault.read(&media).unwrap().length(), 4);
        refused(None);
        // Another key comes: the old one is needed until it is said that it is not.
        open(data.path(), masters(&[&two, &one])).unwrap();
        assert!(refused(masters(&[&two])).contains(&name(&one)));
        assert!(refused(masters(&[&one])).contains(&name(&two)));
        vault_of(data.path(), masters(&[&two, &one])).rewrap(|| true).unwrap();
        settle(data.path(), &name(&two)).unwrap();
        assert_eq!(vault_of(data.path(), masters(&[&two])).read(&media).unwrap().length(), 4);
        // Nothing that can be read is taken in any more.
        std::fs::write(&media, b"another").unwrap();
        assert!(vault_of(data.path(), masters(&[&two])).read(&media).is_err());
    }

    fn vault_of(data: &Path, masters: Option<Masters>) -> Vault {
        open(data, masters).unwrap()
    }
}
