//! Which files a confined program sees, by Landlock: the system's programs and libraries, what the policy names, and nothing else.
//! With it go its TCP connections, and signals and abstract sockets to others, where the kernel can.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus,
    PathBeneath, PathFd, RestrictionStatus, Ruleset, RulesetAttr as _, RulesetCreated,
    RulesetCreatedAttr as _, RulesetStatus, Scope,
};

use crate::Policy;

/// What is asked for; older kernels do what they can of it.
const WANTED: ABI = ABI::V6;

/// Programs, libraries and what libraries read when they are loaded. No configuration: that may hold secrets.
const SYSTEM: [&str; 23] = [
    "/usr/bin",
    "/usr/sbin",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/share",
    "/usr/local/bin",
    "/usr/local/lib",
    "/usr/local/lib64",
    "/usr/local/share",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/gnu/store",
    "/run/current-system/sw",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/alternatives",
];
/// How many processors there are and how much memory, for encoders that ask.
const MACHINE: [&str; 9] = [
    "/proc/self/status",
    "/proc/self/stat",
    "/proc/self/maps",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
];
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"];
/// Of hardware coders.
const HARDWARE_READ: [&str; 5] =
    ["/proc/driver", "/proc/devices", "/sys/dev/char", "/sys/devices", "/sys/class/drm"];

/// Closes all files but those of the policy, of which `written` are those that it may write, and those of the program and
/// its `libraries`; what the kernel cannot do, in words.
///
/// # Errors
/// When what the policy names cannot be opened.
pub(crate) fn restrict(
    policy: &Policy,
    written: &[File],
    program: &Path,
    libraries: &[PathBuf],
) -> Result<Option<String>, String> {
    let told = |error: landlock::RulesetError| format!("files cannot be closed: {error}");
    let read_folder = AccessFs::ReadFile | AccessFs::ReadDir;
    let run = read_folder | AccessFs::Execute;
    // A file has to be read again to move its index to its front.
    let write = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(WANTED))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(WANTED)))
        .and_then(|rules| rules.scope(Scope::from_all(WANTED)))
        .and_then(Ruleset::create)
        .map_err(told)?;
    let mut rules = Rules { ruleset };
    for path in SYSTEM {
        rules.if_there(Path::new(path), run)?;
    }
    for path in own(program).iter().chain(libraries) {
        rules.if_there(path, run)?;
    }
    for path in MACHINE {
        rules.if_there(Path::new(path), read_folder)?;
    }
    for path in DEVICES {
        rules.if_there(Path::new(path), device)?;
    }
    if policy.hardware {
        for path in HARDWARE_READ {
            rules.if_there(Path::new(path), read_folder)?;
        }
        for path in hardware_devices() {
            rules.if_there(&path, device | AccessFs::ReadDir)?;
        }
    }
    for path in &policy.read {
        rules.must(path, read_folder)?;
    }
    for file in written {
        // Not by its name again: that may lead elsewhere by now.
        rules.add(file, write).map_err(|e| format!("an output cannot be opened: {e}"))?;
    }
    let status = rules.ruleset.restrict_self().map_err(told)?;
    Ok(weakness(&status))
}

struct Rules {
    ruleset: RulesetCreated,
}

impl Rules {
    fn if_there(&mut self, path: &Path, access: impl Into<BitFlags<AccessFs>>) -> Result<(), String> {
        match path.try_exists() {
            Ok(true) => self.must(path, access),
            // What cannot be looked at cannot be read either.
            Ok(false) | Err(_) => Ok(()),
        }
    }

    fn must(&mut self, path: &Path, access: impl Into<BitFlags<AccessFs>>) -> Result<(), String> {
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let access = access.into();
        // Rights over folders make no sense on a file.
        let is_folder = std::fs::metadata(path).map_err(|e| told(&e))?.is_dir();
        let access = if is_folder { access } else { access & AccessFs::from_file(WANTED) };
        let file = PathFd::new(path).map_err(|e| told(&e))?;
        self.add(file, access).map_err(|e| told(&e))
    }

    fn add(
        &mut self,
        file: impl AsFd,
        access: impl Into<BitFlags<AccessFs>>,
    ) -> Result<(), landlock::RulesetError> {
        (&mut self.ruleset).add_rule(PathBeneath::new(file, access.into())).map(drop)
    }
}

/// A program that is not the system's, and where its own libraries may be: `lib` beside a folder `bin`.
fn own(program: &Path) -> Vec<PathBuf> {
    let Ok(real) = program.canonicalize() else { return Vec::new() };
    let mut found = Vec::new();
    if let Some(folder) = real.parent().filter(|folder| folder.ends_with("bin"))
        && let Some(prefix) = folder.parent().filter(|prefix| prefix.parent().is_some())
    {
        found.extend(["lib", "lib64"].map(|name| prefix.join(name)));
    }
    found.push(real);
    found
}

fn hardware_devices() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir("/dev") else { return Vec::new() };
    let is_one = |name: &str| name == "dri" || name.starts_with("nvidia") || name == "kfd";
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_one))
        .map(|entry| entry.path())
        .collect()
}

fn weakness(status: &RestrictionStatus) -> Option<String> {
    match (&status.ruleset, &status.landlock) {
        // What older versions leave open, the filter for system calls closes: cutting files off, connections, signals. Moving
        // files between folders needs calls that are not on its list.
        (RulesetStatus::FullyEnforced, _)
        | (RulesetStatus::PartiallyEnforced, LandlockStatus::Available { .. }) => None,
        (RulesetStatus::PartiallyEnforced, _) => Some("rules for files are not complete".to_owned()),
        (RulesetStatus::NotEnforced, LandlockStatus::NotEnabled) => {
            Some("no rules for files (Landlock is switched off in this kernel)".to_owned())
        }
        (RulesetStatus::NotEnforced, _) => {
            Some(
                "no rules for files (this kernel has no Landlock, which came with 5.13, or a container forbids it)".to_owned(),
            )
        }
    }
}
