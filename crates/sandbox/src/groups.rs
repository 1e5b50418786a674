//! Control groups for programs (cgroup v2): what one of them really uses of memory, and how many threads it has, is bounded by the
//! kernel, and what is left of it can be killed at once. The system has to have given this process a branch of its own to divide
//! (systemd's `Delegate=`), as groups have one master. It must not know what runs in them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The group of this process itself: what has groups below it must hold no process.
const OWN: &str = "kinora";
/// What names of programs' groups begin with.
const PROGRAM: &str = "run-";
/// What says that a branch was given away to be divided (systemd.exec(5), <https://systemd.io/CGROUP_DELEGATION>).
const DELEGATED: &str = "user.delegate";

/// A branch of control groups of this process's own.
#[derive(Debug)]
pub struct Branch {
    folder: PathBuf,
    next: AtomicU64,
    /// Groups whose processes were still dying when they should have gone.
    dying: Mutex<Vec<PathBuf>>,
}

impl Branch {
    /// Takes the branch over that was given to this process, which moves into a group below it.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn take() -> Result<Self, String> {
        let read = |path: &str| fs::read_to_string(path).map_err(|e| format!("{path}: {e}"));
        let folder = branch(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?)?;
        Self::divide(folder)
    }

    fn divide(folder: PathBuf) -> Result<Self, String> {
        let in_words = |e: io::Error| format!("{}: {e}", folder.display());
        let mut said = [0; 8];
        let length = rustix::fs::getxattr(&folder, DELEGATED, &mut said).unwrap_or(0);
        if said.get(..length) != Some(b"1") {
            return Err(format!("{} was not given to it (Delegate=memory pids)", folder.display()));
        }
        let given = fs::read_to_string(folder.join("cgroup.controllers")).map_err(in_words)?;
        if let Some(missing) =
            ["memory", "pids"].iter().find(|one| !given.split_whitespace().any(|g| g == **one))
        {
            return Err(format!("{} has no control of {missing}", folder.display()));
        }
        let members = fs::read_to_string(folder.join("cgroup.procs")).map_err(in_words)?;
        if members.trim() != std::process::id().to_string() {
            return Err(format!("there are other processes in {}", folder.display()));
        }
        let branch = Self { folder: folder.clone(), next: AtomicU64::new(1), dying: Mutex::default() };
        branch.clear();
        let own = folder.join(OWN);
        fs::create_dir(&own).or_else(unless_there).map_err(in_words)?;
        enter(&own).map_err(in_words)?;
        fs::write(folder.join("cgroup.subtree_control"), "+memory +pids").map_err(in_words)?;
        Ok(branch)
    }

    /// Removes what an earlier process of this service has left.
    fn clear(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(PROGRAM) {
                remove(entry.path(), &self.dying);
            }
        }
    }

    /// A group for one program that may use so many bytes of memory and have so many threads; [`crate::Policy::group`] is its folder.
    ///
    /// # Errors
    /// When the system makes none.
    pub fn group(&self, memory: Option<u64>, threads: Option<u64>) -> io::Result<Group<'_>> {
        let before = std::mem::take(&mut *self.dying.lock().unwrap_or_else(PoisonError::into_inner));
        before.into_iter().for_each(|folder| remove(folder, &self.dying));
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let folder = self.folder.join(format!("{PROGRAM}{number}"));
        fs::create_dir(&folder)?;
        let group = Group { branch: self, folder };
        if let Some(memory) = memory {
            group.set("memory.max", &memory.to_string())?;
            // Where there is no swap there is nothing to be set.
            let _ = group.set("memory.swap.max", "0");
            group.set("memory.oom.group", "1")?;
        }
        if let Some(threads) = threads {
            group.set("pids.max", &threads.to_string())?;
        }
        Ok(group)
    }
}

/// The group of one program. What is in it when it is dropped is killed.
#[derive(Debug)]
pub struct Group<'a> {
    branch: &'a Branch,
    folder: PathBuf,
}

impl Group<'_> {
    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether its program was stopped because it wanted more memory than it may use.
    pub fn was_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.folder.join("memory.events")).unwrap_or_default();
        events.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|times| times.trim() != "0")
    }

    fn set(&self, name: &str, value: &str) -> io::Result<()> {
        fs::write(self.folder.join(name), value)
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        remove(std::mem::take(&mut self.folder), &self.branch.dying);
    }
}

/// Moves this process into a group.
pub(crate) fn enter(folder: &Path) -> io::Result<()> {
    fs::write(folder.join("cgroup.procs"), "0")
}

/// Kills what is in a group and removes it, or remembers it for later: processes take a moment to die.
fn remove(folder: PathBuf, dying: &Mutex<Vec<PathBuf>>) {
    if fs::remove_dir(&folder).is_ok() {
        return;
    }
    let _ = fs::write(folder.join("cgroup.kill"), "1");
    if fs::remove_dir(&folder).is_err() && folder.exists() {
        dying.lock().unwrap_or_else(PoisonError::into_inner).push(folder);
    }
}

fn unless_there(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

/// The folder of the group that this process is in, from `/proc/self/cgroup` and `/proc/self/mountinfo`.
fn branch(groups: &str, mounts: &str) -> Result<PathBuf, String> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let own = own.ok_or_else(|| "this system has no control groups of version 2".to_owned())?;
    if own.is_empty() {
        // In a container this is all that there is of them, and others start processes there.
        return Err("it runs in no group of its own".to_owned());
    }
    // `ID PARENT DEVICE ROOT PLACE OPTIONS … - TYPE …`, proc_pid_mountinfo(5).
    let place = mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, place) = (fields.next()?, fields.next()?);
        (kind.starts_with("cgroup2 ") && root == "/").then_some(place)
    });
    let place = place.ok_or_else(|| "control groups of version 2 are not mounted".to_owned())?;
    Ok(Path::new(place).join(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 0:20 / /sys rw,nosuid shared:2 - sysfs sysfs rw
30 22 0:26 / /sys/fs/cgroup ro,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn a_branch_is_where_the_system_says() {
        let own = |groups| branch(groups, MOUNTS);
        let unit = own("0::/system.slice/kinora-hub.service\n");
        assert_eq!(unit, Ok("/sys/fs/cgroup/system.slice/kinora-hub.service".into()));
        let mixed = own("4:memory:/old\n0::/a/b\n");
        assert_eq!(mixed, Ok("/sys/fs/cgroup/a/b".into()));
        assert!(own("0::/\n").is_err_and(|why| why.contains("no group of its own")));
        assert!(own("4:memory:/a\n").is_err_and(|why| why.contains("version 2")));
        let part = MOUNTS.replace("0:26 /", "0:26 /docker/1");
        assert!(branch("0::/a\n", &part).is_err_and(|why| why.contains("not mounted")));
    }

    #[test]
    fn what_was_not_given_is_not_divided() {
        let folder = tempfile::tempdir().unwrap();
        let refused = Branch::divide(folder.path().to_owned());
        assert!(refused.is_err_and(|why| why.contains("Delegate=")));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
