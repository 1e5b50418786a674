//! Gates: what the hub decides between the last dependency of a task and its start. Before the join, all chunks and seams
//! are judged; before the package, its spec is filled in. All of it can be done again after a crash.

use kinora_jobs::judge::{self, Neighbour, Verdict};
use kinora_jobs::key::Keys;
use kinora_jobs::state::{JobEvent, allowed_from};
use kinora_jobs::{expand, proof};
use kinora_protocol::event::Event;
use kinora_protocol::job::JobPhase;
use kinora_protocol::proof::Proof;
use kinora_protocol::recipe::Verify;
use kinora_protocol::task::{
    Blob, ChunkOutput, ChunkSpec, JoinSpec, MeasureSpec, PackageOutput, PackageSpec, Preroll, SourceTask,
    SurveySpec, TaskKind, TaskOutput, TaskSpec,
};
use kinora_protocol::{Digest, ErrorCode, Failure, JobId, TaskId, fault};
use kinora_store::{Claimed, Reopen, TaskRow};

use super::tasks::package_spec;
use crate::{Hub, HubError, Result, now_ms};

/// A done chunk with its row.
struct DoneChunk<'a> {
    row: &'a TaskRow,
    spec: &'a ChunkSpec,
    out: &'a ChunkOutput,
}

/// The chunks of a job in order, all done.
fn chunks(rows: &[TaskRow]) -> Vec<DoneChunk<'_>> {
    let mut found: Vec<DoneChunk<'_>> = rows
        .iter()
        .filter_map(|row| match (&row.spec, &row.output) {
            (TaskSpec::Chunk(task), Some(TaskOutput::Chunk(out))) => {
                Some(DoneChunk { row, spec: &task.work, out })
            }
            _ => None,
        })
        .collect();
    found.sort_by_key(|c| c.row.ordinal);
    found
}

fn neighbours<'a>(chunks: &[DoneChunk<'a>]) -> Vec<Neighbour<'a>> {
    chunks.iter().map(|c| Neighbour { spec: c.spec, out: c.out }).collect()
}

impl Hub {
    /// Decides on all gates that wait for nothing else: after a start, and after a retry.
    pub(crate) async fn open_waiting_gates(&self) -> Result<()> {
        for (job, task) in self.store().at_gate().await? {
            match self.open_gate(job, task).await {
                Err(HubError::Store(error)) => return Err(error.into()),
                // One job that cannot go on must not keep the others from it.
                Err(error) => self.fail_job(job, error.into()).await?,
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Decides on one gate.
    pub(crate) async fn open_gate(&self, job: JobId, task: TaskId) -> Result<()> {
        let rows = self.store().tasks(job).await?;
        let Some(gated) = rows.iter().find(|r| r.id == task) else { return Ok(()) };
        match gated.kind {
            TaskKind::Join => self.gate_of_join(job, task, &rows).await,
            TaskKind::Package => self.gate_of_package(job, gated, &rows).await,
            TaskKind::Survey => self.gate_of_survey(job, gated, &rows).await,
            // Nothing is between these and their start but what they read.
            TaskKind::Probe
            | TaskKind::Analyze
            | TaskKind::Measure
            | TaskKind::Chunk
            | TaskKind::Audio
            | TaskKind::Describe => self.gate_of_source(job, task).await,
        }
    }

    async fn gate_of_join(&self, job: JobId, join: TaskId, rows: &[TaskRow]) -> Result<()> {
        let chunks = chunks(rows);
        let mut redo: Vec<(usize, Preroll)> = chunks
            .iter()
            .enumerate()
            .filter_map(|(n, c)| match judge::chunk(c.spec, c.out) {
                Verdict::Redo(preroll) => Some((n, preroll)),
                _ => None,
            })
            .collect();
        if redo.is_empty() {
            redo = judge::seams(&neighbours(&chunks)).redo;
        }
        if !redo.is_empty() {
            let mut again = Vec::with_capacity(redo.len());
            for (n, preroll) in redo {
                let Some(chunk) = chunks.get(n) else { continue };
                let reopen = self.deeper(job, chunk.row.id, &chunk.row.spec, preroll).await?;
                again.push((reopen, chunk.row.ordinal, preroll));
            }
            return self.reopen(job, TaskKind::Chunk, &again).await;
        }
        let filled = chunks.iter().filter(|c| c.out.packets > 0);
        let of = |out: &ChunkOutput| -> Vec<Digest> {
            [&out.config].into_iter().chain(out.others.iter().map(|other| &other.config)).cloned().collect()
        };
        let mut configs = filled.map(|c| (of(c.out), c.spec.ordinal));
        if let Some((first, _)) = configs.next()
            && let Some((_, odd)) = configs.find(|(config, _)| *config != first)
        {
            let reason = format!(
                "chunk {odd} has another decoder configuration than the first: they cannot be joined"
            );
            return self.fail_job(job, Failure::new(ErrorCode::NotExact, reason)).await;
        }
        let spec = TaskSpec::Join(JoinSpec {
            chunks: chunks.iter().map(|c| c.out.blob.clone()).collect(),
            packets: chunks.iter().map(|c| c.out.packets).collect(),
            parts: if chunks.iter().all(|c| c.out.others.is_empty()) {
                Vec::new()
            } else {
                chunks.iter().map(|c| c.out.parts()).collect()
            },
        });
        fault::point("gate.before");
        self.store().open_gate(join, Some(&spec)).await?;
        fault::point("gate.after");
        let from = allowed_from(JobEvent::ChunksDone);
        self.store().set_phase(job, JobPhase::Combining, &from, None, now_ms()).await?;
        self.emit(Event::Job { job, phase: JobPhase::Combining, failure: None });
        self.ring();
        Ok(())
    }

    async fn gate_of_survey(&self, job: JobId, gated: &TaskRow, rows: &[TaskRow]) -> Result<()> {
        let TaskSpec::Survey(draft) = &gated.spec else {
            return Err(HubError::Inconsistent(format!("task {} is no survey", gated.id)));
        };
        let mut measures: Vec<(&TaskRow, &SourceTask<MeasureSpec>, &Blob, u64)> = rows
            .iter()
            .filter_map(|row| match (&row.spec, &row.output) {
                (TaskSpec::Measure(task), Some(TaskOutput::Measure { blob, frames, .. })) => {
                    Some((row, task.as_ref(), blob, *frames))
                }
                _ => None,
            })
            .collect();
        measures.sort_by_key(|(row, ..)| row.ordinal);
        let index = self.index_of(&self.probe_of(job).await?).await?;
        let mut again = Vec::new();
        for (row, task, _, frames) in &measures {
            let Some(work) = expand::measured_again(&task.work, *frames, &index) else { continue };
            let preroll = work.preroll;
            let spec = TaskSpec::Measure(Box::new(SourceTask { work, ..SourceTask::clone(task) }));
            again.push((Reopen { task: row.id, spec, cache_key: None }, row.ordinal, preroll));
        }
        if !again.is_empty() {
            return self.reopen(job, TaskKind::Measure, &again).await;
        }
        let measures = measures.into_iter().map(|(_, _, blob, _)| blob.clone()).collect();
        let spec = TaskSpec::Survey(SurveySpec { measures, ..draft.clone() });
        fault::point("gate.before");
        self.store().open_gate(gated.id, Some(&spec)).await?;
        fault::point("gate.after");
        self.ring();
        Ok(())
    }

    async fn gate_of_package(&self, job: JobId, gated: &TaskRow, rows: &[TaskRow]) -> Result<()> {
        let TaskSpec::Package(draft) = &gated.spec else {
            return Err(HubError::Inconsistent(format!("task {} is no package", gated.id)));
        };
        let output = |kind: TaskKind| rows.iter().find(|r| r.kind == kind).and_then(|r| r.output.as_ref());
        let (video, parts) = match output(TaskKind::Join) {
            Some(TaskOutput::Join { blob, parts }) => (Some(blob.clone()), parts.clone()),
            _ => (None, Vec::new()),
        };
        let audio = match output(TaskKind::Audio) {
            Some(TaskOutput::Audio { blob, .. }) => Some(blob.clone()),
            _ => None,
        };
        let chunks = chunks(rows);
        let format = draft.work.facts.video().map_or("", |(_, v)| v.pix_fmt.as_str());
        let checks: Vec<_> = chunks.iter().map(|c| proof::check_of(c.spec, c.out, format)).collect();
        let packets = chunks.iter().map(|c| c.out.packets);
        let frames = proof::planned(&draft.work.settled.video, draft.work.indexed_frames, packets);
        let work = PackageSpec { video, parts, audio, frames, chunks: checks, ..draft.work.clone() };
        let spec = TaskSpec::Package(Box::new(SourceTask { work, ..SourceTask::clone(draft) }));
        self.store().open_gate(gated.id, Some(&spec)).await?;
        if chunks.is_empty() {
            let from = allowed_from(JobEvent::ChunksDone);
            self.store().set_phase(job, JobPhase::Combining, &from, None, now_ms()).await?;
        }
        self.ring();
        Ok(())
    }

    /// The same chunk from further back, with its new key.
    pub(crate) async fn deeper(
        &self,
        job: JobId,
        task: TaskId,
        spec: &TaskSpec,
        preroll: Preroll,
    ) -> Result<Reopen> {
        let TaskSpec::Chunk(chunk) = spec else {
            return Err(HubError::Inconsistent(format!("task {task} is no chunk")));
        };
        let probe = self.probe_of(job).await?;
        let index = self.index_of(&probe).await?;
        let work = expand::deeper(&chunk.work, &index, preroll);
        let build = self.build_of(job).await?;
        let cache_key = Keys::new(&index, &build).of(&work);
        let spec = TaskSpec::Chunk(Box::new(SourceTask { work, ..SourceTask::clone(chunk) }));
        Ok(Reopen { task, spec, cache_key })
    }

    async fn build_of(&self, job: JobId) -> Result<String> {
        let rows = self.store().tasks(job).await?;
        let package = rows.iter().find_map(|r| package_spec(&r.spec));
        Ok(package.map(|p| p.build.clone()).unwrap_or_default())
    }

    /// The proof of a job whose package is done.
    pub(crate) async fn prove(&self, claimed: &Claimed, package: &PackageOutput) -> Result<Proof> {
        let rows = self.store().tasks(claimed.job).await?;
        let probe = self.probe_of(claimed.job).await?;
        let spec = package_spec(&claimed.spec)
            .ok_or_else(|| HubError::Inconsistent(format!("task {} is no package", claimed.lease.task)))?;
        let chunks = chunks(&rows);
        let (mut lost, mut notes) = (spec.notes.clone(), Vec::new());
        for chunk in &chunks {
            match judge::chunk(chunk.spec, chunk.out) {
                Verdict::Damaged { note } => lost.push(note),
                _ if chunk.spec.preroll != Preroll::Normal && chunks.len() > 1 => notes.push(format!(
                    "chunk {}: its first attempt was flagged; it was decoded again from further back",
                    chunk.spec.ordinal
                )),
                _ => {}
            }
        }
        lost.extend(judge::seams(&neighbours(&chunks)).notes);
        lost.extend(judge::lost_sound(&spec.facts, &package.sound));
        if spec.settled.verify == Verify::Off {
            notes.push("the checks were switched off".to_owned());
        }
        Ok(proof::assemble(proof::Evidence {
            job: claimed.job,
            probe: &probe,
            indexed_frames: spec.indexed_frames,
            settled: &spec.settled,
            chunks: chunks
                .iter()
                // A task that was done from the start never had a node.
                .map(|c| proof::Finished { spec: c.spec, out: c.out, reused: c.row.node.is_none() })
                .collect(),
            package,
            ffmpeg: &spec.build,
            notes: [lost.clone(), notes].concat(),
            lost,
        }))
    }
}
