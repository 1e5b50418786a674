//! Jobs: submit, take up again, look at.

use kinora_protocol::event::Event;
use kinora_protocol::job::{JobPhase, JobRequest};
use kinora_protocol::proof::Proof;
use kinora_protocol::task::TaskSpec;
use kinora_protocol::{ErrorCode, Failure, JobId, fault};
use kinora_store::{
    Dep, Gate, Graph, JobDeletion, JobRow, NewJob, Owner, PhaseChange, Retried, Stopped, Submitted, TaskRow,
};

use super::expand::{light, new_task};
use crate::{Hub, Result, now_ms};

impl Hub {
    /// Takes a job. The same idempotency key gives the same job.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn submit(&self, request: JobRequest) -> Result<Submitted> {
        self.submit_as(JobId::generate(), request, Owner::Nobody).await
    }

    pub(crate) async fn submit_as(&self, id: JobId, request: JobRequest, owner: Owner) -> Result<Submitted> {
        let barred = self.barred_file(&request.input).await?.is_some();
        let known = if barred { None } else { self.work_on_known(id, &request).await? };
        let (graph, planned) = match known {
            Some(known) => known,
            None => {
                let spec = TaskSpec::Probe { source: request.input.clone() };
                let gate = if barred { Gate::Closed } else { Gate::None };
                let probe = new_task(&request, 0, light(&request), spec, gate);
                (Graph { tasks: vec![probe], deps: Vec::<Dep>::new() }, None)
            }
        };
        let phase = self.first_phase(&request);
        let watched = request.clone();
        fault::point("submit.before");
        let submitted = self.store().submit(NewJob { id, phase, request, graph, owner }, now_ms()).await?;
        fault::point("submit.after");
        if let Submitted::Created(job) = submitted {
            self.traces().submitted(job);
            self.watch_job(job, &watched);
            if let Some(event) = planned {
                self.emit(event);
                // All chunks may have been there already.
                self.open_waiting_gates().await?;
            } else if barred {
                // It may have been looked at meanwhile.
                self.open_waiting_gates().await?;
            }
        }
        self.ring();
        Ok(submitted)
    }

    /// A job as it stands.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn job(&self, job: JobId) -> Result<Option<JobRow>> {
        Ok(self.store().job(job).await?)
    }

    /// Jobs that have not ended.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open_jobs(&self) -> Result<Vec<JobRow>> {
        Ok(self.store().open_jobs().await?)
    }

    /// All tasks of a job.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn tasks(&self, job: JobId) -> Result<Vec<TaskRow>> {
        Ok(self.store().tasks(job).await?)
    }

    /// The proof of a completed job.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn proof(&self, job: JobId) -> Result<Option<Proof>> {
        Ok(self.store().proof(job).await?)
    }

    /// Ends a job; its nodes are told to stop. `false` when it has ended.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn cancel(&self, job: JobId) -> Result<bool> {
        let change = self.store().cancel(job, now_ms()).await?;
        let cancelled = self.changed(job, change, JobPhase::Cancelled);
        if cancelled {
            self.drop_parts(job).await;
        }
        Ok(cancelled)
    }

    /// Lets no further task of a job start; those that run go on. `false` when it has ended or is paused.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn pause(&self, job: JobId) -> Result<bool> {
        let change = self.store().pause(job, now_ms()).await?;
        Ok(self.changed(job, change, JobPhase::Paused))
    }

    /// Lets a paused job go on. `false` when it is not paused.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn resume(&self, job: JobId) -> Result<bool> {
        let to = self.store().job(job).await?.and_then(|row| row.paused_from);
        let change = self.store().resume(job, now_ms()).await?;
        Ok(self.changed(job, change, to.unwrap_or(JobPhase::Processing)))
    }

    fn changed(&self, job: JobId, change: PhaseChange, phase: JobPhase) -> bool {
        let PhaseChange::Changed { stopped } = change else { return false };
        self.stop_leases(&stopped);
        self.emit(Event::Job { job, phase, failure: None });
        self.ring();
        true
    }

    /// Goes on with a failed or cancelled job from what is done. `false` when it is in another phase.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn retry(&self, job: JobId) -> Result<bool> {
        if let Some(row) = self.store().job(job).await?
            && let Some(failure) = self.barred_file(&row.request.input).await?
            && failure.code == ErrorCode::Forbidden
        {
            tracing::info!("job {job} is not tried again: {failure}");
            return Ok(false);
        }
        let retried = self.store().retry(job, now_ms()).await?;
        self.check_stored_blobs().await?;
        self.open_waiting_gates().await?;
        self.ring();
        Ok(matches!(retried, Retried::Changed { .. }))
    }

    /// Forgets a job that has ended and deletes its result, unless that was put below an allowed folder. The inner error says why
    /// it stays.
    ///
    /// # Errors
    /// When the store fails; `None` when there is no such job.
    pub async fn delete_job(&self, job: JobId) -> Result<Option<std::result::Result<(), Failure>>> {
        let _no_copy = self.inner.kept.read().await;
        Ok(match self.store().delete_job(job).await? {
            JobDeletion::Unknown => None,
            JobDeletion::NotEnded(phase) => {
                let why = format!("job {job} is {}: cancel it first", phase.name());
                Some(Err(Failure::new(ErrorCode::Busy, why)))
            }
            JobDeletion::Deleted => {
                let folder = self.outputs_of(job);
                match tokio::fs::remove_dir_all(&folder).await {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        tracing::warn!("{}: {error}", folder.display());
                    }
                    _ => {}
                }
                Some(Ok(()))
            }
        })
    }

    /// Whether a job was forgotten, while something of it was judged, say.
    pub(crate) async fn is_forgotten(&self, job: JobId) -> Result<bool> {
        Ok(self.store().job(job).await?.is_none())
    }

    /// Forgets jobs that ended before a time.
    pub(crate) async fn forget_jobs(&self, before_ms: i64) -> Result<()> {
        const AT_ONCE: u32 = 100;
        loop {
            let ended = self.store().ended_before(before_ms, AT_ONCE).await?;
            if ended.is_empty() {
                return Ok(());
            }
            for job in ended {
                // One that was tried again meanwhile stays.
                self.delete_job(job).await?;
            }
        }
    }

    /// What follows when a job has failed: its nodes stop, watchers hear of it, nothing is left beside its output.
    pub(crate) async fn job_failed(&self, job: JobId, failure: Failure, stopped: &[Stopped]) {
        self.stop_leases(stopped);
        self.emit(Event::Job { job, phase: JobPhase::Failed, failure: Some(failure) });
        self.drop_parts(job).await;
    }
}
