//! Whether the programs that open media are confined, and to what. How that is done is in `kinora_sandbox`; what a program touches, in
//! its command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use kinora_protocol::node::Sandboxing;
use kinora_sandbox::{Branch, Exceeded, Group, Limits, NoBranch, Policy, Room, Strength, WORD};

use crate::command::Line;
use crate::error::MediaError;
use crate::process::{self, Control, Invocation, LineMeans};

/// How long the helper may take to say what it can do.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// Whether programs are to be confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Always, as far as the configuration goes; where the system cannot, nothing is run.
    Required,
    /// As far as the system can.
    Auto,
    /// Not at all.
    Off,
}

/// How programs are confined here.
#[derive(Debug, Clone)]
pub struct Sandbox {
    helper: Option<PathBuf>,
    required: bool,
    limits: Limits,
    wall: Option<Duration>,
    read: Vec<PathBuf>,
    state: Sandboxing,
    /// Why there are none, else.
    groups: Result<Groups, NoBranch>,
}

/// Control groups for programs, and what each may use.
#[derive(Debug, Clone)]
struct Groups {
    branch: Arc<Branch>,
    room: Room,
}

/// What is started in a program's place: the helper, with what the program may touch, and the program.
pub(crate) struct Around<'a> {
    pub(crate) helper: &'a Path,
    pub(crate) words: Vec<OsString>,
    /// Lives as long as the program.
    pub(crate) group: Option<Group<'a>>,
}

/// What is known of a program that has ended.
pub(crate) struct Ended<'a> {
    pub(crate) status: ExitStatus,
    /// Its last words.
    pub(crate) tail: &'a str,
    /// As of a moment before its end.
    pub(crate) cpu_seconds: f64,
    /// What its control group had no more of.
    pub(crate) exceeded: Option<Exceeded>,
}

impl Sandbox {
    /// Nothing is confined.
    pub fn off(reason: impl Into<String>) -> Self {
        Self::new(None, false, Limits::default(), Sandboxing::Off { reason: reason.into() })
    }

    fn new(helper: Option<PathBuf>, required: bool, limits: Limits, state: Sandboxing) -> Self {
        let groups = Err(NoBranch::NotGiven("programs are not confined, or not by all there is".to_owned()));
        Self { helper, required, limits, wall: None, read: Vec::new(), state, groups }
    }

    /// Asks `helper`, a binary that enters the sandbox when its first argument is [`WORD`], what this system can do.
    ///
    /// # Errors
    /// When a sandbox is required and not all of it is there.
    pub async fn find(mode: Mode, limits: Limits, helper: &Path) -> Result<Self, MediaError> {
        if mode == Mode::Off {
            return Ok(Self::off("it was switched off"));
        }
        let required = mode == Mode::Required;
        let state = match strength(helper).await {
            Strength::Full => Sandboxing::Full,
            Strength::Partial(missing) => Sandboxing::Partial { missing },
            Strength::Nothing(reason) => Sandboxing::Off { reason },
        };
        let helper = match &state {
            Sandboxing::Full => Some(helper.to_owned()),
            weaker if required => {
                return Err(MediaError::Sandbox {
                    what: "--sandbox required".to_owned(),
                    reason: format!("this system does not give all of it: {}", weaker.words()),
                });
            }
            Sandboxing::Partial { .. } => Some(helper.to_owned()),
            Sandboxing::Off { .. } => None,
        };
        Ok(Self::new(helper, required, limits, state))
    }

    /// The same with a limit on how long a program runs, however much it moves. It holds without a sandbox, too.
    pub fn ends_after(self, wall: Duration) -> Self {
        Self { wall: Some(wall), ..self }
    }

    /// The same with more files or folders that all programs may read.
    pub fn reads(self, more: &[PathBuf]) -> Self {
        Self { read: more.to_vec(), ..self }
    }

    /// The same with a control group for each program, where the system has given this process some: it moves into one below its own.
    pub fn grouped(self, room: Room) -> Self {
        // Programs that reach the files of their groups set their bounds themselves.
        if self.state != Sandboxing::Full {
            return self;
        }
        let groups = Branch::take().map(|branch| Groups { branch: Arc::new(branch), room });
        Self { groups, ..self }
    }

    /// Whether each program has a control group, else why not.
    pub fn groups(&self) -> Result<(), &NoBranch> {
        self.groups.as_ref().map(|_| ())
    }

    pub(crate) fn wall(&self) -> Option<Duration> {
        self.wall
    }

    /// What is confined, to be shown.
    pub fn state(&self) -> &Sandboxing {
        &self.state
    }

    /// What is started in a program's place, if anything.
    pub(crate) fn around(&self, program: &Path, line: &Line) -> Option<Around<'_>> {
        let helper = self.helper.as_deref()?;
        let group = self.groups.as_ref().ok().and_then(|all| {
            let made = all.branch.group(all.room);
            // What it may map is bounded without one, too.
            made.inspect_err(|error| tracing::warn!("ffmpeg runs without a control group: {error}")).ok()
        });
        // Drivers map more than there is.
        let memory = self.limits.memory.filter(|_| !line.hardware);
        let policy = Policy {
            read: [self.read.as_slice(), &line.reads].concat(),
            write: line.writes.clone(),
            hardware: line.hardware,
            limits: Limits { memory, ..self.limits },
            group: group.as_ref().map(|group| group.folder().to_owned()),
            required: self.required,
        };
        let mut words = vec![OsString::from(WORD)];
        words.extend(policy.arguments());
        words.push(program.into());
        words.extend_from_slice(line);
        Some(Around { helper, words, group })
    }

    /// Why a program ended, if that was not its own doing: the helper's last words, or what the system ended it for.
    pub(crate) fn reason(&self, ended: &Ended<'_>) -> Option<String> {
        self.helper.as_ref()?;
        let Ended { status, tail, cpu_seconds, exceeded } = *ended;
        if status.code() == Some(i32::from(kinora_sandbox::FAILED)) {
            return tail.lines().find_map(|line| line.strip_prefix(kinora_sandbox::MARK)).map(str::to_owned);
        }
        let said = tail.to_lowercase();
        let no_memory =
            said.contains("cannot allocate memory") || (said.contains("alloc") && said.contains("fail"));
        // ffmpeg says the same of too many streams.
        let no_space = self.limits.memory.is_some() && no_memory && !said.contains("max_streams");
        if exceeded == Some(Exceeded::Memory) || no_space {
            return Some("it asked for more memory than it may (--sandbox-memory)".to_owned());
        }
        if exceeded == Some(Exceeded::Threads) && status.code().is_some() {
            return Some("it wanted more threads than it may have".to_owned());
        }
        // It was last looked at a moment before its end.
        let used_up = self.limits.cpu_seconds.is_some_and(|limit| cpu_seconds * 2.0 >= limit as f64);
        let reason = match end_of(status)? {
            End::Call => "it made a system call that no decoder makes, and was stopped",
            End::Output => "it wrote more than it may (--sandbox-output)",
            End::Killed if used_up => "it used more processor time than it may (--sandbox-cpu)",
            End::Killed => return None,
        };
        Some(reason.to_owned())
    }
}

/// What the system ends a program for.
enum End {
    Call,
    Output,
    Killed,
}

#[cfg(target_os = "linux")]
fn end_of(status: ExitStatus) -> Option<End> {
    use rustix::process::Signal;
    use std::os::unix::process::ExitStatusExt as _;
    match Signal::from_named_raw(status.signal()?)? {
        Signal::SYS => Some(End::Call),
        Signal::XFSZ => Some(End::Output),
        Signal::KILL => Some(End::Killed),
        _ => None,
    }
}

#[cfg(not(target_os = "linux"))]
fn end_of(_status: ExitStatus) -> Option<End> {
    None
}

async fn strength(helper: &Path) -> Strength {
    let mut args = crate::command::Args::default();
    args.words([WORD, Policy::CHECK]);
    let what = "looking for a sandbox".to_owned();
    let invocation = Invocation { what, program: helper.to_owned(), line: args.finish(), sandbox: None };
    let mut found = None;
    let asked = process::run_lines(&invocation, &Control::quiet(ANSWER_LIMIT), |line| {
        found = found.take().or_else(|| Strength::parse(line));
        LineMeans::Nothing
    })
    .await;
    match asked {
        Ok(_) => found.unwrap_or_else(|| Strength::Nothing("the helper says nothing of it".to_owned())),
        Err(error) => Strength::Nothing(format!("the helper cannot be started: {error}")),
    }
}
