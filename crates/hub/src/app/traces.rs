//! What jobs were at and for how long, told to whoever collects that: from when a job came until its result was there, on all
//! machines. What happened is noted where it happens, which costs next to nothing; what there is to say of it is put together
//! here, from what is stored. It must not know how it is told.
//!
//! All ids follow from the job's: a machine, or a hub that was started again, need not be told them.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kinora_protocol::event::{Event, TaskChange};
use kinora_protocol::job::JobPhase;
use kinora_protocol::step::Step;
use kinora_protocol::task::TaskKind;
use kinora_protocol::{Attempt, JobId, NodeId, TaskId};
use kinora_store::{AttemptOutcome, AttemptRow, Claimed, JobAttempt};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::app::metrics::Spans;
use crate::{Hub, Result, now_ms};

mod otlp;
mod send;
mod span;

pub use send::Collector;
pub(crate) use span::{Caller, now_us};
use span::{Place, Span, Task};

/// Notes that may wait to be put together; what comes then is lost.
const BACKLOG: usize = 8192;
/// Spans that are sent in one go.
const BATCH: usize = 512;
/// How long the first of them waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// Batches that may wait to be sent; what comes then is lost.
const WAITING: usize = 32;
/// How long a hub that stops waits for what is still to be sent.
const LAST: Duration = Duration::from_secs(3);
/// Jobs of which it is remembered what was told.
const JOBS: usize = 4096;

/// Something happened.
#[derive(Debug)]
enum Note {
    /// A job came.
    Submitted(JobId),
    /// Who asked for it has a trace of his own.
    Asked { job: JobId, caller: Caller, from_us: i64, to_us: i64 },
    /// An attempt of a task may have ended.
    Task { job: JobId, task: Task },
    /// A node has told where the time of an attempt went.
    Worked { job: JobId, task: TaskId, attempt: Attempt, node: NodeId, steps: Vec<Step> },
    /// What a node said of an attempt was judged and kept.
    Judged { job: JobId, task: TaskId, attempt: Attempt, from_us: i64, to_us: i64 },
    /// The job ended.
    Ended(JobId),
}

/// What happened and was not told yet.
pub(crate) struct Traces {
    notes: Option<mpsc::Sender<Note>>,
    count: Spans,
    taken: Mutex<Option<mpsc::Receiver<Note>>>,
}

/// A result is being judged as long as this is held.
pub(crate) struct Judging<'a> {
    traces: &'a Traces,
    of: Option<(JobId, TaskId, Attempt)>,
    from_us: i64,
}

impl Drop for Judging<'_> {
    fn drop(&mut self) {
        if let Some((job, task, attempt)) = self.of {
            let to_us = now_us();
            self.traces.put(Note::Judged { job, task, attempt, from_us: self.from_us, to_us });
        }
    }
}

impl Traces {
    /// `wanted` is whether anybody collects them.
    pub(crate) fn new(wanted: bool, count: Spans) -> Self {
        let (notes, taken) = mpsc::channel(BACKLOG);
        let (notes, taken) = if wanted { (Some(notes), Some(taken)) } else { (None, None) };
        Self { notes, count, taken: Mutex::new(taken) }
    }

    fn put(&self, note: Note) {
        if let Some(notes) = &self.notes
            && notes.try_send(note).is_err()
        {
            self.count.lost(1);
            tracing::debug!("what happened is not traced: too much did");
        }
    }

    /// A job was taken.
    pub(crate) fn submitted(&self, job: JobId) {
        self.put(Note::Submitted(job));
    }

    /// Who has a trace of his own asked for a job; `from_us` is when.
    pub(crate) fn asked(&self, job: JobId, caller: Caller, from_us: i64) {
        self.put(Note::Asked { job, caller, from_us, to_us: now_us() });
    }

    /// Something happened.
    pub(crate) fn note(&self, event: &Event) {
        match event {
            Event::Job { job, phase, .. } if phase.is_final() => self.put(Note::Ended(*job)),
            Event::Task { change: TaskChange::Leased { .. } | TaskChange::Progress(_), .. } => {}
            Event::Task { job, task, kind, ordinal, .. } => self.ended(*job, *task, *kind, *ordinal),
            Event::Job { .. } | Event::Planned { .. } => {}
        }
    }

    /// An attempt of a task may have ended, perhaps while another goes on.
    pub(crate) fn ended(&self, job: JobId, task: TaskId, kind: TaskKind, ordinal: u32) {
        self.put(Note::Task { job, task: Task { id: task, kind, ordinal } });
    }

    /// A node has ended an attempt.
    pub(crate) fn worked(&self, claimed: &Claimed, mut steps: Vec<Step>) {
        steps.truncate(span::MOST_STEPS);
        let (job, lease) = (claimed.job, claimed.lease.clone());
        self.put(Note::Worked { job, task: lease.task, attempt: lease.attempt, node: lease.node, steps });
    }

    /// Its result is looked at now.
    pub(crate) fn judging(&self, claimed: &Claimed) -> Judging<'_> {
        let of = self.notes.is_some().then_some((claimed.job, claimed.lease.task, claimed.lease.attempt));
        Judging { traces: self, of, from_us: now_us() }
    }
}

/// What of an attempt is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Whole,
    Worked,
    Judged,
}

/// What was told already.
#[derive(Default)]
struct Told {
    parts: BTreeMap<JobId, HashSet<(Part, TaskId, Attempt)>>,
    /// Until when jobs that ended without a result were told.
    until_ms: BTreeMap<JobId, i64>,
}

impl Told {
    /// Whether something is told for the first time.
    fn is_first(&mut self, job: JobId, part: Part, task: TaskId, attempt: Attempt) -> bool {
        let is_first = self.parts.entry(job).or_default().insert((part, task, attempt));
        if self.parts.len() > JOBS {
            self.parts.pop_first();
        }
        is_first
    }

    /// Whether an attempt that has ended is still to be told.
    fn is_new(&mut self, job: JobId, attempt: &AttemptRow, since_ms: i64) -> bool {
        let Some(ended) = attempt.ended_ms else { return false };
        let since = self.until_ms.get(&job).map_or(since_ms, |until| (until + 1).max(since_ms));
        ended >= since && self.is_first(job, Part::Whole, attempt.lease.task, attempt.lease.attempt)
    }

    /// All that ended until then was told of a job; it may be tried again unless it is complete.
    fn end(&mut self, job: JobId, is_complete: bool, until_ms: i64) {
        self.parts.remove(&job);
        self.until_ms.remove(&job);
        if is_complete {
            return;
        }
        self.until_ms.insert(job, until_ms);
        if self.until_ms.len() > JOBS
            && let Some((oldest, _)) = self.until_ms.iter().min_by_key(|(_, until)| **until)
        {
            let oldest = *oldest;
            self.until_ms.remove(&oldest);
        }
    }
}

impl Hub {
    /// What happened, for traces.
    pub(crate) fn traces(&self) -> &Traces {
        &self.inner.traces
    }

    /// Tells what happens until `stop` is cancelled, which is to be when nothing does any more, if anybody wants to know.
    pub async fn watch_traces(&self, stop: CancellationToken) {
        let taken = self.traces().taken.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (Some(notes), Some(collector)) = (taken, self.inner.settings.collector.clone()) else { return };
        let (batches, sent) = mpsc::channel(WAITING);
        let sender = send::Sender::new(collector, self.metrics().spans());
        let telling = async {
            tokio::join!(self.gather(notes, batches, stop.clone()), sender.run(sent));
        };
        let too_long = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST).await;
        };
        tokio::select! {
            () = telling => {}
            () = too_long => tracing::warn!("the last traces are lost: the collector takes too long"),
        }
    }

    /// Puts together what is to be told, and hands it on in batches.
    async fn gather(
        &self,
        mut notes: mpsc::Receiver<Note>,
        batches: mpsc::Sender<Vec<Span>>,
        stop: CancellationToken,
    ) {
        let mut told = Told::default();
        let mut ready: Vec<Span> = Vec::new();
        let mut due = Instant::now();
        loop {
            let note = tokio::select! {
                biased;
                () = stop.cancelled() => notes.try_recv().ok(),
                () = tokio::time::sleep_until(due), if !ready.is_empty() => {
                    self.hand_on(&batches, std::mem::take(&mut ready));
                    continue;
                }
                note = notes.recv() => note,
            };
            let Some(note) = note else { break };
            if ready.is_empty() {
                due = Instant::now() + GATHER;
            }
            ready.extend(self.said(self.spans_of(note, &mut told).await));
            while ready.len() >= BATCH {
                let rest = ready.split_off(BATCH);
                self.hand_on(&batches, std::mem::replace(&mut ready, rest));
            }
        }
        ready.extend(self.said(self.last_spans(&mut told).await));
        self.hand_on(&batches, ready);
    }

    /// What could be said; what could not is lost.
    fn said(&self, spans: Result<Vec<Span>>) -> Vec<Span> {
        spans.unwrap_or_else(|error| {
            self.traces().count.lost(1);
            tracing::debug!("what happened cannot be traced: {error}");
            Vec::new()
        })
    }

    /// What a hub that stops has given back: the next one takes it for told.
    async fn last_spans(&self, told: &mut Told) -> Result<Vec<Span>> {
        let mut spans = Vec::new();
        for job in self.store().open_jobs().await? {
            let made = self.store().attempts_of(job.id).await?;
            spans.extend(self.new_spans(job.id, &made, told).await?);
        }
        Ok(spans)
    }

    fn hand_on(&self, batches: &mpsc::Sender<Vec<Span>>, spans: Vec<Span>) {
        if spans.is_empty() {
            return;
        }
        if let Err(error) = batches.try_send(spans) {
            let lost = error.into_inner().len();
            self.traces().count.lost(lost);
            tracing::debug!(lost, "traces are lost: the collector is too slow");
        }
    }

    /// What there is to say of something that happened.
    async fn spans_of(&self, note: Note, told: &mut Told) -> Result<Vec<Span>> {
        Ok(match note {
            Note::Submitted(job) => {
                self.store().job(job).await?.as_ref().map(span::submitted).into_iter().collect()
            }
            Note::Asked { job, caller, from_us, to_us } => vec![span::asked(job, &caller, (from_us, to_us))],
            Note::Task { job, task } => {
                let attempts = self.store().attempts(task.id).await?;
                let new = attempts.into_iter().filter(|made| told.is_new(job, made, self.inner.started_ms));
                self.attempt_spans(job, new.map(|made| (task, made))).await?
            }
            Note::Worked { job, task, attempt, node, steps } => {
                if !told.is_first(job, Part::Worked, task, attempt) {
                    return Ok(Vec::new());
                }
                let attempts = self.store().attempts(task).await?;
                let found = attempts.into_iter().find(|made| made.lease.attempt == attempt);
                let began_us = found.map(|made| made.started_ms * 1000);
                let place = self.place_of(&node).await?;
                began_us
                    .map(|began| span::steps(job, (task, attempt), began, &steps, &place))
                    .unwrap_or_default()
            }
            Note::Judged { job, task, attempt, from_us, to_us } => {
                let is_first = told.is_first(job, Part::Judged, task, attempt);
                let span = is_first.then(|| span::judged(job, (task, attempt), (from_us, to_us)));
                span.into_iter().collect()
            }
            Note::Ended(job) => self.ended_spans(job, told).await?,
        })
    }

    /// The end of a job, with the attempts that ended with it.
    async fn ended_spans(&self, job: JobId, told: &mut Told) -> Result<Vec<Span>> {
        let until_ms = now_ms();
        let found = async {
            let Some(row) = self.store().job(job).await? else { return Ok(None) };
            Result::Ok(Some((row, self.store().attempts_of(job).await?)))
        };
        let (row, made) = match found.await {
            Ok(Some(found)) => found,
            // It is forgotten by now, or will be told in part: nothing of it is kept here.
            other => {
                told.end(job, true, until_ms);
                return other.map(|_| Vec::new());
            }
        };
        let mut spans = self.new_spans(job, &made, told).await?;
        let done = made.iter().filter(|one| one.attempt.outcome == Some(AttemptOutcome::Done));
        let chunks = done.filter(|one| one.kind == TaskKind::Chunk).map(|one| one.attempt.lease.task);
        let chunks: HashSet<TaskId> = chunks.collect();
        let nodes: HashSet<&NodeId> = made.iter().map(|one| &one.attempt.lease.node).collect();
        spans.extend(span::ended(&row, chunks.len(), nodes.len()));
        told.end(job, row.phase == JobPhase::Completed, until_ms);
        Ok(spans)
    }

    /// Attempts of a job that have ended and were not told.
    async fn new_spans(&self, job: JobId, made: &[JobAttempt], told: &mut Told) -> Result<Vec<Span>> {
        let new = made.iter().filter(|one| told.is_new(job, &one.attempt, self.inner.started_ms));
        let task =
            |one: &JobAttempt| Task { id: one.attempt.lease.task, kind: one.kind, ordinal: one.ordinal };
        self.attempt_spans(job, new.map(|one| (task(one), one.attempt.clone()))).await
    }

    async fn attempt_spans(
        &self,
        job: JobId,
        made: impl Iterator<Item = (Task, AttemptRow)>,
    ) -> Result<Vec<Span>> {
        let mut spans = Vec::new();
        for (task, made) in made {
            spans.push(span::attempt(job, task, &made, &self.place_of(&made.lease.node).await?));
        }
        Ok(spans)
    }

    /// A node with its name, also when it is gone.
    async fn place_of(&self, node: &NodeId) -> Result<Place> {
        let there = self.inner.nodes.with(node, |known| known.hello.name.clone());
        let name = match there {
            Some(name) => Some(name),
            None => self.store().node_name(node).await?,
        };
        Ok(Place { node: node.clone(), name: name.unwrap_or_else(|| node.to_string()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinora_store::Lease;

    fn made(attempt: u32, ended_ms: Option<i64>) -> AttemptRow {
        AttemptRow {
            lease: Lease { task: TaskId(1), attempt: Attempt(attempt), node: NodeId::from("n".to_owned()) },
            started_ms: 1,
            ended_ms,
            outcome: ended_ms.map(|_| AttemptOutcome::Failed),
            failure: None,
            sandbox: None,
        }
    }

    #[test]
    fn an_attempt_is_told_once() {
        let (mut told, job) = (Told::default(), JobId::generate());
        assert!(!told.is_new(job, &made(1, None), 0), "it goes on");
        assert!(told.is_new(job, &made(1, Some(5)), 0));
        assert!(!told.is_new(job, &made(1, Some(5)), 0));
        assert!(!told.is_new(job, &made(2, Some(5)), 6), "an earlier hub told it");
        told.end(job, false, now_ms());
        assert!(!told.is_new(job, &made(1, Some(5)), 0), "the job is tried again");
        assert!(told.is_new(job, &made(3, Some(now_ms() + 10)), 0));
    }

    #[test]
    fn little_is_kept_of_jobs_that_ended() {
        let mut told = Told::default();
        let failed_first = JobId::generate();
        told.end(failed_first, false, 7);
        for at in 0..i64::try_from(JOBS).unwrap() + 10 {
            let job = JobId::generate();
            assert!(told.is_first(job, Part::Judged, TaskId(1), Attempt(1)));
            told.end(job, false, 8 + at);
        }
        assert_eq!(told.until_ms.len(), JOBS);
        assert!(!told.until_ms.contains_key(&failed_first));
        assert!(told.parts.is_empty());
    }
}
