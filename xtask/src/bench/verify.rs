//! `cargo xtask bench verify`: what fast verification costs, as whole commands with it and without it, in turn.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::rivals::{self, Rival};
use super::table;
use crate::setup::{self, Tool};
use crate::{bench, kinora};

/// Arguments of `bench verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Clip to encode; it is repeated until it is long enough.
    clip: Option<PathBuf>,
    /// How many times each side runs.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Encoder to measure with; the faster it is, the more the checks weigh.
    #[arg(long, value_name = "NAME", default_value = "libx264")]
    encoder: String,
    /// Least length of the clip.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
}

/// Runs it.
pub fn run(args: &Args) -> Result<()> {
    setup::ensure(&[Tool::Ffmpeg, Tool::Compiler])?;
    let rivals = rivals::chosen(std::slice::from_ref(&args.encoder)).map_err(anyhow::Error::msg)?;
    let rival = *rivals.first().context("no encoder")?;
    let folder = bench::folder()?;
    let clip = bench::clip(args.clip.as_deref(), &folder)?;
    let source = bench::source(&clip, args.seconds, &folder)?;
    let program = kinora::build()?;
    bench::warm(&source)?;
    let mut pairs = Vec::new();
    for pair in 1..=args.pairs {
        let time = |mode| encode(&program, rival, &source, &folder, mode);
        let (fast, off) = (time("fast")?.as_secs_f64(), time("off")?.as_secs_f64());
        eprintln!("bench: pair {pair}/{}: fast {fast:.2} s, off {off:.2} s: {:.3}", args.pairs, fast / off);
        pairs.push((fast, off));
    }
    let ratios: Vec<f64> = pairs.iter().map(|(fast, off)| fast / off).collect();
    let median = table::median(&ratios);
    println!("fast verification with {} {}: {:+.1} %", rival.encoder, rival.preset, (median - 1.0) * 100.0);
    let document =
        json!({"encoder": rival.encoder, "wall_seconds": pairs, "ratios": ratios, "median": median});
    std::fs::write(folder.join("verify.json"), format!("{document:#}\n"))?;
    Ok(())
}

fn encode(program: &Path, rival: Rival, source: &Path, folder: &Path, mode: &str) -> Result<Duration> {
    let places = kinora::Places::inside(folder, "verify.mp4");
    places.clear()?;
    let mut command = kinora::encode(program, source, &places);
    command.args(rival.arguments()).args(["--verify", mode]);
    bench::logged(&mut command, &folder.join("kinora.log"))
}
