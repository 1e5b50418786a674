//! The phases of a job and what moves it from one to the next.
//!
//! ```text
//!             ┌──────────────────┐      nodes       ┌──────────────┐
//!  Queued ───▶│ WaitingForNodes  │─────────────────▶│ Benchmarking │
//!    │        └──────────────────┘                  └──────┬───────┘
//!    │ task started                             measured   │
//!    └──────────────────────────▶ Processing ◀─────────────┘
//!                                   │     ▲
//!                 all chunks done   │     │ a check flagged a chunk
//!                                   ▼     │
//!                                 Combining ──── output published ───▶ Completed
//!
//!  any of these ── pause ──▶ Paused(phase) ── resume ──▶ phase
//!  any of these, and Paused ── cancel ──▶ Cancelled,   ── a task failed for good ──▶ Failed
//!  Failed, Cancelled ── retry ──▶ Processing
//! ```

use kinora_protocol::job::JobPhase;

/// What happens to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobEvent {
    /// Fewer nodes than required are there.
    NodesMissing,
    /// The required nodes are there and are being measured.
    BenchmarkStarted,
    /// A node has the first task.
    TaskStarted,
    /// The last chunk is done and right.
    ChunksDone,
    /// A check flagged a finished chunk.
    ChunkFlagged,
    /// The result is in place.
    Published,
    /// A task failed for good.
    TaskFailed,
    /// Someone stopped it.
    CancelAsked,
    /// Someone holds it.
    PauseAsked,
    /// Someone lets it go on.
    ResumeAsked,
    /// Someone tries it again.
    RetryAsked,
}

impl JobEvent {
    /// All events.
    pub const ALL: [Self; 11] = [
        Self::NodesMissing,
        Self::BenchmarkStarted,
        Self::TaskStarted,
        Self::ChunksDone,
        Self::ChunkFlagged,
        Self::Published,
        Self::TaskFailed,
        Self::CancelAsked,
        Self::PauseAsked,
        Self::ResumeAsked,
        Self::RetryAsked,
    ];
}

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobState {
    /// It moves, or waits to.
    Active(ActivePhase),
    /// It is held, and goes on with this phase.
    Paused(ActivePhase),
    /// It has ended.
    Ended(Ending),
}

/// The phases of a job that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActivePhase {
    /// See [`JobPhase::Queued`].
    Queued,
    /// See [`JobPhase::WaitingForNodes`].
    WaitingForNodes,
    /// See [`JobPhase::Benchmarking`].
    Benchmarking,
    /// See [`JobPhase::Processing`].
    Processing,
    /// See [`JobPhase::Combining`].
    Combining,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// See [`JobPhase::Completed`].
    Completed,
    /// See [`JobPhase::Failed`].
    Failed,
    /// See [`JobPhase::Cancelled`].
    Cancelled,
}

/// An event that must not happen in this state.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{event:?} cannot happen to a job that is {}", phase.name())]
pub struct IllegalTransition {
    /// The phase it is in.
    pub phase: JobPhase,
    /// What was to happen.
    pub event: JobEvent,
}

impl JobState {
    /// The phase as shown.
    pub fn phase(self) -> JobPhase {
        match self {
            Self::Active(ActivePhase::Queued) => JobPhase::Queued,
            Self::Active(ActivePhase::WaitingForNodes) => JobPhase::WaitingForNodes,
            Self::Active(ActivePhase::Benchmarking) => JobPhase::Benchmarking,
            Self::Active(ActivePhase::Processing) => JobPhase::Processing,
            Self::Active(ActivePhase::Combining) => JobPhase::Combining,
            Self::Paused(_) => JobPhase::Paused,
            Self::Ended(Ending::Completed) => JobPhase::Completed,
            Self::Ended(Ending::Failed) => JobPhase::Failed,
            Self::Ended(Ending::Cancelled) => JobPhase::Cancelled,
        }
    }

    /// The state of a stored phase; a paused job needs the phase that it goes on with.
    pub fn from_phase(phase: JobPhase, paused_from: Option<JobPhase>) -> Option<Self> {
        Some(match phase {
            JobPhase::Queued => Self::Active(ActivePhase::Queued),
            JobPhase::WaitingForNodes => Self::Active(ActivePhase::WaitingForNodes),
            JobPhase::Benchmarking => Self::Active(ActivePhase::Benchmarking),
            JobPhase::Processing => Self::Active(ActivePhase::Processing),
            JobPhase::Combining => Self::Active(ActivePhase::Combining),
            JobPhase::Completed => Self::Ended(Ending::Completed),
            JobPhase::Failed => Self::Ended(Ending::Failed),
            JobPhase::Cancelled => Self::Ended(Ending::Cancelled),
            JobPhase::Paused => match Self::from_phase(paused_from?, None)? {
                Self::Active(phase) => Self::Paused(phase),
                Self::Paused(_) | Self::Ended(_) => return None,
            },
        })
    }

    /// The state after an event.
    ///
    /// # Errors
    /// [`IllegalTransition`] when it must not happen now; the state stays.
    pub fn apply(self, event: JobEvent) -> Result<Self, IllegalTransition> {
        use ActivePhase as P;
        let illegal = IllegalTransition { phase: self.phase(), event };
        let next = match (self, event) {
            (Self::Active(P::Queued), JobEvent::NodesMissing) => Self::Active(P::WaitingForNodes),
            (Self::Active(P::Queued | P::WaitingForNodes), JobEvent::BenchmarkStarted) => {
                Self::Active(P::Benchmarking)
            }
            (
                Self::Active(P::Queued | P::WaitingForNodes | P::Benchmarking | P::Processing),
                JobEvent::TaskStarted,
            ) => Self::Active(P::Processing),
            (Self::Active(P::Processing | P::Queued), JobEvent::ChunksDone) => Self::Active(P::Combining),
            (Self::Active(P::Combining | P::Processing), JobEvent::ChunkFlagged) => {
                Self::Active(P::Processing)
            }
            (Self::Active(P::Combining), JobEvent::Published) => Self::Ended(Ending::Completed),
            (Self::Active(_) | Self::Paused(_), JobEvent::TaskFailed) => Self::Ended(Ending::Failed),
            (Self::Active(_) | Self::Paused(_), JobEvent::CancelAsked) => Self::Ended(Ending::Cancelled),
            (Self::Active(phase), JobEvent::PauseAsked) => Self::Paused(phase),
            (Self::Paused(phase), JobEvent::ResumeAsked) => Self::Active(phase),
            (Self::Ended(Ending::Failed | Ending::Cancelled), JobEvent::RetryAsked) => {
                Self::Active(P::Processing)
            }
            _ => return Err(illegal),
        };
        Ok(next)
    }
}

/// The phases from which an event may happen: the guard that the store puts into its statement.
pub fn allowed_from(event: JobEvent) -> Vec<JobPhase> {
    JobPhase::ALL
        .into_iter()
        .filter(|phase| {
            JobState::from_phase(*phase, Some(JobPhase::Processing)).is_some_and(|s| s.apply(event).is_ok())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_job_runs_through() {
        let mut state = JobState::Active(ActivePhase::Queued);
        let steps = [
            (JobEvent::TaskStarted, JobPhase::Processing),
            (JobEvent::ChunksDone, JobPhase::Combining),
            (JobEvent::ChunkFlagged, JobPhase::Processing),
            (JobEvent::PauseAsked, JobPhase::Paused),
            (JobEvent::ResumeAsked, JobPhase::Processing),
            (JobEvent::ChunksDone, JobPhase::Combining),
            (JobEvent::TaskFailed, JobPhase::Failed),
            (JobEvent::RetryAsked, JobPhase::Processing),
            (JobEvent::ChunksDone, JobPhase::Combining),
            (JobEvent::Published, JobPhase::Completed),
        ];
        for (event, phase) in steps {
            state = state.apply(event).unwrap();
            assert_eq!(state.phase(), phase, "after {event:?}");
        }
        assert!(state.apply(JobEvent::RetryAsked).is_err());
    }

    proptest! {
        #[test]
        fn no_sequence_of_events_reaches_an_illegal_state(
            events in prop::collection::vec(prop::sample::select(JobEvent::ALL.to_vec()), 0..60)
        ) {
            let mut state = JobState::Active(ActivePhase::Queued);
            let (mut published, mut combined) = (0, false);
            for event in events {
                let before = state;
                match state.apply(event) {
                    Ok(next) => {
                        // The store's guard must say the same as the machine.
                        prop_assert!(allowed_from(event).contains(&before.phase()));
                        state = next;
                    }
                    Err(error) => prop_assert_eq!(error.phase, before.phase()),
                }
                combined |= state.phase() == JobPhase::Combining;
                published += u32::from(before != state && state.phase() == JobPhase::Completed);
                prop_assert!(published == 0 || combined, "published without all chunks");
                prop_assert!(published <= 1);
                let paused_from = match state { JobState::Paused(p) => Some(JobState::Active(p).phase()), _ => None };
                prop_assert_eq!(JobState::from_phase(state.phase(), paused_from), Some(state));
            }
        }
    }
}
