//! `cargo xtask bench memory`: the peak memory of Kinora's own process, ffmpeg's not counted, while it probes and then
//! encodes a file far larger than memory. The encode is stopped early, as an interrupted one would be.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use crate::setup::{self, Tool};
use crate::{bench, kinora, process};

/// Time between two looks at the process.
const SAMPLE: Duration = Duration::from_millis(200);

/// Time that a process gets to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(30);

/// Arguments of `bench memory`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Clip that is repeated.
    clip: Option<PathBuf>,
    /// Size of the file, in 10^9 bytes.
    #[arg(long, default_value_t = 20.0)]
    gigabytes: f64,
    /// Seconds after which the encode is stopped.
    #[arg(long, default_value_t = 120.0)]
    stop_after: f64,
    /// Keep the large file for the next time.
    #[arg(long)]
    keep: bool,
}

/// What one command needed.
#[derive(Debug)]
struct Watched {
    what: &'static str,
    peak_kib: u64,
    seconds: f64,
    ended: String,
}

/// Runs it.
pub fn run(args: &Args) -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("the peak is read from /proc, which only Linux has");
    }
    setup::ensure(&[Tool::Ffmpeg, Tool::Compiler])?;
    let folder = bench::folder()?;
    let clip = bench::clip(args.clip.as_deref(), &folder)?;
    let program = kinora::build()?;
    let large = folder.join("memory.mp4");
    make(&clip, &large, args.gigabytes)?;
    let places = kinora::Places::inside(&folder, "memory-output.mp4");
    let result = watch_all(&program, &large, &places, Duration::from_secs_f64(args.stop_after));
    places.clear()?;
    if !args.keep {
        std::fs::remove_file(&large)?;
    }
    report(&folder, args.gigabytes, &result?)
}

/// The large file, unless an earlier run has kept one of about that size.
fn make(clip: &Path, large: &Path, gigabytes: f64) -> Result<()> {
    let wanted = gigabytes * 1e9;
    if std::fs::metadata(large).is_ok_and(|kept| (kept.len() as f64 / wanted - 1.0).abs() < 0.05) {
        eprintln!("bench: using {} as it was kept", large.display());
        return Ok(());
    }
    let folder = large.parent().unwrap_or(large);
    let free = free_bytes(folder)?;
    ensure!(
        free > wanted * 1.1 + 2e9,
        "{} has {:.1} GB free, too little for a file of {gigabytes} GB and what is made from it",
        folder.display(),
        free / 1e9
    );
    let times = bench::times(std::fs::metadata(clip)?.len() as f64, wanted);
    bench::repeated(clip, times, large)
}

/// From `df`, in its portable format: the fourth word of the second line is the number of free KiB.
fn free_bytes(folder: &Path) -> Result<f64> {
    let text = process::stdout_of(process::command("df", ["-Pk"]).arg(folder))?;
    let kib = text.lines().nth(1).and_then(|line| line.split_whitespace().nth(3)?.parse::<f64>().ok());
    Ok(kib.context("df wrote something unexpected")? * 1024.0)
}

fn watch_all(
    program: &Path,
    large: &Path,
    places: &kinora::Places,
    stop_after: Duration,
) -> Result<Vec<Watched>> {
    let mut probe = process::command(&program.to_string_lossy(), ["probe"]);
    let probed = watch("probe", probe.arg(large), None, places)?;
    places.clear()?;
    let mut encode = kinora::encode(program, large, places);
    encode.args(["--encoder", "libx264", "--preset", "ultrafast", "--scale", "180", "--audio", "none"]);
    let encoded = watch("encode", &mut encode, Some(stop_after), places)?;
    Ok(vec![probed, encoded])
}

/// Runs the command and looks at its peak until it ends or has to.
fn watch(
    what: &'static str,
    command: &mut Command,
    stop_after: Option<Duration>,
    places: &kinora::Places,
) -> Result<Watched> {
    let log = places.output.with_extension(format!("{what}.log"));
    eprintln!("$ {}", process::shown(command));
    let mut child = command.stdout(Stdio::null()).stderr(File::create(&log)?).spawn()?;
    let start = Instant::now();
    let (mut peak_kib, mut stopped) = (0, None);
    let status = loop {
        peak_kib = peak_kib.max(peak(child.id()).unwrap_or(0));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        match (stopped, stop_after) {
            (None, Some(limit)) if start.elapsed() >= limit => {
                // It may just have ended; the next look tells.
                let _ = process::run(&mut process::command("kill", ["-TERM", &child.id().to_string()]));
                stopped = Some(Instant::now());
            }
            (Some(since), _) if since.elapsed() >= GRACE => break end(&mut child)?,
            _ => std::thread::sleep(SAMPLE),
        }
    };
    ensure!(
        status.success() || stopped.is_some(),
        "`{}` ended with {status}; see {}",
        process::shown(command),
        log.display()
    );
    ensure!(peak_kib > 0, "{what} ended before it could be looked at");
    let ended = match stopped {
        Some(_) => format!("stopped, {status}"),
        None => format!("finished, {status}"),
    };
    Ok(Watched { what, peak_kib, seconds: start.elapsed().as_secs_f64(), ended })
}

fn end(child: &mut Child) -> Result<ExitStatus> {
    eprintln!("bench: it did not end {} s after SIGTERM and is killed", GRACE.as_secs());
    child.kill()?;
    Ok(child.wait()?)
}

/// Peak resident memory in KiB: `VmHWM` in proc_pid_status(5).
fn peak(process: u32) -> Option<u64> {
    read_peak(&std::fs::read_to_string(format!("/proc/{process}/status")).ok()?)
}

fn read_peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn report(folder: &Path, gigabytes: f64, watched: &[Watched]) -> Result<()> {
    println!("\n| command, file of {gigabytes} GB | peak RSS of kinora itself | time | end |");
    println!("| --- | --: | --: | --- |");
    for Watched { what, peak_kib, seconds, ended } in watched {
        println!("| {what} | {:.1} MiB | {seconds:.1} s | {ended} |", *peak_kib as f64 / 1024.0);
    }
    let rows: Vec<_> = watched
        .iter()
        .map(|w| json!({"command": w.what, "peak_kib": w.peak_kib, "seconds": w.seconds, "ended": w.ended}))
        .collect();
    let document = json!({"gigabytes": gigabytes, "commands": rows});
    std::fs::write(folder.join("memory.json"), format!("{document:#}\n"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read() {
        assert_eq!(read_peak("Name:\tkinora\nVmPeak:\t  900 kB\nVmHWM:\t   51234 kB\n"), Some(51_234));
        assert_eq!(read_peak("Name:\tkinora\nState:\tZ (zombie)\n"), None);
    }

    #[test]
    fn this_process_has_a_peak() {
        if cfg!(target_os = "linux") {
            assert!(peak(std::process::id()).is_some_and(|kib| kib > 100));
        }
    }
}
