//! Each stub misbehaves as it says and in no other way.
//!
//! These tests must not know how a stub is written.
#![cfg(unix)]

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kinora_testkit::fault::{self, Killed};
use kinora_testkit::stub::{Lie, Misbehaviour, Offspring, Stub, When};
use kinora_testkit::{clips, ffmpeg, reference};

fn encode(stub: &Stub, out: &Path) -> Result<Command> {
    let mut command = Command::new("ffmpeg");
    command.env("PATH", stub.path()?).args(["-v", "error", "-nostdin", "-y", "-i"]);
    command.arg(clips::named("no_audio")?.path).args(["-c", "copy"]).arg(out);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    // The name must be looked up in the child's PATH, which `Command` does on Unix when PATH is set on it.
    Ok(command)
}

fn frames(path: &Path) -> Result<u64> {
    reference::frame_count(path)
}

#[test]
fn questions_reach_the_real_tools() -> Result<()> {
    let stub = Stub::new(&Misbehaviour::Lie(Lie::Nothing))?;
    let version = Command::new(stub.ffmpeg()).arg("-version").output()?;
    assert!(String::from_utf8_lossy(&version.stdout).starts_with(&ffmpeg::version()?));
    let encoders = Command::new(stub.ffmpeg()).args(["-hide_banner", "-encoders"]).output()?;
    assert!(String::from_utf8_lossy(&encoders.stdout).contains("ffv1"));
    let trial = ["-f", "lavfi", "-i", "color=d=0.1", "-f", "framecrc", "-"];
    let trial = Command::new(stub.ffmpeg()).args(["-v", "error"]).args(trial).output()?;
    assert!(!trial.stdout.is_empty());
    let probe = Command::new(stub.ffprobe()).arg("-version").output()?;
    assert!(String::from_utf8_lossy(&probe.stdout).starts_with("ffprobe version"));
    assert!(stub.runs().is_empty());
    Ok(())
}

#[test]
fn hang_ignores_term_and_dies_of_kill() -> Result<()> {
    let stub = Stub::new(&Misbehaviour::Hang)?;
    let temp = tempfile::tempdir()?;
    let mut child = encode(&stub, &temp.path().join("o.mp4"))?.current_dir(temp.path()).spawn()?;
    // Only after the run is written down may TERM be ignored; a little later it is.
    while stub.runs().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(200));
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?.success());
    std::thread::sleep(Duration::from_millis(200));
    assert!(child.try_wait()?.is_none());
    assert_eq!(fault::kill_at(&mut child, Duration::from_millis(50))?, Killed::AtWork);
    fault::expect_no_orphans(&temp.path().to_string_lossy(), Duration::from_secs(10))
}

#[test]
fn crash_leaves_part_of_the_output() -> Result<()> {
    let stub = Stub::new(&Misbehaviour::Crash)?;
    let temp = tempfile::tempdir()?;
    let out = temp.path().join("o.mkv");
    let status = encode(&stub, &out)?.status()?;
    assert_eq!(status.signal(), Some(11));
    assert!(std::fs::metadata(&out)?.len() > 0);
    fault::expect_no_orphans(&out.to_string_lossy(), Duration::from_secs(10))
}

#[test]
fn lies_end_well_and_are_lies() -> Result<()> {
    let temp = tempfile::tempdir()?;
    let out = temp.path().join("o.mkv");
    assert!(encode(&Stub::new(&Misbehaviour::Lie(Lie::Nothing))?, &out)?.status()?.success());
    assert!(!out.exists());
    assert!(encode(&Stub::new(&Misbehaviour::Behave)?, &out)?.status()?.success());
    let whole = frames(&out)?;
    let source = std::fs::metadata(clips::named("no_audio")?.path)?.len();
    assert!(encode(&Stub::new(&Misbehaviour::Lie(Lie::Half))?, &out)?.status()?.success());
    let left = frames(&out)?;
    assert!(left > 0 && left < whole, "{left} of {whole} frames");
    assert_eq!(std::fs::metadata(clips::named("no_audio")?.path)?.len(), source);
    Ok(())
}

#[test]
fn fork_leaves_a_child_that_can_be_found() -> Result<()> {
    for offspring in [Offspring::SameGroup, Offspring::OwnSession] {
        let stub = Stub::new(&Misbehaviour::Fork(offspring))?;
        let temp = tempfile::tempdir()?;
        let out = temp.path().join("o.mkv");
        assert!(encode(&stub, &out)?.status()?.success());
        assert!(frames(&out)? > 0);
        let Some(left) = fault::orphans(stub.marker()) else { continue };
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(fault::expect_no_orphans(stub.marker(), Duration::from_millis(50)).is_err());
        assert!(Command::new("kill").args(["-KILL", &left[0].to_string()]).status()?.success());
        fault::expect_no_orphans(stub.marker(), Duration::from_secs(10))?;
    }
    Ok(())
}

#[test]
fn slow_is_slow_and_fails_are_counted() -> Result<()> {
    let temp = tempfile::tempdir()?;
    let out = temp.path().join("o.mkv");
    let began = Instant::now();
    assert!(encode(&Stub::new(&Misbehaviour::Slow(Duration::from_millis(700)))?, &out)?.status()?.success());
    assert!(began.elapsed() >= Duration::from_millis(700) && frames(&out)? > 0);

    let stub = Stub::new(&Misbehaviour::FailFirst(2))?;
    let mut ended = Vec::new();
    for _ in 0..4 {
        ended.push(encode(&stub, &out)?.status()?.code().context("killed")?);
    }
    assert_eq!(ended, [1, 1, 0, 0]);
    assert_eq!(stub.runs().len(), 4);
    Ok(())
}

#[test]
fn only_chosen_runs_misbehave() -> Result<()> {
    let temp = tempfile::tempdir()?;
    let when = When::ArgContains("it's 7".to_owned());
    let stub = Stub::when(&Misbehaviour::FailFirst(9), &when)?;
    assert!(encode(&stub, &temp.path().join("it's 6.mkv"))?.status()?.success());
    assert!(!encode(&stub, &temp.path().join("it's 7.mkv"))?.status()?.success());
    assert_eq!(stub.runs().len(), 1);
    Ok(())
}
