//! The examples in four languages do what they say: each one's result is a whole film of the preset.
#![cfg(unix)]

mod support;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use support::cluster::{Hub, local_key};
use support::{Place, decoded, eight, finish, kinora, loud, video_entry};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn does_what_it_says(mut program: Command) -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::start_as(&place, &["--listen", "127.0.0.1:0"])?;
    // A hub with users: with the key of one who may do just this.
    let ask = |words: &[&str]| {
        let mut command = kinora();
        command.env("KINORA_KEY", local_key(&place).unwrap_or_default()).args(words);
        command.args(["--hub", &hub.address, "--json"]).stdin(Stdio::piped());
        let mut child = command.spawn()?;
        // Not every command reads it.
        let _ = child.stdin.take().context("no input")?.write_all(b"ten characters");
        finish(child)?.done()
    };
    ask(&["users", "add", "ada", "--role", "admin", "--password-stdin"])?;
    ask(&["users", "add", "emil", "--role", "editor", "--password-stdin"])?;
    let made = ask(&["keys", "new", "example", "--user", "emil", "--scopes", "jobs:write,media:write"])?;
    program.env("KINORA_KEY", made["key"].as_str().context("no key")?);
    let (source, result) = (eight()?, place.at("result.mp4"));
    let ended =
        program.arg(&hub.address).arg(&source).arg(&result).output().context("it cannot be started")?;
    ensure!(ended.status.success(), "{ended:?}");
    let frames = (decoded(&source)?.len(), decoded(&result)?.len());
    ensure!(frames.0 == frames.1, "{frames:?}");
    let codec = video_entry(&result, "codec_name")?;
    ensure!(codec == "h264", "{codec}");
    Ok(())
}

/// Whether a program is there; said when not.
fn there(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success());
    if !there {
        loud(&format!("SKIPPED: an example: no {program}"));
    }
    there
}

#[test]
fn rust() -> Result<()> {
    let program = Path::new(env!("CARGO_BIN_EXE_kinora")).with_file_name("examples").join("submit");
    if !program.exists() {
        loud("SKIPPED: the Rust example is not built; `cargo xtask test` without further words does it");
        return Ok(());
    }
    does_what_it_says(Command::new(program))
}

#[test]
fn shell() -> Result<()> {
    if !there("curl") {
        return Ok(());
    }
    does_what_it_says(Command::new(root().join("examples/submit.sh")))
}

#[test]
fn python() -> Result<()> {
    if !there("python3") {
        return Ok(());
    }
    does_what_it_says(Command::new(root().join("examples/submit.py")))
}

#[test]
fn typescript() -> Result<()> {
    let program = root().join("web/built/examples/submit.js");
    if !program.exists() {
        loud("SKIPPED: the TypeScript example is not built; `cargo xtask test` does it");
        return Ok(());
    }
    let mut node = Command::new("node");
    node.arg(program);
    does_what_it_says(node)
}
