//! What opens media is confined in every command, says so, and cannot reach what is not its own.
#![cfg(target_os = "linux")]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kinora_protocol::api::NewJob;
use kinora_protocol::job::JobPhase;
use kinora_protocol::node::Sandboxing;
use kinora_testkit::ffmpeg;
use support::cluster::{Hub, job};
use support::processes::children;
use support::{BINARY, PATIENCE, Place, eight, kinora, kinora_at, loud, run, short};

/// Whether this system has all of it; if not, that is said aloud.
fn there() -> Result<bool> {
    let told = run(kinora().args(["doctor", "--json"]))?.json()?;
    let state = told["system"]["sandbox"]["state"].as_str().unwrap_or_default().to_owned();
    if state != "full" {
        loud(&format!("SKIPPED: no sandbox here: {}", told["system"]["sandbox"]));
    }
    Ok(state == "full")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_programs_of_a_job_are_confined() -> Result<()> {
    if !there()? {
        return Ok(());
    }
    let place = Place::new()?;
    let hub = Hub::start_as(&place, &["--listen", "127.0.0.1:0", "--sandbox", "required"])?;
    hub.connected(1).await?;
    let nodes = hub.client.nodes().await?.items;
    ensure!(nodes.iter().all(|node| node.capabilities.sandbox == Sandboxing::Full), "{nodes:?}");
    let media = hub.upload(&eight()?).await?;
    let mut asked = NewJob::of(job(media).source);
    asked.recipe.video.preset = Some("veryslow".to_owned());
    let id = hub.client.submit(&asked, None).await?.id;
    let started = Instant::now();
    let process = loop {
        let mut running = children(hub.child.id())?.into_iter();
        if let Some(one) = running.find(|process| process.field("Name:") == "ffmpeg") {
            break one;
        }
        ensure!(started.elapsed() < PATIENCE, "no ffmpeg was seen");
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let confined = process.field("Seccomp:") == "2" && process.field("NoNewPrivs:") == "1";
    ensure!(confined, "{}", process.status);
    let first = std::fs::read_to_string(process.folder.join("oom_score_adj")).unwrap_or_default();
    ensure!(first.is_empty() || first.trim().parse::<i32>()? >= 500, "the hub would go before it: {first}");
    // It has nothing open of its parent's: no store, no socket.
    for open in std::fs::read_dir(process.folder.join("fd")).into_iter().flatten().flatten() {
        let Ok(target) = std::fs::read_link(open.path()) else { continue };
        let target = target.display().to_string();
        ensure!(!target.starts_with("socket:") && !target.contains("kinora.db"), "{target}");
    }
    let ended = hub.ends(id).await?;
    ensure!(ended.phase == JobPhase::Completed, "{ended:?}");
    let tasks = hub.client.tasks(id).await?.items;
    let attempts: Vec<_> = tasks.iter().flat_map(|task| &task.attempts).collect();
    ensure!(
        !attempts.is_empty() && attempts.iter().all(|a| a.sandbox.as_deref() == Some("full")),
        "{tasks:?}"
    );
    Ok(())
}

/// An ffmpeg that first writes where it may not and tells what it may not read. It starts nothing: what it uses is built into the shell.
fn greedy(place: &Place, canary: &Path) -> Result<PathBuf> {
    let real = ffmpeg::find("ffmpeg")?;
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *-version*|*-encoders*|*lavfi*) exec '{real}' \"$@\" ;; esac\n\
         echo was here >'{canary}'\nread -r line </etc/passwd && echo \"$line\" >>'{canary}'\nexec '{real}' \"$@\"\n",
        real = real.display(),
        canary = canary.display(),
    );
    std::fs::create_dir(place.at("tool"))?;
    let path = place.file("tool/ffmpeg", script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    std::os::unix::fs::symlink(ffmpeg::find("ffprobe")?, place.at("tool/ffprobe"))?;
    Ok(path)
}

#[test]
fn a_program_that_wants_more_gets_nothing() -> Result<()> {
    if !there()? {
        return Ok(());
    }
    for (mode, reaches) in [("required", false), ("off", true)] {
        let place = Place::new()?;
        wants_more(&place, mode, reaches, place.encode(&short()?, "o.mp4", &[]))?;
    }
    Ok(())
}

fn wants_more(place: &Place, mode: &str, reaches: bool, mut command: Command) -> Result<()> {
    let canary = place.at("canary");
    let tool = greedy(place, &canary)?;
    let made = run(command.args(["--sandbox", mode, "--ffmpeg"]).arg(&tool))?;
    ensure!(made.code == Some(0) && place.at("o.mp4").is_file(), "{mode}: {made:?}");
    let written = std::fs::read_to_string(&canary).unwrap_or_default();
    ensure!(written.contains("root:") == reaches && canary.exists() == reaches, "{mode}: {written:?}");
    Ok(())
}

/// Where tests run as root, one looks whether an ordinary user is as confined; elsewhere all of them do.
#[test]
fn an_ordinary_user_is_as_confined() -> Result<()> {
    if !(there()? && rustix::process::geteuid().is_root()) {
        return Ok(());
    }
    for (mode, reaches) in [("required", false), ("off", true)] {
        let place = Place::new()?;
        let (binary, film) = (place.at("kinora"), place.at("film.mp4"));
        // Where the sources lie may be closed to others.
        std::fs::copy(BINARY, &binary)?;
        std::fs::copy(short()?, &film)?;
        let all = std::fs::Permissions::from_mode(0o777);
        for path in [place.path(), &binary] {
            std::fs::set_permissions(path, all.clone())?;
        }
        let mut reached = kinora_at(&binary);
        let reached = reached.args(["probe", "--json"]).arg(&film).uid(NOBODY).gid(NOBODY).output();
        if !reached.as_ref().is_ok_and(|output| output.status.success()) {
            loud(&format!(
                "SKIPPED: an ordinary user reaches no ffmpeg or temporary folder here: {reached:?}"
            ));
            return Ok(());
        }
        let mut command = kinora_at(&binary);
        command.arg("encode").arg(&film).arg(place.at("o.mp4"));
        command.env("HOME", place.path()).uid(NOBODY).gid(NOBODY);
        wants_more(&place, mode, reaches, command)?;
        let made = std::fs::metadata(place.at("o.mp4"))?;
        ensure!(std::os::unix::fs::MetadataExt::uid(&made) == NOBODY, "{made:?}");
    }
    Ok(())
}

/// By convention.
const NOBODY: u32 = 65534;

#[test]
fn limits_are_told_by_their_name() -> Result<()> {
    if !there()? {
        return Ok(());
    }
    let place = Place::new()?;
    let source = eight()?;
    let flags = ["--codec", "ffv1", "--verify", "off", "--max-attempts", "1", "--sandbox-output", "200k"];
    let small = run(&mut place.encode(&source, "o.mkv", &flags))?;
    ensure!(small.code == Some(1) && small.stderr.contains("--sandbox-output"), "{small:?}");
    ensure!(!place.at("o.mkv").exists());
    // Nobody has a machine that does this in a second.
    let slowest = ["--encoder", "libaom-av1", "--preset", "0", "--max-attempts", "1"];
    let flags = [&slowest[..], &["--sandbox-cpu", "1"]].concat();
    let slow = run(&mut place.encode(&source, "o.mp4", &flags))?;
    ensure!(slow.code == Some(1) && slow.stderr.contains("--sandbox-cpu"), "{slow:?}");
    let flags = [&slowest[..], &["--sandbox-wall", "1"]].concat();
    let long = run(&mut place.encode(&source, "o.mp4", &flags))?;
    ensure!(long.code == Some(1) && long.stderr.contains("--sandbox-wall"), "{long:?}");
    let flags = ["--max-attempts", "1", "--sandbox-memory", "60M"];
    let poor = run(&mut place.encode(&source, "o.mp4", &flags))?;
    ensure!(poor.code == Some(1) && poor.stderr.contains("kinora:"), "{poor:?}");
    let odd = run(kinora().arg("doctor").env("KINORA_SANDBOX", "perhaps"))?;
    ensure!(odd.code == Some(1) && odd.stderr.contains("KINORA_SANDBOX"), "{odd:?}");
    Ok(())
}
