//! `kinora hub`: the server. It takes jobs over HTTP and has a worker of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kinora_hub::{ClusterDefaults, http};
use kinora_media::Tools;
use kinora_protocol::{ErrorCode, Failure};
use kinora_worker::capability::Trials;
use tokio::net::TcpListener;

use super::interrupt::interruption;
use super::size;
use crate::config::Config;
use crate::local::{Local, Opened, Setup};

/// Flags of `kinora hub`.
#[derive(Debug, Args)]
#[command(
    after_help = "There is no login yet: listen on addresses that only people whom you trust can reach."
)]
pub struct HubArgs {
    /// Address to listen on; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,
    /// Where jobs, media and results are kept: a folder on a local disk
    #[arg(long, value_name = "DIR", default_value = "kinora-data")]
    pub data: PathBuf,
    /// Let jobs name files below this folder; may be repeated
    #[arg(long, value_name = "DIR")]
    pub allow_dir: Vec<PathBuf>,
    /// Finished chunks kept for later jobs, for example 20G or 500M; those used last stay
    #[arg(long, value_name = "SIZE", default_value = "20G", value_parser = size::parse)]
    pub chunk_cache: u64,
    /// Whether this machine works, too: auto (if it has ffmpeg), off, or how many chunks at once at the most
    #[arg(long, value_name = "auto|off|N", default_value = "auto", value_parser = local_worker)]
    pub local_worker: LocalWorker,
    /// Chunks that each machine works on at once; chosen from cores and encoder when absent
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub jobs: Option<u32>,
    /// Flags of the other system
    #[command(flatten)]
    pub cluster: ClusterFlags,
    /// A program that makes no progress for so many seconds is stopped and its task tried again
    #[arg(long, value_name = "S", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    pub stall_timeout: u64,
}

/// Flags as `ffmpeg-cluster` has them, for jobs that come by its commands (`/ws/command`).
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "As a server of ffmpeg-cluster")]
pub struct ClusterFlags {
    /// Start a job when so many workers are ready, not before
    #[arg(long, alias = "required-clients", value_name = "N")]
    pub required_nodes: Option<u32>,
    /// Expert parameters of its jobs, checked against an allow-list
    #[arg(long, value_name = "PARAMS", allow_hyphen_values = true)]
    pub ffmpeg_params: Option<String>,
    /// Name of its results
    #[arg(long, value_name = "NAME")]
    pub file_name_output: Option<String>,
    /// Port in place of the one in --listen; 5001 when only other flags of this group are given
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Accepted: frames are always exact
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", hide_short_help = true)]
    pub exactly: Option<bool>,
    /// Accepted: workers choose what they fetch at a time
    #[arg(long, value_name = "BYTES", hide_short_help = true)]
    pub chunk_size: Option<u64>,
    /// How often a task of its jobs is tried
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub max_retries: Option<u32>,
    /// Accepted: the delay grows by itself
    #[arg(long, value_name = "S", hide_short_help = true)]
    pub retry_delay: Option<u64>,
    /// Accepted: workers measure themselves (`kinora worker --benchmark-duration`)
    #[arg(long, value_name = "S", hide_short_help = true)]
    pub benchmark_duration: Option<f64>,
}

impl ClusterFlags {
    fn is_used(&self) -> bool {
        self.required_nodes.is_some()
            || self.ffmpeg_params.is_some()
            || self.file_name_output.is_some()
            || self.exactly.is_some()
            || self.chunk_size.is_some()
            || self.max_retries.is_some()
            || self.retry_delay.is_some()
            || self.benchmark_duration.is_some()
    }

    /// Where to listen.
    fn listen(&self, asked: SocketAddr) -> SocketAddr {
        let untouched = asked == default_listen();
        match self.port {
            Some(port) => SocketAddr::new(asked.ip(), port),
            None if self.is_used() && untouched => SocketAddr::new(asked.ip(), 5001),
            None => asked,
        }
    }

    fn defaults(&self) -> Result<ClusterDefaults, Failure> {
        if let Some(params) = &self.ffmpeg_params {
            kinora_plan::params::parse(params)
                .map_err(|reason| Failure::new(ErrorCode::BadRecipe, format!("--ffmpeg-params: {reason}")))?;
        }
        Ok(ClusterDefaults {
            ffmpeg_params: self.ffmpeg_params.clone(),
            required_nodes: self.required_nodes,
            output_name: self.file_name_output.clone(),
            max_attempts: self.max_retries,
        })
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8000))
}

/// Whether the hub's machine works, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalWorker {
    /// If ffmpeg is there.
    Auto,
    /// No.
    Off,
    /// On so many chunks at once at the most.
    Chunks(u32),
}

fn local_worker(text: &str) -> Result<LocalWorker, String> {
    match text {
        "auto" => Ok(LocalWorker::Auto),
        "off" | "0" => Ok(LocalWorker::Off),
        number => match number.parse() {
            Ok(chunks @ 1..=1024) => Ok(LocalWorker::Chunks(chunks)),
            _ => Err("write auto, off or a number up to 1024".to_owned()),
        },
    }
}

/// The node in this process, as the flags and the machine have it.
async fn local(args: &HubArgs, config: &Config) -> Result<Option<Local>, Failure> {
    let chunks = match args.local_worker {
        LocalWorker::Off => return Ok(None),
        LocalWorker::Auto => None,
        LocalWorker::Chunks(chunks) => Some(chunks),
    };
    let tools = match Tools::find(&config.ffmpeg, &config.ffprobe).await {
        Ok(tools) => tools,
        Err(error) if args.local_worker == LocalWorker::Auto => {
            tell!("kinora hub: this machine only hands out work: {error}");
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let stall = Duration::from_secs(args.stall_timeout);
    Ok(Some(Local { tools, trials: Trials::All, chunks: chunks.or(args.jobs), optional: true, stall }))
}

/// Each node is an open file; many systems allow few unless one asks.
#[cfg(unix)]
fn take_all_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!("the limit of open files stays as it is: {error}");
    }
}

#[cfg(not(unix))]
fn take_all_files() {}

/// Runs until it is asked to end. What runs is stopped then, and goes on with the next start.
pub async fn run(args: &HubArgs, config: &Config) -> Result<(), Failure> {
    let stop = interruption();
    take_all_files();
    let disk = |path: &std::path::Path, e: std::io::Error| {
        Failure::new(ErrorCode::Disk, format!("{}: {e}", path.display()))
    };
    std::fs::create_dir_all(&args.data).map_err(|e| disk(&args.data, e))?;
    let data = args.data.canonicalize().map_err(|e| disk(&args.data, e))?;
    let mut allowed_folders = Vec::new();
    for folder in &args.allow_dir {
        let real = folder.canonicalize().map_err(|e| disk(folder, e))?;
        if !real.is_dir() {
            return Err(Failure::new(ErrorCode::BadInput, format!("{}: it is no folder", folder.display())));
        }
        allowed_folders.push(real);
    }
    let listen = args.cluster.listen(args.listen);
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|e| Failure::new(ErrorCode::Busy, format!("the hub cannot listen on {listen}: {e}")))?;
    let address = listener.local_addr().unwrap_or(listen);
    let cluster = args.cluster.defaults()?;
    let local = local(args, config).await?;
    let setup = Setup { jobs: args.jobs, allowed_folders, remember_sources: true, cluster, local };
    let mut engine = Opened::open(&data, setup).await?.start();
    engine.keep_house(args.chunk_cache);
    say!("kinora hub: listening on http://{address}, data in {}", data.display());
    let serving = tokio::spawn(http::serve(engine.hub.clone(), listener, stop.clone()));
    let mut look = tokio::time::interval(Duration::from_secs(1));
    let broken = loop {
        tokio::select! {
            () = stop.cancelled() => break None,
            _ = look.tick() => if let Some(failure) = engine.broken().await { break Some(failure) },
        }
    };
    stop.cancel();
    let stopped = engine.stop().await;
    // Those who watch would keep their connections for ever.
    let _ = tokio::time::timeout(Duration::from_secs(2), serving).await;
    match broken {
        Some(failure) => Err(failure),
        None => stopped,
    }
}
