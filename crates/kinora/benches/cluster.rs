//! How much faster a job is with more workers, and how near to the best possible with workers of different speeds. The
//! encoder is simulated: each chunk takes a fixed time that depends on the worker only, with progress, and is then really
//! encoded, small as it is; so one machine can play many. Also how soon the first chunk of a job runs. Run by `cargo xtask bench cluster`.
#![cfg(unix)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::api::{JobView, NewJob, NodeState};
use kinora_protocol::client::JobVerb;
use kinora_protocol::job::JobPhase;
use kinora_testkit::ffmpeg;
use support::cluster::{Hub, job};
use support::{CHUNK, Place, clip, kinora};

/// Chunks of the job, a second of video each.
const CHUNKS: u32 = 64;
const FPS: u32 = 10;
/// What a worker of speed 1 needs for a chunk.
const COST: f64 = 6.0;
/// How often the start of a job is measured.
const STARTS: usize = 5;

/// A worker as a process.
struct Worker {
    child: Child,
    name: String,
    _tool: tempfile::TempDir,
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An ffmpeg that takes `seconds` for each chunk and says how far it is meanwhile.
fn simulated(seconds: f64) -> Result<(tempfile::TempDir, PathBuf)> {
    const STEPS: u32 = 5;
    let folder = tempfile::tempdir()?;
    let (real, probe) = (ffmpeg::find("ffmpeg")?, ffmpeg::find("ffprobe")?);
    let step = seconds / f64::from(STEPS);
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *{CHUNK}*)\n  i=0\n  while [ $i -lt {STEPS} ]; do\n    i=$((i + 1))\n    \
         echo frame=$(({FPS} * i / {STEPS}))\n    echo progress=continue\n    sleep {step}\n  done ;;\nesac\n\
         exec '{}' \"$@\"\n",
        real.display()
    );
    let tool = folder.path().join("ffmpeg");
    for (path, text) in [
        (tool.clone(), script),
        (folder.path().join("ffprobe"), format!("#!/bin/sh\nexec '{}' \"$@\"\n", probe.display())),
    ] {
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok((folder, tool))
}

fn worker(place: &Place, hub: &Hub, name: &str, speed: f64) -> Result<Worker> {
    let (folder, tool) = simulated(COST / speed)?;
    let mut command = kinora();
    command.args(["worker", "--copy", "--slots", "1", "--benchmark-seconds", "0", "--hub", &hub.address]);
    command.args(["--name", name, "--work-dir"]).arg(place.at(name)).arg("--ffmpeg").arg(tool);
    Ok(Worker { child: command.spawn()?, name: name.to_owned(), _tool: folder })
}

/// A hub and workers of these speeds, all of them ready.
async fn cluster(place: &Place, speeds: &[f64]) -> Result<(Hub, Vec<Worker>)> {
    let hub = Hub::alone(place, "127.0.0.1:0")?;
    let mut workers = Vec::new();
    for (number, speed) in speeds.iter().enumerate() {
        workers.push(worker(place, &hub, &format!("worker-{number}"), *speed)?);
    }
    let started = Instant::now();
    while hub.client.nodes().await?.items.iter().filter(|n| n.state == NodeState::Idle).count() < speeds.len()
    {
        let names: Vec<&str> = workers.iter().map(|w| w.name.as_str()).collect();
        ensure!(started.elapsed() < Duration::from_secs(120), "not all of {names:?} come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok((hub, workers))
}

/// Submits, and waits until something holds for the job; gives the time it took.
async fn until(hub: &Hub, asked: &NewJob, holds: impl Fn(&JobView) -> bool) -> Result<(Duration, JobView)> {
    let began = Instant::now();
    let id = hub.client.submit(asked, None).await?.id;
    loop {
        let view = hub.client.job(id).await?;
        if holds(&view) {
            return Ok((began.elapsed(), view));
        }
        ensure!(began.elapsed() < Duration::from_secs(1200), "it takes too long: {view:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Runs the job on workers of these speeds; gives the time from submission to result.
async fn run(source: &Path, speeds: &[f64]) -> Result<(Duration, JobView)> {
    let place = Place::new()?;
    let (hub, _workers) = cluster(&place, speeds).await?;
    let mut asked = job(hub.upload(source).await?);
    asked.recipe.chunks.seconds = Some(1.0);
    let (took, view) = until(&hub, &asked, |view| view.phase.is_final()).await?;
    ensure!(view.phase == JobPhase::Completed && view.chunks.total == CHUNKS, "{view:?}");
    Ok((took, view))
}

/// From the submission of a job whose source was seen before until a first chunk runs, in milliseconds.
async fn starts(source: &Path) -> Result<Vec<u128>> {
    let place = Place::new()?;
    let (hub, _workers) = cluster(&place, &[1.0, 1.0]).await?;
    let mut asked = job(hub.upload(source).await?);
    asked.recipe.chunks.seconds = Some(1.0);
    let mut took = Vec::new();
    // The first job, which shows the source to the hub, is not counted. The others have another recipe each, so that no
    // chunk is there already, and are cancelled.
    for run in 0..=STARTS {
        asked.recipe.video.quality = None;
        asked.recipe.video.crf = Some(20.0 + run as f64);
        let running = |view: &JobView| view.phase.is_final() || view.chunks.running > 0;
        let (time, view) = until(&hub, &asked, running).await?;
        ensure!(view.chunks.running > 0, "{view:?}");
        if run > 0 {
            took.push(time.as_millis());
        }
        hub.client.tell_job(view.id, JobVerb::Cancel).await?;
        hub.ends(view.id).await?;
    }
    took.sort_unstable();
    Ok(took)
}

fn main() -> Result<()> {
    if std::env::args().any(|word| word == "--list" || word == "--test") {
        return Ok(());
    }
    let runtime = tokio::runtime::Runtime::new()?;
    let source = clip(
        "cluster.mp4",
        &format!(
            "-f lavfi -i testsrc2=size=160x90:rate={FPS}:duration={CHUNKS} -c:v libx264 -preset ultrafast -crf 30 \
             -pix_fmt yuv420p -g {FPS}"
        ),
    )?;
    let took = runtime.block_on(starts(&source))?;
    println!("from submission to the first running chunk: median {} ms of {took:?}", took[STARTS / 2]);
    let mut alone = None;
    println!("| workers | seconds | efficiency |\n| --- | --: | --: |");
    for count in [1_usize, 2, 4, 8] {
        let (took, _) = runtime.block_on(run(&source, &vec![1.0; count]))?;
        let took = took.as_secs_f64();
        let one = *alone.get_or_insert(took);
        println!("| {count} | {took:.1} | {:.3} |", one / took / count as f64);
    }
    let speeds = [1.0, 0.5, 0.25];
    let (took, view) = runtime.block_on(run(&source, &speeds))?;
    let one = alone.context("nothing was measured")?;
    let ideal = one / speeds.iter().sum::<f64>();
    println!("| speeds 1, ½, ¼ | {:.1} | {:.3} × ideal |", took.as_secs_f64(), took.as_secs_f64() / ideal);
    for share in &view.shares {
        println!("  {}: {} chunks", share.node, share.chunks);
    }
    Ok(())
}
