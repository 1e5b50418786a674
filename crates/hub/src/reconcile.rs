//! Loops that put right what time has made wrong. Each can be run at any moment and twice.

mod blobs;

use std::time::Duration;

use kinora_protocol::event::{Event, TaskChange};
use kinora_protocol::{ErrorCode, Failure};
use kinora_store::AfterExpiry;
use tokio_util::sync::CancellationToken;

use crate::{Hub, now_ms};

/// How often leases are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// How often jobs that wait are looked at.
const AGE_EVERY: Duration = Duration::from_secs(10);
/// A job that nobody took from for so long rises by one step of priority.
const AGE_AFTER_MS: i64 = 60_000;
/// Steps that a job rises at the most.
const MOST_AGE: u32 = 10;

impl Hub {
    /// Lets jobs that wait long go before others, until `stop`.
    pub async fn watch_waiting(&self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(AGE_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            if let Err(error) = self.store().age(now_ms(), AGE_AFTER_MS, MOST_AGE).await {
                tracing::error!("jobs that wait cannot be looked at: {error}");
            }
        }
    }

    /// Takes back leases whose node fell silent, until `stop`.
    pub async fn watch_leases(&self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            let now = now_ms();
            let expired = match self.store().expire(now, now).await {
                Ok(expired) => expired,
                Err(error) => {
                    tracing::error!("leases cannot be looked at: {error}");
                    continue;
                }
            };
            for lease in expired {
                let failure = Failure::new(
                    ErrorCode::LeaseLost,
                    format!(
                        "node {} fell silent during {} {}",
                        lease.lease.node,
                        lease.kind.name(),
                        lease.ordinal
                    ),
                );
                let change = match &lease.then {
                    AfterExpiry::StillRunning => continue,
                    AfterExpiry::Retrying { .. } => TaskChange::Retry { failure: failure.clone() },
                    AfterExpiry::TaskFailed { stopped } => {
                        self.stop_leases(stopped);
                        self.emit_failed(lease.job, failure.clone());
                        TaskChange::Failed { failure: failure.clone() }
                    }
                };
                let (job, task) = (lease.job, lease.lease.task);
                self.emit(Event::Task { job, task, kind: lease.kind, ordinal: lease.ordinal, change });
                self.ring();
            }
        }
    }
}
