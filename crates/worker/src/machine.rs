//! What this machine is made of. What follows from that is decided elsewhere.

use std::path::Path;

use kinora_protocol::machine::Machine;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

/// Looks at it.
pub fn examine() -> Machine {
    let cpu = CpuRefreshKind::nothing();
    let memory = MemoryRefreshKind::nothing().with_ram();
    let system = System::new_with_specifics(RefreshKind::nothing().with_cpu(cpu).with_memory(memory));
    // In a container less of it may be used than there is.
    let allowed = system.cgroup_limits().map(|limits| limits.total_memory).filter(|&allowed| allowed > 0);
    let name = system.cpus().first().map(|cpu| cpu.brand().trim().to_owned());
    let cores =
        std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX));
    Machine {
        os: System::long_os_version().unwrap_or_else(|| std::env::consts::OS.to_owned()),
        architecture: std::env::consts::ARCH.to_owned(),
        cpu: name.filter(|name| !name.is_empty()),
        cores,
        memory: allowed.map_or(system.total_memory(), |allowed| allowed.min(system.total_memory())),
        gpus: gpus(),
    }
}

/// Graphics processors that can do more than show a console.
fn gpus() -> Vec<String> {
    if cfg!(all(target_os = "macos", target_arch = "aarch64")) {
        return vec!["Apple".to_owned()];
    }
    let nvidia = nvidia(Path::new("/proc/driver/nvidia/gpus"));
    let other = cards(Path::new("/sys/class/drm"), nvidia.is_empty());
    [nvidia, other].concat()
}

/// As NVIDIA's driver tells.
fn nvidia(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let model = |text: String| {
        let line =
            text.lines().find_map(|line| line.strip_prefix("Model:").map(|name| name.trim().to_owned()));
        line.unwrap_or_else(|| "NVIDIA".to_owned())
    };
    let texts =
        entries.flatten().filter_map(|entry| std::fs::read_to_string(entry.path().join("information")).ok());
    texts.map(model).collect()
}

/// As the kernel tells; those of NVIDIA only when its driver did not name them.
fn cards(folder: &Path, with_nvidia: bool) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("card"));
        if !number.is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit())) {
            continue;
        }
        // Servers have a chip for their console, which is none of these.
        match std::fs::read_to_string(entry.path().join("device/vendor")).unwrap_or_default().trim() {
            "0x1002" => found.push("AMD".to_owned()),
            "0x8086" => found.push("Intel".to_owned()),
            "0x10de" if with_nvidia => found.push("NVIDIA".to_owned()),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine() {
        let machine = examine();
        assert!(machine.cores >= 1 && machine.memory > 100 << 20, "{machine:?}");
        assert!(!machine.os.is_empty() && !machine.architecture.is_empty(), "{machine:?}");
    }

    #[test]
    fn cards_by_their_vendor() {
        let folder = std::env::temp_dir().join(format!("kinora-cards-{}", std::process::id()));
        for (name, vendor) in [
            ("card0", "0x1a03"),
            ("card1", "0x8086"),
            ("card1-DP-1", "0x8086"),
            ("card2", "0x10de"),
            ("renderD128", "0x1002"),
        ] {
            let device = folder.join(name).join("device");
            std::fs::create_dir_all(&device).expect("a folder");
            std::fs::write(device.join("vendor"), format!("{vendor}\n")).expect("a file");
        }
        let mut found = cards(&folder, true);
        found.sort();
        assert_eq!(found, ["Intel", "NVIDIA"]);
        assert_eq!(cards(&folder, false), ["Intel"]);
        assert_eq!(cards(Path::new("/nowhere"), true), Vec::<String>::new());
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
