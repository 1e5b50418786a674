//! What a confined program may touch and use, and how that is told to the helper: as arguments, which may hold any path.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// What a program may touch besides the system's libraries, and use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Files and folders that it may read.
    pub read: Vec<PathBuf>,
    /// Files that it may write and read. The helper makes them, so that their folders stay closed.
    pub write: Vec<PathBuf>,
    /// Whether it may use the devices of hardware coders.
    pub hardware: bool,
    /// What it may use.
    pub limits: Limits,
    /// The control group that it runs in, if it has one of its own: see [`crate::Branch`].
    pub group: Option<PathBuf>,
    /// Whether it is not to run at all where the system cannot do all of this.
    pub required: bool,
}

/// What a confined program may use; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of address space.
    pub memory: Option<u64>,
    /// Seconds of processor time, of all its threads.
    pub cpu_seconds: Option<u64>,
    /// Bytes of any file that it writes.
    pub file_bytes: Option<u64>,
    /// Files that are open at once.
    pub open_files: Option<u64>,
}

/// What a program may really use where it has a control group of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes of memory; `None` is no limit.
    pub memory: Option<u64>,
    /// Threads.
    pub threads: u64,
}

impl Policy {
    /// The one argument that asks the helper what the system can do.
    pub const CHECK: &str = "--check";

    /// The helper's arguments, up to the program's.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        let mut say = |flag: &str, value: &OsStr| words.extend([flag.into(), value.to_owned()]);
        self.read.iter().for_each(|path| say("--read", path.as_os_str()));
        self.write.iter().for_each(|path| say("--write", path.as_os_str()));
        for (flag, limit) in [
            ("--memory", self.limits.memory),
            ("--cpu", self.limits.cpu_seconds),
            ("--file", self.limits.file_bytes),
            ("--open", self.limits.open_files),
        ] {
            if let Some(limit) = limit {
                say(flag, OsStr::new(&limit.to_string()));
            }
        }
        if let Some(group) = &self.group {
            say("--group", group.as_os_str());
        }
        if self.hardware {
            words.push("--hardware".into());
        }
        if self.required {
            words.push("--required".into());
        }
        words.push("--".into());
        words
    }

    /// The policy, and the program with its arguments.
    pub(crate) fn parse(mut words: impl Iterator<Item = OsString>) -> Result<(Self, Vec<OsString>), String> {
        let mut policy = Self::default();
        while let Some(flag) = words.next() {
            let flag = flag.to_string_lossy().into_owned();
            let mut value = || words.next().ok_or_else(|| format!("{flag} has no value"));
            match flag.as_str() {
                "--" => {
                    let program: Vec<OsString> = words.collect();
                    return if program.is_empty() {
                        Err("no program is named".to_owned())
                    } else {
                        Ok((policy, program))
                    };
                }
                "--read" => policy.read.push(value()?.into()),
                "--write" => policy.write.push(value()?.into()),
                "--memory" => policy.limits.memory = Some(number(&value()?)?),
                "--cpu" => policy.limits.cpu_seconds = Some(number(&value()?)?),
                "--file" => policy.limits.file_bytes = Some(number(&value()?)?),
                "--open" => policy.limits.open_files = Some(number(&value()?)?),
                "--group" => policy.group = Some(value()?.into()),
                "--hardware" => policy.hardware = true,
                "--required" => policy.required = true,
                _ => return Err(format!("{flag:?} is not a flag of it")),
            }
        }
        Err("no program is named".to_owned())
    }
}

fn number(text: &OsStr) -> Result<u64, String> {
    text.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| format!("{text:?} is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_its_arguments() {
        let limits =
            Limits { memory: Some(1 << 32), cpu_seconds: Some(60), file_bytes: None, open_files: Some(64) };
        let policy = Policy {
            read: vec!["/in with space".into(), "--write".into()],
            write: vec!["/out".into()],
            hardware: true,
            limits,
            group: Some("/sys/fs/cgroup/a/run-1".into()),
            required: true,
        };
        let program: Vec<OsString> = vec!["ffmpeg".into(), "--".into(), "-i".into()];
        let words = policy.arguments().into_iter().chain(program.clone());
        assert_eq!(Policy::parse(words), Ok((policy, program)));
        let none = Policy::parse(["--read"].map(OsString::from).into_iter());
        assert_eq!(none, Err("--read has no value".to_owned()));
        assert!(Policy::parse(["--memory", "many"].map(OsString::from).into_iter()).is_err());
        assert!(Policy::parse(["--"].map(OsString::from).into_iter()).is_err());
    }
}
