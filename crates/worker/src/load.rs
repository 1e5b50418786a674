//! How busy this machine is: its processors, and its graphics processors where the system or their driver says. What that means is
//! for others.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kinora_protocol::node::{GpuLoad, Load};
use nvml_wrapper::Nvml;
use sysinfo::System;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(10);

/// Looks at this machine as long as this is held.
#[derive(Debug)]
pub(crate) struct Watching {
    /// What was seen last.
    pub(crate) seen: watch::Receiver<Load>,
    looking: AbortHandle,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

/// Begins to look.
pub(crate) fn watch() -> Watching {
    let (tell, seen) = watch::channel(Load::default());
    let looking = tokio::spawn(async move {
        // What is busy is what was since the look before.
        let mut eyes = Some(Eyes::open());
        loop {
            tokio::time::sleep(EVERY).await;
            let Some(mut looking) = eyes.take() else { return };
            // Drivers may take their time.
            let looked = tokio::task::spawn_blocking(move || {
                let load = looking.look();
                (looking, load)
            });
            let Ok((back, load)) = looked.await else { return };
            eyes = Some(back);
            if tell.send(load).is_err() {
                return;
            }
        }
    });
    Watching { seen, looking: looking.abort_handle() }
}

/// Where to look.
struct Eyes {
    system: System,
    nvml: Option<Nvml>,
    cards: PathBuf,
}

impl Eyes {
    fn open() -> Self {
        let mut system = System::new();
        system.refresh_cpu_usage();
        Self { system, nvml: Nvml::init().ok(), cards: PathBuf::from("/sys/class/drm") }
    }

    fn look(&mut self) -> Load {
        self.system.refresh_cpu_usage();
        let cpu = (self.system.global_cpu_usage() / 100.0).clamp(0.0, 1.0);
        let mut gpus = self.nvml.as_ref().map(nvidia).unwrap_or_default();
        gpus.extend(amd(&self.cards));
        Load { cpu, gpus }
    }
}

/// A part of a hundred.
fn part(percent: u32) -> f32 {
    percent.min(100) as f32 / 100.0
}

/// As NVIDIA's driver tells.
fn nvidia(nvml: &Nvml) -> Vec<GpuLoad> {
    let one = |number| {
        let device = nvml.device_by_index(number).ok()?;
        let busy = part(device.utilization_rates().ok()?.gpu);
        Some(GpuLoad { name: device.name().unwrap_or_else(|_| "NVIDIA".to_owned()), busy })
    };
    (0..nvml.device_count().unwrap_or(0)).filter_map(one).collect()
}

/// As the kernel's driver for those of AMD tells; others say nothing that every user may read.
fn amd(folder: &Path) -> Vec<GpuLoad> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    // What is plugged into a card is listed beside it, as card1-DP-1, and leads to the same.
    let is_card = |entry: &std::fs::DirEntry| !entry.file_name().to_string_lossy().contains('-');
    let mut cards: Vec<PathBuf> =
        entries.flatten().filter(is_card).map(|entry| entry.path().join("device")).collect();
    cards.sort();
    let one = |card: PathBuf| {
        let said = std::fs::read_to_string(card.join("gpu_busy_percent")).ok()?;
        Some(GpuLoad { name: "AMD".to_owned(), busy: part(said.trim().parse().ok()?) })
    };
    cards.into_iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_looked_at() {
        let mut eyes = Eyes::open();
        let until = std::time::Instant::now() + Duration::from_millis(400);
        while std::time::Instant::now() < until {
            std::hint::black_box(0);
        }
        let load = eyes.look();
        assert!(load.cpu > 0.0 && load.cpu <= 1.0, "{load:?}");
    }

    #[test]
    fn cards_say_how_busy_they_are() {
        let folder = tempfile::tempdir().unwrap();
        for (name, said) in [("card1", "37\n"), ("card0", "100\n"), ("card1-DP-1", "37\n"), ("card2", "?")] {
            let device = folder.path().join(name).join("device");
            std::fs::create_dir_all(&device).unwrap();
            std::fs::write(device.join("gpu_busy_percent"), said).unwrap();
        }
        let busy: Vec<f32> = amd(folder.path()).iter().map(|card| card.busy).collect();
        assert_eq!(busy, [1.0, 0.37]);
        assert!(amd(Path::new("/nowhere")).is_empty());
    }
}
