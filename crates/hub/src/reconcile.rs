//! Loops that put right what time has made wrong. Each can be run at any moment and twice.

mod blobs;

use std::fmt::Display;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use kinora_protocol::event::{Event, TaskChange};
use kinora_protocol::{ErrorCode, Failure};
use kinora_store::{AfterExpiry, Expired};
use tokio_util::sync::CancellationToken;

use crate::app::webhooks::send;
use crate::{Hub, now_ms};

/// When leases were not looked at for so long, the hub itself was away, in milliseconds.
const ABSENT_MS: i64 = 5_000;

/// How often leases are looked at.
const LEASES_EVERY: Duration = Duration::from_secs(1);

/// How often it is looked whether a job may start or its time is over.
const CONDITIONS_EVERY: Duration = Duration::from_secs(1);

/// How often the store hears what was moved: a crash loses no more of the count.
const MOVED_EVERY: Duration = Duration::from_secs(5);

/// How often it is looked whether the time of uploads and ended jobs is over.
const OLD_EVERY: Duration = Duration::from_secs(60);

/// How often it is looked whether webhooks are to be told something.
const WEBHOOKS_EVERY: Duration = Duration::from_millis(500);

/// How often jobs that wait are looked at.
const AGE_EVERY: Duration = Duration::from_secs(10);
/// A job that nobody took from for so long rises by one step of priority.
const AGE_AFTER_MS: i64 = 60_000;
/// Steps that a job rises at the most.
const MOST_AGE: u32 = 10;

/// Does something at once and then every so often, until `stop`.
async fn every<Done: Future<Output = ()> + Send>(
    period: Duration,
    stop: CancellationToken,
    work: impl Fn() -> Done,
) {
    let mut tick = tokio::time::interval(period);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        work().await;
    }
}

/// As [`every`], for work that may fail: it is said that it `cannot`, and tried again at its time.
async fn every_or_say<T, E: Display, Done: Future<Output = Result<T, E>> + Send>(
    period: Duration,
    stop: CancellationToken,
    cannot: &str,
    work: impl Fn() -> Done,
) {
    let said = || {
        let done = work();
        async move {
            if let Err(error) = done.await {
                tracing::error!("{cannot}: {error}");
            }
        }
    };
    every(period, stop, said).await;
}

impl Hub {
    /// Lets jobs that wait long go before others, until `stop`.
    pub async fn watch_waiting(&self, stop: CancellationToken) {
        let age = || self.store().age(now_ms(), AGE_AFTER_MS, MOST_AGE);
        every_or_say(AGE_EVERY, stop, "jobs that wait cannot be looked at", age).await;
    }

    /// Drops uploads that nothing comes for, until `stop`.
    pub async fn watch_uploads(&self, stop: CancellationToken) {
        every_or_say(OLD_EVERY, stop, "old uploads cannot be dropped", || self.drop_old_uploads()).await;
    }

    /// Forgets logins and keys that have ended, until `stop`.
    pub async fn watch_access(&self, stop: CancellationToken) {
        let drop = || self.drop_expired_access();
        every_or_say(OLD_EVERY, stop, "logins that have ended cannot be dropped", drop).await;
    }

    /// Tells webhooks what happened, until `stop`.
    pub async fn watch_webhooks(&self, stop: CancellationToken) {
        let client = match send::client() {
            Ok(client) => client,
            Err(error) => {
                tracing::error!("webhooks cannot be told anything: {error}");
                return stop.cancelled().await;
            }
        };
        let forget = every_or_say(OLD_EVERY, stop.clone(), "old deliveries cannot be dropped", || {
            self.drop_old_deliveries()
        });
        let make = every_or_say(WEBHOOKS_EVERY, stop.clone(), "deliveries cannot be made", || {
            self.make_deliveries()
        });
        let until = stop.clone();
        let send = every_or_say(WEBHOOKS_EVERY, stop, "webhooks cannot be told", || {
            self.send_deliveries(&client, &until)
        });
        tokio::join!(forget, make, send);
    }

    /// Keeps count of what jobs move, until `stop`.
    pub async fn watch_moved(&self, stop: CancellationToken) {
        every_or_say(MOVED_EVERY, stop, "what jobs moved cannot be counted", || self.write_moved()).await;
    }

    /// Forgets jobs that ended so long ago, until `stop`.
    pub async fn watch_ended(&self, kept: Option<Duration>, stop: CancellationToken) {
        let Some(kept) = kept else { return stop.cancelled().await };
        let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
        let forget = || self.forget_jobs(now_ms().saturating_sub(kept));
        every_or_say(OLD_EVERY, stop, "old jobs cannot be dropped", forget).await;
    }

    /// Looks at what jobs wait for besides their turn, until `stop`.
    pub async fn watch_conditions(&self, stop: CancellationToken) {
        let look = || self.look_at_conditions();
        every_or_say(CONDITIONS_EVERY, stop, "conditions of jobs cannot be looked at", look).await;
    }

    /// Takes back leases whose node fell silent, until `stop`.
    pub async fn watch_leases(&self, stop: CancellationToken) {
        let looked = AtomicI64::new(now_ms());
        every(LEASES_EVERY, stop, || async {
            let now = now_ms();
            // The machine slept, or its clock was set: nobody could renew meanwhile.
            if now - looked.swap(now, Ordering::Relaxed) > ABSENT_MS
                && let Err(error) = self.wait_for_nodes().await
            {
                tracing::error!("leases cannot be extended: {error}");
            }
            match self.store().expire(now, now).await {
                Ok(expired) => {
                    for lease in &expired {
                        self.fell_silent(lease).await;
                    }
                }
                Err(error) => tracing::error!("leases cannot be looked at: {error}"),
            }
        })
        .await;
    }

    /// Tells what follows from a lease that was not renewed.
    async fn fell_silent(&self, expired: &Expired) {
        let Expired { job, kind, ordinal, lease, then } = expired;
        let message = format!("node {} fell silent during {} {ordinal}", lease.node, kind.name());
        let failure = Failure::new(ErrorCode::LeaseLost, message);
        let change = match then {
            AfterExpiry::StillRunning => {
                self.traces().ended(*job, lease.task, *kind, *ordinal);
                return;
            }
            AfterExpiry::Retrying { .. } => TaskChange::Retry { failure },
            AfterExpiry::TaskFailed { stopped } => {
                self.job_failed(*job, failure.clone(), stopped).await;
                TaskChange::Failed { failure }
            }
        };
        self.emit(Event::Task { job: *job, task: lease.task, kind: *kind, ordinal: *ordinal, change });
        self.ring();
    }
}
