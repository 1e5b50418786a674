//! What nodes say about their tasks: done, failed, still at it. Each answer is decided first, then stored in one change.

use std::path::Path;

use kinora_jobs::judge::{self, Verdict};
use kinora_jobs::retry::{self, DEFAULT_DELAY_MS, Then, Tries, Where};
use kinora_protocol::event::{Event, TaskChange};
use kinora_protocol::job::{JobPhase, JobRequest};
use kinora_protocol::node::Capabilities;
use kinora_protocol::survey::Survey;
use kinora_protocol::task::{PackageOutput, ProbeOutput, TaskKind, TaskOutput, TaskSpec, blob_name};
use kinora_protocol::{ErrorCode, Failure, NodeId, fault};
use kinora_store::{
    AfterFailure, AttemptOutcome, Claimed, Completion, Expansion, FailOutcome, PhaseChange, Reopen,
    Reopening, Stopped,
};

use super::chunks::chunk_spec;
use super::expand::{Expanded, PHASE};
use crate::{Hub, HubError, Result, now_ms};

impl Hub {
    /// A node says that it is done.
    pub(crate) async fn completed(
        &self,
        claimed: &Claimed,
        output: TaskOutput,
        node: &Capabilities,
    ) -> Result<()> {
        if claimed.kind != output.kind() {
            let failure = Failure::new(ErrorCode::Internal, "the node answered with another kind of result");
            return self.failed(claimed, failure).await;
        }
        let name = blob_name(claimed.job, claimed.kind, claimed.lease.task, claimed.lease.attempt);
        if output.blob().is_some_and(|blob| blob.path != name) {
            let failure =
                Failure::new(ErrorCode::Internal, "the node gave its result a name that is not its own");
            return self.failed(claimed, failure).await;
        }
        if let Err(why) = self.is_sealed_as_said(claimed, &output).await {
            return self.failed(claimed, Failure::new(ErrorCode::NotExact, why)).await;
        }
        match &output {
            TaskOutput::Probe(probe) => self.probed(claimed, probe, &output, node).await,
            TaskOutput::Analyze { scenes } => {
                let survey = Survey { cuts: scenes.clone(), ..Survey::default() };
                self.surveyed(claimed, &survey, output, node).await
            }
            TaskOutput::Survey { blob } => {
                let survey = self.survey_of(blob).await?;
                self.surveyed(claimed, &survey, output, node).await
            }
            TaskOutput::Chunk(out) => {
                let verdict = chunk_spec(&claimed.spec).map(|spec| judge::chunk(spec, out));
                match verdict {
                    Some(Verdict::Broken { reason }) => {
                        self.failed(claimed, Failure::new(ErrorCode::NotExact, reason)).await
                    }
                    _ => self.accept(claimed, &output).await,
                }
            }
            TaskOutput::Package(package) => self.packaged(claimed, package, &output).await,
            TaskOutput::Describe(part) => self.described(claimed, part).await,
            TaskOutput::Audio { .. } | TaskOutput::Join { .. } | TaskOutput::Measure { .. } => {
                self.accept(claimed, &output).await
            }
        }
    }

    /// What a source is, is known.
    async fn probed(
        &self,
        claimed: &Claimed,
        probe: &ProbeOutput,
        output: &TaskOutput,
        node: &Capabilities,
    ) -> Result<()> {
        if self.store().tasks(claimed.job).await?.len() > 1 {
            // Its index was damaged and is made again: what follows from it is there.
            return self.accept(claimed, output).await;
        }
        let request = self.request_of(claimed).await?;
        let seen = self.inner.nodes.mark_of(&claimed.lease);
        self.remember_source(&request.input, seen, probe).await?;
        let expanded = self.after_probe(claimed.job, &request, probe, node).await?;
        // A recipe that cannot be for it says nothing against a file.
        if expanded.as_ref().err().is_none_or(|failure| failure.code == ErrorCode::BadRecipe) {
            self.admit(probe).await?;
        }
        self.store_expansion(claimed, output.clone(), expanded).await
    }

    /// What has to be known of the whole film, is known.
    async fn surveyed(
        &self,
        claimed: &Claimed,
        survey: &Survey,
        output: TaskOutput,
        node: &Capabilities,
    ) -> Result<()> {
        let rows = self.store().tasks(claimed.job).await?;
        if rows.iter().any(|row| row.kind == TaskKind::Package) {
            // Its result was damaged and is made again: what follows from it is there.
            return self.accept(claimed, &output).await;
        }
        let request = self.request_of(claimed).await?;
        let found = match &claimed.spec {
            TaskSpec::Survey(spec) => spec.detector.as_ref(),
            _ => None,
        };
        let expanded = self.after_survey(claimed.job, &request, (survey, found), node).await?;
        self.store_expansion(claimed, output, expanded).await
    }

    /// The result stands: it gets its name, and the job its proof and its end.
    async fn packaged(&self, claimed: &Claimed, package: &PackageOutput, output: &TaskOutput) -> Result<()> {
        fault::point("publish.before");
        if let Err(failure) = self.publish(claimed, package).await {
            return self.failed(claimed, failure).await;
        }
        fault::point("publish.after");
        if let Err(failure) = self.put_objects(claimed).await? {
            return self.failed(claimed, failure).await;
        }
        let proof = self.prove(claimed, package).await?;
        fault::point("finish.before");
        let completion = self.store().complete_job(&claimed.lease, output, Some(&proof), now_ms()).await?;
        fault::point("finish.after");
        if matches!(completion, Completion::Accepted(_)) {
            self.task_event(claimed, TaskChange::Done);
            self.emit(Event::Job { job: claimed.job, phase: JobPhase::Completed, failure: None });
            self.drop_parts(claimed.job).await;
        }
        Ok(())
    }

    pub(super) async fn request_of(&self, claimed: &Claimed) -> Result<JobRequest> {
        let job = self.store().job(claimed.job).await?;
        Ok(job.ok_or_else(|| HubError::Inconsistent(format!("job {} is gone", claimed.job)))?.request)
    }

    async fn store_expansion(&self, claimed: &Claimed, output: TaskOutput, expanded: Expanded) -> Result<()> {
        let (graph, event) = match expanded {
            Ok(made) => made,
            Err(failure) => return self.failed(claimed, failure).await,
        };
        let phase = event.is_some().then_some(PHASE);
        let finishing = Some((claimed.lease.clone(), output));
        fault::point("expand.before");
        let stored = self.store().expand(claimed.job, finishing, graph, phase, now_ms()).await?;
        fault::point("expand.after");
        if let Expansion::Created { .. } = stored {
            self.task_event(claimed, TaskChange::Done);
            if let Some(event) = event {
                self.emit(event);
            }
            // All chunks may have been there already.
            self.open_waiting_gates().await?;
        }
        self.ring();
        Ok(())
    }

    async fn accept(&self, claimed: &Claimed, output: &TaskOutput) -> Result<()> {
        fault::point("complete.before");
        let completion = self.store().complete(&claimed.lease, output, now_ms()).await?;
        fault::point("complete.after");
        let Completion::Accepted(accepted) = completion else { return Ok(()) };
        self.task_event(claimed, TaskChange::Done);
        let what = format!("{} {} of job {}", claimed.kind.name(), claimed.ordinal, claimed.job);
        let failed = self.failed_here(claimed).await?;
        for node in self.inner.nodes.note_done(&claimed.lease.node, &failed, &what) {
            self.keep_standing(&node).await?;
        }
        self.inner.nodes.note_speed(&claimed.lease.node, (claimed.lease.task, claimed.lease.attempt));
        if let Some(beaten) = &accepted.beaten {
            self.inner.nodes.cancel(&beaten.node, (beaten.task, beaten.attempt));
        }
        self.redo_if_flagged(claimed, output).await?;
        for task in accepted.gated {
            self.open_gate(claimed.job, task).await?;
        }
        self.ring();
        Ok(())
    }

    /// A chunk that is not what the index promises is decoded again from further back, at once. Were the hub to die before it
    /// is opened again, the gate of the join would find it.
    async fn redo_if_flagged(&self, claimed: &Claimed, output: &TaskOutput) -> Result<()> {
        let (Some(spec), TaskOutput::Chunk(out)) = (chunk_spec(&claimed.spec), output) else { return Ok(()) };
        let Verdict::Redo(preroll) = judge::chunk(spec, out) else { return Ok(()) };
        let again = self.deeper(claimed.job, claimed.lease.task, &claimed.spec, preroll).await?;
        self.reopen(claimed.job, TaskKind::Chunk, &[(again, spec.ordinal, preroll)]).await
    }

    /// Opens tasks of a kind again and tells watchers.
    pub(crate) async fn reopen(
        &self,
        job: kinora_protocol::JobId,
        kind: TaskKind,
        again: &[(Reopen, u32, kinora_protocol::task::Preroll)],
    ) -> Result<()> {
        let reopen: Vec<Reopen> = again.iter().map(|(r, _, _)| r.clone()).collect();
        match self.store().reopen(&reopen).await? {
            Reopening::Reopened { .. } => {
                for (reopen, ordinal, preroll) in again {
                    let change = TaskChange::Redo { preroll: *preroll };
                    self.emit(Event::Task { job, task: reopen.task, kind, ordinal: *ordinal, change });
                }
            }
            Reopening::Refused(task, why) => {
                tracing::debug!(%job, %task, ?why, "a flagged chunk is not opened again");
            }
        }
        self.ring();
        Ok(())
    }

    /// A node says that its attempt failed.
    pub(crate) async fn failed(&self, claimed: &Claimed, failure: Failure) -> Result<()> {
        let shares = self.inner.nodes.with(&claimed.lease.node, |n| n.shares_files).unwrap_or(false);
        let place = if shares { Where::Here } else { Where::Elsewhere };
        let request = self.request_of(claimed).await?;
        let failure = self.by_name(&request.input, failure).await?;
        let delay = request.recipe.chunks.retry_delay;
        let delay_ms = delay.map_or(DEFAULT_DELAY_MS, |seconds| (seconds * 1000.0) as i64);
        let tries = Tries { made: claimed.tries, most: claimed.max_attempts, delay_ms };
        let (then, failure) = match retry::after(&failure, place, tries) {
            Then::Again { delay_ms } => {
                self.ring_in(delay_ms);
                (AfterFailure::Retry { not_before_ms: now_ms() + delay_ms }, failure)
            }
            Then::Never => {
                let failure = self.with_earlier(claimed, failure).await?;
                if self.do_without(claimed, &request.work, &failure).await? {
                    return Ok(());
                }
                (AfterFailure::Fatal, failure)
            }
        };
        match self.store().fail(&claimed.lease, &failure, then, now_ms()).await? {
            FailOutcome::Retrying { .. } => {
                tracing::warn!(task = %claimed.lease.task, "tried again: {failure}");
                self.task_event(claimed, TaskChange::Retry { failure });
            }
            FailOutcome::TaskFailed { stopped } => {
                self.task_event(claimed, TaskChange::Failed { failure: failure.clone() });
                self.job_failed(claimed.job, failure, &stopped).await;
            }
            FailOutcome::StillRunning => {
                self.traces().ended(claimed.job, claimed.lease.task, claimed.kind, claimed.ordinal);
            }
            FailOutcome::LeaseLost => {}
        }
        self.ring();
        Ok(())
    }

    /// A failure that tells of media of the hub's by the name that people know it by, and not by its place here.
    async fn by_name(&self, input: &Path, failure: Failure) -> Result<Failure> {
        let Some(media) = self.media_at(input) else { return Ok(failure) };
        let Some(row) = self.media_row(&media).await? else { return Ok(failure) };
        let place = input.display().to_string();
        let told = |text: &str| text.replace(&place, &row.name);
        Ok(Failure { message: told(&failure.message), detail: told(&failure.detail), ..failure })
    }

    /// Nodes that failed a task, not those that only fell silent with it: a power cut is no fault of theirs.
    async fn failed_here(&self, claimed: &Claimed) -> Result<Vec<NodeId>> {
        if claimed.failed_on.is_empty() {
            return Ok(Vec::new());
        }
        let attempts = self.store().attempts(claimed.lease.task).await?.into_iter();
        let failed = attempts.filter(|a| a.outcome == Some(AttemptOutcome::Failed)).map(|a| a.lease.node);
        let mut failed: Vec<NodeId> = failed.collect();
        failed.sort();
        failed.dedup();
        Ok(failed)
    }

    /// The last failure of a task, with what was said of the ones before it.
    async fn with_earlier(&self, claimed: &Claimed, failure: Failure) -> Result<Failure> {
        let attempts = self.store().attempts(claimed.lease.task).await?;
        let earlier: Vec<_> = attempts.into_iter().filter_map(|a| Some((a.lease, a.failure?))).collect();
        if earlier.is_empty() {
            return Ok(failure);
        }
        let last = (claimed.lease.clone(), failure.clone());
        let told: Vec<String> = earlier
            .into_iter()
            .chain([last])
            .map(|(lease, why)| {
                let tail: String = why.detail.lines().map(|line| format!("\n  {line}")).collect();
                format!("attempt {} on {}: {}{tail}", lease.attempt, lease.node, why.message)
            })
            .collect();
        let message = format!("{} (after {} attempts)", failure.message, told.len());
        Ok(Failure { message, detail: told.join("\n"), ..failure })
    }

    /// Something that the hub had to do for a job cannot be done.
    pub(crate) async fn fail_job(&self, job: kinora_protocol::JobId, failure: Failure) -> Result<()> {
        let from = kinora_jobs::state::allowed_from(kinora_jobs::state::JobEvent::TaskFailed);
        let change =
            self.store().set_phase(job, JobPhase::Failed, &from, Some(failure.clone()), now_ms()).await?;
        if let PhaseChange::Changed { stopped } = change {
            self.job_failed(job, failure, &stopped).await;
        }
        Ok(())
    }

    /// Tells nodes that their work is not wanted any more.
    pub(crate) fn stop_leases(&self, stopped: &[Stopped]) {
        for lease in stopped.iter().map(|s| &s.lease) {
            self.inner.nodes.cancel(&lease.node, (lease.task, lease.attempt));
        }
    }

    pub(crate) fn task_event(&self, claimed: &Claimed, change: TaskChange) {
        self.emit(Event::Task {
            job: claimed.job,
            task: claimed.lease.task,
            kind: claimed.kind,
            ordinal: claimed.ordinal,
            change,
        });
    }
}

/// The package spec of a task's spec.
pub(crate) fn package_spec(spec: &TaskSpec) -> Option<&kinora_protocol::task::PackageSpec> {
    match spec {
        TaskSpec::Package(task) => Some(&task.work),
        _ => None,
    }
}
