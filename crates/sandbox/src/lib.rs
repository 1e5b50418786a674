//! A program that opens what strangers sent is confined before it starts: it sees the system's libraries, its inputs and its outputs, has
//! no network, starts nothing, and uses no more than it may. Nothing here knows ffmpeg.
//!
//! Linux ties most of this to the process that asks for it, and it cannot be asked for between fork and exec of a process with
//! threads, where nothing may be allocated. So the binary is started again as a helper ([`WORD`]), which confines itself ([`run`]) and
//! becomes the program: same process, same parent, same pipes.

mod policy;

// The processors whose system calls are known by number.
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
mod calls;
#[cfg(all(
    target_os = "linux",
    not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))
))]
#[path = "no_calls.rs"]
mod calls;
#[cfg(target_os = "linux")]
mod confine;
#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
mod groups;
#[cfg(not(target_os = "linux"))]
#[path = "no_groups.rs"]
mod groups;

use std::ffi::OsString;
use std::fmt;

pub use groups::{Branch, Group};
pub use policy::{Limits, Policy, Room};

/// First argument of the helper.
pub const WORD: &str = "confined-run";

/// What the helper ends with when it could not confine itself or start the program.
pub const FAILED: u8 = 126;

/// What its message begins with then.
pub const MARK: &str = "kinora sandbox: ";

/// What the system does for a confined program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strength {
    /// All of it.
    Full,
    /// Some of it; what is missing, in words.
    Partial(Vec<String>),
    /// Nothing; why.
    Nothing(String),
}

/// Why there is no branch of control groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoBranch {
    /// The system has given none away; why, in words.
    NotGiven(String),
    /// It has, and it cannot be divided.
    Failed(String),
}

impl fmt::Display for NoBranch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::NotGiven(why) | Self::Failed(why)) = self;
        f.write_str(why)
    }
}

/// What a program wanted more of than its control group may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    /// Memory, and it was stopped for that.
    Memory,
    /// Threads, of which it was given no more.
    Threads,
}

impl Strength {
    /// One line, for [`Strength::parse`].
    pub fn line(&self) -> String {
        match self {
            Self::Full => "full".to_owned(),
            Self::Partial(missing) => format!("partial: {}", missing.join("; ")),
            Self::Nothing(why) => format!("nothing: {why}"),
        }
    }

    /// From what [`Strength::line`] gave.
    pub fn parse(line: &str) -> Option<Self> {
        match line.trim().split_once(": ") {
            None if line.trim() == "full" => Some(Self::Full),
            Some(("partial", missing)) => {
                Some(Self::Partial(missing.split("; ").map(str::to_owned).collect()))
            }
            Some(("nothing", why)) => Some(Self::Nothing(why.to_owned())),
            _ => None,
        }
    }
}

/// The helper: `arguments` are those after [`WORD`]. Confines this process and becomes the program that they name; with
/// [`Policy::CHECK`] alone it says how strong that would be. Comes back only with an exit status: that of the answer, or [`FAILED`]
/// once it has told on standard error why.
pub fn run(arguments: impl Iterator<Item = OsString>) -> u8 {
    let mut arguments = arguments.peekable();
    if arguments.peek().is_some_and(|word| word == Policy::CHECK) {
        println!("{}", check().line());
        return 0;
    }
    let reason = match Policy::parse(arguments) {
        Ok((policy, program)) => become_program(&policy, &program),
        Err(reason) => reason,
    };
    eprintln!("{MARK}{reason}");
    FAILED
}

#[cfg(target_os = "linux")]
fn become_program(policy: &Policy, program: &[OsString]) -> String {
    confine::become_program(policy, program)
}

#[cfg(target_os = "linux")]
fn check() -> Strength {
    confine::check()
}

#[cfg(not(target_os = "linux"))]
fn become_program(_policy: &Policy, _program: &[OsString]) -> String {
    "this system has no sandbox that Kinora knows".to_owned()
}

#[cfg(not(target_os = "linux"))]
fn check() -> Strength {
    Strength::Nothing("this system has none that Kinora knows: it is there on Linux".to_owned())
}

#[cfg(test)]
mod tests {
    use super::Strength;

    #[test]
    fn a_strength_is_its_line() {
        for strength in [
            Strength::Full,
            Strength::Partial(vec!["no rules for files".to_owned(), "no limit on memory".to_owned()]),
            Strength::Nothing("old kernel".to_owned()),
        ] {
            assert_eq!(Strength::parse(&format!("{}\n", strength.line())), Some(strength));
        }
        assert_eq!(Strength::parse("ffmpeg version 5"), None);
    }
}
