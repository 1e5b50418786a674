//! What it costs to confine a program: how much longer one takes that does nothing, and one that looks at a file. Run by
//! `cargo xtask bench sandbox`.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};

/// Pairs of runs.
const RUNS: usize = 200;

fn main() -> Result<()> {
    if std::env::args().any(|word| word == "--list" || word == "--test") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let clip = folder.path().join("clip.mp4");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=4", "-c:v", "libx264"])
        .arg(&clip)
        .status()?;
    ensure!(made.success(), "no clip");
    let clip = clip.display().to_string();
    let output = folder.path().join("out").display().to_string();
    for (what, program) in [
        ("nothing (/bin/true)", vec!["/bin/true"]),
        ("ffprobe of a clip", vec!["ffprobe", "-v", "error", &clip]),
    ] {
        let confined = [
            &[
                "confined-run",
                "--required",
                "--read",
                &clip,
                "--write",
                &output,
                "--memory",
                "4000000000",
                "--",
            ][..],
            &program,
        ]
        .concat();
        let (mut plain_ms, mut confined_ms) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            plain_ms.push(took(program[0], &program[1..])?);
            confined_ms.push(took(env!("CARGO_BIN_EXE_kinora"), &confined)?);
        }
        let mut more: Vec<f64> = confined_ms.iter().zip(&plain_ms).map(|(c, p)| c - p).collect();
        for list in [&mut plain_ms, &mut confined_ms, &mut more] {
            list.sort_by(f64::total_cmp);
        }
        let at = |list: &[f64], part: usize| list[(list.len() * part / 100).min(list.len() - 1)];
        println!(
            "{what}: plain {:.1} ms, confined {:.1} ms (medians of {RUNS}); more: {:.1} ms (median), {:.1} ms (p90)",
            at(&plain_ms, 50),
            at(&confined_ms, 50),
            at(&more, 50),
            at(&more, 90),
        );
    }
    Ok(())
}

fn took(program: &str, words: &[&str]) -> Result<f64> {
    let started = Instant::now();
    let status = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    ensure!(status.success(), "{program} ends with {status}");
    Ok(started.elapsed().as_secs_f64() * 1000.0)
}
