//! A process confines itself and becomes another program: limits, capabilities, what is open, files, system calls, in this order.
//! It must not know where any of this is decided.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::OFlags;
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::{Policy, Strength, calls, files, groups};

/// What of the environment reaches the program: how it finds its libraries and speaks, and nothing that might be a secret.
const KEPT: [&str; 4] = ["PATH", "LD_LIBRARY_PATH", "LC_ALL", "TZ"];
/// What hardware coders are chosen by, besides.
const KEPT_FOR_HARDWARE: [&str; 4] =
    ["LIBVA_DRIVER_NAME", "LIBVA_DRIVERS_PATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"];

/// Confines this process and becomes the program; comes back with the reason why it could not.
pub(crate) fn become_program(policy: &Policy, words: &[OsString]) -> String {
    let Some((program, arguments)) = words.split_first() else { return "no program is named".to_owned() };
    let program = match find(program) {
        Ok(program) => program,
        Err(reason) => return reason,
    };
    let kept = |name: &OsString| {
        let name = name.to_str().unwrap_or_default();
        KEPT.contains(&name) || (policy.hardware && KEPT_FOR_HARDWARE.contains(&name))
    };
    let environment: Vec<(OsString, OsString)> = std::env::vars_os().filter(|(name, _)| kept(name)).collect();
    let mut command = Command::new(&program);
    command.args(arguments).env_clear().envs(environment);
    match confine(policy, &program) {
        Ok(Strength::Full) => {}
        Ok(weaker) if policy.required => {
            return format!("a sandbox is required, and this system gives {}", weaker.line());
        }
        Ok(_) => {}
        Err(reason) => return reason,
    }
    let error = command.exec();
    format!("{}: {error}", program.display())
}

/// What [`confine`] would come to, for a program that touches nothing.
pub(crate) fn check() -> Strength {
    confine(&Policy::default(), Path::new("/")).unwrap_or_else(Strength::Nothing)
}

fn confine(policy: &Policy, program: &Path) -> Result<Strength, String> {
    for path in &policy.read {
        // Before anything is made.
        std::fs::metadata(path).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let written: Result<Vec<File>, String> =
        policy.write.iter().map(|path| make(path).map_err(|e| format!("{}: {e}", path.display()))).collect();
    go_first();
    if let Some(group) = &policy.group {
        groups::enter(group)
            .map_err(|e| format!("its control group {} cannot be entered: {e}", group.display()))?;
    }
    let mut missing = Vec::new();
    missing.extend(limit(policy).err());
    missing.extend(drop_capabilities().err().map(|e| format!("capabilities are kept ({e})")));
    rustix::thread::set_no_new_privs(true).map_err(|e| format!("no_new_privs cannot be set: {e}"))?;
    missing.extend(calls::close_inherited().err().map(|e| format!("what is open stays open ({e})")));
    missing.extend(files::restrict(policy, &written?, program, &libraries())?);
    missing
        .extend(calls::restrict(policy.hardware).err().map(|e| format!("no filter for system calls ({e})")));
    Ok(if missing.is_empty() { Strength::Full } else { Strength::Partial(missing) })
}

/// A file to be written: there and empty, if it can be, and not where a link leads to.
fn make(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
        .open(path)
}

/// How much rather than others a program is stopped when the machine, or what its service may use, is out of memory: 1000 is before all.
/// What it was at is tried again; the hub goes on.
const OUT_OF_MEMORY: i32 = 500;

/// Asks to be the first to go when there is no memory. Where that cannot be asked nothing is less confined.
fn go_first() {
    let place = "/proc/self/oom_score_adj";
    let is_lower = std::fs::read_to_string(place)
        .is_ok_and(|now| now.trim().parse().is_ok_and(|now: i32| now < OUT_OF_MEMORY));
    if is_lower {
        let _ = std::fs::write(place, OUT_OF_MEMORY.to_string());
    }
}

fn limit(policy: &Policy) -> Result<(), String> {
    let limits = policy.limits;
    for (what, resource, limit) in [
        ("memory", Resource::As, limits.memory),
        ("processor time", Resource::Cpu, limits.cpu_seconds),
        ("the length of files", Resource::Fsize, limits.file_bytes),
        ("open files", Resource::Nofile, limits.open_files),
        // What it holds in memory is a stranger's file: it is not written anywhere when it dies. A length of one byte also keeps
        // programs from it that are given what dies (core(5)).
        ("core dumps", Resource::Core, Some(1)),
    ] {
        let Some(limit) = limit else { continue };
        // A limit that is lower already stays.
        let before = rustix::process::getrlimit(resource);
        let limit = before.maximum.map_or(limit, |most| most.min(limit));
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })
            .map_err(|e| format!("{what} cannot be limited to {limit}: {e}"))?;
    }
    Ok(())
}

/// As root all rights go but those over files, which the rules for files bound: a root without them could not read what the one
/// who started it can.
fn drop_capabilities() -> rustix::io::Result<()> {
    let had = rustix::thread::capabilities(None)?;
    let files = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    let kept = had.permitted & files;
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: kept, permitted: kept, inheritable: none },
    )
}

/// Folders of libraries that the environment names.
fn libraries() -> Vec<PathBuf> {
    let named = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    std::env::split_paths(&named).filter(|folder| folder.is_absolute() && folder.parent().is_some()).collect()
}

/// Where a program is that is named by a path or found in `PATH`.
fn find(name: &OsStr) -> Result<PathBuf, String> {
    let runs = |path: &Path| {
        std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let named = Path::new(name);
    if named.components().count() > 1 {
        return if runs(named) {
            Ok(named.to_owned())
        } else {
            Err(format!("{}: no such program", named.display()))
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let found = std::env::split_paths(&path).map(|folder| folder.join(named)).find(|path| runs(path));
    found.ok_or_else(|| format!("{}: no such program in PATH", named.display()))
}
