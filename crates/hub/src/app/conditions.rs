//! What jobs wait for besides their turn: nodes, and the end of their time. Kept in memory, and read again at a start.

use kinora_jobs::state::{JobEvent, allowed_from};
use kinora_protocol::class::Tags;
use kinora_protocol::event::Event;
use kinora_protocol::job::{JobPhase, JobRequest};
use kinora_protocol::{ErrorCode, Failure, JobId};
use kinora_store::PhaseChange;

use crate::{Hub, Result, now_ms};

/// What is looked at again and again for one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conditions {
    required_nodes: u32,
    tags: Tags,
    deadline_ms: Option<i64>,
}

impl Conditions {
    fn of(request: &JobRequest) -> Option<Self> {
        let JobRequest { required_nodes, deadline_ms, .. } = *request;
        let tags = request.tags.clone();
        (required_nodes > 0 || deadline_ms.is_some()).then_some(Self { required_nodes, tags, deadline_ms })
    }
}

impl Hub {
    /// The phase that a new job starts in.
    pub(crate) fn first_phase(&self, request: &JobRequest) -> JobPhase {
        if request.required_nodes > self.inner.nodes.ready(&request.tags) {
            JobPhase::WaitingForNodes
        } else {
            JobPhase::Queued
        }
    }

    /// Keeps an eye on a job, if it has conditions.
    pub(crate) fn watch_job(&self, job: JobId, request: &JobRequest) {
        if let Some(conditions) = Conditions::of(request) {
            self.conditions().insert(job, conditions);
        }
    }

    /// Lets jobs start that waited for nodes, and fails those whose time is over.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn look_at_conditions(&self) -> Result<()> {
        let watched: Vec<(JobId, Conditions)> =
            self.conditions().iter().map(|(job, c)| (*job, c.clone())).collect();
        for (job, conditions) in watched {
            if self.is_forgotten(job).await? {
                self.conditions().remove(&job);
                continue;
            }
            let ready = self.inner.nodes.ready(&conditions.tags);
            if conditions.required_nodes > 0 && conditions.required_nodes <= ready {
                self.start_waiting(job).await?;
            }
            let over = conditions.deadline_ms.is_some_and(|deadline| deadline <= now_ms());
            let started = conditions.required_nodes == 0 || !self.is_waiting(job).await?;
            if over {
                let why = "the job was not done by its deadline";
                self.fail_job(job, Failure::new(ErrorCode::Cancelled, why)).await?;
            }
            if over || (started && conditions.deadline_ms.is_none()) {
                self.conditions().remove(&job);
            }
        }
        Ok(())
    }

    async fn is_waiting(&self, job: JobId) -> Result<bool> {
        let waits = JobPhase::WaitingForNodes;
        let row = self.store().job(job).await?;
        Ok(row.is_some_and(|row| row.phase == waits || row.paused_from == Some(waits)))
    }

    async fn start_waiting(&self, job: JobId) -> Result<()> {
        let from: Vec<JobPhase> = allowed_from(JobEvent::TaskStarted)
            .into_iter()
            .filter(|phase| *phase == JobPhase::WaitingForNodes)
            .collect();
        let change = self.store().set_phase(job, JobPhase::Processing, &from, None, now_ms()).await?;
        if matches!(change, PhaseChange::Changed { .. }) {
            self.emit(Event::Job { job, phase: JobPhase::Processing, failure: None });
            self.ring();
        }
        Ok(())
    }
}
