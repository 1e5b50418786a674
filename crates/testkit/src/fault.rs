//! Faults from outside: processes killed at chosen moments, what they leave behind, a disk that is full.
//!
//! It must not know what the processes do.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tempfile::TempDir;

use crate::notice;

/// What `kill_at` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Killed {
    /// It was at work, and is no more.
    AtWork,
    /// It had ended by itself before the moment came.
    TooLate(ExitStatus),
}

/// Kills the process (SIGKILL) once `after` has passed, and waits for its end. Its children live on.
pub fn kill_at(child: &mut Child, after: Duration) -> Result<Killed> {
    let moment = Instant::now() + after;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Killed::TooLate(status));
        }
        let left = moment.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        std::thread::sleep(left.min(Duration::from_millis(2)));
    }
    child.kill()?;
    child.wait()?;
    Ok(Killed::AtWork)
}

/// Moments that look random and are the same for the same seed, each below `limit`. A test prints its seed.
#[derive(Clone, Debug)]
pub struct Moments {
    state: u64,
    limit: Duration,
}

impl Moments {
    pub fn new(seed: u64, limit: Duration) -> Moments {
        Moments { state: seed, limit }
    }
}

impl Iterator for Moments {
    type Item = Duration;

    /// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
    fn next(&mut self) -> Option<Duration> {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        Some(self.limit.mul_f64((bits >> 11) as f64 / (1u64 << 53) as f64))
    }
}

/// Living processes other than this one that have `marker` in their arguments or working folder. `None` where
/// there is no `/proc` to ask. Processes that have ended but were not waited for are not counted.
pub fn orphans(marker: &str) -> Option<Vec<u32>> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let entries = std::fs::read_dir("/proc").ok()?;
    let mut found: Vec<u32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id() && is_marked(*pid, marker))
        .collect();
    found.sort_unstable();
    Some(found)
}

fn is_marked(pid: u32, marker: &str) -> bool {
    let folder = Path::new("/proc").join(pid.to_string());
    // Both are empty for a process that has ended.
    let arguments = std::fs::read(folder.join("cmdline")).unwrap_or_default();
    let place = std::fs::read_link(folder.join("cwd")).unwrap_or_default();
    String::from_utf8_lossy(&arguments).contains(marker) || place.to_string_lossy().contains(marker)
}

/// Waits until no process is marked; the error lists those that stay. Where nothing can be asked it says so
/// on stderr and passes.
pub fn expect_no_orphans(marker: &str, patience: Duration) -> Result<()> {
    let end = Instant::now() + patience;
    loop {
        let Some(left) = orphans(marker) else {
            notice::loud("NO /proc HERE: ORPHANS ARE NOT LOOKED FOR");
            return Ok(());
        };
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= end {
            let shown: Vec<String> = left.iter().map(|pid| format!("{pid} {}", arguments(*pid))).collect();
            bail!("processes were left behind: {}", shown.join("; "));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn arguments(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// A small file system of its own in memory, unmounted on drop.
#[derive(Debug)]
pub struct TinyFs {
    // Option, because the folder may only be removed after it was unmounted.
    folder: Option<TempDir>,
    path: PathBuf,
}

impl TinyFs {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TinyFs {
    fn drop(&mut self) {
        let gone = unmount(&["umount"], &self.path) || unmount(&["umount", "-l"], &self.path);
        if let (false, Some(folder)) = (gone, self.folder.take()) {
            // Removing a folder that is still mounted would delete inside the mount.
            notice::loud(&format!("{} COULD NOT BE UNMOUNTED", folder.keep().display()));
        }
    }
}

fn unmount(command: &[&str], path: &Path) -> bool {
    quietly(Command::new(command[0]).args(&command[1..]).arg(path))
}

fn quietly(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A file system that holds `bytes`, rounded up to pages; `None`, and a loud line on stderr, where mounting
/// is not allowed or not possible.
pub fn tiny_fs(bytes: u64) -> Option<TinyFs> {
    let folder = tempfile::Builder::new().prefix("tiny-fs-").tempdir().ok()?;
    let path = folder.path().to_owned();
    let size = format!("size={bytes},mode=0777");
    let mount = ["-t", "tmpfs", "-o", &size, "kinora-testkit"];
    if !cfg!(target_os = "linux") || !quietly(Command::new("mount").args(mount).arg(&path)) {
        notice::loud("NO tmpfs CAN BE MOUNTED: TESTS OF A FULL DISK DO NOTHING");
        return None;
    }
    Some(TinyFs { folder: Some(folder), path })
}
