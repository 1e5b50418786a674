//! Chunks that are there already: are they still what they were? A blob is believed only after its bytes were hashed.

use std::path::Path;

use kinora_jobs::judge::{self, Verdict};
use kinora_protocol::Digest;
use kinora_protocol::task::{Blob, ChunkSpec, TaskKind, TaskOutput, TaskSpec};
use kinora_store::{Reopen, TaskState};
use kinora_vault::Vault;

use super::tasks::package_spec;
use crate::{Hub, Result};

impl Hub {
    /// An earlier chunk with this key whose bytes are sound and which is right by today's plan.
    pub(crate) async fn kept_chunk(
        &self,
        key: Option<&Digest>,
        spec: &ChunkSpec,
    ) -> Result<Option<TaskOutput>> {
        let Some(key) = key else { return Ok(None) };
        let mut found = self.store().cached_chunks(std::slice::from_ref(key)).await?;
        let Some(kept) = found.remove(key) else { return Ok(None) };
        let usable = match &kept.output {
            TaskOutput::Chunk(out) => {
                let right = !matches!(judge::chunk(spec, out), Verdict::Broken { .. } | Verdict::Redo(_));
                right && self.is_sound(&out.blob).await
            }
            _ => false,
        };
        if usable {
            return Ok(Some(kept.output));
        }
        self.store().forget_chunk(key).await?;
        Ok(None)
    }

    /// Looks at the blobs of all done tasks of open jobs; a damaged or missing one has its task done again.
    pub(crate) async fn check_stored_blobs(&self) -> Result<()> {
        for job in self.store().open_jobs().await? {
            let tasks = self.store().tasks(job.id).await?;
            let expanded =
                tasks.iter().any(|task| matches!(task.kind, TaskKind::Package | TaskKind::Describe));
            // What was found in the film is told from its survey when the result is there.
            let told =
                tasks.iter().any(|task| package_spec(&task.spec).is_some_and(|p| p.settled.detect.is_some()));
            // From the last to the first: what a damaged result was used for has to be open before it can be made again.
            for task in tasks.into_iter().rev() {
                let (TaskState::Done, Some(blob)) =
                    (task.state, task.output.as_ref().and_then(TaskOutput::blob))
                else {
                    continue;
                };
                // Once all tasks are there, what they were planned by has done its work.
                let plans = match task.kind {
                    TaskKind::Probe => true,
                    TaskKind::Measure | TaskKind::Survey => !told,
                    _ => false,
                };
                if (plans && expanded) || self.is_sound(blob).await {
                    continue;
                }
                tracing::warn!(job = %job.id, task = %task.id, "its stored result is damaged or gone; it is made again");
                let again = Reopen { task: task.id, spec: task.spec, cache_key: task.cache_key };
                self.store().reopen(&[again]).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn is_sound(&self, blob: &Blob) -> bool {
        self.holds(&self.inner.blobs.join(&blob.path), blob.size, &blob.digest).await
    }

    /// Whether a file is there and has this content.
    pub(super) async fn holds(&self, path: &Path, size: u64, digest: &Digest) -> bool {
        let (vault, path, digest) = (self.vault().clone(), path.to_owned(), digest.clone());
        let checked = tokio::task::spawn_blocking(move || holds(&vault, &path, size, &digest));
        checked.await.unwrap_or(false)
    }
}

/// Whether a file is there and has this content.
pub(crate) fn holds(vault: &Vault, path: &Path, size: u64, digest: &Digest) -> bool {
    let length = |m: std::fs::Metadata| vault.length_of(path, m.len()).filter(|_| m.is_file());
    let same_size = std::fs::metadata(path).is_ok_and(|m| length(m) == Some(size));
    same_size && hash(vault, path).is_ok_and(|found| found == *digest)
}

pub(super) fn hash(vault: &Vault, path: &Path) -> std::io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(vault.read(path)?.cursor())?;
    Ok(Digest::from_bytes(hasher.finalize().as_bytes()))
}

/// The chunk spec of a task's spec.
pub(crate) fn chunk_spec(spec: &TaskSpec) -> Option<&ChunkSpec> {
    match spec {
        TaskSpec::Chunk(task) => Some(&task.work),
        _ => None,
    }
}
