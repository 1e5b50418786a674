//! `cargo xtask bench`: measurements whose results are written down, each with what it was compared with.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::demo::clip;
use crate::{metadata, process};

mod ai;
mod encode;
mod memory;
mod rivals;
mod table;
mod verify;

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Kinora against one plain ffmpeg process with the same encoder settings.
    Encode(encode::Args),
    /// Enhancement by models against Python's ONNX Runtime on the same frames.
    Ai(ai::Args),
    /// How much faster a job is with more workers, and with workers of different speeds.
    Cluster,
    /// How fast a hub hands out and takes back work, and how it comes back after it was killed.
    Engine,
    /// How fast a hub takes files in, gives them out and answers.
    Service,
    /// What it costs to confine a program.
    Sandbox,
    /// How much memory Kinora's own process needs for a file of many gigabytes.
    Memory(memory::Args),
    /// What fast verification costs.
    Verify(verify::Args),
}

/// Runs it.
pub fn run(args: &Args) -> Result<()> {
    match &args.what {
        What::Encode(args) => encode::run(args),
        What::Ai(args) => ai::run(args),
        What::Cluster => cargo_bench("cluster"),
        What::Engine => cargo_bench("engine"),
        What::Service => cargo_bench("service"),
        What::Sandbox => cargo_bench("sandbox"),
        What::Memory(args) => memory::run(args),
        What::Verify(args) => verify::run(args),
    }
}

/// A measurement that is made with the product's own crates.
fn cargo_bench(name: &str) -> Result<()> {
    let mut command = process::command("cargo", ["bench", "--package", "kinora", "--bench", name]);
    process::run(command.current_dir(metadata::root()))
}

/// `target/bench`, made if needed.
fn folder() -> Result<PathBuf> {
    let folder = metadata::workspace()?.target.join("bench");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// The clip asked for, else the usual one, else a generated one.
fn clip(asked: Option<&Path>, folder: &Path) -> Result<PathBuf> {
    if let Some(path) = asked {
        ensure!(path.is_file(), "{} is not a file", path.display());
        return Ok(std::path::absolute(path)?);
    }
    let usual = metadata::root().join("../shared/media/bench720.mp4");
    if usual.is_file() {
        return Ok(usual.canonicalize()?);
    }
    eprintln!("*** The usual clip ../shared/media/bench720.mp4 is absent: measuring with a GENERATED clip.");
    eprintln!("*** Its pictures are drawn, not filmed; do not compare the numbers with those of real video.");
    clip::made(&folder.join("generated.mp4"))
}

/// A copy of the clip that repeats it `times` times, packets as they are.
fn repeated(clip: &Path, times: u64, output: &Path) -> Result<()> {
    let mut command = process::command("ffmpeg", ["-y", "-nostdin", "-hide_banner", "-loglevel", "error"]);
    command.args(["-stream_loop", &times.saturating_sub(1).to_string(), "-i"]).arg(clip);
    command.args(["-map", "0:v:0", "-map", "0:a:0?", "-c", "copy"]).arg(output);
    process::run(&mut command)
}

/// The clip, repeated into the folder if it is too short.
fn source(clip: &Path, seconds: f64, folder: &Path) -> Result<PathBuf> {
    let times = times(duration(clip)?, seconds);
    if times == 1 {
        return Ok(clip.to_owned());
    }
    let output = folder.join(format!("source-{times}.mp4"));
    repeated(clip, times, &output)?;
    Ok(output)
}

/// Reads the file once, so that all sides find it in memory.
fn warm(source: &Path) -> Result<()> {
    std::io::copy(&mut File::open(source)?, &mut std::io::sink())?;
    Ok(())
}

/// Runs the command with its talk in a file, so that no terminal slows one side down.
fn logged(command: &mut Command, log: &Path) -> Result<Duration> {
    command.stdout(Stdio::null()).stderr(File::create(log)?);
    let run = || process::run(command);
    let ((), time) = process::timed(run).with_context(|| format!("see {}", log.display()))?;
    Ok(time)
}

/// Seconds that ffprobe says the file lasts.
fn duration(path: &Path) -> Result<f64> {
    let mut command = process::command("ffprobe", ["-v", "error", "-show_entries", "format=duration"]);
    let text = process::stdout_of(command.args(["-of", "default=nw=1:nk=1"]).arg(path))?;
    let seconds: f64 = text.trim().parse().with_context(|| format!("{} has no duration", path.display()))?;
    ensure!(seconds > 0.0, "{} has no duration", path.display());
    Ok(seconds)
}

/// How often a clip must be played to last that long.
fn times(clip_seconds: f64, wanted_seconds: f64) -> u64 {
    (wanted_seconds / clip_seconds).ceil().max(1.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_is_played_often_enough() {
        assert_eq!(times(33.16, 60.0), 2);
        assert_eq!(times(30.0, 60.0), 2);
        assert_eq!(times(90.0, 60.0), 1);
    }
}
