//! What is in `deploy/` fits the program: flags that it has, units that systemd takes, and a hub that says when it is ready.
#![cfg(target_os = "linux")]

mod support;

use std::os::unix::net::UnixDatagram;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use support::cluster::Hub;
use support::{PATIENCE, Place, deploy, kinora, loud, run, signal};

/// Whether these are arguments that it takes: help is printed only when all before it is right.
fn takes(arguments: &[String]) -> Result<()> {
    let answer = run(kinora().args(arguments).arg("--help"))?;
    ensure!(answer.code == Some(0) && answer.stdout.contains("Usage: kinora"), "{arguments:?}: {answer:?}");
    Ok(())
}

#[test]
fn units_and_images_name_flags_that_there_are() -> Result<()> {
    for unit in ["hub", "worker"] {
        let text = std::fs::read_to_string(deploy(&format!("systemd/kinora-{unit}.service")))?;
        let start = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).context("no ExecStart")?;
        let words = start.split(' ').skip(1).filter(|word| !word.starts_with("$KINORA"));
        takes(
            &words
                .map(|word| {
                    word.replace("${KINORA_HUB}", "http://127.0.0.1:8000")
                        .replace("${KINORA_LISTEN}", "0.0.0.0:8000")
                })
                .collect::<Vec<_>>(),
        )?;
    }
    let text = std::fs::read_to_string(deploy("docker/Dockerfile"))?;
    let list = text.lines().find_map(|line| line.strip_prefix("CMD ")).context("no CMD")?;
    takes(&serde_json::from_str::<Vec<String>>(list)?)?;
    for file in ["compose.yml", "compose.worker.yml"] {
        let text = std::fs::read_to_string(deploy(&format!("docker/{file}")))?;
        let from = text.split("    command:\n").nth(1).context("no command")?;
        let words: Vec<String> = from
            .lines()
            .map_while(|line| line.strip_prefix("      - "))
            .map(|word| match word.split_once("=${") {
                Some((flag, _)) => format!("{flag}=http://127.0.0.1:8000"),
                None => word.to_owned(),
            })
            .collect();
        ensure!(words.len() > 3, "{file}: {words:?}");
        takes(&words)?;
    }
    Ok(())
}

/// Exposure to the rest of the machine as systemd counts it, from 0 (none) to 10.
const MOST_EXPOSED: &str = "20";

#[test]
fn systemd_takes_the_units_and_finds_them_closed() -> Result<()> {
    let place = Place::new()?;
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        loud("SKIPPED: systemd-analyze is not installed (Debian: systemd): units are not looked at");
        return Ok(());
    }
    for unit in ["kinora-hub.service", "kinora-worker.service"] {
        let text = std::fs::read_to_string(deploy("systemd").join(unit))?;
        // The program is elsewhere here.
        let here = text.replace("/usr/local/bin/kinora", env!("CARGO_BIN_EXE_kinora"));
        let path = place.file(unit, here)?;
        let ended = Command::new("systemd-analyze").arg("verify").arg(&path).output()?;
        let said = String::from_utf8_lossy(&ended.stderr);
        // An older systemd does not know all that we ask for, which is said and does no harm.
        ensure!(ended.status.success(), "{said}");
        let mut closed = Command::new("systemd-analyze");
        closed.args(["security", "--offline=yes", "--no-pager", "--threshold", MOST_EXPOSED]).arg(&path);
        let ended = closed.output()?;
        let said =
            String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
        if said.contains("unrecognized option") {
            loud("SKIPPED: this systemd-analyze is too old to look at a file");
            return Ok(());
        }
        ensure!(ended.status.success(), "{said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_started_a_hub_hears_when_it_is_ready_and_when_it_stops() -> Result<()> {
    let place = Place::new()?;
    let path = place.at("notify");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let hear = || -> Result<String> {
        let mut bytes = [0; 4096];
        let length = socket.recv(&mut bytes).context("nothing was said")?;
        Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
    };
    let socket_path = path.display().to_string();
    let flags = ["--listen", "127.0.0.1:0", "--local-worker", "off"];
    let mut hub = Hub::start_with(&place, &flags, &[("NOTIFY_SOCKET", &socket_path)])?;
    let said = hear()?;
    ensure!(said.contains("READY=1") && said.contains("STATUS=listening on http://127.0.0.1:"), "{said}");
    signal(&hub.child, "TERM")?;
    let said = hear()?;
    ensure!(said.contains("STOPPING=1"), "{said}");
    ensure!(hub.child.wait()?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_says_whether_a_hub_can_work() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::start_as(&place, &["--listen", "127.0.0.1:0", "--local-worker", "off"])?;
    let ask = |flags: &[&str]| run(kinora().args(["health", "--hub", &hub.address]).args(flags));
    let well = ask(&["--json"])?;
    ensure!(well.json()?["ready"] == true && well.code == Some(0), "{well:?}");
    std::fs::remove_dir_all(place.at("data").join("blobs"))?;
    // What was seen is good for two seconds.
    let mut sick = ask(&[])?;
    support::until("the hub to see that it cannot write", || {
        ask(&[]).is_ok_and(|answer| {
            sick = answer;
            sick.code == Some(1)
        })
    })?;
    ensure!(
        sick.stderr.contains("results cannot be written") && sick.stdout.contains("store: well"),
        "{sick:?}"
    );
    let nobody = run(kinora().args(["health", "--hub", "http://127.0.0.1:1"]))?;
    ensure!(nobody.code == Some(1) && nobody.stderr.contains("127.0.0.1:1"), "{nobody:?}");
    Ok(())
}
