//! `cargo xtask demo [FILE]`: encodes a clip with Kinora, checks the proof, does the same with one plain ffmpeg process,
//! and says what was gained. Every number printed was measured in this run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::proof::{self, Proof};
use crate::setup::{self, Tool};
use crate::{baseline, kinora, metadata, process};

pub mod clip;

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Video to encode; a clip is made when none is given.
    file: Option<PathBuf>,
}

/// Runs it.
pub fn run(args: &Args) -> Result<()> {
    setup::ensure(&[Tool::Ffmpeg, Tool::Compiler])?;
    let program = kinora::build()?;
    let folder = metadata::workspace()?.target.join("demo");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let source = match &args.file {
        Some(file) => std::path::absolute(file)?,
        None => clip::made(&folder.join("source.mp4"))?,
    };
    ensure!(source.is_file(), "{} is not a file", source.display());

    let places = kinora::Places::inside(&folder, "output.mp4");
    places.clear()?;
    let mut command = kinora::encode(&program, &source, &places);
    let (stdout, kinora_time) = process::timed(|| process::stdout_and_progress(&mut command))?;
    let summary = kinora::summary(&stdout)?;
    let proof = proof::read(&places.proof)?;
    proof.ensure_whole()?;
    ensure!(summary["verified"] == true, "kinora's summary does not say that the result was verified");

    let plain = folder.join("plain.mp4");
    let plain_time = plainly(&proof, &source, &plain)?;
    report(&source, &places, &proof, kinora_time, &plain, plain_time)
}

/// One ffmpeg process with the settings that the proof names.
fn plainly(proof: &Proof, source: &Path, output: &Path) -> Result<Duration> {
    let Some(settings) = &proof.settings else { bail!("the proof names no encoder to compare with") };
    let mut command = baseline::ffmpeg(settings, source, output)?;
    let ((), time) = process::timed(|| process::run(&mut command))?;
    Ok(time)
}

fn report(
    source: &Path,
    places: &kinora::Places,
    proof: &Proof,
    kinora_time: Duration,
    plain: &Path,
    plain_time: Duration,
) -> Result<()> {
    let size = |path: &Path| -> Result<u64> { Ok(std::fs::metadata(path)?.len()) };
    let (kinora_size, plain_size) = (size(&places.output)?, size(plain)?);
    println!();
    println!("source        {} ({})", shown(source), megabytes(size(source)?));
    println!(
        "Kinora        {} ({}) in {}",
        shown(&places.output),
        megabytes(kinora_size),
        seconds(kinora_time)
    );
    println!("plain ffmpeg  {} ({}) in {}", shown(plain), megabytes(plain_size), seconds(plain_time));
    println!("proof         {}", shown(&places.proof));
    println!();
    println!("Frames: {} planned, {} in the output.", proof.planned, proof.packets);
    println!("Chunks: {}. Checks ({}): all held.", proof.chunks, proof.verify);
    println!("{}", gained(kinora_time, plain_time));
    println!("{}", compared(kinora_size, plain_size));
    Ok(())
}

/// From the root of the checkout where that is shorter.
fn shown(path: &Path) -> String {
    path.strip_prefix(metadata::root()).unwrap_or(path).display().to_string()
}

fn gained(kinora: Duration, plain: Duration) -> String {
    let (kinora, plain) = (kinora.as_secs_f64(), plain.as_secs_f64());
    let cores = std::thread::available_parallelism().map_or(1, |count| count.get());
    let verdict = if kinora <= plain {
        format!("{:.2} times as fast as one ffmpeg process", plain / kinora.max(0.001))
    } else {
        format!("{:.2} times as slow as one ffmpeg process", kinora / plain.max(0.001))
    };
    format!("Kinora was {verdict}: one run each, on this machine alone ({cores} cores), the result verified.")
}

fn compared(kinora: u64, plain: u64) -> String {
    let percent = (kinora as f64 / (plain as f64).max(1.0) - 1.0) * 100.0;
    let word = if percent >= 0.0 { "larger" } else { "smaller" };
    format!("Its file is {:.2} % {word} than that of ffmpeg.", percent.abs())
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_called_a_loss() {
        let (short, long) = (Duration::from_secs(10), Duration::from_secs(15));
        assert!(gained(short, long).starts_with("Kinora was 1.50 times as fast"));
        assert!(gained(long, short).starts_with("Kinora was 1.50 times as slow"));
        assert_eq!(compared(102, 100), "Its file is 2.00 % larger than that of ffmpeg.");
        assert_eq!(compared(98, 100), "Its file is 2.00 % smaller than that of ffmpeg.");
    }
}
