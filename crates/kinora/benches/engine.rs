//! How fast a hub hands out and takes back work, and what it does when it is killed under a thousand nodes. The nodes here
//! only talk: they take leases over real WebSockets and say at once that they are done. Run by `cargo xtask bench engine`.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::access::Sight;
use kinora_protocol::api::NodeState;
use kinora_protocol::class::{Class, Tags};
use kinora_protocol::client::{Client, NodeLink};
use kinora_protocol::encode::{EncodeSettings, Encoder, PictureFilters, Rate, Scan};
use kinora_protocol::job::{JobPhase, JobRequest};
use kinora_protocol::media::Color;
use kinora_protocol::node::{Capabilities, Hello, PROTOCOL, Progress, Renewal, Slots, ToHub, ToNode};
use kinora_protocol::recipe::{Recipe, Verify};
use kinora_protocol::task::{
    Blob, ChunkOutput, ChunkSpec, Clock, Expect, FrameRange, Preroll, SourceTask, TaskOutput, TaskSpec,
    Window, blob_name,
};
use kinora_protocol::{Attempt, Digest, JobId, NodeId, Rational, TaskId};
use kinora_store::{Gate, Graph, NewJob, NewTask, Store};

/// What the nodes call their ffmpeg.
const BUILD: &str = "a build for measuring";
/// Classes that the tasks are of.
const ENCODERS: [Encoder; 4] = [Encoder::X264, Encoder::X265, Encoder::Vp9, Encoder::Aom];
const JOBS: u32 = 100;
const CHUNKS: u32 = 1000;
/// Not measured.
const WARM: Duration = Duration::from_secs(3);

fn main() -> Result<()> {
    if std::env::args().any(|word| word == "--list" || word == "--test") {
        return Ok(());
    }
    raise_limit();
    let runtime = tokio::runtime::Runtime::new()?;
    // All parts, or those that are named.
    let named: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    runtime.block_on(async {
        if wanted("throughput") {
            throughput(64, Duration::from_secs(20)).await?;
        }
        if wanted("restart") {
            thousand(1000).await?;
        }
        if wanted("idle") {
            idle(100, Duration::from_secs(20)).await?;
        }
        Ok(())
    })
}

#[cfg(unix)]
fn raise_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

#[cfg(not(unix))]
fn raise_limit() {}

/// A hub as a process.
struct Hub {
    child: Child,
    client: Client,
    listen: String,
}

impl Hub {
    fn start(data: &Path, listen: &str) -> Result<(Self, Duration)> {
        let started = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kinora"));
        command.args(["hub", "--local-worker", "off", "--listen", listen, "--data"]).arg(data);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().context("no output")?).read_line(&mut line)?;
        let address = line.split_whitespace().find(|word| word.starts_with("http://"));
        let address = address.with_context(|| format!("the hub said {line:?}"))?.trim_end_matches(',');
        let listen = address.trim_start_matches("http://").to_owned();
        Ok((Self { client: Client::new(address)?, child, listen }, started.elapsed()))
    }

    fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// A line of `/proc/PID/status` in KiB.
    fn memory(&self, name: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// Processor time used so far, in hundredths of a second.
    fn ticks(&self) -> Option<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        let words: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        Some(words.get(11)?.parse::<u64>().ok()? + words.get(12)?.parse::<u64>().ok()?)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn digest() -> Digest {
    Digest::from_bytes(&[7; 32])
}

fn chunk(ordinal: u32, encoder: Encoder, rate: Rational) -> TaskSpec {
    let frames = FrameRange { start: u64::from(ordinal) * 250, end: u64::from(ordinal + 1) * 250 };
    let encode = EncodeSettings {
        encoder,
        rate: Rate::Quality(2300),
        preset: None,
        pix_fmt: "yuv420p".to_owned(),
        nominal_rate: rate,
        scan: Scan::Progressive,
        color: Color::default(),
        hdr: None,
        params: Vec::new(),
    };
    let work = ChunkSpec {
        ordinal,
        stream: 0,
        frames,
        a: i64::from(ordinal) * 250,
        b: i64::from(ordinal + 1) * 250,
        seam_end: i64::from(ordinal + 1) * 250 + 6,
        shift: 0,
        clock: Clock { source: rate, hz: 25, start_us: 0, wraps: false, generate: false },
        window: Window::whole(1 << 30),
        preroll: Preroll::Normal,
        encode,
        enhance: Vec::new(),
        context: None,
        filters: PictureFilters::default(),
        ladder: None,
        resample: None,
        expect: Expect { source_frames: 250, source_times: digest(), frames: 250, times: digest() },
        verify: Verify::Off,
        threads: None,
    };
    TaskSpec::Chunk(Box::new(SourceTask { source: "/nowhere/film.mp4".into(), size: 1 << 30, work }))
}

fn output(job: JobId, task: TaskId, attempt: Attempt) -> TaskOutput {
    let path: PathBuf = blob_name(job, kinora_protocol::task::TaskKind::Chunk, task, attempt);
    TaskOutput::Chunk(Box::new(ChunkOutput {
        blob: Blob { path, size: 1000, digest: digest() },
        source_frames: 250,
        source_times: digest(),
        times_in: digest(),
        source_hash: digest(),
        head: vec![1; 6],
        tail: vec![1; 6],
        others: Vec::new(),
        packets: 250,
        times: digest(),
        config: digest(),
        before: Vec::new(),
        end: Vec::new(),
        cpu_seconds: 1.0,
    }))
}

/// Jobs of one class each, in turn, straight into the store.
async fn seed(data: &Path, jobs: u32) -> Result<()> {
    std::fs::create_dir_all(data)?;
    let store = Store::open(&data.join("store.db")).await?;
    let rate = Rational::new(25, 1).context("no rate")?;
    let mut build = blake3::hash(BUILD.as_bytes()).to_hex().to_string();
    build.truncate(16);
    for number in 0..jobs {
        let encoder = ENCODERS[number as usize % ENCODERS.len()];
        let tasks = (0..CHUNKS).map(|ordinal| NewTask {
            ordinal,
            class: Class::chunk(encoder, build.clone(), Tags::NONE),
            priority: 0,
            rank: f64::from(ordinal),
            max_attempts: 3,
            spec: chunk(ordinal, encoder, rate),
            done: None,
            cache_key: None,
            gate: Gate::None,
        });
        let request = JobRequest {
            work: kinora_protocol::job::Work::Encode,
            input: "/nowhere/film.mp4".into(),
            output: data.join(format!("{number}.mp4")),
            recipe: Recipe::default(),
            idempotency_key: None,
            priority: 0,
            required_nodes: 0,
            deadline_ms: None,
            tags: Tags::NONE,
        };
        let graph = Graph { tasks: tasks.collect(), deps: Vec::new() };
        let job = NewJob {
            owner: kinora_store::Owner::Nobody,
            phase: JobPhase::Queued,
            id: JobId::generate(),
            request,
            graph,
        };
        store.submit(job, i64::from(number)).await?;
    }
    Ok(store.close().await?)
}

fn hello(name: &str, chunks: u32, holding: Vec<(TaskId, Attempt)>) -> ToHub {
    ToHub::Hello(Box::new(Hello {
        protocol: PROTOCOL,
        node: NodeId::from(name.to_owned()),
        name: name.to_owned(),
        version: String::new(),
        capabilities: Capabilities {
            ffmpeg: BUILD.to_owned(),
            encoders: ENCODERS.to_vec(),
            cores: 4,
            ..Capabilities::default()
        },
        slots: Slots { chunks, other: 0 },
        tags: Tags::NONE,
        priority: 0,
        holding,
    }))
}

async fn greet(
    client: &Client,
    name: &str,
    chunks: u32,
    holding: Vec<(TaskId, Attempt)>,
) -> Result<NodeLink> {
    let (to_hub, mut from_hub) = client.connect_node().await?;
    to_hub.send(hello(name, chunks, holding)).await?;
    let answer = from_hub.recv().await.context("no answer")?;
    ensure!(matches!(answer, ToNode::Welcome { .. }), "{answer:?}");
    to_hub.send(ToHub::Ready { shares_files: false, speeds: Vec::new() }).await?;
    Ok((to_hub, from_hub))
}

/// What all nodes saw together.
#[derive(Default)]
struct Seen {
    measuring: AtomicBool,
    stop: AtomicBool,
    done: AtomicU64,
    /// From "it is done" to "it is noted".
    noted: Mutex<Vec<Duration>>,
    /// From "it is noted" to the next lease.
    idle: Mutex<Vec<Duration>>,
}

impl Seen {
    fn add(&self, to: &Mutex<Vec<Duration>>, time: Duration) {
        if self.measuring.load(Ordering::Relaxed)
            && let Ok(mut times) = to.lock()
        {
            times.push(time);
        }
    }
}

async fn work_at_once((to_hub, mut from_hub): NodeLink, seen: Arc<Seen>) -> Result<()> {
    let mut told: HashMap<(TaskId, Attempt), Instant> = HashMap::new();
    let mut free: Vec<Instant> = Vec::new();
    while let Some(message) = from_hub.recv().await {
        match message {
            ToNode::Lease(grant) => {
                if let Some(since) = free.pop() {
                    seen.add(&seen.idle, since.elapsed());
                }
                let (task, attempt) = (grant.task, grant.attempt);
                told.insert((task, attempt), Instant::now());
                let output = Box::new(output(grant.job, task, attempt));
                to_hub.send(ToHub::Complete { task, attempt, output, steps: Vec::new() }).await?;
            }
            ToNode::Noted { task, attempt } => {
                if let Some(since) = told.remove(&(task, attempt)) {
                    seen.add(&seen.noted, since.elapsed());
                    seen.done.fetch_add(1, Ordering::Relaxed);
                }
                free.push(Instant::now());
            }
            other => anyhow::bail!("it was told {other:?}"),
        }
        if seen.stop.load(Ordering::Relaxed) && told.is_empty() {
            break;
        }
    }
    Ok(())
}

fn at(times: &Mutex<Vec<Duration>>, part: f64) -> f64 {
    let Ok(mut times) = times.lock() else { return f64::NAN };
    times.sort_unstable();
    let position = (times.len().saturating_sub(1) as f64 * part) as usize;
    times.get(position).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

async fn throughput(nodes: u32, length: Duration) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    seed(&data, JOBS).await?;
    let (mut hub, start) = Hub::start(&data, "127.0.0.1:0")?;
    let seen = Arc::new(Seen::default());
    let mut running = Vec::new();
    for number in 0..nodes {
        let link = greet(&hub.client, &format!("node-{number}"), 4, Vec::new()).await?;
        running.push(tokio::spawn(work_at_once(link, Arc::clone(&seen))));
    }
    tokio::time::sleep(WARM).await;
    let (before, ticks, began) = (seen.done.load(Ordering::Relaxed), hub.ticks(), Instant::now());
    seen.measuring.store(true, Ordering::Relaxed);
    tokio::time::sleep(length).await;
    seen.measuring.store(false, Ordering::Relaxed);
    let done = seen.done.load(Ordering::Relaxed) - before;
    let rate = done as f64 / began.elapsed().as_secs_f64();
    let busy =
        hub.ticks().zip(ticks).map(|(after, before)| (after - before) as f64 / began.elapsed().as_secs_f64());
    seen.stop.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let memory = hub.memory("VmHWM").unwrap_or(0) / 1024;
    running.iter().for_each(tokio::task::JoinHandle::abort);
    hub.kill()?;
    let all = seen.done.load(Ordering::Relaxed);
    let stored = stored_once(&data).await?;
    ensure!(stored >= all, "{all} were noted and {stored} are stored");
    println!(
        "{nodes} nodes, {} tasks of {} classes, hub up after {:.2} s:",
        JOBS * CHUNKS,
        ENCODERS.len(),
        start.as_secs_f64()
    );
    println!(
        "  {rate:.0} leases and completions a second; hub at {:.0} % of a core, {memory} MiB",
        busy.unwrap_or(f64::NAN)
    );
    println!("  done to noted: median {:.1} ms, p99 {:.1} ms", at(&seen.noted, 0.5), at(&seen.noted, 0.99));
    println!(
        "  noted to next lease: median {:.1} ms, p99 {:.1} ms",
        at(&seen.idle, 0.5),
        at(&seen.idle, 0.99)
    );
    Ok(())
}

/// Tasks that are done, each by one attempt.
async fn stored_once(data: &Path) -> Result<u64> {
    let store = Store::open(&data.join("store.db")).await?;
    let mut done = 0;
    for job in store.jobs(&Sight::All, None, JOBS).await? {
        for counts in store.counts(job.id).await?.values() {
            done += counts.done;
        }
    }
    store.close().await?;
    Ok(done)
}

/// Holds one lease through a hub that dies and comes back, and completes it then.
async fn hold(client: Client, name: String, seen: Arc<Seen>) -> Result<()> {
    let mut holding: Option<(JobId, TaskId, Attempt)> = None;
    let mut wait = 1.0_f64;
    while !seen.stop.load(Ordering::Relaxed) {
        let held = holding.iter().map(|(_, task, attempt)| (*task, *attempt)).collect();
        let Ok((to_hub, mut from_hub)) = greet(&client, &name, 1, held).await else {
            let random = u32::from_le_bytes(uuid_bytes()) as f64 / f64::from(u32::MAX);
            tokio::time::sleep(Duration::from_secs_f64(wait * (0.5 + random))).await;
            wait = (wait * 2.0).min(10.0);
            continue;
        };
        wait = 1.0;
        let mut tick = tokio::time::interval(Duration::from_secs(5));
        let mut told = false;
        loop {
            if let (true, false, Some((job, task, attempt))) =
                (seen.measuring.load(Ordering::Relaxed), told, holding)
            {
                let output = Box::new(output(job, task, attempt));
                to_hub.send(ToHub::Complete { task, attempt, output, steps: Vec::new() }).await?;
                told = true;
            }
            tokio::select! {
                message = from_hub.recv() => match message {
                    None => break,
                    Some(ToNode::Lease(grant)) => holding = Some((grant.job, grant.task, grant.attempt)),
                    Some(ToNode::Noted { .. }) => {
                        seen.done.fetch_add(1, Ordering::Relaxed);
                        return Ok(());
                    }
                    Some(other) => anyhow::bail!("{name} was told {other:?}"),
                },
                _ = tick.tick() => {
                    let renewal = |(_, task, attempt)| Renewal { task, attempt, progress: Progress::default() };
                    let running = holding.map(renewal).into_iter().collect();
                    to_hub.send(ToHub::Renew { running }).await.ok();
                }
            }
        }
    }
    Ok(())
}

fn uuid_bytes() -> [u8; 4] {
    let text = JobId::generate().to_string();
    let hash = blake3::hash(text.as_bytes());
    [hash.as_bytes()[0], hash.as_bytes()[1], hash.as_bytes()[2], hash.as_bytes()[3]]
}

async fn here(client: &Client) -> Result<(usize, usize)> {
    let nodes = client.nodes().await?.items;
    let here = nodes.iter().filter(|n| !matches!(n.state, NodeState::Disconnected | NodeState::Benchmarking));
    Ok((here.clone().count(), here.filter(|n| !n.running.is_empty()).count()))
}

/// Waits until so many nodes are there, each with a lease.
async fn all_here(client: &Client, nodes: usize) -> Result<Duration> {
    let started = Instant::now();
    loop {
        let (there, holding) = here(client).await.unwrap_or((0, 0));
        if (there, holding) == (nodes, nodes) {
            return Ok(started.elapsed());
        }
        ensure!(
            started.elapsed() < Duration::from_secs(120),
            "{there} of {nodes} nodes, {holding} with a lease"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn thousand(nodes: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    seed(&data, 10).await?;
    let (mut hub, _) = Hub::start(&data, "127.0.0.1:0")?;
    let seen = Arc::new(Seen::default());
    let mut running = Vec::new();
    for number in 0..nodes {
        let (client, seen) = (hub.client.clone(), Arc::clone(&seen));
        running.push(tokio::spawn(hold(client, format!("node-{number:04}"), seen)));
    }
    let came = all_here(&hub.client, nodes).await?;
    hub.kill()?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (hub, start) = Hub::start(&data, &hub.listen.clone())?;
    let back = all_here(&hub.client, nodes).await?;
    seen.measuring.store(true, Ordering::Relaxed);
    let (began, patience) = (Instant::now(), Duration::from_secs(60));
    while (seen.done.load(Ordering::Relaxed) as usize) < nodes && began.elapsed() < patience {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let kept = seen.done.load(Ordering::Relaxed);
    let memory = hub.memory("VmHWM").unwrap_or(0) / 1024;
    println!(
        "{nodes} nodes, each at a task, came in {:.1} s; the hub was killed and started again:",
        came.as_secs_f64()
    );
    println!(
        "  up after {:.2} s, all back after {:.1} s more, {kept} of {nodes} tasks completed by their first attempt; {memory} MiB",
        start.as_secs_f64(),
        back.as_secs_f64()
    );
    for task in running {
        if let Ok(Err(error)) = task.await {
            println!("  a node failed: {error}");
        }
    }
    Ok(())
}

async fn idle(nodes: usize, length: Duration) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (hub, _) = Hub::start(&folder.path().join("data"), "127.0.0.1:0")?;
    let mut links = Vec::new();
    for number in 0..nodes {
        links.push(greet(&hub.client, &format!("node-{number}"), 4, Vec::new()).await?);
    }
    tokio::time::sleep(WARM).await;
    let (ticks, began) = (hub.ticks(), Instant::now());
    tokio::time::sleep(length).await;
    let busy =
        hub.ticks().zip(ticks).map(|(after, before)| (after - before) as f64 / began.elapsed().as_secs_f64());
    println!("{nodes} idle nodes: hub at {:.2} % of a core", busy.unwrap_or(f64::NAN));
    Ok(())
}
