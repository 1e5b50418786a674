//! What is known about media, and how it comes to be known: a job whose tasks each find out a part, on whichever node. A part
//! that cannot be found out keeps no other from it.

use std::path::PathBuf;

use kinora_jobs::describe;
use kinora_plan::index::PacketIndex;
use kinora_protocol::api::{HighlightView, MetadataView, SceneView, SpritesView, ThumbnailView};
use kinora_protocol::class::Class;
use kinora_protocol::describe::{DescribeOutput, Found, Part, Piece};
use kinora_protocol::event::{Event, TaskChange};
use kinora_protocol::job::{JobPhase, JobRequest, Work};
use kinora_protocol::media::Verdict;
use kinora_protocol::survey::Highlight;
use kinora_protocol::task::{ProbeOutput, SourceTask, TaskSpec};
use kinora_protocol::{Digest, ErrorCode, Failure, JobId, UserId, routes};
use kinora_store::{
    Accepted, Claimed, Completion, Deletion, Gate, Graph, JobDeletion, LibraryRow, NewTask, Owner, Submitted,
};

use super::expand::new_task;
use crate::{Hub, Result, now_ms};

/// Work that people wait for goes first.
const PRIORITY: i32 = -1;

/// The tasks that find out all there is to know about a probed file.
pub(crate) fn describe_graph(
    job: JobId,
    request: &JobRequest,
    probe: &ProbeOutput,
    index: &PacketIndex,
) -> (Graph, Option<Event>) {
    let task = |work: kinora_protocol::describe::DescribeSpec| {
        let (ordinal, size) = (work.part().ordinal(), probe.facts.size);
        let spec = TaskSpec::Describe(SourceTask { source: request.input.clone(), size, work });
        let class = Class::describe(request.tags.clone());
        NewTask { rank: f64::from(ordinal), ..new_task(request, ordinal, class, spec, Gate::None) }
    };
    let tasks = describe::parts(&probe.facts, index).into_iter().map(task).collect();
    (Graph { tasks, deps: Vec::new() }, Some(Event::Planned { job, chunks: Vec::new(), reused: Vec::new() }))
}

/// A file in what was found out: where it is, and what stands for its content.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The blob that holds it.
    pub path: PathBuf,
    /// Where in it.
    pub piece: Piece,
    /// BLAKE3 of the blob.
    pub digest: Digest,
}

impl Hub {
    /// Lets nodes find out what is to be known about media. Asked again it is the same job, unless that has ended and not all is
    /// known.
    ///
    /// # Errors
    /// When the store fails; `None` when there is no such media.
    pub async fn describe(&self, media: &Digest) -> Result<Option<JobId>> {
        let Some(row) = self.media_row(media).await? else { return Ok(None) };
        let id = JobId::generate();
        let request = JobRequest {
            input: row.path,
            work: Work::Describe(media.clone()),
            output: self.outputs_of(id).join(&row.name),
            recipe: kinora_protocol::recipe::Recipe::default(),
            // No key of a client's has this character.
            idempotency_key: Some(format!("\n{media}")),
            priority: PRIORITY,
            required_nodes: 0,
            deadline_ms: None,
            tags: kinora_protocol::class::Tags::NONE,
        };
        let submitted = self.submit_as(id, request.clone(), Owner::Media(media.clone())).await?;
        let Submitted::Existing(job) = submitted else { return Ok(Some(submitted.id())) };
        // One that has ended without finding out everything is done anew; whether it has ended is for the store to say.
        let completed = self.job(job).await?.is_some_and(|row| row.phase == JobPhase::Completed);
        let known = completed && self.is_known(media).await?;
        if known || self.store().delete_job(job).await? != JobDeletion::Deleted {
            return Ok(Some(job));
        }
        Ok(Some(self.submit_as(id, request, Owner::Media(media.clone())).await?.id()))
    }

    /// Ends the job that finds out about media, if there is one.
    pub(super) async fn stop_describing(&self, media: &Digest) -> Result<()> {
        for job in self.store().open_jobs().await? {
            if job.request.work == Work::Describe(media.clone()) {
                self.cancel(job.id).await?;
            }
        }
        Ok(())
    }

    /// Whether all is found out about media that can be.
    async fn is_known(&self, media: &Digest) -> Result<bool> {
        let parts = self.store().descriptions(media).await?;
        let missing = |part: &DescribeOutput| matches!(part.found, Found::Nothing { .. });
        Ok(!parts.is_empty() && !parts.iter().any(missing))
    }

    /// Media has come: it is looked at, where that is wished. That it cannot be now is no reason to refuse it.
    pub(super) async fn describe_arrived(&self, media: &Digest) {
        if !self.inner.settings.describe {
            return;
        }
        let outcome = match self.store().descriptions(media).await {
            // The same content was here before.
            Ok(parts) if !parts.is_empty() => return,
            Ok(_) => self.describe(media).await.map(drop),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = outcome {
            tracing::error!("nobody finds out about media {media}: {error}");
        }
    }

    /// A look at media showed that it is a video.
    pub(super) async fn admit(&self, probe: &ProbeOutput) -> Result<()> {
        let verdict = Verdict::Admitted(Box::new(probe.facts.clone()));
        Ok(self.store().put_verdict(&probe.media, &verdict).await?)
    }

    /// A node found out a part.
    pub(super) async fn described(&self, claimed: &Claimed, part: &DescribeOutput) -> Result<()> {
        let Work::Describe(media) = self.request_of(claimed).await?.work else {
            let failure = Failure::new(ErrorCode::Internal, "nobody asked to describe anything");
            return self.fail_job(claimed.job, failure).await;
        };
        let asked = match &claimed.spec {
            TaskSpec::Describe(task) => Some(task.work.part()),
            _ => None,
        };
        if asked != Some(part.found.part()) {
            let failure = Failure::new(ErrorCode::Internal, "the node answered with another part");
            return self.fail_job(claimed.job, failure).await;
        }
        let completion = self.store().complete_part(&claimed.lease, part, &media, now_ms()).await?;
        if let Completion::Accepted(Accepted { last, .. }) = completion {
            self.task_event(claimed, TaskChange::Done);
            if last {
                self.emit(Event::Job { job: claimed.job, phase: JobPhase::Completed, failure: None });
            }
        }
        self.ring();
        Ok(())
    }

    /// A task of a description failed for good. What it was to find out stays unknown, and the reason is known; `false` for a
    /// failure that ends its job. Media that cannot be probed is refused.
    pub(super) async fn do_without(&self, claimed: &Claimed, work: &Work, failure: &Failure) -> Result<bool> {
        // What is wrong with a machine says nothing about the file.
        let of_file = matches!(
            failure.code,
            ErrorCode::BadInput | ErrorCode::ToolFailed | ErrorCode::Confined | ErrorCode::NotExact
        );
        let Work::Describe(media) = work else { return Ok(false) };
        if !of_file {
            return Ok(false);
        }
        let why = failure.message.clone();
        match &claimed.spec {
            TaskSpec::Describe(task) => {
                let found = Found::Nothing { of: task.work.part(), why };
                self.described(claimed, &DescribeOutput { blob: None, found }).await?;
                Ok(true)
            }
            TaskSpec::Probe { .. } => {
                self.store().put_verdict(media, &Verdict::Refused(why)).await?;
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// All that is known about media; `None` when there is no such media.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn metadata_view(&self, media: &Digest) -> Result<Option<MetadataView>> {
        let Some(row) = self.media_row(media).await? else { return Ok(None) };
        let mut view = MetadataView {
            media: media.clone(),
            verdict: row.verdict.clone(),
            thumbnails: None,
            histogram: None,
            scenes: None,
            chapters: Vec::new(),
            highlights: Vec::new(),
            sprites: None,
            loudness: None,
            waveform: None,
            failed: std::collections::BTreeMap::new(),
        };
        for DescribeOutput { found, .. } in self.store().descriptions(media).await? {
            add(&mut view, &row, found);
        }
        Ok(Some(view))
    }

    /// A part of what was found out about media.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn finding(&self, media: &Digest, part: Part) -> Result<Option<DescribeOutput>> {
        let parts = self.store().descriptions(media).await?;
        Ok(parts.into_iter().find(|found| found.found.part() == part))
    }

    /// One of the files of a part.
    pub fn file_of(&self, part: &DescribeOutput, piece: impl Fn(&Found) -> Option<Piece>) -> Option<Finding> {
        let (blob, piece) = (part.blob.as_ref()?, piece(&part.found)?);
        Some(Finding { path: self.inner.blobs.join(&blob.path), piece, digest: blob.digest.clone() })
    }

    /// Forgets media and deletes its bytes; one of several owners only gives it up. The inner error says why it stays.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete_media(
        &self,
        media: &Digest,
        by: Option<UserId>,
    ) -> Result<Option<std::result::Result<(), Failure>>> {
        let _nobody_brings_it = self.inner.library.lock().await;
        Ok(match self.store().delete_library(media, by).await? {
            Deletion::Unknown => None,
            Deletion::GivenUp => Some(Ok(())),
            Deletion::InUse(job) => {
                let why = format!("media {media} is read by job {job}: cancel that first");
                Some(Err(Failure::new(ErrorCode::Busy, why)))
            }
            Deletion::Deleted(path) => {
                // A file without a row is waste, and found as such.
                if let Err(error) = tokio::fs::remove_file(&path).await {
                    tracing::warn!("{}: {error}", path.display());
                }
                self.drop_proxies(media).await?;
                Some(Ok(()))
            }
        })
    }
}

fn add(view: &mut MetadataView, row: &LibraryRow, found: Found) {
    let media = &row.digest;
    match found {
        Found::Thumbnails { pictures } => {
            let picture = |(number, picture): (usize, &kinora_protocol::describe::Picture)| ThumbnailView {
                seconds: seconds(picture.at_us),
                url: format!("{}?n={number}", routes::of_media(media, "thumbnail")),
            };
            view.thumbnails = Some(pictures.iter().enumerate().map(picture).collect());
        }
        Found::Histogram(histogram) => view.histogram = Some(histogram),
        Found::Scenes { starts_us, chapters_us, highlights, sprites } => {
            view.chapters = chapters_us.into_iter().map(seconds).collect();
            view.highlights = highlights.iter().map(highlight).collect();
            view.scenes = Some(scenes(&starts_us, row.verdict.as_ref().and_then(Verdict::duration_us)));
            view.sprites = Some(SpritesView {
                vtt: routes::of_media(media, "sprites.vtt"),
                count: sprites.times_us.len() as u64,
                tile: sprites.tile,
            });
        }
        Found::Sound { loudness, .. } => {
            view.loudness = Some(loudness);
            view.waveform = Some(routes::of_media(media, "waveform"));
        }
        Found::Nothing { of, why } => {
            view.failed.insert(of, why);
        }
    }
}

fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}

fn highlight(part: &Highlight) -> HighlightView {
    HighlightView {
        start_seconds: seconds(part.from),
        end_seconds: seconds(part.to),
        score: f64::from(part.score) / 1000.0,
    }
}

fn scenes(starts_us: &[i64], end_us: Option<i64>) -> Vec<SceneView> {
    let last = starts_us.last().copied().unwrap_or(0);
    let end = end_us.unwrap_or(last).max(last);
    let ends = starts_us.iter().skip(1).copied().chain([end]);
    let scene =
        |(start, end): (&i64, i64)| SceneView { start_seconds: seconds(*start), end_seconds: seconds(end) };
    starts_us.iter().zip(ends).map(scene).collect()
}
