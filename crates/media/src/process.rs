//! The only place that spawns programs. It gives progress, cancels within two seconds (the whole process group), keeps the
//! end of standard error, stops a program that makes no progress, and lets none outlive Kinora. It must not know what a
//! program is run for.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use kinora_protocol::node::Progress;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::command::Line;
use crate::error::MediaError;
use crate::sandbox::{Around, Ended, Sandbox};
use ending::{Stop, failed, stopped, unusable};

mod chain;
mod ending;
mod lines;

use chain::{Fed, Takes};
pub use chain::{Work, chain, taken};
use lines::{Lines, Report};

/// How long a program may take to obey a TERM before it gets a KILL.
const TERM_GRACE: Duration = Duration::from_millis(1000);
/// How often it is looked whether a program has ended without closing its output.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const TAIL_LINES: usize = 40;
const TAIL_LINE_BYTES: usize = 400;

/// Called with each progress report.
pub type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// What the one who started the work keeps in hand.
#[derive(Clone)]
pub struct Control {
    /// Stops the program.
    pub cancel: CancellationToken,
    /// Hears of progress.
    pub progress: OnProgress,
    /// A program that makes no progress for so long is stopped.
    pub stall: Duration,
}

impl Control {
    /// Nobody listens and nobody cancels.
    pub fn quiet(stall: Duration) -> Self {
        Self { cancel: CancellationToken::new(), progress: Arc::new(|_| ()), stall }
    }
}

/// A program with its arguments. No shell is involved.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// What it is run for, for messages.
    pub what: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments, and what of them are files.
    pub line: Line,
    /// What it is confined by.
    pub sandbox: Option<Arc<Sandbox>>,
}

/// A program that ended well.
#[derive(Debug, Clone, Default)]
pub struct Finished {
    /// Processor seconds, where the system tells.
    pub cpu_seconds: f64,
    /// End of standard error: warnings of a run that succeeded.
    pub tail: String,
    /// Bytes that ffmpeg says it wrote to its first output.
    pub written: Option<u64>,
}

/// Runs a program whose standard output is ffmpeg's `-progress` report.
///
/// # Errors
/// See [`MediaError`]; a cancelled run leaves no process behind.
pub async fn run(invocation: &Invocation, control: &Control) -> Result<Finished, MediaError> {
    let mut report = Report::to(control);
    let finished = run_into(invocation, control, None, &mut report).await?;
    Ok(Finished { written: report.end().written, ..finished })
}

/// Whether what was read shows that the program is alive and moving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineMeans {
    /// It moves.
    Movement,
    /// It says nothing new.
    Nothing,
}

/// Runs a program and hands over each line of its standard output.
///
/// # Errors
/// See [`run`].
pub async fn run_lines(
    invocation: &Invocation,
    control: &Control,
    on_line: impl FnMut(&str) -> LineMeans + Send,
) -> Result<Finished, MediaError> {
    let mut lines = Lines::to(on_line);
    let finished = run_into(invocation, control, None, &mut lines).await?;
    lines.end();
    Ok(finished)
}

/// Runs a program and hands over its standard output as it comes.
///
/// # Errors
/// See [`run`].
pub async fn run_bytes(
    invocation: &Invocation,
    control: &Control,
    mut on_bytes: impl FnMut(&[u8]) -> LineMeans + Send,
) -> Result<Finished, MediaError> {
    run_into(invocation, control, None, &mut on_bytes).await
}

/// Runs a program that is given bytes on its standard input, if there are any to give.
async fn run_into(
    invocation: &Invocation,
    control: &Control,
    input: Option<tokio::sync::mpsc::Receiver<Vec<u8>>>,
    takes: &mut impl Takes,
) -> Result<Finished, MediaError> {
    if control.cancel.is_cancelled() {
        return Err(MediaError::Cancelled { what: invocation.what.clone() });
    }
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut group = spawn(invocation, stdin).await?;
    let fed = input.zip(group.child.stdin.take()).map(|(input, pipe)| Fed::by(input, pipe));
    let tail = Arc::new(Mutex::new(VecDeque::new()));
    let stderr_done =
        group.child.stderr.take().map(|pipe| tokio::spawn(collect_tail(pipe, Arc::clone(&tail))));
    let Some(stdout) = group.child.stdout.take() else {
        return Err(unusable(invocation, "its output cannot be read"));
    };
    let wall = invocation.sandbox.as_ref().and_then(|sandbox| sandbox.wall());
    let mut reading = Reading {
        takes,
        deadline: Instant::now() + control.stall,
        ends_by: wall.and_then(|wall| Instant::now().checked_add(wall)),
        cpu_seconds: 0.0,
        bytes_read: 0,
        fed: fed.as_ref(),
    };
    let end = match reading.read(stdout, &group, control).await {
        Some(stop) => End::Stopped(stop),
        None => group.end(control).await,
    };
    if let End::Stopped(_) = end {
        let _ = group.stop().await;
    }
    if let Some(done) = stderr_done {
        // A grandchild may hold the pipe open: do not wait for it for long.
        let _ = tokio::time::timeout(Duration::from_millis(500), done).await;
    }
    let tail = text_of(&tail);
    match end {
        End::Stopped(stop) => Err(stopped(invocation, control, stop, tail)),
        End::Exited(Ok(status)) if status.success() => {
            Ok(Finished { cpu_seconds: reading.cpu_seconds, tail, written: None })
        }
        End::Exited(Ok(status)) => {
            let exceeded = group.confines.as_ref().and_then(kinora_sandbox::Group::exceeded);
            let ended = Ended { status, tail: &tail, cpu_seconds: reading.cpu_seconds, exceeded };
            Err(failed(invocation, &ended))
        }
        End::Exited(Err(error)) => Err(unusable(invocation, &error.to_string())),
    }
}

enum End {
    Exited(std::io::Result<ExitStatus>),
    Stopped(Stop),
}

/// Standard output being read, with the clock that a moving program winds up.
struct Reading<'a, T> {
    takes: &'a mut T,
    deadline: Instant,
    /// However much it moves.
    ends_by: Option<Instant>,
    cpu_seconds: f64,
    bytes_read: u64,
    fed: Option<&'a Fed>,
}

impl<T: Takes> Reading<'_, T> {
    /// Reads to the end (`None`), or until the program has to be stopped.
    async fn read(
        &mut self,
        mut stdout: impl AsyncRead + Unpin,
        group: &Group<'_>,
        control: &Control,
    ) -> Option<Stop> {
        let mut piece = vec![0; 1 << 16];
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut silent_since_its_end = false;
        loop {
            let read = tokio::select! {
                biased;
                () = control.cancel.cancelled() => return Some(Stop::Cancelled),
                () = tokio::time::sleep_until(self.deadline) => return Some(Stop::Stalled),
                read = stdout.read(&mut piece) => read,
                // A grandchild may hold the pipe open after the program itself has ended. What the program wrote last may
                // still be on its way: only a second look without a word in between counts.
                _ = look.tick() => {
                    if self.ends_by.is_some_and(|end| Instant::now() >= end) {
                        return Some(Stop::TooLong);
                    }
                    self.wind_up_if_it_reads(group, control);
                    self.cpu_seconds = group.cpu_seconds().unwrap_or(self.cpu_seconds);
                    match (group.has_ended(), silent_since_its_end) {
                        (true, true) => Ok(0),
                        (ended, _) => {
                            silent_since_its_end = ended;
                            continue;
                        }
                    }
                },
            };
            let Ok(length @ 1..) = read else {
                // Between its last word and its being waited for, the system still knows what it used.
                self.cpu_seconds = group.cpu_seconds().unwrap_or(self.cpu_seconds);
                return None;
            };
            silent_since_its_end = false;
            let taken = tokio::select! {
                taken = self.takes.take(piece.get(..length).unwrap_or_default()) => taken,
                // Who takes it may be busy for long.
                () = control.cancel.cancelled() => return Some(Stop::Cancelled),
            };
            if taken == LineMeans::Movement {
                self.deadline = Instant::now() + control.stall;
            }
        }
    }
}

fn text_of(tail: &Mutex<VecDeque<String>>) -> String {
    let lines = tail.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    lines.iter().cloned().collect::<Vec<_>>().join("\n")
}

async fn collect_tail(pipe: impl AsyncRead + Unpin, tail: Arc<Mutex<VecDeque<String>>>) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while let Ok(1..) = reader.read_until(b'\n', &mut line).await {
        line.truncate(TAIL_LINE_BYTES);
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        let mut lines = tail.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(text);
    }
}

impl<T> Reading<'_, T> {
    /// Decoding up to a late chunk, or moving the index of a large file to its front, says nothing for minutes; but a program
    /// that still reads is alive.
    fn wind_up_if_it_reads(&mut self, group: &Group<'_>, control: &Control) {
        if self.fed.is_some_and(Fed::waits) {
            self.deadline = Instant::now() + control.stall;
        }
        let read = self.fed.map(Fed::bytes).or_else(|| group.bytes_read());
        if let Some(read) = read.filter(|read| *read != self.bytes_read) {
            self.bytes_read = read;
            self.deadline = Instant::now() + control.stall;
        }
    }
}

/// A process group; dropping it kills what is left of it.
struct Group<'a> {
    child: Child,
    /// The control group, which goes when the processes are gone.
    confines: Option<kinora_sandbox::Group<'a>>,
    #[cfg(unix)]
    leader: Option<rustix::process::Pid>,
}

impl<'a> Group<'a> {
    fn new(child: Child, confines: Option<kinora_sandbox::Group<'a>>) -> Self {
        #[cfg(unix)]
        let leader =
            child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        Self {
            child,
            confines,
            #[cfg(unix)]
            leader,
        }
    }

    /// It closed its output; a program that then never exits is as stuck as one that never writes.
    async fn end(&mut self, control: &Control) -> End {
        tokio::select! {
            status = self.child.wait() => return End::Exited(status),
            () = control.cancel.cancelled() => {}
            () = tokio::time::sleep(control.stall) => return End::Stopped(Stop::Stalled),
        }
        // How it ends by itself tells more.
        match tokio::time::timeout(LOOK_EVERY, self.child.wait()).await {
            Ok(status) => End::Exited(status),
            Err(_) => End::Stopped(Stop::Cancelled),
        }
    }

    async fn stop(&mut self) -> std::io::Result<ExitStatus> {
        self.terminate();
        if let Ok(status) = tokio::time::timeout(TERM_GRACE, self.child.wait()).await {
            return status;
        }
        self.kill();
        self.child.wait().await
    }

    #[cfg(unix)]
    fn terminate(&mut self) {
        if let Some(leader) = self.leader {
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::TERM);
        }
    }

    #[cfg(unix)]
    fn kill(&mut self) {
        if let Some(leader) = self.leader {
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }

    #[cfg(not(unix))]
    fn terminate(&mut self) {
        let _ = self.child.start_kill();
    }

    #[cfg(not(unix))]
    fn kill(&mut self) {
        let _ = self.child.start_kill();
    }

    /// Whether the leader has ended. It is not reaped: its processor time can still be read.
    #[cfg(unix)]
    fn has_ended(&self) -> bool {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let only_look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.leader.is_some_and(|pid| matches!(waitid(WaitId::Pid(pid), only_look), Ok(Some(_))))
    }

    #[cfg(not(unix))]
    fn has_ended(&self) -> bool {
        false
    }

    /// Bytes that the leader has read so far (Linux; elsewhere unknown).
    fn bytes_read(&self) -> Option<u64> {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.child.id()?)).ok()?;
        io.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok())
    }

    /// User and system time of the leader so far (Linux; elsewhere unknown).
    fn cpu_seconds(&self) -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()?)).ok()?;
        let after_name = stat.rsplit_once(')')?.1;
        let mut fields = after_name.split_ascii_whitespace().skip(11);
        let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
        // USER_HZ is 100 on every Linux that Rust supports.
        Some(ticks as f64 / 100.0)
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        // The leader may be gone while something that it forked lives on in the group.
        self.kill();
    }
}

/// What the spawner thread is asked for.
struct Request {
    command: std::process::Command,
    runtime: tokio::runtime::Handle,
    answer: oneshot::Sender<std::io::Result<Child>>,
}

/// All programs are started by one thread that lives as long as the process: Linux ties the "kill me when my parent dies"
/// request to the thread that forked, and the threads of an async runtime come and go.
fn spawner() -> &'static mpsc::Sender<Request> {
    static SPAWNER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    SPAWNER.get_or_init(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        std::thread::spawn(move || {
            for request in requests {
                let _context = request.runtime.enter();
                let _ = request.answer.send(Command::from(request.command).spawn());
            }
        });
        sender
    })
}

async fn spawn(invocation: &Invocation, stdin: Stdio) -> Result<Group<'_>, MediaError> {
    let Invocation { what, program, line, sandbox } = invocation;
    tracing::trace!(what, program = %program.display(), args = ?line, "runs");
    let (mut command, confines) = match sandbox.as_ref().and_then(|sandbox| sandbox.around(program, line)) {
        Some(Around { helper, words, group }) => {
            let mut command = std::process::Command::new(helper);
            command.args(words);
            (command, group)
        }
        None => {
            let mut command = std::process::Command::new(program);
            command.args(line.iter());
            (command, None)
        }
    };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Messages are matched on and shown: they must not depend on the user's language.
    command.env("LC_ALL", "C").env_remove("FFREPORT").env_remove("AV_LOG_FORCE_COLOR");
    for secret in kinora_protocol::SECRETS {
        command.env_remove(secret);
    }
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    die_with_parent(&mut command);
    let (answer, answered) = oneshot::channel();
    let request = Request { command, runtime: tokio::runtime::Handle::current(), answer };
    let gone = || unusable(invocation, "the thread that starts programs is gone");
    spawner().send(request).map_err(|_| gone())?;
    let child = answered.await.map_err(|_| gone())?.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            MediaError::ToolMissing { program: invocation.program.display().to_string() }
        }
        _ => unusable(invocation, &error.to_string()),
    })?;
    Ok(Group::new(child, confines))
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "pre_exec is unsafe; the closure makes one async-signal-safe system call")]
fn die_with_parent(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt as _;
    // SAFETY: between fork and exec only prctl(2) is called; nothing is allocated or locked.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            Ok(())
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_command: &mut std::process::Command) {}
