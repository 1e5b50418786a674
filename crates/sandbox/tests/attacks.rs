//! A program that wants out: every way that it tries is closed, and what it may do works.
#![cfg(target_os = "linux")]

use std::io::Read as _;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kinora_sandbox::{Limits, MARK, Policy, Strength};

const CONFINED: &str = env!("CARGO_BIN_EXE_confined");
const ATTACKER: &str = env!("CARGO_BIN_EXE_attacker");

/// Whether this system has all of it; if not, that is said aloud, and there is nothing to be tested.
fn there() -> Result<bool> {
    let checked = Command::new(CONFINED).arg(Policy::CHECK).output()?;
    let strength = Strength::parse(&String::from_utf8_lossy(&checked.stdout)).context("it says nothing")?;
    if strength != Strength::Full {
        eprintln!("KINORA TESTS: SKIPPED: no sandbox here: {}", strength.line());
    }
    Ok(strength == Strength::Full)
}

fn policy() -> Policy {
    let limits = Limits { memory: Some(1 << 30), ..Limits::default() };
    Policy { required: true, limits, ..Policy::default() }
}

fn confined(policy: &Policy, words: &[&str]) -> Command {
    let mut command = Command::new(CONFINED);
    command.args(policy.arguments()).arg(ATTACKER).args(words);
    command
}

/// What an attack said, and how it ended.
fn tried(policy: &Policy, words: &[&str]) -> Result<(String, Option<i32>)> {
    let output = confined(policy, words).stdin(Stdio::null()).output()?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((said.trim().to_owned(), output.status.signal()))
}

fn denied(policy: &Policy, words: &[&str]) -> Result<()> {
    let (said, signal) = tried(policy, words)?;
    ensure!(said.starts_with("denied ") && signal.is_none(), "{words:?}: {said} ({signal:?})");
    Ok(())
}

/// Outside the sandbox the same works: the attack is one.
fn works_outside(words: &[&str]) -> Result<()> {
    let output = Command::new(ATTACKER).args(words).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(said.starts_with("ESCAPED "), "{words:?} does not even work outside: {said}");
    Ok(())
}

#[test]
fn files_of_others() -> Result<()> {
    if !there()? {
        return Ok(());
    }
    let place = tempfile::tempdir()?;
    let at = |name: &str| place.path().join(name).display().to_string();
    for name in ["neighbour", "input", "output"] {
        std::fs::write(at(name), "a secret")?;
    }
    let policy = Policy { read: vec![at("input").into()], write: vec![at("output").into()], ..policy() };
    let folder = place.path().display().to_string();
    let other = format!("/proc/{}/environ", std::process::id());
    for target in ["/etc/passwd", "/etc/hostname", "/proc/1/cmdline", &other, &at("neighbour")] {
        works_outside(&["read", target])?;
        denied(&policy, &["read", target])?;
    }
    for target in ["/", "/etc", "/proc", "/home", &folder] {
        denied(&policy, &["list", target])?;
    }
    for attack in ["write", "append", "remove", "rename", "chmod", "cut"] {
        denied(&policy, &[attack, &at("neighbour")])?;
        denied(&policy, &[attack, &at("input")])?;
    }
    for attack in ["write", "mkdir", "link", "hardlink"] {
        denied(&policy, &[attack, &at("new")])?;
        denied(&policy, &[attack, "/usr/local/new"])?;
    }
    for attack in ["remove", "rename", "chmod"] {
        denied(&policy, &[attack, &at("output")])?;
    }
    // What it may do.
    for (words, what) in [(["read", &at("input")], "8 bytes"), (["write", &at("output")], "output")] {
        let (said, _) = tried(&policy, &words)?;
        ensure!(said.starts_with("ESCAPED") && said.contains(what), "{words:?}: {said}");
    }
    ensure!(std::fs::read(at("neighbour"))? == b"a secret" && std::fs::read(at("input"))? == b"a secret");
    ensure!(std::fs::read(at("output"))? == b"was here");
    let mut names: Vec<_> = std::fs::read_dir(place.path())?.flatten().map(|e| e.file_name()).collect();
    names.sort();
    ensure!(names == ["input", "neighbour", "output"], "{names:?}");
    Ok(())
}

/// What is beside a program is not its own, however the program is called.
#[test]
fn the_programs_neighbours() -> Result<()> {
    if !there()? {
        return Ok(());
    }
    let place = tempfile::tempdir()?;
    let program = place.path().join("tool");
    std::fs::copy(ATTACKER, &program)?;
    let secret = place.path().join("secret");
    std::fs::write(&secret, "hidden")?;
    for named in [
        program.clone(),
        place.path().join("./tool"),
        PathBuf::from("/usr/..").join(program.strip_prefix("/")?),
    ] {
        let mut command = Command::new(CONFINED);
        let output = command.args(policy().arguments()).arg(&named).arg("read").arg(&secret).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(said.starts_with("denied"), "{}: {said} {output:?}", named.display());
    }
    Ok(())
}

/// What somebody left open is closed.
#[test]
fn what_is_open_already() -> Result<()> {
    if !there()? {
        return Ok(());
    }
    let place = tempfile::tempdir()?;
    let secret = place.path().join("secret");
    std::fs::write(&secret, "hidden")?;
    // The shell opens it and starts the helper with it.
    let script = format!("exec 7<'{}'; exec \"$@\"", secret.display());
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh", CONFINED]).args(policy().arguments());
    let output = command.arg(ATTACKER).args(["inherited", "7"]).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(said.starts_with("denied"), "{said} {output:?}");
    let mut command = Command::new("sh");
    let outside = command.args(["-c", &script, "sh", ATTACKER, "inherited", "7"]).output()?;
    ensure!(String::from_utf8_lossy(&outside.stdout).starts_with("ESCAPED"), "{outside:?}");
    Ok(())
}

/// A name that leads elsewhere is not followed where something is written.
#[test]
fn outputs_that_are_links() -> Result<()> {
    if !there()? {
        return Ok(());
    }
    let place = tempfile::tempdir()?;
    let (target, link) = (place.path().join("precious"), place.path().join("output"));
    std::fs::write(&target, "precious")?;
    std::os::unix::fs::symlink(&target, &link)?;
    let policy = Policy { write: vec![link.clone()], ..policy() };
    let (said, _) = tried(&policy, &["write", &link.display().to_string()])?;
    ensure!(said.contains(MARK) && said.contains("symbolic links"), "{said}");
    ensure!(std::fs::read(&target)? == b"precious");
    Ok(())
}

#[test]
fn the_network() -> Result<()> {
    if !there()? {
        return Ok(());
    }
    let place = tempfile::tempdir()?;
    let tcp = TcpListener::bind("127.0.0.1:0")?;
    let udp = UdpSocket::bind("127.0.0.1:0")?;
    let path = place.path().join("socket");
    let unix = UnixListener::bind(&path)?;
    tcp.set_nonblocking(true)?;
    udp.set_nonblocking(true)?;
    unix.set_nonblocking(true)?;
    let (to_tcp, to_udp) = (tcp.local_addr()?.to_string(), udp.local_addr()?.to_string());
    let path = path.display().to_string();
    let policy = Policy { read: vec![place.path().to_owned()], ..policy() };
    let attacks: [&[&str]; 9] = [
        &["tcp", &to_tcp],
        &["udp", &to_udp],
        &["unix", &path],
        &["listen"],
        &["datagram"],
        &["pair"],
        &["netlink"],
        &["packet"],
        &["vsock"],
    ];
    for attack in attacks {
        denied(&policy, attack)?;
    }
    ensure!(tcp.accept().is_err() && unix.accept().is_err(), "somebody knocked");
    ensure!(udp.recv(&mut [0; 16]).is_err(), "something was sent");
    for attack in [["tcp", &to_tcp], ["udp", &to_udp], ["unix", &path]] {
        works_outside(&attack)?;
    }
    Ok(())
}

fn sleeper() -> Result<Child> {
    Ok(Command::new("sleep").arg("60").spawn()?)
}

#[test]
fn other_processes() -> Result<()> {
    if !there()? {
        return Ok(());
    }
    let mut neighbour = sleeper()?;
    let pid = neighbour.id().to_string();
    for attack in ["kill", "tgkill"] {
        denied(&policy(), &[attack, &pid])?;
    }
    for attack in
        ["fork", "shell", "setsid", "setpgid", "limits", "namespace", "ring", "terminal", "hidden", "owner"]
    {
        denied(&policy(), &[attack])?;
    }
    for attack in ["ptrace", "mount", "unshare", "bpf", "setuid", "peek"] {
        let (said, signal) = tried(&policy(), &[attack, &pid])?;
        ensure!(signal == Some(libc::SIGSYS) && !said.contains("ESCAPED"), "{attack}: {said} ({signal:?})");
    }
    let lives = neighbour.try_wait()?.is_none();
    neighbour.kill()?;
    neighbour.wait()?;
    ensure!(lives, "the neighbour is dead");
    let (said, _) = tried(&policy(), &["threads"])?;
    ensure!(said == "ESCAPED threads: 8", "{said}");
    Ok(())
}

#[test]
fn the_environment() -> Result<()> {
    if !there()? {
        return Ok(());
    }
    let mut command = confined(&policy(), &["environment", "SECRET_KEY"]);
    let output = command.env("SECRET_KEY", "hidden").output()?;
    ensure!(String::from_utf8_lossy(&output.stdout).starts_with("denied"), "{output:?}");
    let (said, _) = tried(&policy(), &["environment", "PATH"])?;
    ensure!(said.starts_with("ESCAPED"), "without PATH nothing is found: {said}");
    Ok(())
}

#[test]
fn more_than_there_is_for_it() -> Result<()> {
    if !there()? {
        return Ok(());
    }
    let place = tempfile::tempdir()?;
    let output = place.path().join("output");
    let limits = Limits { file_bytes: Some(8 << 20), open_files: Some(64), ..policy().limits };
    let policy = Policy { write: vec![output.clone()], limits, ..policy() };
    let gibibytes = (4_u64 << 30).to_string();
    denied(&policy, &["memory", &gibibytes])?;
    denied(&policy, &["files"])?;
    // Where it has no control group, each thread takes of what it may map.
    let limits = Limits { memory: Some(128 << 20), ..policy.limits };
    // One that has begun and is given no more stops all of them.
    let (said, signal) = tried(&Policy { limits, ..policy.clone() }, &["bomb", "100000"])?;
    ensure!(!said.contains("ESCAPED") && matches!(signal, None | Some(libc::SIGABRT)), "{said} ({signal:?})");
    let (said, signal) = tried(&policy, &["fill", &output.display().to_string()])?;
    ensure!(signal == Some(libc::SIGXFSZ) || said.starts_with("denied"), "{said} ({signal:?})");
    ensure!(std::fs::metadata(&output)?.len() <= 8 << 20);
    let limits = Limits { cpu_seconds: Some(1), ..policy.limits };
    let started = Instant::now();
    let (said, signal) = tried(&Policy { limits, ..policy }, &["spin"])?;
    ensure!(signal == Some(libc::SIGKILL) || signal == Some(libc::SIGXCPU), "{said} ({signal:?})");
    ensure!(started.elapsed() < Duration::from_secs(60), "it ran on for {:?}", started.elapsed());
    Ok(())
}

/// The helper is the program: a signal to the one ends the other.
#[test]
fn nothing_is_left_behind() -> Result<()> {
    if !there()? {
        return Ok(());
    }
    let mut child = confined(&policy(), &["stdin"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let status = Path::new("/proc").join(child.id().to_string()).join("status");
    let started = Instant::now();
    let text = loop {
        let text = std::fs::read_to_string(&status)?;
        if text.starts_with("Name:\tattacker") {
            break text;
        }
        ensure!(started.elapsed() < Duration::from_secs(30), "it does not become the program: {text}");
        std::thread::sleep(Duration::from_millis(10));
    };
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    ensure!(field("Seccomp:") == Some("2") && field("NoNewPrivs:") == Some("1"), "{text}");
    let permitted = u64::from_str_radix(field("CapPrm:").context("no capabilities")?, 16)?;
    // DAC_OVERRIDE and DAC_READ_SEARCH.
    ensure!(permitted & !0b110 == 0, "{text}");
    child.kill()?;
    child.wait()?;
    let mut said = String::new();
    child.stdout.take().context("no pipe")?.read_to_string(&mut said)?;
    ensure!(said.is_empty() && !status.exists(), "{said}");
    Ok(())
}

#[test]
fn what_cannot_be_started() -> Result<()> {
    for (words, reason) in [
        (vec!["--required", "--", "no-such-program"], "no such program in PATH"),
        (vec!["--", "/no/such/program"], "no such program"),
        (vec!["--read", "/no/such/input", "--", ATTACKER], "/no/such/input"),
        (vec!["--write", "/no/such/folder/output", "--", ATTACKER], "/no/such/folder/output"),
        (vec!["--colour", "red"], "is not a flag"),
        (vec!["--read", "/"], "no program is named"),
    ] {
        let output = Command::new(CONFINED).args(&words).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(126) && said.contains(reason), "{words:?}: {said}");
    }
    Ok(())
}
