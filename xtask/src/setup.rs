//! `cargo xtask setup`: finds what is missing on this machine and installs it with the system's package manager. What
//! to run is decided in [`packages`]; here it is shown and carried out.

use std::io::IsTerminal as _;
use std::process::Stdio;

use anyhow::{Result, bail};

use crate::{kinora, process};

mod packages;
mod system;

use packages::{OnFailure, Rights, Step, elevated};
pub use packages::{Tool, browser};

/// Arguments of `setup`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also build and install cargo-nextest and cargo-deny, which takes minutes.
    #[arg(long)]
    dev: bool,
    /// Also build Kinora, which takes minutes, and fetch ONNX Runtime for it, which runs models.
    #[arg(long)]
    models: bool,
}

/// Runs it.
pub fn run(args: &Args) -> Result<()> {
    ensure(&[Tool::Ffmpeg, Tool::Compiler, Tool::Rustfmt, Tool::Clippy])?;
    if args.dev {
        cargo_tool("cargo-nextest", &["nextest", "--version"])?;
        cargo_tool("cargo-deny", &["deny", "--version"])?;
    }
    if args.models {
        let program = kinora::build()?;
        process::run(&mut process::command(&program.to_string_lossy(), ["models", "setup"]))?;
    }
    if !ffmpeg_is_at_least(4, 4) {
        bail!("{} is too old: Kinora needs 4.4 or later", ffmpeg_version().unwrap_or_default());
    }
    eprintln!("setup: ready{}", ffmpeg_version().map(|v| format!(", {v}")).unwrap_or_default());
    Ok(())
}

/// Installs those of the tools that do not work here.
pub fn ensure(wanted: &[Tool]) -> Result<()> {
    let missing: Vec<Tool> = wanted.iter().copied().filter(|tool| !tool.works()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|tool| tool.what()).collect();
    eprintln!("setup: missing here: {}", names.join(", "));
    let os = system::detect();
    let steps = match packages::plan(&os, &missing) {
        Ok(steps) => steps,
        Err(why) => bail!("{why}\n{}", packages::by_hand(&os, &missing)),
    };
    let rights = rights();
    for step in &steps {
        if let Err(error) = carry_out(step, rights) {
            bail!("{error:#}\n{}", packages::by_hand(&os, &missing));
        }
    }
    match missing.iter().find(|tool| !tool.works()) {
        None => Ok(()),
        Some(tool) => bail!(
            "{} still does not work after the installation\n{}",
            tool.what(),
            packages::by_hand(&os, &[*tool])
        ),
    }
}

/// Builds and installs a cargo subcommand unless it is there.
pub fn cargo_tool(package: &str, probe: &[&str]) -> Result<()> {
    if process::works("cargo", probe) {
        return Ok(());
    }
    eprintln!("setup: building {package}; this takes some minutes");
    process::run(&mut process::command("cargo", ["install", package, "--locked"]))
}

fn carry_out(step: &Step, rights: Rights) -> Result<()> {
    let attempt = |line: &[&str]| -> Result<()> {
        let words = elevated(line, step.needs_root, rights).map_err(anyhow::Error::msg)?;
        let mut command = process::command(&words[0], &words[1..]);
        if std::io::stdin().is_terminal() {
            command.stdin(Stdio::inherit());
        }
        process::run(&mut command)
    };
    match (attempt(&step.line), &step.on_failure) {
        (Err(error), OnFailure::GoOn) => {
            eprintln!("setup: going on although {error:#}");
            Ok(())
        }
        (Err(error), OnFailure::Try(other)) => {
            eprintln!("setup: {error:#}; trying another package");
            attempt(other)
        }
        (result, _) => result,
    }
}

fn rights() -> Rights {
    let id = process::stdout_of(&mut process::command("id", ["-u"]));
    if id.is_ok_and(|id| id.trim() == "0") {
        Rights::Root
    } else if process::works("sudo", &["-V"]) {
        if std::io::stdin().is_terminal() { Rights::SudoAsking } else { Rights::SudoSilent }
    } else {
        Rights::None
    }
}

/// First line of `ffmpeg -version` up to the copyright.
pub fn ffmpeg_version() -> Option<String> {
    let text = process::stdout_of(&mut process::command("ffmpeg", ["-hide_banner", "-version"])).ok()?;
    let line = text.lines().next()?;
    Some(line.split(" Copyright").next().unwrap_or(line).to_owned())
}

/// Whether this ffmpeg is of that version or later; one that does not tell its version is built from the newest source.
pub fn ffmpeg_is_at_least(major: u32, minor: u32) -> bool {
    ffmpeg_version().as_deref().and_then(version_number).is_none_or(|version| version >= (major, minor))
}

fn version_number(line: &str) -> Option<(u32, u32)> {
    let word = line.split_whitespace().nth(2)?;
    let mut numbers = word.trim_start_matches('n').split(|c: char| !c.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    Some((major, numbers.next().and_then(|minor| minor.parse().ok()).unwrap_or(0)))
}

/// Whether this ffmpeg has an encoder of that name.
pub fn has_encoder(name: &str) -> bool {
    let list = process::stdout_of(&mut process::command("ffmpeg", ["-hide_banner", "-encoders"]));
    list.is_ok_and(|list| list.lines().any(|line| line.split_whitespace().nth(1) == Some(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        for (line, expected) in [
            ("ffmpeg version 5.1.9-0+deb12u1", Some((5, 1))),
            ("ffmpeg version 4.4.2-0ubuntu0.22.04.1", Some((4, 4))),
            ("ffmpeg version n8.0", Some((8, 0))),
            ("ffmpeg version 7", Some((7, 0))),
            ("ffmpeg version N-118193-g5f38c82536", None),
        ] {
            assert_eq!(version_number(line), expected, "{line}");
        }
    }
}
