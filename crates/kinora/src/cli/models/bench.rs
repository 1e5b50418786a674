//! How many pictures a second models make on this machine.

use std::time::{Duration, Instant};

use clap::Args;
use kinora_ai::picture::Enhancer;
use kinora_ai::pool::Pool;
use kinora_ai::registry::Entry;
use kinora_protocol::inference::{Inference, ModelTask};
use kinora_protocol::media::Color;
use kinora_protocol::planes::Planar;
use kinora_protocol::{ErrorCode, Failure};
use serde_json::json;

use super::super::print_json;
use super::unknown;
use crate::config::Config;
use crate::models;

/// `kinora models bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Models [default: all]
    pub names: Vec<String>,
    /// Size of the pictures that go in
    #[arg(long, value_name = "WxH", default_value = "640x360", value_parser = size)]
    pub size: (u32, u32),
    /// How long each is measured, in seconds
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    pub seconds: f64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The largest side of a picture.
const LONGEST: u32 = 16_384;

fn size(text: &str) -> Result<(u32, u32), String> {
    let side = |text: &str| text.parse().ok().filter(|side| (1..=LONGEST).contains(side));
    let sides = text.split_once(['x', 'X']).and_then(|(width, height)| Some((side(width)?, side(height)?)));
    sides.ok_or_else(|| format!("write WIDTHxHEIGHT, up to {LONGEST}"))
}

pub(super) fn run(args: &BenchArgs, config: &Config) -> Result<(), Failure> {
    let found = models::find(config);
    let Some(pool) = found.pool() else {
        let reason = match found.state() {
            Inference::Missing { reason } => reason.clone(),
            Inference::Ready { .. } => String::new(),
        };
        return Err(Failure::new(ErrorCode::ToolMissing, reason));
    };
    let all = &found.registry().entries;
    let mut wanted: Vec<&Entry> = all.iter().filter(|_| args.names.is_empty()).collect();
    for name in &args.names {
        wanted.push(found.registry().get(name).ok_or_else(|| unknown(name))?);
    }
    let (width, height) = args.size;
    let length = Duration::try_from_secs_f64(args.seconds).unwrap_or(Duration::from_secs(3));
    let mut told = Vec::new();
    if !args.json {
        say!("{} on pictures of {width}x{height}, {} at once", pool.backend().name(), pool.at_once());
    }
    // What a detector does depends on its own picture and on nothing else.
    let timed = |entry: &&Entry| entry.model.task != ModelTask::Detect;
    for entry in wanted.iter().filter(|entry| !timed(entry)) {
        say!("{:<24} a detector, which is not timed", entry.model.name);
    }
    for entry in wanted.into_iter().filter(timed) {
        let (one, all) = (measure(pool, entry, args.size, 1, length)?, pool.at_once());
        let together = measure(pool, entry, args.size, all, length)?;
        match args.json {
            true => told.push(json!({
                "model": entry.model.name, "width": width, "height": height,
                "fps_of_one": one, "fps": together, "at_once": all,
            })),
            false => say!("{:<24} {one:>7.1} fps alone {together:>7.1} fps together", entry.model.name),
        }
    }
    if args.json {
        print_json(&told);
    }
    Ok(())
}

/// Pictures a second, so many at once.
fn measure(
    pool: &Pool,
    entry: &Entry,
    (width, height): (u32, u32),
    at_once: usize,
    length: Duration,
) -> Result<f64, Failure> {
    let picture = Planar {
        width,
        height,
        format: "gray".to_owned(),
        halved: None,
        depth: 8,
        color: Color::default(),
        sample_aspect: None,
    };
    let enhancer = Enhancer::new(&entry.model, &picture);
    let bytes: Vec<u8> = (0..picture.bytes()).map(|n| (n * 7919 % 251) as u8).collect();
    let seen: Vec<&[u8]> = (0..entry.model.frames).map(|_| bytes.as_slice()).collect();
    let make = || pool.with(entry, |session| enhancer.make(session, &seen)).map(drop);
    make().map_err(|error| Failure::new(ErrorCode::ToolFailed, error.to_string()))?;
    let began = Instant::now();
    let work = || {
        let mut made = 0_u32;
        while began.elapsed() < length && make().is_ok() {
            made += 1;
        }
        made
    };
    let made: u32 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or(0)).sum()
    });
    Ok(f64::from(made) / began.elapsed().as_secs_f64())
}
