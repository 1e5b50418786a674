//! What a program really uses is bounded where the system gives control groups away to be divided. Tests that need root and a system
//! with control groups of version 2 say aloud when they are not run.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::XattrFlags;

const DIVIDED: &str = env!("CARGO_BIN_EXE_divided");
const CONFINED: &str = env!("CARGO_BIN_EXE_confined");
const ATTACKER: &str = env!("CARGO_BIN_EXE_attacker");

/// A branch as systemd gives one to a service.
struct Given {
    folder: PathBuf,
}

impl Given {
    fn new(name: &str) -> Result<Option<Self>> {
        let root = Path::new("/sys/fs/cgroup");
        let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        let has = |name: &str| controllers.split_whitespace().any(|one| one == name);
        let is_root = rustix::process::geteuid().is_root();
        if !(is_root && has("memory") && has("pids")) {
            eprintln!("KINORA TESTS: SKIPPED: no control groups of version 2 to be divided here");
            return Ok(None);
        }
        let folder = root.join(format!("kinora-test-{name}-{}", std::process::id()));
        match Self::make(root, &folder) {
            Ok(()) => Ok(Some(Self { folder })),
            Err(error) => {
                let _ = fs::remove_dir(&folder);
                eprintln!("KINORA TESTS: SKIPPED: control groups cannot be divided here: {error}");
                Ok(None)
            }
        }
    }

    /// In containers they may not be written, or there are processes in what seems to be their root.
    fn make(root: &Path, folder: &Path) -> Result<()> {
        let given = fs::read_to_string(root.join("cgroup.subtree_control"))?;
        if !(given.contains("memory") && given.contains("pids")) {
            fs::write(root.join("cgroup.subtree_control"), "+memory +pids")?;
        }
        fs::create_dir(folder)?;
        rustix::fs::setxattr(folder, "user.delegate", b"1", XattrFlags::empty())?;
        Ok(())
    }

    /// Starts a service in it that lets a program attack.
    fn attack(&self, memory: u64, threads: u64, words: &[&str]) -> Result<String> {
        let script = format!("echo $$ >'{}/cgroup.procs'; exec \"$@\"", self.folder.display());
        let (memory, threads) = (memory.to_string(), threads.to_string());
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh", DIVIDED, &memory, &threads, CONFINED, ATTACKER]).args(words);
        let output = command.output()?;
        ensure!(output.status.success(), "{output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(5) {
            for below in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(below.path());
            }
            if fs::remove_dir(&self.folder).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn memory_that_is_really_used() -> Result<()> {
    let Some(given) = Given::new("memory")? else { return Ok(()) };
    let (limit, more) = (256 << 20, (1_u64 << 30).to_string());
    let said = given.attack(limit, 64, &["memory", &more])?;
    ensure!(!said.contains("ESCAPED") && said.contains("exceeded: Some(Memory)"), "{said}");
    ensure!(said.contains("left: false"), "{said}");
    drop(given);
    let Some(given) = Given::new("memory")? else { return Ok(()) };
    let said = given.attack(2 << 30, 64, &["memory", &more])?;
    ensure!(said.contains("ESCAPED memory: 1024 MiB") && said.contains("exceeded: None"), "{said}");
    Ok(())
}

#[test]
fn threads_without_end() -> Result<()> {
    let Some(given) = Given::new("threads")? else { return Ok(()) };
    let said = given.attack(1 << 30, 64, &["bomb", "5000"])?;
    ensure!(said.contains("denied bomb") && said.contains("exceeded: Some(Threads)"), "{said}");
    drop(given);
    let Some(given) = Given::new("threads")? else { return Ok(()) };
    let said = given.attack(1 << 30, 64, &["threads"])?;
    ensure!(said.contains("ESCAPED threads: 8"), "{said}");
    Ok(())
}

/// Who is in a branch that was given away goes along, and what was not given is left as it is.
#[test]
fn others_in_the_branch_and_groups_of_others() -> Result<()> {
    let Some(given) = Given::new("others")? else { return Ok(()) };
    let mut other = Command::new("sleep").arg("60").spawn()?;
    fs::write(given.folder.join("cgroup.procs"), other.id().to_string())?;
    let said = given.attack(1 << 30, 64, &["threads"]);
    let group = fs::read_to_string(format!("/proc/{}/cgroup", other.id()))?;
    other.kill()?;
    other.wait()?;
    let said = said?;
    ensure!(said.contains("ESCAPED threads: 8") && group.trim().ends_with("/kinora"), "{said} {group}");
    drop(given);
    let Some(given) = Given::new("others")? else { return Ok(()) };
    rustix::fs::removexattr(&given.folder, "user.delegate")?;
    let refused = given.attack(1 << 30, 64, &["nothing"]).err().context("it was divided")?.to_string();
    ensure!(refused.contains("was not given to it"), "{refused}");
    ensure!(fs::read_to_string(given.folder.join("cgroup.subtree_control"))?.trim().is_empty());
    Ok(())
}
