//! Control groups for programs (cgroup v2): what one of them really uses of memory, and how many threads it has, is bounded by the
//! kernel, and what is left of it can be killed at once. The system has to have given this process a branch of its own to divide
//! (systemd's `Delegate=`), as groups have one master. It must not know what runs in them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Exceeded, NoBranch, Room};

/// The group of this process itself: what has groups below it must hold no process.
const OWN: &str = "kinora";
/// What names of programs' groups begin with.
const PROGRAM: &str = "run-";
/// Where processes are in a group's folder.
const MEMBERS: &str = "cgroup.procs";
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
    /// Takes the branch over that was given to this process, which moves into a group below it, with whatever else is in it.
    ///
    /// # Errors
    /// Why there is none.
    pub fn take() -> Result<Self, NoBranch> {
        let read =
            |path: &str| fs::read_to_string(path).map_err(|e| NoBranch::NotGiven(format!("{path}: {e}")));
        let folder = branch(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?);
        Self::divide(folder.map_err(NoBranch::NotGiven)?)
    }

    fn divide(folder: PathBuf) -> Result<Self, NoBranch> {
        let mut said = [0; 8];
        let length = rustix::fs::getxattr(&folder, DELEGATED, &mut said).unwrap_or(0);
        if said.get(..length) != Some(b"1") {
            let why = format!(
                "{} was not given to it to be divided (Delegate=memory pids, systemd 251 or newer)",
                folder.display()
            );
            return Err(NoBranch::NotGiven(why));
        }
        let in_words =
            |e: io::Error| NoBranch::Failed(format!("{} cannot be divided: {e}", folder.display()));
        let given = fs::read_to_string(folder.join("cgroup.controllers")).map_err(in_words)?;
        if let Some(missing) =
            ["memory", "pids"].iter().find(|one| !given.split_whitespace().any(|g| g == **one))
        {
            return Err(NoBranch::NotGiven(format!("{} has no control of {missing}", folder.display())));
        }
        let branch = Self { folder: folder.clone(), next: AtomicU64::new(1), dying: Mutex::default() };
        branch.clear();
        let own = folder.join(OWN);
        fs::create_dir(&own).or_else(unless_there).map_err(in_words)?;
        // All that runs in a branch that was given away is its service's: a program that brought a key, and stayed.
        for member in fs::read_to_string(folder.join(MEMBERS)).map_err(in_words)?.lines() {
            // Others may have ended meanwhile; that nobody is left shows in what follows.
            let _ = fs::write(own.join(MEMBERS), member);
        }
        fs::write(folder.join("cgroup.subtree_control"), "+memory +pids").map_err(in_words)?;
        Ok(branch)
    }

    /// Removes what an earlier process of this service has left.
    fn clear(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(PROGRAM) {
                self.remove(entry.path());
            }
        }
    }

    /// A group for one program; [`crate::Policy::group`] is its folder.
    ///
    /// # Errors
    /// When the system makes none.
    pub fn group(&self, room: Room) -> io::Result<Group<'_>> {
        let before = std::mem::take(&mut *self.dying());
        before.into_iter().for_each(|folder| self.remove(folder));
        let group = Group { branch: self, folder: self.new_folder()? };
        if let Some(memory) = room.memory {
            group.set("memory.max", &memory.to_string())?;
            // As much again where there is swap: small machines need it, and without an end it would be no bound.
            let _ = group.set("memory.swap.max", &memory.to_string());
            group.set("memory.oom.group", "1")?;
        }
        group.set("pids.max", &room.threads.to_string())?;
        Ok(group)
    }

    fn dying(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.dying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills what is in a group and removes it, or remembers it for later: processes take a moment to die.
    fn remove(&self, folder: PathBuf) {
        if fs::remove_dir(&folder).is_ok() {
            return;
        }
        let _ = fs::write(folder.join("cgroup.kill"), "1");
        if fs::remove_dir(&folder).is_err() && folder.exists() {
            self.dying().push(folder);
        }
    }

    fn new_folder(&self) -> io::Result<PathBuf> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let folder = self.folder.join(format!("{PROGRAM}{number}"));
            match fs::create_dir(&folder) {
                // What an earlier process has left is still dying.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map(|()| folder),
            }
        }
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

    /// What of its bounds its program ran into.
    pub fn exceeded(&self) -> Option<Exceeded> {
        let read = |name: &str| fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        exceeded(&read("memory.events"), &read("pids.events"))
    }

    fn set(&self, name: &str, value: &str) -> io::Result<()> {
        fs::write(self.folder.join(name), value)
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        self.branch.remove(std::mem::take(&mut self.folder));
    }
}

/// From `memory.events` and `pids.events` of a group.
fn exceeded(memory: &str, threads: &str) -> Option<Exceeded> {
    let happened = |events: &str, name: &str| {
        let mut counted = events.lines().filter_map(|line| line.split_once(' '));
        counted.any(|(what, times)| what == name && times.trim() != "0")
    };
    // It may also have been killed because there was no more for its service or on the machine: then its own bound was not met.
    if happened(memory, "oom") && happened(memory, "oom_kill") {
        Some(Exceeded::Memory)
    } else {
        happened(threads, "max").then_some(Exceeded::Threads)
    }
}

/// Moves this process into a group.
pub(crate) fn enter(folder: &Path) -> io::Result<()> {
    fs::write(folder.join(MEMBERS), "0")
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
    fn what_a_program_ran_into_is_told_from_what_happened_to_it() {
        let events =
            |oom, killed| format!("low 0\nhigh 0\nmax 7\noom {oom}\noom_kill {killed}\noom_group_kill 0\n");
        assert_eq!(exceeded(&events(1, 1), "max 0\n"), Some(Exceeded::Memory));
        assert_eq!(exceeded(&events(0, 1), "max 0\n"), None);
        assert_eq!(exceeded(&events(0, 0), "max 3\n"), Some(Exceeded::Threads));
        assert_eq!(exceeded("", ""), None);
    }

    #[test]
    fn what_was_not_given_is_not_divided() {
        let folder = tempfile::tempdir().unwrap();
        let refused = Branch::divide(folder.path().to_owned());
        assert!(matches!(refused, Err(NoBranch::NotGiven(why)) if why.contains("Delegate=")));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
