//! What is drawn where somebody looks: bars, the map of chunks, what each node does.
#![cfg(unix)]

mod support;

use std::fs::File;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use support::cluster::{Hub, Worker};
use support::{Place, eight, finish, kinora};

/// Runs a command whose standard error is a terminal; gives all that was drawn there, and what it printed.
fn drawn(mut command: Command) -> Result<(String, String)> {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&terminal)?;
    unlockpt(&terminal)?;
    tcsetwinsize(&terminal, Winsize { ws_row: 40, ws_col: 140, ws_xpixel: 0, ws_ypixel: 0 })?;
    let name = ptsname(&terminal, Vec::new())?;
    let side = File::options().read(true).write(true).open(name.to_str()?)?;
    command.env("TERM", "xterm-256color").stderr(Stdio::from(side));
    let child = command.spawn()?;
    // The last holder of the other side ends it: that must be the child.
    drop(command);
    let reader = std::thread::spawn(move || {
        let (mut file, mut all, mut piece) = (File::from(terminal), Vec::new(), [0; 4096]);
        while let Ok(read @ 1..) = file.read(&mut piece) {
            all.extend_from_slice(piece.get(..read).unwrap_or_default());
        }
        String::from_utf8_lossy(&all).into_owned()
    });
    let run = finish(child)?;
    ensure!(run.code == Some(0), "{run:?}");
    Ok((reader.join().unwrap_or_default(), run.stdout))
}

fn shows(screen: &str, wanted: &[&str]) -> Result<()> {
    for text in wanted {
        ensure!(screen.contains(text), "{text:?} is not among what was drawn: {screen:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_a_hub_shows_its_chunks_and_who_does_them() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let slow = Duration::from_millis(700);
    let _one = Worker::start(&place, "first one", &hub.address, slow, &["--slots", "1"])?;
    let _two = Worker::start(&place, "second one", &hub.address, slow, &["--slots", "1"])?;
    hub.connected(2).await?;
    let mut command = kinora();
    command.arg("submit").arg(eight()?).args(["--hub", &hub.address, "--chunk-seconds", "1", "--preset"]);
    command.args(["ultrafast", "--audio", "none", "-o"]).arg(place.at("o.mp4"));
    let (screen, said) = drawn(command)?;
    shows(&screen, &["first one", "second one", " fps", "ETA ", "/8 chunks", "▒", "█", "%", " frames"])?;
    ensure!(said.contains("o.mp4: "), "{said}");
    Ok(())
}

#[test]
fn an_encode_shows_its_chunks() -> Result<()> {
    let place = Place::new()?;
    let stub = support::cluster::slowed(Duration::from_millis(500))?;
    let mut command = place.encode(&eight()?, "o.mp4", &["--chunk-seconds", "2", "--audio", "none"]);
    command.args(["--crf", "30", "--preset", "ultrafast", "--sandbox", "off", "--ffmpeg"]).arg(stub.ffmpeg());
    let (screen, said) = drawn(command)?;
    shows(&screen, &[" fps", "ETA ", "/4 chunks", "▒", "█", " frames"])?;
    ensure!(said.contains("verified"), "{said}");
    Ok(())
}
