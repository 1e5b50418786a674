//! Blobs that nobody needs any more: results of completed jobs, of attempts that were late, and kept chunks beyond the budget.

use std::path::Path;
use std::time::Duration;

use kinora_protocol::{Attempt, TaskId};
use kinora_store::InUse;
use tokio_util::sync::CancellationToken;

use super::every;
use crate::{Hub, HubError, Result};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(60);
/// Probed sources that are kept.
const SOURCES_KEPT: u32 = 1000;
/// Events that are kept for watchers who come back.
const EVENTS_KEPT: i64 = 100_000;
/// Kept chunks that are dropped at a time.
const AT_ONCE: u32 = 64;

impl Hub {
    /// Keeps the blob folder clean until `stop`: chunks for other jobs up to `budget` bytes, those used last.
    pub async fn watch_blobs(&self, budget: u64, stop: CancellationToken) {
        every(EVERY, stop, || async {
            if let Err(error) = self.sweep(budget).await {
                tracing::error!("the blob folder cannot be cleaned: {error}");
            }
            if let Err(error) = self.forget_events().await {
                tracing::error!("old events cannot be dropped: {error}");
            }
        })
        .await;
    }

    async fn forget_events(&self) -> Result<()> {
        let newest = self.store().outbox_newest().await?;
        if newest > EVENTS_KEPT {
            self.store().trim_outbox(newest - EVENTS_KEPT).await?;
        }
        Ok(())
    }

    async fn forget_chunks_over(&self, budget: u64) -> Result<()> {
        let mut over = self.store().cached_bytes().await?.saturating_sub(budget);
        while over > 0 {
            let oldest = self.store().oldest_chunks(AT_ONCE).await?;
            if oldest.is_empty() {
                // All of them belong to jobs that have not ended.
                break;
            }
            for chunk in oldest {
                if over == 0 {
                    break;
                }
                self.store().forget_chunk(&chunk.key).await?;
                over = over.saturating_sub(chunk.bytes);
            }
        }
        Ok(())
    }

    async fn sweep(&self, budget: u64) -> Result<()> {
        self.forget_chunks_over(budget).await?;
        self.store().trim_media(SOURCES_KEPT).await?;
        // The folder is read first: what is finished while the store is asked is not among these.
        let folder = self.inner.blobs.clone();
        let listed = tokio::task::spawn_blocking(move || names(&folder));
        let listed =
            listed.await.map_err(|e| HubError::Inconsistent(format!("listing blobs stopped ({e})")))?;
        // Nothing goes that a copy of the store speaks of.
        let _no_copy = self.inner.kept.read().await;
        let in_use = self.store().blobs_in_use().await?;
        for name in listed.into_iter().filter(|name| is_waste(name, &in_use)) {
            let path = self.inner.blobs.join(&name);
            match tokio::fs::remove_file(&path).await {
                Ok(()) => tracing::debug!("dropped {}", path.display()),
                Err(error) => tracing::warn!("{}: {error}", path.display()),
            }
        }
        Ok(())
    }
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// Named by our rule, of no attempt that runs, and the result of nothing that may still need it.
fn is_waste(name: &str, in_use: &InUse) -> bool {
    let Some(attempt) = attempt_of(name) else { return false };
    !in_use.attempts.contains(&attempt) && !in_use.paths.contains(name)
}

/// Task and attempt in a name made by `protocol::task::blob_name`.
fn attempt_of(name: &str) -> Option<(TaskId, Attempt)> {
    let stem = name.split('.').next()?;
    let mut words = stem.rsplit('-');
    let attempt = Attempt(words.next()?.parse().ok()?);
    Some((TaskId(words.next()?.parse().ok()?), attempt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_ours_and_unused_is_waste() {
        let in_use = InUse {
            paths: ["01-chunk-7-1.mp4".to_owned()].into(),
            attempts: [(TaskId(8), Attempt(2))].into(),
        };
        for (name, waste) in [
            ("01-chunk-7-1.mp4", false),
            ("01-chunk-7-2.mp4", true),
            ("01-chunk-8-2.mp4", false),
            ("01-chunk-8-2.mp4.incoming", false),
            ("01-chunk-8-1.mp4.incoming", true),
            ("01-probe-9-1.index", true),
            ("a user's file.mp4", false),
            ("notes-2024-x.txt", false),
        ] {
            assert_eq!(is_waste(name, &in_use), waste, "{name}");
        }
    }
}
