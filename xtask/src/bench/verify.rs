//! `cargo xtask bench verify`: what fast verification costs, as whole commands with it and without it, in turn.

use std::path::{Path, PathBuf};

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
        let cost = |mode| encode(&program, rival, &source, &folder, mode);
        let (fast, off) = (cost("fast")?, cost("off")?);
        eprintln!("bench: pair {pair}/{}: {fast:?} and {off:?}", args.pairs);
        pairs.push((fast, off));
    }
    let ratios: Vec<f64> = pairs.iter().map(|(fast, off)| fast.wall / off.wall).collect();
    let cpu_ratios: Vec<f64> = pairs.iter().filter_map(|(fast, off)| Some(fast.cpu? / off.cpu?)).collect();
    let percent = |ratios: &[f64]| (table::median(ratios) - 1.0) * 100.0;
    println!(
        "fast verification with {} {}: wall {:+.1} % (median)",
        rival.encoder,
        rival.preset,
        percent(&ratios)
    );
    if !cpu_ratios.is_empty() {
        println!("processor time {:+.1} % (median)", percent(&cpu_ratios));
    }
    let document = json!({"encoder": rival.encoder, "wall_ratios": ratios, "cpu_ratios": cpu_ratios});
    std::fs::write(folder.join("verify.json"), format!("{document:#}\n"))?;
    Ok(())
}

/// What a command took, in seconds.
#[derive(Debug, Clone, Copy)]
struct Cost {
    wall: f64,
    /// Of all processors, its ffmpegs included; steadier than the wall clock on a machine that others use, too. Known on Linux.
    cpu: Option<f64>,
}

fn encode(program: &Path, rival: Rival, source: &Path, folder: &Path, mode: &str) -> Result<Cost> {
    let places = kinora::Places::inside(folder, "verify.mp4");
    places.clear()?;
    let mut command = kinora::encode(program, source, &places);
    command.args(rival.arguments()).args(["--verify", mode]);
    let before = children_cpu();
    let wall = bench::logged(&mut command, &folder.join("kinora.log"))?.as_secs_f64();
    Ok(Cost { wall, cpu: children_cpu().zip(before).map(|(after, before)| after - before) })
}

/// Seconds of processor time of all children that have ended, and of theirs: `cutime` and `cstime` in proc_pid_stat(5).
fn children_cpu() -> Option<f64> {
    read_cpu(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

/// The unit is a hundredth of a second on all machines that Linux runs on.
fn read_cpu(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<f64>().ok();
    Some((ticks(13)? + ticks(14)?) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_children_is_read() {
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 11 12 250 50 20 0 1 0 99";
        assert_eq!(read_cpu(stat), Some(3.0));
        assert_eq!(read_cpu("7 (a) S 1"), None);
    }
}
