//! Traces: what a job was at, from its submission to its result, on all machines, as a collector gets it.
#![cfg(unix)]

mod support;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::JobId;
use kinora_protocol::job::JobPhase;
use prost::Message as _;
use support::cluster::{Hub, Worker, job};
use support::receiver::{Sent, receiver};
use support::{PATIENCE, Place, eight, wire};

/// OTLP, as its specification numbers what is in it: written down here once more, as the hub has it from elsewhere.
mod otlp {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Request {
        #[prost(message, repeated, tag = "1")]
        pub resources: Vec<ResourceSpans>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ResourceSpans {
        #[prost(message, optional, tag = "1")]
        pub resource: Option<Resource>,
        #[prost(message, repeated, tag = "2")]
        pub scopes: Vec<ScopeSpans>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Resource {
        #[prost(message, repeated, tag = "1")]
        pub attributes: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ScopeSpans {
        #[prost(message, repeated, tag = "2")]
        pub spans: Vec<Span>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Span {
        #[prost(bytes, tag = "1")]
        pub trace: Vec<u8>,
        #[prost(bytes, tag = "2")]
        pub id: Vec<u8>,
        #[prost(bytes, tag = "4")]
        pub parent: Vec<u8>,
        #[prost(string, tag = "5")]
        pub name: String,
        #[prost(int32, tag = "6")]
        pub kind: i32,
        #[prost(fixed64, tag = "7")]
        pub start: u64,
        #[prost(fixed64, tag = "8")]
        pub end: u64,
        #[prost(message, repeated, tag = "9")]
        pub attributes: Vec<KeyValue>,
        #[prost(message, repeated, tag = "13")]
        pub links: Vec<Link>,
        #[prost(message, optional, tag = "15")]
        pub status: Option<Status>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Link {
        #[prost(bytes, tag = "1")]
        pub trace: Vec<u8>,
        #[prost(bytes, tag = "2")]
        pub id: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Status {
        #[prost(string, tag = "2")]
        pub message: String,
        #[prost(int32, tag = "3")]
        pub code: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct KeyValue {
        #[prost(string, tag = "1")]
        pub key: String,
        #[prost(message, optional, tag = "2")]
        pub value: Option<AnyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct AnyValue {
        #[prost(string, optional, tag = "1")]
        pub text: Option<String>,
        #[prost(int64, optional, tag = "3")]
        pub number: Option<i64>,
    }
}

/// A span, and where it is from.
#[derive(Debug, Clone)]
struct Seen {
    from: BTreeMap<String, String>,
    about: BTreeMap<String, String>,
    span: otlp::Span,
}

impl Seen {
    fn is_failed(&self) -> bool {
        self.span.status.as_ref().is_some_and(|status| status.code == 2)
    }

    fn ms(&self) -> std::ops::RangeInclusive<u64> {
        self.span.start / 1_000_000..=self.span.end.div_ceil(1_000_000)
    }
}

fn pairs(all: &[otlp::KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &otlp::AnyValue| value.text.clone().or(value.number.map(|n| n.to_string()));
    let pair =
        |pair: &otlp::KeyValue| (pair.key.clone(), pair.value.as_ref().and_then(text).unwrap_or_default());
    all.iter().map(pair).collect()
}

fn read(sent: &Sent) -> Result<Vec<Seen>> {
    ensure!(sent.path == "/told/v1/traces", "{sent:?}");
    ensure!(sent.headers["content-type"] == "application/x-protobuf", "{sent:?}");
    ensure!(sent.headers["api-key"] == "hush hush", "{sent:?}");
    let mut all = Vec::new();
    for resource in otlp::Request::decode(sent.body.as_slice())?.resources {
        let from = pairs(&resource.resource.context("nobody said it")?.attributes);
        for span in resource.scopes.into_iter().flat_map(|scope| scope.spans) {
            all.push(Seen { from: from.clone(), about: pairs(&span.attributes), span });
        }
    }
    Ok(all)
}

/// All that arrives until the job has ended, and a little after.
fn until_ended(told: &Receiver<Sent>, job: JobId, all: &mut Vec<Seen>) -> Result<()> {
    let by = Instant::now() + PATIENCE;
    let trace = job.as_bytes().as_slice();
    while !all.iter().any(|seen| seen.span.name == "job" && seen.span.trace == trace) {
        let sent = told.recv_timeout(by.saturating_duration_since(Instant::now()));
        all.extend(read(&sent.context("the end of the job is not told")?)?);
    }
    loop {
        match told.recv_timeout(Duration::from_secs(2)) {
            Ok(sent) => all.extend(read(&sent)?),
            Err(RecvTimeoutError::Timeout) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Submits a job as somebody who has a trace of his own.
fn submit(hub: &Hub, job: &kinora_protocol::api::NewJob) -> Result<JobId> {
    let body = serde_json::to_vec(job)?;
    let (parent, length) = (format!("00-{TRACE}-{SPAN}-01"), body.len().to_string());
    let headers =
        [("content-type", "application/json"), ("content-length", &length), ("traceparent", &parent)];
    let mut stream = wire::open(&hub.address, "POST", "/api/v1/jobs", &headers)?;
    stream.write_all(&body)?;
    let answer = wire::read(stream)?;
    ensure!(answer.status == 201, "{}", answer.text());
    let view: serde_json::Value = serde_json::from_slice(&answer.body)?;
    Ok(view["id"].as_str().context("no id")?.parse()?)
}

fn named<'a>(all: &'a [Seen], name: &str) -> Vec<&'a Seen> {
    all.iter().filter(|seen| seen.span.name == name).collect()
}

/// One root, and all else below it, within the time of what it is below.
fn hangs_together(of_job: &[Seen]) -> Result<()> {
    let roots: Vec<_> = of_job.iter().filter(|seen| seen.span.parent.is_empty()).collect();
    ensure!(roots.len() == 1 && roots[0].span.name == "submit", "{roots:#?}");
    for seen in of_job {
        ensure!(seen.span.start < seen.span.end || seen.from["service.name"] == "kinora-worker", "{seen:#?}");
        ensure!(of_job.iter().filter(|other| other.span.id == seen.span.id).count() == 1, "{seen:#?}");
        let Some(parent) = of_job.iter().find(|other| other.span.id == seen.span.parent) else {
            ensure!(seen.span.parent.is_empty(), "it hangs in the air: {seen:#?}");
            continue;
        };
        if parent.span.name != "submit" {
            // Times are kept in milliseconds.
            let (outer, inner) = (parent.ms(), seen.ms());
            // An attempt has ended when that is written; until it is on the disk the hub still keeps it.
            let end = if seen.span.name == "judge and keep" { inner.start() } else { inner.end() };
            let within = outer.start() <= inner.start() && *end <= outer.end() + 2;
            ensure!(within, "{seen:#?} is not within {parent:#?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_traced_from_its_submission_to_its_result() -> Result<()> {
    let place = Place::new()?;
    let (collector, told) = receiver(&[503], 200)?;
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hush%20hush"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=mine"),
    ];
    let flags = ["--listen", "127.0.0.1:0", "--local-worker", "off"];
    let hub = Hub::start_with(&place, &flags, &environment)?;
    let media = hub.upload(&eight()?).await?;
    let mut bad = Worker::start_bad(&place, "bad", &hub.address, &["--copy"])?;
    hub.connected(1).await?;
    let mut wanted = job(media);
    wanted.recipe.chunks.max_attempts = Some(10);
    let id = submit(&hub, &wanted)?;
    // The bad one fails a chunk first.
    hub.until(id, |view| view.chunks.total > 0).await?;
    let failed = |tasks: &[kinora_protocol::api::TaskView]| {
        tasks.iter().flat_map(|task| &task.attempts).any(|made| made.outcome.as_deref() == Some("failed"))
    };
    let by = Instant::now() + PATIENCE;
    while !failed(&hub.client.tasks(id).await?.items) {
        ensure!(Instant::now() < by, "nothing failed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    support::signal(&bad.child, "TERM")?;
    bad.child.wait()?;
    let good = Worker::start(&place, "good", &hub.address, Duration::ZERO, &["--copy"])?;
    let view = hub.ends(id).await?;
    ensure!(view.phase == JobPhase::Completed, "{view:?}");
    // The first batch was not taken, and is sent again.
    let refused = read(&told.recv_timeout(PATIENCE)?)?;
    let mut all = Vec::new();
    until_ended(&told, id, &mut all)?;

    let of_job: Vec<Seen> = all.iter().filter(|s| s.span.trace == id.as_bytes()).cloned().collect();
    hangs_together(&of_job)?;
    let tasks = hub.client.tasks(id).await?.items;
    for kind in ["probe", "chunk", "join", "package"] {
        let made: usize = tasks.iter().filter(|t| t.kind.name() == kind).map(|t| t.attempts.len()).sum();
        let told = named(&of_job, &format!("run {kind}"));
        ensure!(told.len() == made && made > 0, "{made} attempts of {kind}, told {told:#?}");
    }
    let broken: Vec<_> = of_job.iter().filter(|seen| seen.is_failed()).collect();
    ensure!(!broken.is_empty(), "no failure is told");
    for seen in broken {
        ensure!(seen.about["kinora.node.name"] == "bad", "{seen:#?}");
        ensure!(
            seen.about["error.type"] == "tool_failed" && seen.about["kinora.outcome"] == "failed",
            "{seen:#?}"
        );
    }
    let parts = |name: &str, kind: &str| {
        let runs = named(&of_job, &format!("run {kind}"));
        let below = |seen: &&Seen, above: &Seen| seen.span.parent == above.span.id;
        let attempts: Vec<_> = named(&of_job, "attempt")
            .into_iter()
            .filter(|attempt| runs.iter().any(|run| below(attempt, run)))
            .collect();
        named(&of_job, name)
            .into_iter()
            .filter(|part| part.from["host.name"] == "good")
            .filter(|part| attempts.iter().any(|attempt| below(part, attempt)))
            .count()
    };
    for (name, kind) in [("work", "chunk"), ("hand in", "chunk"), ("fetch", "join"), ("hand in", "package")] {
        ensure!(parts(name, kind) > 0, "nothing of {name} below {kind}: {of_job:#?}");
    }
    ensure!(!named(&of_job, "judge and keep").is_empty());
    for seen in &of_job {
        let of_worker = ["attempt", "fetch", "work", "hand in"].contains(&seen.span.name.as_str());
        let service = if of_worker { "kinora-worker" } else { "mine" };
        ensure!(seen.from["service.name"] == service, "{seen:#?}");
        ensure!(seen.from["deployment.environment.name"] == "test", "{seen:#?}");
    }

    let asked: Vec<_> = all.iter().filter(|seen| hex(&seen.span.trace) == TRACE).collect();
    ensure!(asked.len() == 1 && asked[0].span.name == "submit job", "{asked:#?}");
    ensure!(hex(&asked[0].span.parent) == SPAN && asked[0].span.kind == 2, "{asked:#?}");
    let root = named(&of_job, "submit")[0];
    let link = asked[0].span.links.first().context("no way to the job")?;
    ensure!(link.trace == id.as_bytes() && link.id == root.span.id, "{asked:#?}");

    let again = |one: &Seen| all.iter().any(|other| other.span == one.span);
    ensure!(!refused.is_empty() && refused.iter().all(again), "what was refused was not sent again");
    let numbers = wire::ask(&hub.address, "GET", "/metrics", &[])?.text();
    ensure!(numbers.contains("kinora_spans_total{outcome=\"lost\"} 0"), "{numbers}");
    drop(good);
    Ok(())
}

/// What ran when a hub was asked to end, and what it did after it was started again, is in one trace.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_goes_on_with_the_next_hub() -> Result<()> {
    let place = Place::new()?;
    let (collector, told) = receiver(&[], 200)?;
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hush%20hush"),
    ];
    let stub = support::cluster::slowed(Duration::from_millis(300))?;
    let tool = stub.ffmpeg().display().to_string();
    let flags = ["--listen", "127.0.0.1:0", "--sandbox", "off", "--ffmpeg", &tool, "--local-worker", "1"];
    let mut hub = Hub::start_with(&place, &flags, &environment)?;
    let media = hub.upload(&eight()?).await?;
    let id = hub.client.submit(&job(media), None).await?.id;
    hub.until(id, |view| view.chunks.running > 0).await?;
    support::signal(&hub.child, "TERM")?;
    ensure!(hub.child.wait()?.success());
    drop(hub);
    let hub = Hub::start_with(&place, &flags, &environment)?;
    ensure!(hub.ends(id).await?.phase == JobPhase::Completed);
    let mut all = Vec::new();
    until_ended(&told, id, &mut all)?;
    hangs_together(&all)?;
    let tasks = hub.client.tasks(id).await?.items;
    let made: usize = tasks.iter().map(|task| task.attempts.len()).sum();
    let runs: Vec<_> = all.iter().filter(|seen| seen.span.name.starts_with("run ")).collect();
    ensure!(runs.len() == made, "{made} attempts, told {runs:#?}");
    ensure!(runs.iter().any(|seen| seen.about["kinora.outcome"] == "released"), "nothing ran: {runs:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_not_there_is_in_nobodys_way() -> Result<()> {
    let place = Place::new()?;
    // Nobody listens there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let flags = ["--listen", "127.0.0.1:0", "--otlp-endpoint", &format!("http://{nobody}")];
    let mut hub = Hub::start_as(&place, &flags)?;
    let media = hub.upload(&eight()?).await?;
    let id = hub.client.submit(&job(media), None).await?.id;
    ensure!(hub.ends(id).await?.phase == JobPhase::Completed);
    support::signal(&hub.child, "TERM")?;
    let what = "the hub to end without the collector";
    support::until(what, || hub.child.try_wait().is_ok_and(|ended| ended.is_some()))?;
    let ended = hub.child.wait()?;
    ensure!(ended.success(), "{ended}");
    Ok(())
}
