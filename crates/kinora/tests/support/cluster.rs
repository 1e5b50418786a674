//! Hubs and workers as processes of their own, and jobs for them.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use kinora_protocol::Digest;
use kinora_protocol::JobId;
use kinora_protocol::api::{JobView, NewJob, NodeState, Source, TaskView};
use kinora_protocol::client::Client;
use kinora_protocol::job::JobPhase;
use kinora_protocol::recipe::{Quality, Recipe};
use kinora_testkit::stub::{Misbehaviour, Stub, When};

use super::{CHUNK, PATIENCE, Place, finish, kinora, same_frames};

/// An ffmpeg whose chunks take `slow` longer than they need.
pub fn slowed(slow: Duration) -> Result<Stub> {
    let what = if slow.is_zero() { Misbehaviour::Behave } else { Misbehaviour::Slow(slow) };
    Stub::when(&what, &When::ArgContains(CHUNK.to_owned()))
}

/// The key that lies with the files of a hub.
pub fn local_key(place: &Place) -> Option<String> {
    let left = std::fs::read_to_string(place.at("data").join("local.json")).ok()?;
    let left: serde_json::Value = serde_json::from_str(&left).ok()?;
    left["key"].as_str().map(str::to_owned)
}

/// A hub as a process; it is killed when dropped.
pub struct Hub {
    pub child: Child,
    pub client: Client,
    pub address: String,
}

impl Hub {
    /// A hub in `place`, whose chunks take `slow` longer than they need.
    pub fn start(place: &Place, slow: Duration, flags: &[&str]) -> Result<(Self, Stub)> {
        let stub = slowed(slow)?;
        let tool = stub.ffmpeg().display().to_string();
        let own = ["--listen", "127.0.0.1:0", "--sandbox", "off", "--ffmpeg", &tool];
        let flags = [&own, flags].concat();
        Ok((Self::start_as(place, &flags)?, stub))
    }

    /// A hub in `place` with these flags and no others.
    pub fn start_as(place: &Place, flags: &[&str]) -> Result<Self> {
        Self::start_with(place, flags, &[])
    }

    /// Where it listens, for another one in its place.
    pub fn listen(&self) -> String {
        self.address.trim_start_matches("http://").trim_start_matches("https://").to_owned()
    }

    /// A hub without a worker of its own.
    pub fn alone(place: &Place, listen: &str) -> Result<Self> {
        Self::start_as(place, &["--local-worker", "off", "--listen", listen])
    }

    /// The same with something in its environment.
    pub fn start_with(place: &Place, flags: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let mut command = kinora();
        command.args(["hub", "--data"]).arg(place.at("data")).args(flags);
        // All that is tested of hubs holds for one that encrypts what it keeps.
        if std::env::var_os("KINORA_TEST_ENCRYPTED").is_some() && !flags.contains(&"--encrypt-at-rest") {
            command.arg("--encrypt-at-rest").env("KINORA_MASTER_KEY", "5e".repeat(32));
        }
        if !flags.contains(&"--metadata") {
            command.args(["--metadata", "off"]);
        }
        command.envs(environment.iter().copied());
        let mut child = command.spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().context("no output")?).read_line(&mut line)?;
        let is_address = |word: &&str| word.starts_with("http://") || word.starts_with("https://");
        let address = line.split_whitespace().find(is_address).map(|w| w.trim_end_matches(','));
        let Some(address) = address.map(str::to_owned) else {
            bail!("the hub said {line:?}: {:?}", finish(child)?);
        };
        // Whoever has the hub's files may do everything, also with a hub that has users.
        let key = local_key(place).context("no local.json")?;
        // Who sits at its machine needs no encryption.
        let near = address.replacen("https://", "http://", 1);
        Ok(Self { child, client: Client::new(&near)?.showing(Some(key)), address })
    }

    /// Waits for the end of a job.
    pub async fn ends(&self, job: JobId) -> Result<JobView> {
        self.until(job, |view| view.phase.is_final()).await
    }

    /// Waits until something holds for a job.
    pub async fn until(&self, job: JobId, holds: impl Fn(&JobView) -> bool) -> Result<JobView> {
        let started = Instant::now();
        loop {
            let view = self.client.job(job).await?;
            if holds(&view) {
                return Ok(view);
            }
            ensure!(started.elapsed() < PATIENCE, "waited in vain: {view:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until so many nodes are ready.
    pub async fn connected(&self, count: usize) -> Result<()> {
        let started = Instant::now();
        loop {
            let nodes = self.client.nodes().await?.items;
            let away = [NodeState::Disconnected, NodeState::Benchmarking];
            if nodes.iter().filter(|n| !away.contains(&n.state)).count() == count {
                return Ok(());
            }
            ensure!(started.elapsed() < PATIENCE, "{count} nodes do not come: {nodes:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The result of a completed job has the frames of its source, and each of its tasks was accepted once, or taken from
    /// earlier work.
    pub async fn right(&self, place: &Place, view: &JobView, source: &Path) -> Result<Vec<TaskView>> {
        ensure!(view.phase == JobPhase::Completed, "{view:?}");
        let out = place.at(&format!("{}.mp4", view.id));
        self.client.fetch(view.id, &out).await?;
        same_frames(source, &out)?;
        let tasks = self.client.tasks(view.id).await?.items;
        for task in &tasks {
            let done = task.attempts.iter().filter(|a| a.outcome.as_deref() == Some("done")).count();
            ensure!(done == 1 || (done == 0 && task.attempts.is_empty()), "{task:?}");
        }
        Ok(tasks)
    }

    pub async fn upload(&self, path: &Path) -> Result<Digest> {
        Ok(self.client.upload(path, |_| ()).await?.id)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A worker as a process, in a folder of its own; it is killed when dropped.
pub struct Worker {
    pub child: Child,
    pub folder: PathBuf,
    _stub: Option<Stub>,
}

impl Worker {
    /// A worker for the hub at `address`, whose chunks take `slow` longer than they need. It fetches all bytes, as if it were on
    /// another machine, unless `flags` say otherwise.
    pub fn start(place: &Place, name: &str, address: &str, slow: Duration, flags: &[&str]) -> Result<Self> {
        let stub = if slow.is_zero() { None } else { Some(slowed(slow)?) };
        Self::spawn(place, name, address, stub, flags, &[])
    }

    /// A worker with something in its environment.
    pub fn start_with(
        place: &Place,
        name: &str,
        address: &str,
        flags: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        Self::spawn(place, name, address, None, flags, environment)
    }

    /// A worker whose ffmpeg crashes at each chunk.
    pub fn start_bad(place: &Place, name: &str, address: &str, flags: &[&str]) -> Result<Self> {
        let stub = Stub::when(&Misbehaviour::Crash, &When::ArgContains(CHUNK.to_owned()))?;
        Self::spawn(place, name, address, Some(stub), flags, &[])
    }

    /// A worker with this ffmpeg, which may start programs.
    pub fn start_with_tool(
        place: &Place,
        name: &str,
        address: &str,
        tool: &Path,
        flags: &[&str],
    ) -> Result<Self> {
        let tool = tool.display().to_string();
        let own = ["--sandbox", "off", "--ffmpeg", tool.as_str()];
        Self::spawn(place, name, address, None, &[&own, flags].concat(), &[])
    }

    fn spawn(
        place: &Place,
        name: &str,
        address: &str,
        stub: Option<Stub>,
        flags: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let folder = place.at(name);
        let mut command = kinora();
        command.envs(local_key(place).map(|key| ("KINORA_KEY", key)));
        command.envs(environment.iter().copied());
        command.args(["worker", "--hub", address, "--name", name]);
        if !flags.iter().any(|flag| flag.contains("benchmark")) {
            command.args(["--benchmark-seconds", "0"]);
        }
        if let Some(stub) = &stub {
            // It is a script, which starts programs.
            command.args(["--sandbox", "off", "--ffmpeg"]).arg(stub.ffmpeg());
        }
        command.arg("--work-dir").arg(&folder).args(flags);
        Ok(Self { child: command.spawn()?, folder, _stub: stub })
    }

    /// In the arguments of every ffmpeg that it started.
    pub fn working(&self) -> String {
        self.folder.join("scratch").display().to_string()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In the arguments of every ffmpeg that writes for the hub, and not in those of the hub.
pub fn working(place: &Place) -> String {
    place.at("data").join("blobs").display().to_string()
}

/// Lossless, so that frames can be compared with the source's; four chunks of the eight seconds.
pub fn recipe() -> Recipe {
    let mut recipe = Recipe::default();
    recipe.video.quality = Some(Quality::Lossless);
    recipe.video.preset = Some("ultrafast".to_owned());
    recipe.chunks.seconds = Some(2.0);
    recipe
}

pub fn job(media: Digest) -> NewJob {
    let name = Some("o.mp4".to_owned());
    NewJob { recipe: recipe(), name, ..NewJob::of(Source::Media(media)) }
}

pub fn from_path(path: PathBuf) -> NewJob {
    NewJob { source: Source::Path(path), ..job(Digest::from_bytes(&[0; 32])) }
}
