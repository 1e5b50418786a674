//! One attempt of one task, by kind. Each gives its output, with all blobs where the hub keeps them, or a failure.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use kinora_media::{Control, encode};
use kinora_protocol::node::Grant;
use kinora_protocol::step::StepKind;
use kinora_protocol::task::{Blob, TaskOutput, TaskSpec, blob_name, part_name};
use kinora_protocol::{Digest, ErrorCode, Failure, fault};

use crate::claim::{Worker, disk};
use crate::reach::{Blobs, Parts, Source};
use crate::steps::Steps;

mod analyze;
mod audio;
mod chunk;
mod describe;
mod join;
mod measure;
mod package;
mod probe;
mod survey;

/// What an attempt has in hand.
pub(crate) struct Attempt<'a> {
    worker: &'a Worker,
    grant: &'a Grant,
    control: &'a Control,
    scratch: &'a Path,
    blobs: Blobs<'a>,
    steps: &'a Steps,
    /// Where a source is read and what the hub calls it, for messages.
    stands_for: Mutex<Vec<(PathBuf, PathBuf)>>,
}

impl Attempt<'_> {
    /// A source, with the parts that the task reads.
    async fn source(&self, path: &Path, parts: Parts<'_>) -> Result<Source, Failure> {
        let reaching = self.worker.reach.source(self.grant, path, parts, &self.control.cancel);
        let source = self.steps.of(StepKind::Fetch, reaching).await?;
        if source.path != path {
            let mut names = self.stands_for.lock().unwrap_or_else(PoisonError::into_inner);
            names.push((source.path.clone(), path.to_owned()));
        }
        Ok(source)
    }

    /// A blob that the task works on, by its position in the spec.
    async fn input(&self, position: usize, blob: &Blob) -> Result<PathBuf, Failure> {
        match &self.blobs {
            Blobs::Here(folder) => Ok(folder.join(&blob.path)),
            Blobs::There(remote) => {
                let fetching = remote.fetch(self.grant, (position, blob), self.scratch, &self.control.cancel);
                self.steps.of(StepKind::Fetch, fetching).await
            }
        }
    }

    /// Where this attempt's result is made: the name under which the hub keeps it, and a path.
    fn result(&self) -> (PathBuf, PathBuf) {
        let Grant { job, task, attempt, spec, .. } = self.grant;
        if let TaskSpec::Package(task) = spec {
            let part = part_name(&task.work.output, *job, *attempt);
            let path = match self.blobs {
                Blobs::Here(_) => part.clone(),
                Blobs::There(_) => self.scratch.join("result"),
            };
            return (part, path);
        }
        let name = blob_name(*job, spec.kind(), *task, *attempt);
        let folder = match &self.blobs {
            Blobs::Here(folder) => folder,
            Blobs::There(_) => self.scratch,
        };
        let path = folder.join(&name);
        (name, path)
    }

    /// Hands in a result; gives it as the hub knows it. What could not be handed in is removed.
    async fn hand_in(
        &self,
        (name, path): (PathBuf, PathBuf),
        (size, digest): (u64, Digest),
    ) -> Result<Blob, Failure> {
        fault::point("result.before");
        if let Blobs::There(remote) = self.blobs {
            let handing = remote.hand_in(self.grant, &path, &digest, &self.control.cancel);
            self.steps
                .of(StepKind::HandIn, handing)
                .await
                .inspect_err(|_| drop(std::fs::remove_file(&path)))?;
        }
        fault::point("result.after");
        Ok(Blob { path: name, size, digest })
    }

    /// Hands in what is written as JSON.
    async fn write<T: serde::Serialize>(&self, what: &T) -> Result<Blob, Failure> {
        let (name, path) = self.result();
        let cannot = |e: std::io::Error| disk(&format!("cannot write {}", path.display()), &e);
        let text = serde_json::to_vec(what).map_err(|e| cannot(e.into()))?;
        std::fs::write(&path, text).map_err(cannot)?;
        let settled = encode::settle(&path, self.control).await?;
        self.hand_in((name, path), settled).await
    }

    /// A failure in the hub's words: its names for files, not this machine's.
    fn named(&self, failure: Failure) -> Failure {
        let names = self.stands_for.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().fold(failure, |failure, (here, there)| {
            let (here, there) = (here.display().to_string(), there.display().to_string());
            Failure {
                message: failure.message.replace(&here, &there),
                detail: failure.detail.replace(&here, &there),
                ..failure
            }
        })
    }
}

/// Runs an attempt to its end.
pub(crate) async fn run(
    worker: &Worker,
    grant: &Grant,
    control: &Control,
    steps: &Steps,
) -> Result<TaskOutput, Failure> {
    let folder = worker
        .folders
        .attempt(grant)
        .map_err(|e| disk(&format!("cannot write into {}", worker.folders.scratch.display()), &e))?;
    let scratch = folder.path();
    let blobs = worker.reach.blobs(&worker.folders.blobs);
    let attempt = Attempt { worker, grant, control, scratch, blobs, steps, stands_for: Mutex::default() };
    tracing::debug!("starts");
    fault::point("work.before");
    let result = match &grant.spec {
        TaskSpec::Probe { source } => probe::run(&attempt, source).await,
        TaskSpec::Analyze(spec) => analyze::run(&attempt, spec).await,
        TaskSpec::Chunk(task) => chunk::run(&attempt, task).await,
        TaskSpec::Audio(task) => audio::run(&attempt, task).await,
        TaskSpec::Join(spec) => join::run(&attempt, spec).await,
        TaskSpec::Package(task) => package::run(&attempt, task).await,
        TaskSpec::Describe(task) => describe::run(&attempt, task).await,
        TaskSpec::Measure(task) => measure::run(&attempt, task).await,
        TaskSpec::Survey(spec) => survey::run(&attempt, spec).await,
    };
    match result {
        Ok(output) => {
            tracing::debug!("done");
            Ok(output)
        }
        Err(failure) => {
            let failure = attempt.named(failure);
            if failure.code != ErrorCode::Cancelled {
                tracing::warn!(code = ?failure.code, "{}", failure.message);
                failure.detail.lines().for_each(|line| tracing::debug!("ffmpeg: {line}"));
            }
            Err(failure)
        }
    }
}
