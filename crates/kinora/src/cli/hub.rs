//! `kinora hub`: the server. It takes jobs over HTTP and has a worker of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kinora_hub::http;
use kinora_media::Tools;
use kinora_protocol::{ErrorCode, Failure};
use tokio::net::TcpListener;

use super::interrupt::interruption;
use crate::config::Config;
use crate::local::{Opened, Setup};

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
    #[arg(long, value_name = "SIZE", default_value = "20G", value_parser = size)]
    pub chunk_cache: u64,
    /// Chunks that this machine works on at once; chosen from cores and encoder when absent
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub jobs: Option<u32>,
    /// A program that makes no progress for so many seconds is stopped and its task tried again
    #[arg(long, value_name = "S", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    pub stall_timeout: u64,
}

/// `20G`, `500M`, `0`.
fn size(text: &str) -> Result<u64, String> {
    let unit = match text.as_bytes().last().map(u8::to_ascii_uppercase) {
        Some(b'K') => 1_000,
        Some(b'M') => 1_000_000,
        Some(b'G') => 1_000_000_000,
        Some(b'T') => 1_000_000_000_000,
        _ => 1,
    };
    let number = if unit == 1 { text } else { &text[..text.len() - 1] };
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    bytes.ok_or_else(|| format!("{text:?} is not a size such as 20G or 500M"))
}

/// Runs until it is asked to end. What runs is stopped then, and goes on with the next start.
pub async fn run(args: &HubArgs, config: &Config) -> Result<(), Failure> {
    let stop = interruption();
    let tools = Tools::find(&config.ffmpeg, &config.ffprobe).await?;
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
    let listener = TcpListener::bind(args.listen).await.map_err(|e| {
        Failure::new(ErrorCode::Busy, format!("the hub cannot listen on {}: {e}", args.listen))
    })?;
    let address = listener.local_addr().unwrap_or(args.listen);
    let setup = Setup {
        tools,
        jobs: args.jobs,
        wanted: Vec::new(),
        stall: Duration::from_secs(args.stall_timeout),
        allowed_folders,
    };
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
