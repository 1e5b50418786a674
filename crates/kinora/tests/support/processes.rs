//! What Linux says of processes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{PATIENCE, names};

/// A process: its folder below `/proc`, and what its `status` says.
pub struct Process {
    pub folder: PathBuf,
    pub status: String,
}

impl Process {
    /// A line of its status by its name, without that.
    pub fn field(&self, name: &str) -> &str {
        self.status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
    }
}

/// Programs that a process has started and that still run.
pub fn children(parent: u32) -> Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let folder = entry.path();
        let Ok(status) = std::fs::read_to_string(folder.join("status")) else { continue };
        let process = Process { folder, status };
        if process.field("PPid:") == parent.to_string() {
            found.push(process);
        }
    }
    Ok(found)
}

/// No program that a process has started goes on, and nothing of its work is in `scratch`.
pub async fn nothing_left(parent: u32, scratch: &Path) -> Result<()> {
    let started = Instant::now();
    while let Some(one) = children(parent)?.first() {
        ensure!(started.elapsed() < PATIENCE, "{} still runs", one.field("Name:"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ensure!(names(scratch)?.is_empty(), "scratch was left");
    Ok(())
}
