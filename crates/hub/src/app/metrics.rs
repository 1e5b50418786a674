//! What is counted for whoever watches the hub over time, as OpenMetrics. What happens is counted when it does; what is so now is
//! asked when somebody looks. It must not know how it is asked for.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Error as FormatError;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kinora_protocol::event::{Event, TaskChange};
use kinora_protocol::inference::ModelCount;
use kinora_protocol::job::JobPhase;
use kinora_protocol::task::TaskKind;
use kinora_protocol::{ErrorCode, Failure, JobId, TaskId};
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use crate::{Hub, HubError, Result};

mod now;

/// What a number is of.
type Labels = Vec<(&'static str, String)>;
type Times = Family<Labels, Histogram, fn() -> Histogram>;

/// Bounds of how long tasks take, in seconds.
const OF_TASKS: [f64; 12] = [0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0];
/// Bounds of how long answers take, in seconds.
const OF_ANSWERS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// From clients to the hub.
    Uploaded,
    /// Media and results to clients.
    Served,
    /// Between the hub and nodes.
    Work,
}

/// What happened since the hub was started.
pub(crate) struct Metrics {
    registry: Registry,
    jobs_ended: Family<Labels, Counter>,
    attempts: Family<Labels, Counter>,
    leases_lost: Counter,
    chunks: Family<Labels, Counter>,
    stopped: Counter,
    bytes: Family<Labels, Counter>,
    spans: Family<Labels, Counter>,
    answers: Family<Labels, Counter>,
    sockets: Family<Labels, Gauge>,
    pictures: Family<Labels, Counter>,
    picture_seconds: Family<Labels, Counter<f64, AtomicU64>>,
    sessions: Family<Labels, Counter>,
    /// The same, for who asks for it by model.
    models: Mutex<BTreeMap<String, ModelCount>>,
    task_seconds: Times,
    answer_seconds: Times,
    /// When tasks were handed out that are not back.
    began: Mutex<HashMap<TaskId, (JobId, Instant)>>,
}

/// What became of parts of traces.
pub(crate) struct Spans {
    sent: Counter,
    lost: Counter,
}

impl Spans {
    pub(crate) fn sent(&self, count: usize) {
        self.sent.inc_by(count as u64);
    }

    pub(crate) fn lost(&self, count: usize) {
        self.lost.inc_by(count as u64);
    }
}

/// A WebSocket that is open.
pub(crate) struct OpenSocket(Gauge);

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn labels<const N: usize>(pairs: [(&'static str, &str); N]) -> Labels {
    pairs.into_iter().map(|(name, value)| (name, value.to_owned())).collect()
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("kinora"),
            jobs_ended: Family::default(),
            attempts: Family::default(),
            leases_lost: Counter::default(),
            chunks: Family::default(),
            stopped: Counter::default(),
            bytes: Family::default(),
            spans: Family::default(),
            answers: Family::default(),
            sockets: Family::default(),
            pictures: Family::default(),
            picture_seconds: Family::default(),
            sessions: Family::default(),
            models: Mutex::default(),
            task_seconds: Family::new_with_constructor(|| Histogram::new(OF_TASKS)),
            answer_seconds: Family::new_with_constructor(|| Histogram::new(OF_ANSWERS)),
            began: Mutex::default(),
        };
        let all = &mut metrics.registry;
        all.register("jobs_ended", "Jobs that ended, by how", metrics.jobs_ended.clone());
        all.register(
            "task_attempts",
            "Attempts of tasks that ended, by kind and how",
            metrics.attempts.clone(),
        );
        all.register("leases_lost", "Attempts whose node fell silent", metrics.leases_lost.clone());
        all.register("chunks", "Chunks of jobs, by where they came from", metrics.chunks.clone());
        all.register(
            "sandbox_stops",
            "Programs that were stopped for what they asked for or used up",
            metrics.stopped.clone(),
        );
        all.register_with_unit("moved", "Bytes that were moved", Unit::Bytes, metrics.bytes.clone());
        all.register("spans", "Parts of traces, by what became of them", metrics.spans.clone());
        all.register("http_requests", "Requests that were answered", metrics.answers.clone());
        all.register("websockets", "WebSockets that are open", metrics.sockets.clone());
        let pictures = "Pictures that went through models, by model and how";
        all.register("model_pictures", pictures, metrics.pictures.clone());
        let times = "What pictures took in models, on one thread";
        all.register_with_unit("model", times, Unit::Seconds, metrics.picture_seconds.clone());
        let sessions = "Models that were wanted by pictures, by whether they were loaded already";
        all.register("model_sessions", sessions, metrics.sessions.clone());
        let times = "How long tasks took from being handed out to being done";
        all.register_with_unit("task", times, Unit::Seconds, metrics.task_seconds.clone());
        let times = "How long requests took until their answer began";
        all.register_with_unit("http_request", times, Unit::Seconds, metrics.answer_seconds.clone());
        metrics.begin();
        metrics
    }

    /// What has not happened yet is nothing, and not unknown: an increase is seen from the first on.
    fn begin(&self) {
        for phase in JobPhase::ALL.into_iter().filter(|phase| phase.is_final()) {
            drop(self.jobs_ended.get_or_create(&labels([("phase", phase.name())])));
        }
        for kind in TaskKind::ALL {
            drop(self.task_seconds.get_or_create(&labels([("kind", kind.name())])));
            for outcome in ["done", "retried", "redone", "failed"] {
                drop(self.attempts.get_or_create(&labels([("kind", kind.name()), ("outcome", outcome)])));
            }
        }
        for from in ["earlier work", "encoder"] {
            drop(self.chunks.get_or_create(&labels([("from", from)])));
        }
        for flow in [Flow::Uploaded, Flow::Served, Flow::Work] {
            self.bytes(flow);
        }
        self.spans();
        for kind in ["watcher", "node"] {
            drop(self.socket(kind));
        }
    }

    /// Counts what happened.
    pub(crate) fn note(&self, event: &Event) {
        match event {
            Event::Job { job, phase, .. } if phase.is_final() => {
                self.jobs_ended.get_or_create(&labels([("phase", phase.name())])).inc();
                self.began().retain(|_, (of, _)| of != job);
            }
            Event::Job { .. } => {}
            Event::Planned { chunks, reused, .. } => {
                let (all, reused) = (chunks.len() as u64, reused.len() as u64);
                self.chunks.get_or_create(&labels([("from", "earlier work")])).inc_by(reused);
                self.chunks.get_or_create(&labels([("from", "encoder")])).inc_by(all.saturating_sub(reused));
            }
            Event::Task { job, task, kind, change, .. } => self.note_task(*job, *task, *kind, change),
        }
    }

    fn note_task(&self, job: JobId, task: TaskId, kind: TaskKind, change: &TaskChange) {
        let ended = |outcome: &str| {
            let of = labels([("kind", kind.name()), ("outcome", outcome)]);
            self.attempts.get_or_create(&of).inc();
        };
        match change {
            TaskChange::Leased { .. } => {
                // Of several the last counts: the one before may have been given back without a word.
                self.began().insert(task, (job, Instant::now()));
            }
            TaskChange::Progress(_) => {}
            TaskChange::Done => {
                ended("done");
                if let Some((_, began)) = self.began().remove(&task) {
                    let seconds = began.elapsed().as_secs_f64();
                    self.task_seconds.get_or_create(&labels([("kind", kind.name())])).observe(seconds);
                }
            }
            TaskChange::Retry { failure } | TaskChange::Failed { failure } => {
                let again = matches!(change, TaskChange::Retry { .. });
                ended(if again { "retried" } else { "failed" });
                self.began().remove(&task);
                self.note_failure(failure);
            }
            TaskChange::Redo { .. } => {
                ended("redone");
                self.began().remove(&task);
            }
        }
    }

    fn note_failure(&self, failure: &Failure) {
        match failure.code {
            ErrorCode::LeaseLost => drop(self.leases_lost.inc()),
            ErrorCode::Confined => drop(self.stopped.inc()),
            _ => {}
        }
    }

    fn began(&self) -> std::sync::MutexGuard<'_, HashMap<TaskId, (JobId, Instant)>> {
        self.began.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request was answered.
    pub(crate) fn answered(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let of = labels([("method", method), ("route", route)]);
        self.answer_seconds.get_or_create(&of).observe(took.as_secs_f64());
        let of = labels([("method", method), ("route", route), ("status", &status.to_string())]);
        self.answers.get_or_create(&of).inc();
    }

    /// Models did so much more.
    pub(crate) fn models(&self, added: &BTreeMap<String, ModelCount>) {
        for (name, count) in added {
            let of = |key, value: &str| labels([("model", name), (key, value)]);
            self.pictures.get_or_create(&of("outcome", "made")).inc_by(count.pictures);
            self.pictures.get_or_create(&of("outcome", "failed")).inc_by(count.failures);
            self.sessions.get_or_create(&of("from", "cache")).inc_by(count.hits);
            self.sessions.get_or_create(&of("from", "disk")).inc_by(count.loads);
            let seconds = count.took_us as f64 / 1e6;
            self.picture_seconds.get_or_create(&labels([("model", name)])).inc_by(seconds);
            *self.of_models().entry(name.clone()).or_default() += *count;
        }
    }

    /// What models did since the hub was started.
    pub(crate) fn of_models(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, ModelCount>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What counts bytes that go one way.
    pub(crate) fn bytes(&self, flow: Flow) -> Counter {
        let flow = match flow {
            Flow::Uploaded => "uploaded",
            Flow::Served => "served",
            Flow::Work => "work",
        };
        self.bytes.get_or_create(&labels([("flow", flow)])).clone()
    }

    /// What counts parts of traces.
    pub(crate) fn spans(&self) -> Spans {
        let of = |outcome: &str| self.spans.get_or_create(&labels([("outcome", outcome)])).clone();
        Spans { sent: of("sent"), lost: of("lost") }
    }

    /// A WebSocket is open as long as this is held.
    pub(crate) fn socket(&self, kind: &str) -> OpenSocket {
        let open = self.sockets.get_or_create(&labels([("kind", kind)])).clone();
        open.inc();
        OpenSocket(open)
    }
}

impl Hub {
    /// What is counted.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// All of it, as text (OpenMetrics 1.0).
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn metrics_text(&self) -> Result<String> {
        let now = self.metrics_now().await?;
        let mut text = String::new();
        let mut write = || -> std::result::Result<(), FormatError> {
            encode_registry(&mut text, &self.metrics().registry)?;
            encode_registry(&mut text, &now)?;
            encode_eof(&mut text)
        };
        write().map_err(|e| HubError::Inconsistent(format!("numbers cannot be written ({e})")))?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinora_protocol::Attempt;

    #[test]
    fn what_happened_is_counted() {
        let metrics = Metrics::new();
        let (job, task) = (JobId::generate(), TaskId(7));
        let of_task = |change| Event::Task { job, task, kind: TaskKind::Chunk, ordinal: 0, change };
        let failed = |code| Failure::new(code, "why");
        metrics.note(&of_task(TaskChange::Leased { attempt: Attempt(1) }));
        metrics.note(&of_task(TaskChange::Retry { failure: failed(ErrorCode::LeaseLost) }));
        metrics.note(&of_task(TaskChange::Leased { attempt: Attempt(2) }));
        metrics.note(&of_task(TaskChange::Done));
        metrics.note(&of_task(TaskChange::Leased { attempt: Attempt(3) }));
        metrics.note(&of_task(TaskChange::Failed { failure: failed(ErrorCode::Confined) }));
        metrics.note(&of_task(TaskChange::Leased { attempt: Attempt(4) }));
        metrics.note(&Event::Job { job, phase: JobPhase::Cancelled, failure: None });
        assert!(metrics.began().is_empty(), "nothing is kept of what has ended");
        metrics.answered("GET", "/api/v1/jobs/{job}", 404, Duration::from_millis(3));
        metrics.bytes(Flow::Served).inc_by(12);
        let open = metrics.socket("watcher");
        let mut text = String::new();
        encode_registry(&mut text, &metrics.registry).unwrap();
        drop(open);
        for line in [
            "kinora_task_attempts_total{kind=\"chunk\",outcome=\"done\"} 1",
            "kinora_task_attempts_total{kind=\"chunk\",outcome=\"retried\"} 1",
            "kinora_task_attempts_total{kind=\"chunk\",outcome=\"failed\"} 1",
            "kinora_task_seconds_count{kind=\"chunk\"} 1",
            "kinora_leases_lost_total 1",
            "kinora_sandbox_stops_total 1",
            "kinora_jobs_ended_total{phase=\"Cancelled\"} 1",
            "kinora_http_requests_total{method=\"GET\",route=\"/api/v1/jobs/{job}\",status=\"404\"} 1",
            "kinora_http_request_seconds_bucket{le=\"0.005\",method=\"GET\",route=\"/api/v1/jobs/{job}\"} 1",
            "kinora_moved_bytes_total{flow=\"served\"} 12",
            "kinora_websockets{kind=\"watcher\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
    }
}
