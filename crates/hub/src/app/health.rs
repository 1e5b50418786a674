//! Whether the hub can do its work: for load balancers and whatever starts it again. Strangers may ask, so it names no places.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kinora_protocol::api::{Health, ReadyView};
use tokio::time::{Instant, timeout};

use super::uploads::RESERVE;
use crate::Hub;

/// A look is good for so long: many may ask.
const GOOD: Duration = Duration::from_secs(2);
/// A store or disk that does not answer within this is as good as none.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is written to see whether it can be.
const PROBE: &str = ".ready";

/// The last look.
#[derive(Default)]
pub(crate) struct Looked(Mutex<Option<(Instant, ReadyView)>>);

fn failing(why: impl Into<String>) -> Health {
    Health::Failing(why.into())
}

/// Whether a file can be written and read again below a folder.
fn writes(folder: &Path) -> std::io::Result<()> {
    let path = folder.join(PROBE);
    std::fs::write(&path, PROBE)?;
    let read = std::fs::read(&path)?;
    std::fs::remove_file(&path)?;
    if read == PROBE.as_bytes() {
        Ok(())
    } else {
        Err(std::io::Error::other("what was written is not what is read"))
    }
}

impl Hub {
    /// Whether it can do its work.
    pub async fn readiness(&self) -> ReadyView {
        let looked = &self.inner.looked.0;
        let last = looked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((at, view)) = last
            && at.elapsed() < GOOD
        {
            return view;
        }
        let (store, blobs) = tokio::join!(self.store_answers(), self.blobs_are_written());
        let disk = self.has_room();
        let ready = store.is_ok() && blobs.is_ok() && disk.is_ok();
        let nodes = self.inner.nodes.ready(&kinora_protocol::class::Tags::NONE);
        let view = ReadyView { ready, store, blobs, disk, nodes };
        *looked.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), view.clone()));
        view
    }

    async fn store_answers(&self) -> Health {
        match timeout(PATIENCE, self.store().meta("secret")).await {
            Ok(Ok(_)) => Health::Ok,
            Ok(Err(error)) => {
                tracing::error!("the store does not answer: {error}");
                failing("the store fails")
            }
            Err(_) => failing("the store does not answer in time"),
        }
    }

    async fn blobs_are_written(&self) -> Health {
        let folder = self.inner.blobs.clone();
        let look = tokio::task::spawn_blocking(move || writes(&folder));
        match timeout(PATIENCE, look).await {
            Ok(Ok(Ok(()))) => Health::Ok,
            Ok(Ok(Err(error))) => {
                tracing::error!("{}: {error}", self.inner.blobs.display());
                failing(format!("results cannot be written ({:?})", error.kind()))
            }
            Ok(Err(_)) => failing("the look broke off"),
            Err(_) => failing("the disk does not answer in time"),
        }
    }

    fn has_room(&self) -> Health {
        match fs4::available_space(&self.inner.data) {
            Ok(free) if free >= RESERVE => Health::Ok,
            Ok(free) => failing(format!("{free} bytes are free, and {RESERVE} are kept for the hub itself")),
            Err(error) => failing(format!("how much is free cannot be found out ({:?})", error.kind())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_gone_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        writes(folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
        assert!(writes(&folder.path().join("gone")).is_err());
    }
}
