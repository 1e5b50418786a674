//! Clients of other projects against a hub: tuspy and tus-js-client upload a file over connections that break ten times, to a
//! hub that is killed twice. `cargo xtask test` installs them; without them this is skipped, loudly.
#![cfg(unix)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::Digest;
use kinora_protocol::routes;
use support::cluster::Hub;
use support::cutting::Cutting;
use support::{PATIENCE, Place, clients, loud};

const SIZE: u64 = 500 << 20;
const CUTS: u64 = 10;
/// What a hub may have to be sent again after each break: what it had not made safe.
const UNSAFE: u64 = 17 << 20;

fn file(place: &Place) -> Result<(PathBuf, Digest)> {
    let mut bytes = vec![0; usize::try_from(SIZE)?];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    let digest = Digest::from_bytes(blake3::hash(&bytes).as_bytes());
    Ok((place.file("large.bin", bytes)?, digest))
}

async fn uploads(client: impl Fn(&Path) -> Command) -> Result<()> {
    let Some(folder) = clients() else {
        loud("SKIPPED: no clients of other projects; `cargo xtask test` installs them");
        return Ok(());
    };
    let place = Place::new()?;
    let (path, digest) = file(&place)?;
    let mut hub = Hub::alone(&place, "127.0.0.1:0")?;
    let listen = hub.listen();
    let way = Cutting::to(&hub.address, SIZE / (CUTS + 1), CUTS)?;
    let mut command = client(&folder);
    command.arg(format!("{}{}", way.address, routes::UPLOADS)).arg(&path);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
    let started = Instant::now();
    for part in [SIZE / 3, 2 * SIZE / 3] {
        while way.sent() < part && child.try_wait()?.is_none() {
            ensure!(started.elapsed() < PATIENCE, "it does not come to {part} bytes");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        hub.child.kill()?;
        hub.child.wait()?;
        hub = Hub::alone(&place, &listen)?;
    }
    let ended = child.wait_with_output()?;
    ensure!(ended.status.success(), "the client gave up");
    let media = hub.client.media().await?.items.pop().context("no media")?;
    ensure!(media.id == digest && media.size == SIZE && media.name.starts_with("from tus"), "{media:?}");
    ensure!(way.cuts() == CUTS, "{} cuts", way.cuts());
    let most = SIZE + (CUTS + 2) * UNSAFE;
    ensure!(way.sent() <= most, "{} bytes were sent for {SIZE}", way.sent());
    ensure!(support::names(&place.at("data").join("uploads"))?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tuspy() -> Result<()> {
    uploads(|folder| {
        let mut command = Command::new(folder.join("venv/bin/python"));
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/tuspy.py"));
        command
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tus_js_client() -> Result<()> {
    uploads(|folder| {
        let mut command = Command::new("node");
        command.arg(folder.join("tus.mjs"));
        command
    })
    .await
}
