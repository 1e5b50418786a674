//! One attempt of one task, by kind. Each gives its output, with all blobs on disk, or a failure.

use std::path::{Path, PathBuf};

use kinora_media::Control;
use kinora_protocol::node::Grant;
use kinora_protocol::task::{Blob, TaskOutput, TaskSpec, blob_name};
use kinora_protocol::{Digest, Failure};

use crate::claim::{Worker, disk};

mod analyze;
mod audio;
mod chunk;
mod join;
mod package;
mod probe;

/// What an attempt has in hand.
pub(crate) struct Attempt<'a> {
    worker: &'a Worker,
    grant: &'a Grant,
    control: &'a Control,
    scratch: &'a Path,
}

impl Attempt<'_> {
    /// Where this attempt's result goes: its name below `blobs`, and its full path.
    fn blob(&self) -> (PathBuf, PathBuf) {
        let Grant { job, task, attempt, spec } = self.grant;
        let name = blob_name(*job, spec.kind(), *task, *attempt);
        let path = self.worker.folders.blobs.join(&name);
        (name, path)
    }

    /// The full path of a blob.
    fn path_of(&self, blob: &Blob) -> PathBuf {
        self.worker.folders.blobs.join(&blob.path)
    }
}

fn blob(path: PathBuf, (size, digest): (u64, Digest)) -> Blob {
    Blob { path, size, digest }
}

/// Runs an attempt to its end.
pub(crate) async fn run(worker: &Worker, grant: &Grant, control: &Control) -> Result<TaskOutput, Failure> {
    let folder = worker
        .folders
        .attempt(grant)
        .map_err(|e| disk(&format!("cannot write into {}", worker.folders.scratch.display()), &e))?;
    let attempt = Attempt { worker, grant, control, scratch: folder.path() };
    tracing::debug!("starts");
    let result = match &grant.spec {
        TaskSpec::Probe { source } => probe::run(&attempt, source).await,
        TaskSpec::Analyze(spec) => analyze::run(&attempt, spec).await,
        TaskSpec::Chunk(task) => chunk::run(&attempt, task).await,
        TaskSpec::Audio(task) => audio::run(&attempt, task).await,
        TaskSpec::Join(spec) => join::run(&attempt, spec).await,
        TaskSpec::Package(task) => package::run(&attempt, task).await,
    };
    match &result {
        Ok(_) => tracing::debug!("done"),
        Err(failure) => {
            tracing::warn!(code = ?failure.code, "{}", failure.message);
            for line in failure.detail.lines() {
                tracing::debug!("ffmpeg: {line}");
            }
        }
    }
    result
}
