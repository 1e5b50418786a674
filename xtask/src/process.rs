//! Running programs: shown before they start, their exit status kept. Knows nothing about what they do.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// A program that ended badly.
#[derive(Debug)]
pub struct Failed {
    /// What was run.
    pub line: String,
    /// Its exit code, 1 when it died of a signal.
    pub code: u8,
    /// Whether the user has already been told, so that nothing needs to follow.
    pub told: bool,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ended with status {}", self.line, self.code)
    }
}

impl std::error::Error for Failed {}

/// A command from words; its stdin is closed, so that nothing waits for a key.
pub fn command<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    command
}

/// The command as one would type it.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted = words.map(|word| quote(&word.to_string_lossy()));
    quoted.collect::<Vec<_>>().join(" ")
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:+,@%^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Shows the command, runs it with this process's output, and fails when it does.
pub fn run(command: &mut Command) -> Result<()> {
    eprintln!("$ {}", shown(command));
    let _ = std::io::stderr().flush();
    let status = command.status().with_context(|| format!("cannot run `{}`", shown(command)))?;
    if status.success() { Ok(()) } else { Err(failed(command, status.code()).into()) }
}

/// Marks a program's failure as one that the user has already read about, so that nothing is printed after the last line
/// of whatever ran last.
pub fn already_told(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Failed>() {
        Ok(failed) => Failed { told: true, ..failed }.into(),
        Err(other) => other,
    }
}

fn failed(command: &Command, code: Option<i32>) -> Failed {
    let code = code.and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(1);
    Failed { line: shown(command), code, told: false }
}

/// Runs quietly and returns what it wrote to stdout; an error carries the end of its stderr.
pub fn stdout_of(command: &mut Command) -> Result<String> {
    let (stdout, _) = output_of(command)?;
    Ok(stdout)
}

/// Runs quietly and returns stdout and stderr; an error carries the end of its stderr.
pub fn output_of(command: &mut Command) -> Result<(String, String)> {
    let output = command.output().with_context(|| format!("cannot run `{}`", shown(command)))?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        bail!("{}\n{}", failed(command, output.status.code()), last_lines(&stderr, 12));
    }
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), stderr))
}

/// Runs with stderr as it is and returns stdout.
pub fn stdout_and_progress(command: &mut Command) -> Result<String> {
    eprintln!("$ {}", shown(command));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
    let child = child.with_context(|| format!("cannot run `{}`", shown(command)))?;
    let output = child.wait_with_output().with_context(|| format!("lost `{}`", shown(command)))?;
    if !output.status.success() {
        return Err(failed(command, output.status.code()).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How long the closure took, with its value.
pub fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    let value = work()?;
    Ok((value, start.elapsed()))
}

/// Whether the program exists and exits with 0 for these arguments.
pub fn works(program: &str, args: &[&str]) -> bool {
    let status = command(program, args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let shown = shown(&command("ffmpeg", ["-i", "a b.mp4", "", "it's", "-crf", "23"]));
        assert_eq!(shown, r"ffmpeg -i 'a b.mp4' '' 'it'\''s' -crf 23");
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        assert_eq!(last_lines("a\nb\nc", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
    }

    #[test]
    fn an_absent_program_does_not_work() {
        assert!(!works("no-such-program-anywhere", &["--version"]));
    }
}
