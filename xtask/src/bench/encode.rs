//! `cargo xtask bench encode`: whole commands, sound included, in turn, so that a machine that slows down does so for
//! both. Size and similarity are compared on the files of the last pair.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::rivals::{self, Rival};
use super::table::{self, Both, Outcome};
use crate::setup::{self, Tool};
use crate::{baseline, bench, kinora, process, proof};

/// Arguments of `bench encode`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Clip to encode; it is repeated until it is long enough.
    clip: Option<PathBuf>,
    /// How many times each side runs.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Encoder to measure, may be repeated; all when absent.
    #[arg(long, value_name = "NAME")]
    encoder: Vec<String>,
    /// Least length of the clip.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Least length of the clip for libaom-av1 and libvpx-vp9.
    #[arg(long, default_value_t = 60.0)]
    slow_seconds: f64,
    /// Chunk length that Kinora is told.
    #[arg(long, value_name = "S")]
    chunk_seconds: Option<f64>,
    /// How many chunks Kinora encodes at the same time.
    #[arg(long, value_name = "N")]
    jobs: Option<u32>,
    /// One pair per encoder with chunks of 10 s: compares size and similarity, not time.
    #[arg(long)]
    quality_run: bool,
}

/// What all runs of one call share.
struct Bench {
    program: PathBuf,
    folder: PathBuf,
    pairs: u32,
    chunk_seconds: Option<f64>,
    jobs: Option<u32>,
}

/// Runs it.
pub fn run(args: &Args) -> Result<()> {
    setup::ensure(&[Tool::Ffmpeg, Tool::Compiler])?;
    let rivals = rivals::chosen(&args.encoder).map_err(anyhow::Error::msg)?;
    let folder = bench::folder()?;
    let clip = bench::clip(args.clip.as_deref(), &folder)?;
    let bench = Bench {
        program: kinora::build()?,
        folder,
        pairs: if args.quality_run { 1 } else { args.pairs },
        chunk_seconds: args.chunk_seconds.or(args.quality_run.then_some(10.0)),
        jobs: args.jobs,
    };
    let mut outcomes = Vec::new();
    for rival in rivals {
        if !setup::has_encoder(rival.encoder) {
            eprintln!("bench: this ffmpeg has no {}, left out", rival.encoder);
            continue;
        }
        let seconds = if rival.slow { args.slow_seconds } else { args.seconds };
        let source = bench::source(&clip, seconds, &bench.folder)?;
        outcomes.push(bench.measure(rival, &source).with_context(|| format!("{} failed", rival.encoder))?);
        // After each encoder, so that an hour of measuring is not lost with the next one.
        bench.write(&clip, &outcomes)?;
    }
    println!("\n{}", table::markdown(&outcomes));
    println!("written to {}", bench.folder.join("encode.json").display());
    Ok(())
}

impl Bench {
    fn measure(&self, rival: Rival, source: &Path) -> Result<Outcome> {
        let places = kinora::Places::inside(&self.folder, &format!("{}-kinora.mp4", rival.encoder));
        let plain = self.folder.join(format!("{}-ffmpeg.mp4", rival.encoder));
        let mut pairs = Vec::new();
        let mut chunks = 0;
        bench::warm(source)?;
        for pair in 1..=self.pairs {
            let kinora_time = self.kinora(rival, source, &places)?;
            let proof = proof::read(&places.proof)?;
            proof.ensure_whole()?;
            ensure!(proof.reused == 0, "{} chunks came from an earlier run", proof.reused);
            chunks = proof.chunks;
            let mut command = baseline::ffmpeg(&rival.settings(), source, &plain)?;
            let ffmpeg_time = bench::logged(&mut command, &self.folder.join("ffmpeg.log"))?;
            let seconds = Both { kinora: kinora_time.as_secs_f64(), ffmpeg: ffmpeg_time.as_secs_f64() };
            eprintln!(
                "bench: {} pair {pair}/{}: Kinora {:.2} s, ffmpeg {:.2} s",
                rival.encoder, self.pairs, seconds.kinora, seconds.ffmpeg
            );
            pairs.push(seconds);
        }
        let bytes = |path: &Path| -> Result<u64> { Ok(std::fs::metadata(path)?.len()) };
        let outcome = Outcome {
            rival,
            clip_seconds: bench::duration(source)?,
            chunks,
            pairs,
            bytes: Both { kinora: bytes(&places.output)?, ffmpeg: bytes(&plain)? },
            packets: Both { kinora: packets(&places.output)?, ffmpeg: packets(&plain)? },
            ssim: Both { kinora: ssim(&places.output, source)?, ffmpeg: ssim(&plain, source)? },
        };
        let Both { kinora, ffmpeg } = outcome.packets;
        ensure!(
            kinora == ffmpeg,
            "Kinora wrote {kinora} frames and ffmpeg {ffmpeg}: nothing can be compared"
        );
        Ok(outcome)
    }

    fn kinora(&self, rival: Rival, source: &Path, places: &kinora::Places) -> Result<Duration> {
        places.clear()?;
        let mut command = kinora::encode(&self.program, source, places);
        command.args(rival.arguments());
        for (name, value) in [
            ("--chunk-seconds", self.chunk_seconds.map(|value| value.to_string())),
            ("--jobs", self.jobs.map(|value| value.to_string())),
        ] {
            command.args(value.map(|value| [name.to_owned(), value]).into_iter().flatten());
        }
        bench::logged(&mut command, &self.folder.join("kinora.log"))
    }

    fn write(&self, clip: &Path, outcomes: &[Outcome]) -> Result<()> {
        let name = clip.file_name().unwrap_or_default().to_string_lossy();
        let ffmpeg = setup::ffmpeg_version().unwrap_or_default();
        let document = table::document(&name, &ffmpeg, self.chunk_seconds, outcomes);
        std::fs::write(self.folder.join("encode.json"), format!("{document:#}\n"))?;
        Ok(())
    }
}

/// Video packets in the file.
fn packets(path: &Path) -> Result<u64> {
    let words = [
        "-v",
        "error",
        "-select_streams",
        "v:0",
        "-count_packets",
        "-show_entries",
        "stream=nb_read_packets",
    ];
    let mut command = process::command("ffprobe", words);
    let text = process::stdout_of(command.args(["-of", "default=nw=1:nk=1"]).arg(path))?;
    text.trim().parse().with_context(|| format!("cannot count the packets of {}", path.display()))
}

/// Structural similarity of all planes to the source: Wang et al., 2004, as ffmpeg's filter computes it. Frames are
/// paired by their number, since the two files need not have the same time base.
fn ssim(path: &Path, source: &Path) -> Result<f64> {
    let graph = "[0:v:0]settb=1/25,setpts=N[a];[1:v:0]settb=1/25,setpts=N[b];[a][b]ssim";
    let mut command = process::command("ffmpeg", ["-nostdin", "-hide_banner", "-nostats", "-i"]);
    command.arg(path).arg("-i").arg(source).args(["-filter_complex", graph, "-an", "-f", "null", "-"]);
    let (_, log) = process::output_of(&mut command)?;
    read_ssim(&log).with_context(|| format!("ffmpeg gave no similarity for {}", path.display()))
}

fn read_ssim(log: &str) -> Option<f64> {
    let line = log.lines().rev().find(|line| line.contains("SSIM"))?;
    line.split("All:").nth(1)?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_similarity_of_all_planes_is_read() {
        let log = "[Parsed_ssim_4 @ 0x1] SSIM Y:0.95 (13.4) U:0.9 (10) V:0.9 (10) All:0.961234 (14.1)\nx\n";
        assert_eq!(read_ssim(log), Some(0.961_234));
        assert_eq!(read_ssim("frame=1"), None);
    }
}
