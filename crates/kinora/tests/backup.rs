//! A copy of a hub that is at work becomes a hub that goes on from there; what is not whole becomes none.
#![cfg(unix)]

mod support;

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::access::{NewUser, Role};
use kinora_protocol::api::NewJob;
use kinora_protocol::job::JobPhase;
use kinora_protocol::{ErrorCode, routes};
use support::cluster::{Hub, job};
use support::{Place, Run, eight, kinora, other_eight, run, same_frames, wire};

fn back_up(hub: &Hub, to: &Path) -> Result<Run> {
    run(kinora().args(["backup", "--hub", &hub.address, "-o"]).arg(to))
}

fn restore(copy: &Path, data: &Path) -> Result<Run> {
    run(kinora().arg("restore").arg(copy).arg("--data").arg(data))
}

/// What is in the folders of a hub.
fn kept_names(place: &Place) -> Result<Vec<String>> {
    let mut names = support::names(&place.at("data"))?;
    for folder in ["media", "blobs", "outputs", "uploads"] {
        names.extend(support::names(&place.at("data").join(folder)).unwrap_or_default());
    }
    Ok(names)
}

const TUS: (&str, &str) = ("tus-resumable", "1.0.0");

fn patch(hub: &Hub, upload: &str, from: usize, bytes: &[u8]) -> Result<wire::Answer> {
    let (offset, length) = (from.to_string(), bytes.len().to_string());
    let kind = ("content-type", "application/offset+octet-stream");
    let headers = [TUS, kind, ("upload-offset", offset.as_str()), ("content-length", length.as_str())];
    let mut stream = wire::open(&hub.address, "PATCH", upload, &headers)?;
    stream.write_all(bytes)?;
    wire::read(stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_at_work_goes_on_from_its_copy() -> Result<()> {
    let (place, other) = (Place::new()?, Place::new()?);
    let (mut hub, _stub) = Hub::start(&place, Duration::from_secs(1), &["--metadata", "off"])?;
    let media = hub.upload(&eight()?).await?;
    let mut done = job(media.clone());
    done.recipe.chunks.seconds = Some(8.0);
    done.name = Some("a.new.incoming.mp4".to_owned());
    let done = hub.ends(hub.client.submit(&done, None).await?.id).await?;
    ensure!(done.phase == JobPhase::Completed, "{done:?}");
    // One that is in the middle, one that waits, and an upload that is half way.
    let mut many = job(media.clone());
    many.recipe.chunks.seconds = Some(0.2);
    let many = NewJob { name: Some("p.mp4".to_owned()), ..many };
    let middle = hub.client.submit(&many, None).await?.id;
    let waits =
        NewJob { priority: -5, name: Some("q.mp4".to_owned()), ..job(hub.upload(&other_eight()?).await?) };
    let waits = hub.client.submit(&waits, None).await?.id;
    let bytes = std::fs::read(eight()?)?.repeat(2);
    let (half, length) = (bytes.len() / 2 + 77, bytes.len().to_string());
    let begun = wire::ask(&hub.address, "POST", routes::UPLOADS, &[TUS, ("upload-length", &length)])?;
    let upload = begun.header("location")?.to_owned();
    ensure!(patch(&hub, &upload, 0, &bytes[..half])?.status == 204);
    hub.until(middle, |view| view.chunks.done >= 2 && view.chunks.running >= 1).await?;
    let before = hub.client.tasks(middle).await?.items;
    // Meanwhile things come and go.
    let (client, stop) = (hub.client.clone(), tokio_util::sync::CancellationToken::new());
    let (ended, coming) = (stop.clone(), place.at("coming"));
    let load = tokio::spawn(async move {
        let mut number = 0_u32;
        while !ended.is_cancelled() {
            number += 1;
            std::fs::write(&coming, vec![number as u8; 300_000 + number as usize])?;
            let media = client.upload(&coming, |_| ()).await?.id;
            if number.is_multiple_of(2) {
                client.delete_media(&media).await?;
            }
        }
        anyhow::Ok(number)
    });
    let copy = other.at("copy.tar");
    let mut taken = 0;
    for _ in 0..3 {
        let said = back_up(&hub, &copy)?;
        ensure!(said.code == Some(0) && said.stdout.contains("checked"), "{said:?}");
        taken += 1;
    }
    stop.cancel();
    ensure!(load.await?? >= taken, "nothing came meanwhile");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&copy)?.permissions());
    ensure!(mode & 0o077 == 0, "others may read it: {mode:o}");
    let left = kept_names(&place)?;
    ensure!(!left.iter().any(|name| name.starts_with(".backup")), "{left:?}");
    hub.child.kill()?;
    hub.child.wait()?;
    std::fs::remove_dir_all(place.at("data"))?;

    // As a shell completes it.
    let said = restore(&copy, &other.at("data/"))?;
    ensure!(said.code == Some(0) && said.stdout.contains("start the hub"), "{said:?}");
    let again = restore(&copy, &other.at("data"))?;
    ensure!(again.code == Some(1) && again.stderr.contains("something in it already"), "{again:?}");
    let (hub, _stub) = Hub::start(&other, Duration::ZERO, &["--metadata", "off"])?;
    for (id, source) in [(done.id, eight()?), (middle, eight()?), (waits, other_eight()?)] {
        let ended = hub.ends(id).await?;
        ensure!(ended.phase == JobPhase::Completed, "{ended:?}");
        let out = other.at(&ended.name.clone());
        hub.client.fetch(id, &out).await?;
        same_frames(&source, &out)?;
    }
    let tasks = hub.client.tasks(middle).await?.items;
    for was in before.iter().filter(|task| task.state == "done") {
        let now = tasks.iter().find(|task| task.id == was.id).context("a task is gone")?;
        ensure!(now.attempts.len() == was.attempts.len(), "what was done is not done again: {now:?}");
    }
    let at = wire::ask(&hub.address, "HEAD", &upload, &[TUS])?;
    ensure!(at.header("upload-offset")? == half.to_string(), "{at:?}");
    let made = patch(&hub, &upload, half, &bytes[half..])?;
    let content = format!("{}/{}/content", routes::MEDIA, made.header("x-kinora-media")?);
    ensure!(wire::ask(&hub.address, "GET", &content, &[])?.body == bytes);
    let scrub = run(kinora().args(["scrub", "--hub", &hub.address]))?;
    ensure!(scrub.code == Some(0) && !scrub.stdout.contains("repaired"), "{scrub:?}");
    let audit = run(kinora().args(["audit", "verify", "--hub", &hub.address]))?;
    ensure!(audit.code == Some(0), "{audit:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_whole_becomes_no_hub() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    hub.upload(&eight()?).await?;
    let copy = place.at("copy.tar");
    ensure!(back_up(&hub, &copy)?.code == Some(0));
    let good = std::fs::read(&copy)?;
    let data = place.at("new");
    let refused = |name: &str, bytes: &[u8]| -> Result<()> {
        let said = restore(&place.file(name, bytes)?, &data)?;
        ensure!(said.code == Some(1) && said.stderr.contains(name), "{name}: {said:?}");
        ensure!(!data.exists(), "{name}: something is left");
        Ok(())
    };
    for cut in [0, 1000, good.len() / 2, good.len() - 1500] {
        refused("cut.tar", &good[..cut])?;
    }
    for at in [600, good.len() / 3, good.len() / 2] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        refused("damaged.tar", &bad)?;
    }
    // Names that lead elsewhere.
    let mut evil = tar::Builder::new(Vec::new());
    let manifest =
        br#"{"format":1,"version":"0","taken_ms":0,"data":"/x","encrypted":false,"files":1,"bytes":1}"#;
    for (name, bytes) in [("manifest.json", &manifest[..]), ("../../out", b"x")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        evil.append(&header, bytes)?;
    }
    refused("evil.tar", &evil.into_inner()?)?;
    ensure!(!place.at("out").exists() && !place.path().join("../out").exists());
    // Only who runs the hub gets one.
    hub.client.new_user(&NewUser::new("boss", Role::Admin, "drei große Bären")).await?;
    hub.client.new_user(&NewUser::new("emil", Role::Editor, "drei große Bären")).await?;
    let token = hub.client.login("emil", "drei große Bären").await?.access_token;
    let denied = hub.client.clone().showing(Some(token)).backup(&place.at("no.tar"), |_| ()).await;
    ensure!(
        denied.is_err_and(|failure| failure.code == ErrorCode::Forbidden) && !place.at("no.tar").exists()
    );
    Ok(())
}
