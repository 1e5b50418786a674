//! Faults hit what they aim at and leave nothing of their own.
//!
//! These tests must not know the product.
#![cfg(unix)]

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;
use kinora_testkit::fault::{self, Killed, Moments};

#[test]
fn kill_comes_at_its_moment_or_too_late() -> Result<()> {
    let began = Instant::now();
    let mut child = Command::new("sleep").arg("30").spawn()?;
    assert_eq!(fault::kill_at(&mut child, Duration::from_millis(120))?, Killed::AtWork);
    assert!((120..5000).contains(&began.elapsed().as_millis()));
    let mut child = Command::new("true").spawn()?;
    let killed = fault::kill_at(&mut child, Duration::from_secs(20))?;
    assert!(matches!(killed, Killed::TooLate(status) if status.success()));
    Ok(())
}

#[test]
fn moments_repeat_and_spread() {
    let limit = Duration::from_secs(4);
    let some: Vec<_> = Moments::new(7, limit).take(200).collect();
    assert_eq!(some, Moments::new(7, limit).take(200).collect::<Vec<_>>());
    assert_ne!(some, Moments::new(8, limit).take(200).collect::<Vec<_>>());
    assert!(some.iter().all(|moment| *moment < limit));
    let early = some.iter().filter(|moment| **moment < limit / 2).count();
    assert!((60..140).contains(&early), "{early}");
}

#[test]
fn processes_are_found_by_working_folder() -> Result<()> {
    let temp = tempfile::tempdir()?;
    let marker = temp.path().to_string_lossy().into_owned();
    let mut child = Command::new("sleep").arg("30").current_dir(temp.path()).spawn()?;
    if let Some(found) = fault::orphans(&marker) {
        assert_eq!(found, [child.id()]);
    }
    child.kill()?;
    if fault::orphans(&marker).is_some() {
        // Dead but not waited for: no orphan.
        fault::expect_no_orphans(&marker, Duration::from_secs(10))?;
    }
    child.wait()?;
    Ok(())
}

#[test]
fn tiny_file_system_is_full_soon_and_goes_away() -> Result<()> {
    let Some(small) = fault::tiny_fs(1 << 20) else { return Ok(()) };
    let path = small.path().to_owned();
    std::fs::write(path.join("fits"), vec![1; 500_000])?;
    let full = std::fs::write(path.join("does not"), vec![1; 2_000_000]);
    assert_eq!(full.map_err(|error| error.kind()), Err(std::io::ErrorKind::StorageFull));
    drop(small);
    assert!(!path.exists());
    Ok(())
}
