//! `kinora worker`: this machine works for a hub.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use kinora_protocol::api::{NewJob, Source};
use kinora_protocol::class::Tags;
use kinora_protocol::client::Client;
use kinora_protocol::node::Slots;
use kinora_protocol::{ErrorCode, Failure, NodeId};
use kinora_worker::cache::MediaCache;
use kinora_worker::capability::{self, Trials};
use kinora_worker::identity::Machine;
use kinora_worker::reach::{Reach, Remote};
use kinora_worker::remote::{self, Notice, Reconnect};
use kinora_worker::{Folders, Worker};

use super::remote::client as remote_client;
use super::values::{seconds, tags};
use super::{interrupt, size};
use crate::config::{Config, authorities, credentials, log, supervisor};
use crate::{models, tools};

/// Light tasks at once.
const OTHER_SLOTS: u32 = 2;

/// Flags of `kinora worker`.
#[derive(Debug, Args)]
#[command(
    after_help = "Ctrl-C or TERM lets it finish what it is at; a second one stops that, too. Nothing is lost either way."
)]
pub struct WorkerArgs {
    /// Address of the hub, for example https://192.168.1.10:8000
    #[arg(long, value_name = "URL", required_unless_present_any = ["server_ip", "server_port"])]
    pub hub: Option<String>,
    /// Flags of the other system
    #[command(flatten)]
    pub cluster: ClusterFlags,
    /// Token that lets this machine in, once, as kinora tokens new --node has printed it; later starts need none (also
    /// KINORA_TOKEN, which others on this machine cannot see)
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Name that people see; the machine's when absent
    #[arg(long)]
    pub name: Option<String>,
    /// Chunks at once at the most; as many as the machine has cores, fewer with little memory, when absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub slots: Option<u32>,
    /// Words that jobs may ask for, separated by commas
    #[arg(long, value_name = "TAG,…", value_parser = tags)]
    pub tags: Option<Tags>,
    /// Greater gets work first
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub priority: i32,
    /// Seconds before a lost connection is tried again; later tries wait longer, up to 10 s
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = seconds)]
    pub reconnect_delay: f64,
    /// Also wait for a hub that is not there yet, and come back when it sends this machine away
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub persistent: bool,
    /// Where its id, fetched parts of sources and unfinished results are kept
    #[arg(long, value_name = "DIR", default_value = "kinora-work")]
    pub work_dir: PathBuf,
    /// Move all bytes over the network, even if the hub's files are here, too
    #[arg(long)]
    pub copy: bool,
    /// Fetched parts of sources that are kept for later chunks [default: by the machine, 10G to 100G]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub media_cache: Option<u64>,
    /// How long each encoder is measured at the first start, 0 for not at all; as the hub says when absent
    #[arg(long, alias = "benchmark-duration", value_name = "S", value_parser = seconds)]
    pub benchmark_seconds: Option<f64>,
    /// A program that makes no progress for so many seconds is stopped and its task tried again; as the hub says when absent
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..))]
    pub stall_timeout: Option<u64>,
}

/// Flags as `ffmpeg-cluster` has them.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "As a client of ffmpeg-cluster")]
pub struct ClusterFlags {
    /// Address of the hub without a port
    #[arg(long, value_name = "HOST")]
    pub server_ip: Option<String>,
    /// Port of the hub
    #[arg(long, value_name = "PORT")]
    pub server_port: Option<u16>,
    /// Upload this file and have it worked on
    #[arg(long, value_name = "FILE")]
    pub upload_file: Option<PathBuf>,
    /// Work, too, after the upload
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub participate: bool,
}

impl WorkerArgs {
    fn address(&self) -> String {
        let ClusterFlags { server_ip, server_port, .. } = &self.cluster;
        match &self.hub {
            Some(hub) => hub.clone(),
            None => {
                let host = server_ip.as_deref().unwrap_or("127.0.0.1");
                format!("http://{host}:{}", server_port.unwrap_or(5001))
            }
        }
    }
}

/// Uploads a file and submits it as it is; prints the job's id.
async fn hand_over(client: &Client, path: &Path) -> Result<(), Failure> {
    let media = client.upload(path, |_| ()).await?;
    let view = client.submit(&NewJob::of(Source::Media(media.id)), None).await?;
    say!("kinora worker: {} is job {}", path.display(), view.id);
    Ok(())
}

/// Lets this machine in, unless it is in already: a token is good once, and stands in the command of each start.
async fn enter(machine: &Machine, token: Option<String>) -> Result<(), Failure> {
    let Some(token) = token else { return Ok(()) };
    if machine.is_enrolled() {
        match machine.renew().await {
            Err(failure) if failure.code != ErrorCode::Unreachable => {
                tracing::debug!("the identity of before is good for nothing: {failure}");
            }
            // One that waits for its hub shows who it is when that is there.
            _ => return Ok(()),
        }
    }
    machine.enroll(&token).await
}

/// Works until it is asked to end.
pub async fn run(args: &WorkerArgs, config: &Config) -> Result<(), Failure> {
    let address = args.address();
    let client = remote_client(&address)?;
    if let Some(path) = &args.cluster.upload_file {
        hand_over(&client, path).await?;
        if !args.cluster.participate {
            return Ok(());
        }
    }
    let signals = interrupt::drain_then_stop();
    let tools = tools::find(config).await?;
    let place = Place::take(&args.work_dir)?;
    let machine = Machine::open(&place.folder, place.node.clone(), client.clone(), authorities::named()?)?;
    enter(&machine, args.token.clone().or_else(credentials::token)).await?;
    let models = models::find(config);
    let capabilities = capability::detect(&tools, &models, &Trials::All).await;
    if capabilities.encoders.is_empty() {
        let why = format!("no encoder of {} works: see `kinora doctor`", tools.ffmpeg.display());
        return Err(Failure::new(ErrorCode::ToolMissing, why));
    }
    let cache =
        MediaCache::open(place.at("media"), args.media_cache.unwrap_or(capabilities.defaults().cache))
            .map_err(|e| place.unusable(&e))?;
    let worker = Worker {
        node: place.node.clone(),
        name: args.name.clone().unwrap_or_else(|| config.host.clone()),
        tools,
        models,
        slots: Slots { chunks: args.slots.unwrap_or(capabilities.defaults().chunks), other: OTHER_SLOTS },
        capabilities,
        tags: args.tags.clone().unwrap_or_default(),
        priority: args.priority,
        folders: place.folders()?,
        reach: Reach::Apart(Remote::new(client.clone(), cache, !args.copy)),
        stall: args.stall_timeout.map(Duration::from_secs),
        benchmark: args.benchmark_seconds.map(Duration::from_secs_f64),
        log: Some(log::change),
    };
    let how = Reconnect { delay: Duration::from_secs_f64(args.reconnect_delay), persistent: args.persistent };
    let (name, node) = (worker.name.clone(), worker.node.clone());
    // What waits for it need not wait for the hub.
    supervisor::ready(&format!("waits for {address}"));
    remote::serve(worker, &client, &machine, how, &signals, |notice| match notice {
        Notice::Connected => {
            supervisor::ready(&format!("works for {address}"));
            say!("kinora worker: {name} ({node}) works for {address}");
        }
        Notice::Lost { why, again_in } => {
            tell!("kinora worker: {why}; tried again in {:.1} s", again_in.as_secs_f64());
        }
    })
    .await
}

/// The folder of a node: one process at a time, and the same id with each start.
struct Place {
    folder: PathBuf,
    node: NodeId,
    /// Held as long as the process runs.
    _lock: File,
}

impl Place {
    fn take(folder: &Path) -> Result<Self, Failure> {
        let unusable = |e: std::io::Error| unusable(folder, &e);
        std::fs::create_dir_all(folder).map_err(unusable)?;
        let folder = std::path::absolute(folder).map_err(unusable)?;
        let lock = File::create(folder.join("lock")).map_err(unusable)?;
        if lock.try_lock().is_err() {
            let why =
                format!("another worker works in {}: give this one its own --work-dir", folder.display());
            return Err(Failure::new(ErrorCode::Busy, why));
        }
        let kept = folder.join("node.id");
        let node = match std::fs::read_to_string(&kept) {
            Ok(text) if is_id(text.trim()) => NodeId::from(text.trim().to_owned()),
            _ => {
                let node = NodeId::generate();
                std::fs::write(&kept, node.as_str()).map_err(unusable)?;
                node
            }
        };
        Ok(Self { folder, node, _lock: lock })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn unusable(&self, error: &std::io::Error) -> Failure {
        unusable(&self.folder, error)
    }

    fn folders(&self) -> Result<Folders, Failure> {
        let folders = Folders {
            blobs: self.at("results"),
            scratch: self.at("scratch"),
            benchmark: Some(self.at("benchmark.json")),
        };
        folders.prepare().map_err(|e| self.unusable(&e))?;
        Ok(folders)
    }
}

fn unusable(folder: &Path, error: &std::io::Error) -> Failure {
    Failure::new(ErrorCode::Disk, format!("cannot write into {}: {error}", folder.display()))
}

fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}
