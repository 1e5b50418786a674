//! `cargo xtask bench ai`: whole enhancements by models against Python's ONNX Runtime on the same frames, against what the machine can
//! compute, and what the way between the programs costs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::table;
use crate::setup::{self, Tool};
use crate::{bench, kinora, library, metadata, process};

/// Arguments of `bench ai`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Clip whose pictures go in, in 640x360.
    clip: Option<PathBuf>,
    /// How many times each side runs.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Frames of the clip.
    #[arg(long, default_value_t = 240)]
    frames: u32,
}

/// Packages of the other side.
const PACKAGES: [&str; 2] = ["onnxruntime==1.32.0", "numpy==2.2.6"];
/// Operations of the upscaler for a frame of 640x360, in units of 10^9: two for each of 17,116 weights at each sample.
const UPSCALE_GFLOP: f64 = 7.89;

/// What is measured, with its flags.
const KINDS: [(&str, &[&str]); 6] = [
    ("nothing", &["--contrast", "1"]),
    ("same", &["--denoise", "neural", "--denoiser", "same"]),
    ("kinora-upscale2", &["--upscale", "2", "--upscaler", "kinora-upscale2"]),
    ("kinora-upscale2-int8", &["--upscale", "2", "--upscaler", "kinora-upscale2-int8"]),
    ("kinora-denoise3", &["--denoise", "neural"]),
    ("kinora-denoise3-int8", &["--denoise", "neural", "--denoiser", "kinora-denoise3-int8"]),
];

/// Runs it.
pub fn run(args: &Args) -> Result<()> {
    setup::ensure(&[Tool::Ffmpeg, Tool::Compiler, Tool::Python])?;
    let folder = bench::folder()?;
    let source = source(args, &folder)?;
    let (program, library) = (kinora::build()?, library::ensure()?);
    let models = metadata::root().join("models");
    let script = metadata::root().join("xtask/src/bench/ai.py");
    let python = python(&folder)?;
    let own = folder.join("models");
    let _ = std::fs::remove_dir_all(&own);
    let kinora = |words: &[&str]| {
        let mut command = process::command(&program.to_string_lossy(), words);
        command.env("KINORA_ONNXRUNTIME", &library).env("KINORA_MODELS", &own);
        command
    };
    let identity = folder.join("same.onnx");
    process::run(Command::new(&python).arg(&script).arg("identity").arg(&identity))?;
    process::run(kinora(&["models", "add", "--task", "denoise"]).arg(&identity))?;
    let mut rounds = Vec::new();
    for round in 1..=args.rounds {
        let mut told = serde_json::Map::new();
        for (name, flags) in KINDS {
            let places = kinora::Places::inside(&folder, "enhanced.mp4");
            places.clear()?;
            let mut command = kinora(&["enhance"]);
            command.arg(&source).arg(&places.output).args(flags).arg("--state-dir").arg(&places.state);
            command.args(["--audio", "none", "--preset", "ultrafast", "--json"]);
            let summary = kinora::summary(&process::stdout_of(&mut command)?)?;
            told.insert(name.to_owned(), summary["wall_seconds"].clone());
        }
        let mut other = Command::new(&python);
        let text = process::stdout_of(other.arg(&script).arg("measure").arg(&source).arg(&models))?;
        let python: Value = serde_json::from_str(text.trim()).context("Python wrote no JSON object")?;
        eprintln!("bench: round {round}/{}", args.rounds);
        rounds.push(json!({ "seconds": told, "python": python }));
    }
    report(&rounds, f64::from(args.frames));
    let document = json!({ "frames": args.frames, "rounds": rounds });
    let written = folder.join("ai.json");
    std::fs::write(&written, format!("{document:#}\n"))?;
    println!("written to {}", written.display());
    Ok(())
}

/// The median over the rounds of what they come to.
fn median(rounds: &[Value], of: impl Fn(&Value) -> Option<f64>) -> f64 {
    let values: Vec<f64> = rounds.iter().filter_map(of).collect();
    table::median(&values)
}

fn report(rounds: &[Value], frames: f64) {
    let seconds = |round: &Value, name: &str| round["seconds"][name].as_f64();
    println!(
        "| model | Kinora, whole command, fps | Python with two ffmpegs, fps | ratio | Python, inference of the luma alone, fps |"
    );
    println!("| --- | --- | --- | --- | --- |");
    for (name, _) in KINDS.iter().skip(2) {
        let ours = |round: &Value| Some(frames / seconds(round, name)?);
        let theirs = |round: &Value| round["python"]["whole_fps"][*name].as_f64();
        let alone = median(rounds, |round| round["python"]["fps"][*name].as_f64());
        let ratio = median(rounds, |round| Some(ours(round)? / theirs(round)?));
        let (ours, theirs) = (median(rounds, ours), median(rounds, theirs));
        println!("| {name} | {ours:.1} | {theirs:.1} | {ratio:.2} | {alone:.1} |");
    }
    let roof = median(rounds, |round| {
        let reached = frames / seconds(round, "kinora-upscale2")? * UPSCALE_GFLOP;
        Some(reached / round["python"]["gflops"].as_f64()?)
    });
    println!("f32 upscaling reaches {:.0} % of what the machine multiplies matrices with", roof * 100.0);
    let pipes = median(rounds, |round| {
        let cost = seconds(round, "same")? - seconds(round, "nothing")?;
        Some(cost / seconds(round, "kinora-upscale2")?)
    });
    println!("the way through pipes, and into numbers and back, is {:.1} % of its time", pipes * 100.0);
    for model in ["kinora-upscale2", "kinora-denoise3"] {
        let gain =
            median(rounds, |round| Some(seconds(round, model)? / seconds(round, &format!("{model}-int8"))?));
        println!("{model}: int8 is {gain:.2} times as fast as f32");
    }
}

/// The clip in the size that all sides get.
fn source(args: &Args, folder: &Path) -> Result<PathBuf> {
    let clip = bench::clip(args.clip.as_deref(), folder)?;
    let source = folder.join("ai.mp4");
    let mut command = process::command("ffmpeg", ["-y", "-v", "error", "-stream_loop", "-1", "-i"]);
    command.arg(&clip).args([
        "-an",
        "-vf",
        "scale=640:360:flags=area",
        "-frames:v",
        &args.frames.to_string(),
    ]);
    process::run(command.args(["-c:v", "libx264", "-crf", "16", "-pix_fmt", "yuv420p"]).arg(&source))?;
    Ok(source)
}

/// A Python with its ONNX Runtime.
fn python(folder: &Path) -> Result<PathBuf> {
    let place = folder.join("ai-python");
    let python = place.join("bin/python");
    if !python.is_file() {
        process::run(process::command("python3", ["-m", "venv", "--clear"]).arg(&place))?;
    }
    let words = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    process::run(process::command(&python.to_string_lossy(), words).args(PACKAGES))?;
    Ok(python)
}
