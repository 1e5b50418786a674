//! Memory that could be used now: what the machine has free, and what the control groups leave of it that this process is in.

use std::path::{Path, PathBuf};

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// Bytes of it.
pub fn free() -> u64 {
    let memory = MemoryRefreshKind::nothing().with_ram();
    let system = System::new_with_specifics(RefreshKind::nothing().with_memory(memory));
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let left = left(&groups, Path::new("/sys/fs/cgroup"));
    left.map_or(system.available_memory(), |left| left.min(system.available_memory()))
}

/// What the groups of a process leave it, by `/proc/self/cgroup` and below where groups are; nothing where none is bounded.
fn left(groups: &str, root: &Path) -> Option<u64> {
    let each = groups.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let path = path.trim_start_matches('/');
        // The second version has one tree for all, whose lines name nothing.
        match controllers {
            "" => least(root, path, ["memory.max", "memory.current", "inactive_file"]),
            named if named.split(',').any(|name| name == "memory") => least(
                &root.join("memory"),
                path,
                ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"],
            ),
            _ => None,
        }
    });
    each.min()
}

/// What is left in a group and those above it.
fn least(root: &Path, path: &str, [limit, usage, cached]: [&str; 3]) -> Option<u64> {
    let number = |file: PathBuf| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    // In a container the group that is seen is the root itself, whatever its path outside.
    let below = root.join(path);
    let groups = below.ancestors().take_while(|group| group.starts_with(root)).chain([root]);
    groups
        .filter_map(|group| {
            let limit = number(group.join(limit))?;
            let stat = std::fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
            // What is only kept of files goes when memory is wanted.
            let cached = stat.lines().find_map(|line| line.strip_prefix(cached)?.trim().parse::<u64>().ok());
            let used = number(group.join(usage)).unwrap_or(0).saturating_sub(cached.unwrap_or(0));
            Some(limit.saturating_sub(used))
        })
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, group: &str, files: &[(&str, &str)]) {
        let folder = root.join(group);
        std::fs::create_dir_all(&folder).expect("a folder");
        for (name, text) in files {
            std::fs::write(folder.join(name), text).expect("written");
        }
    }

    #[test]
    fn the_narrowest_group_counts() {
        let place = tempfile::tempdir().expect("a folder");
        let root = place.path();
        put(root, "", &[("memory.max", "max\n")]);
        put(
            root,
            "a",
            &[
                ("memory.max", "1000\n"),
                ("memory.current", "900\n"),
                ("memory.stat", "anon 1\ninactive_file 300\n"),
            ],
        );
        put(root, "a/b", &[("memory.max", "5000\n"), ("memory.current", "10\n")]);
        assert_eq!(left("0::/a/b\n", root), Some(400));
        assert_eq!(left("0::/c\n", root), None);
        assert_eq!(left("", root), None);
        put(root, "memory/x", &[("memory.limit_in_bytes", "700\n"), ("memory.usage_in_bytes", "50\n")]);
        assert_eq!(left("5:cpu:/x\n4:memory,hugetlb:/x\n0::/\n", root), Some(650));
        put(root, "", &[("memory.max", "100\n"), ("memory.current", "200\n")]);
        assert_eq!(left("0::/../host/path\n", root), Some(0), "a container sees its own group as the root");
    }
}
