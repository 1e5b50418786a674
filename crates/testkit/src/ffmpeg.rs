//! Starts ffmpeg and ffprobe for the testkit and reads what they print.
//!
//! It must not know what a clip or a comparison is, nor how the product spawns its own processes.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// How much of a failed command's stderr goes into the error.
const STDERR_TAIL: usize = 2000;

/// The first executable of this name in `PATH`.
pub fn find(tool: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").context("PATH is not set")?;
    let name = format!("{tool}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&path)
        .map(|folder| folder.join(&name))
        .find(|file| file.is_file())
        .with_context(|| format!("{tool} is not in PATH"))
}

/// An ffmpeg command that asks nothing and prints errors only.
pub fn ffmpeg() -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-y"]).stdin(Stdio::null());
    command
}

/// An ffprobe command that prints errors only.
pub fn ffprobe() -> Command {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error"]).stdin(Stdio::null());
    command
}

/// Runs to the end and gives stdout; the error carries the arguments, the exit status and the tail of stderr.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let shown = shown(command);
    let out = command.output().with_context(|| format!("cannot start {shown}"))?;
    if !out.status.success() {
        bail!("{shown} ended with {}: {}", out.status, tail(&out.stderr));
    }
    Ok(out.stdout)
}

/// `output` as JSON.
pub fn json(command: &mut Command) -> Result<serde_json::Value> {
    let shown = shown(command);
    let text = output(command)?;
    serde_json::from_slice(&text).with_context(|| format!("{shown} did not print JSON"))
}

/// First line of `ffmpeg -version`.
pub fn version() -> Result<String> {
    let text = output(Command::new("ffmpeg").arg("-version"))?;
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Names of the encoders that this ffmpeg was built with.
pub fn encoders() -> Result<Vec<String>> {
    let text = output(Command::new("ffmpeg").args(["-hide_banner", "-encoders"]))?;
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().filter_map(|line| line.split_whitespace().nth(1)).map(str::to_owned).collect())
}

/// A path as an argument that ffmpeg cannot take for an option or for a protocol.
pub fn file_arg(path: &Path) -> std::ffi::OsString {
    let mut arg = std::ffi::OsString::from("file:");
    arg.push(path);
    arg
}

fn shown(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    words.join(" ")
}

fn tail(stderr: &[u8]) -> String {
    let from = stderr.len().saturating_sub(STDERR_TAIL);
    String::from_utf8_lossy(&stderr[from..]).trim().to_owned()
}
