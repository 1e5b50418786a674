//! What is told of what happened: pure functions from what is stored to spans. They must not know the form in which these
//! travel.
//!
//! A job's trace has the job's id. Its root is a moment, the submission; beside each other below it are the attempts, and from
//! its beginning to its end the job. Times of nodes are told from the attempt's start as the hub has it, whatever their clocks
//! say.

use std::time::{SystemTime, UNIX_EPOCH};

use kinora_protocol::job::{JobPhase, Work};
use kinora_protocol::step::Step;
use kinora_protocol::task::TaskKind;
use kinora_protocol::{Attempt, ErrorCode, Failure, JobId, NodeId, TaskId};
use kinora_store::{AttemptOutcome, AttemptRow, JobRow};

/// Parts of an attempt that are taken from a node.
pub(super) const MOST_STEPS: usize = 64;
/// Longest time that a node is believed, in microseconds: a month.
const LONGEST_US: u64 = 31 * 24 * 3600 * 1_000_000;
/// Longest text of a failure, in characters.
const LONGEST_TEXT: usize = 1000;

/// Id of a span.
pub(super) type SpanId = [u8; 8];

/// A span in a trace of somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(super) trace: [u8; 16],
    pub(super) span: SpanId,
}

impl Caller {
    /// Reads a `traceparent` header (W3C Trace Context); nothing when it is none, or when its trace is not kept.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let mut part = |length: usize| {
            let part = parts.next()?;
            let plain = part.len() == length && part.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
            plain.then_some(part)
        };
        let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        // Later versions may say more.
        if version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let trace = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let span = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
        let is_kept = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
        is_kept.then_some(Self { trace: trace.to_be_bytes(), span: span.to_be_bytes() })
    }
}

/// A task, as far as it is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task {
    pub(super) id: TaskId,
    pub(super) kind: TaskKind,
    pub(super) ordinal: u32,
}

/// A machine that works.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) node: NodeId,
    pub(super) name: String,
}

/// What a span is to what it is connected with, as OpenTelemetry has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Producer,
    Client,
    Server,
    Internal,
}

/// What is said of a span.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Count(i64),
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(count: i64) -> Self {
        Self::Count(count)
    }
}

/// A stretch of time in which something was done.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Span {
    pub(super) trace: [u8; 16],
    pub(super) id: SpanId,
    pub(super) parent: Option<SpanId>,
    /// Where; nothing for the hub.
    pub(super) place: Option<Place>,
    pub(super) name: String,
    pub(super) role: Role,
    /// Microseconds since 1970, from and to.
    pub(super) time_us: (i64, i64),
    pub(super) about: Vec<(&'static str, Value)>,
    /// Why it failed.
    pub(super) failed: Option<String>,
    /// What it is connected with in another trace.
    pub(super) link: Option<Caller>,
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// The id of what is told of a job by this name.
fn id(job: JobId, name: &str, numbers: &[i64]) -> SpanId {
    let mut hasher = blake3::Hasher::new_derive_key("kinora trace 2026-11-22");
    hasher.update(job.as_bytes()).update(name.as_bytes());
    for number in numbers {
        hasher.update(&number.to_le_bytes());
    }
    let mut id = [0; 8];
    hasher.finalize_xof().fill(&mut id);
    id
}

fn root(job: JobId) -> SpanId {
    id(job, "job", &[])
}

fn attempt_id(job: JobId, (task, attempt): (TaskId, Attempt)) -> SpanId {
    id(job, "attempt", &[task.0, attempt.0.into()])
}

/// A span of the hub's, below the root, of which nothing is said yet.
fn span(job: JobId, id: SpanId, name: &str, time_us: (i64, i64)) -> Span {
    Span {
        trace: *job.as_bytes(),
        id,
        parent: Some(root(job)),
        place: None,
        name: name.to_owned(),
        role: Role::Internal,
        time_us,
        about: vec![("kinora.job.id", job.to_string().into())],
        failed: None,
        link: None,
    }
}

/// Says why something failed, with what kind of failure it is.
fn fail(span: &mut Span, failure: &Failure) {
    span.failed = Some(failure.message.chars().take(LONGEST_TEXT).collect());
    span.about.push(("error.type", code_name(failure.code).into()));
}

/// The name of a failure as the API has it.
fn code_name(code: ErrorCode) -> String {
    let named = serde_json::to_value(code).ok();
    named.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A job was taken.
pub(super) fn submitted(row: &JobRow) -> Span {
    let from = row.created_ms * 1000;
    let mut span = span(row.id, root(row.id), "submit", (from, from + 1));
    span.parent = None;
    span.role = Role::Producer;
    let video = &row.request.recipe.video;
    let work = match row.request.work {
        Work::Encode => "encode",
        Work::Describe(_) => "describe",
    };
    span.about.push(("kinora.job.work", work.into()));
    span.about.push(("kinora.job.priority", i64::from(row.request.priority).into()));
    if let Some(codec) = video.codec {
        span.about.push(("kinora.job.codec", codec.name().into()));
    }
    span
}

/// In the trace of who asked for a job: that he did, with a way to the job's own.
pub(super) fn asked(job: JobId, caller: &Caller, (from, to): (i64, i64)) -> Span {
    let of_caller = i64::from_be_bytes(caller.span);
    Span {
        trace: caller.trace,
        parent: Some(caller.span),
        role: Role::Server,
        link: Some(Caller { trace: *job.as_bytes(), span: root(job) }),
        ..span(job, id(job, "asked", &[of_caller, from]), "submit job", (from, to.max(from + 1)))
    }
}

/// An attempt has ended.
pub(super) fn attempt(job: JobId, task: Task, made: &AttemptRow, place: &Place) -> Span {
    let key = (task.id, made.lease.attempt);
    let from = made.started_ms * 1000;
    let to = made.ended_ms.map_or(from, |ended| ended * 1000).max(from + 1);
    let mut span = span(job, attempt_id(job, key), &format!("run {}", task.kind.name()), (from, to));
    span.role = Role::Client;
    span.about.extend(about_attempt(key));
    span.about.push(("kinora.task.kind", task.kind.name().into()));
    span.about.push(("kinora.task.ordinal", i64::from(task.ordinal).into()));
    span.about.push(("kinora.node.id", place.node.to_string().into()));
    span.about.push(("kinora.node.name", place.name.clone().into()));
    if let Some(outcome) = made.outcome {
        span.about.push(("kinora.outcome", outcome.name().into()));
    }
    match (&made.failure, made.outcome) {
        (Some(failure), _) => fail(&mut span, failure),
        (None, Some(AttemptOutcome::Expired)) => {
            span.failed = Some("the node fell silent".to_owned());
            span.about.push(("error.type", code_name(ErrorCode::LeaseLost).into()));
        }
        (None, _) => {}
    }
    span
}

fn about_attempt((task, attempt): (TaskId, Attempt)) -> [(&'static str, Value); 2] {
    [("kinora.task.id", task.0.into()), ("kinora.attempt", i64::from(attempt.0).into())]
}

/// Where the time of an attempt went on its node; `began_us` is when the hub gave it away.
pub(super) fn steps(
    job: JobId,
    key: (TaskId, Attempt),
    began_us: i64,
    steps: &[Step],
    place: &Place,
) -> Vec<Span> {
    let at = |us: u64| began_us.saturating_add(i64::try_from(us.min(LONGEST_US)).unwrap_or(i64::MAX));
    let of_node = |name: &str, number: i64, time_us| Span {
        place: Some(place.clone()),
        about: about_attempt(key).into_iter().chain([("kinora.job.id", job.to_string().into())]).collect(),
        ..span(job, id(job, "node", &[key.0.0, key.1.0.into(), number]), name, time_us)
    };
    let steps = &steps[..steps.len().min(MOST_STEPS)];
    let end = steps.iter().map(|step| at(step.start_us.saturating_add(step.us))).max();
    let Some(end) = end else { return Vec::new() };
    let mut whole = of_node("attempt", -1, (began_us, end));
    whole.parent = Some(attempt_id(job, key));
    whole.role = Role::Server;
    let parts = steps.iter().zip(0..).map(|(step, number)| {
        let time_us = (at(step.start_us), at(step.start_us.saturating_add(step.us)));
        Span { parent: Some(whole.id), ..of_node(step.kind.name(), number, time_us) }
    });
    let parts: Vec<Span> = parts.collect();
    [whole].into_iter().chain(parts).collect()
}

/// The hub looked at a result, and kept it or not.
pub(super) fn judged(job: JobId, key: (TaskId, Attempt), (from, to): (i64, i64)) -> Span {
    let id = id(job, "judged", &[key.0.0, key.1.0.into()]);
    let mut span = span(job, id, "judge and keep", (from, to.max(from + 1)));
    span.parent = Some(attempt_id(job, key));
    span.about.extend(about_attempt(key));
    span
}

/// A job has ended, unless it goes on already. It may end more than once.
pub(super) fn ended(row: &JobRow, chunks: usize, nodes: usize) -> Option<Span> {
    let finished = row.finished_ms.filter(|_| row.phase.is_final())?;
    let time_us = (row.created_ms * 1000, (finished * 1000).max(row.created_ms * 1000 + 1));
    let mut span = span(row.id, id(row.id, "ended", &[finished]), "job", time_us);
    let count = |count: usize| Value::Count(i64::try_from(count).unwrap_or(i64::MAX));
    span.about.push(("kinora.job.phase", row.phase.name().into()));
    span.about.push(("kinora.job.chunks", count(chunks)));
    span.about.push(("kinora.job.nodes", count(nodes)));
    match &row.failure {
        Some(failure) => fail(&mut span, failure),
        None if row.phase == JobPhase::Failed => span.failed = Some("it failed".to_owned()),
        None => {}
    }
    Some(span)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinora_protocol::step::StepKind;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn trace_parents_are_read_or_ignored() {
        let caller = Caller::parse(GOOD).unwrap();
        assert_eq!(caller.trace[..2], [0x0a, 0xf7]);
        assert_eq!(caller.span[7], 0x31);
        assert!(Caller::parse("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more").is_some());
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        ] {
            assert_eq!(Caller::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn ids_follow_from_the_job_and_differ() {
        let job = JobId::generate();
        let ids = [
            root(job),
            attempt_id(job, (TaskId(1), Attempt(1))),
            attempt_id(job, (TaskId(1), Attempt(2))),
            attempt_id(job, (TaskId(2), Attempt(1))),
            root(JobId::generate()),
        ];
        for (position, one) in ids.iter().enumerate() {
            assert!(!ids[..position].contains(one));
        }
        assert_eq!(root(job), root(job));
    }

    #[test]
    fn a_node_is_believed_as_far_as_it_makes_sense() {
        let place = Place { node: NodeId::from("n".to_owned()), name: "n".to_owned() };
        let (job, key) = (JobId::generate(), (TaskId(1), Attempt(1)));
        let wild = vec![Step { kind: StepKind::Work, start_us: u64::MAX, us: u64::MAX }; 10_000];
        let told = steps(job, key, 1_000, &wild, &place);
        assert_eq!(told.len(), 1 + MOST_STEPS);
        assert!(told.iter().all(|span| span.time_us.1 <= 1_000 + LONGEST_US as i64));
        assert!(told[1..].iter().all(|span| span.parent == Some(told[0].id)));
        assert!(steps(job, key, 1_000, &[], &place).is_empty());
    }
}
