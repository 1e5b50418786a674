//! What a hub keeps, encrypted where it lies: nothing of it can be read there, all of it can be had through the hub, and what is
//! damaged is told and not served.
#![cfg(unix)]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::access::{NewUser, Role};
use kinora_protocol::api::NewJob;
use kinora_protocol::job::JobPhase;
use kinora_protocol::routes;
use support::cluster::{Hub, Worker, job};
use support::{Place, eight, kinora, run, same_frames, wire};

/// Folders of what is kept.
const KEPT: [&str; 4] = ["media", "blobs", "outputs", "uploads"];

fn new_key(place: &Place, name: &str, older: &[&Path]) -> Result<PathBuf> {
    let made = run(kinora().args(["vault", "new-key"]))?;
    ensure!(made.code == Some(0) && made.stdout.trim().len() == 64, "{made:?}");
    let mut text = made.stdout;
    for older in older {
        text += &std::fs::read_to_string(older)?;
    }
    place.file(name, text)
}

fn hub(place: &Place, key: &Path, flags: &[&str]) -> Result<Hub> {
    let key = key.display().to_string();
    let own = ["--listen", "127.0.0.1:0", "--encrypt-at-rest", "--master-key-file", key.as_str()];
    Hub::start_as(place, &[&own, flags].concat())
}

fn again(mut hub: Hub) -> Result<()> {
    hub.child.kill()?;
    hub.child.wait()?;
    Ok(())
}

/// All files of what is kept.
fn kept(place: &Place) -> Result<Vec<PathBuf>> {
    let mut left: Vec<PathBuf> = KEPT.iter().map(|name| place.at("data").join(name)).collect();
    let mut found = Vec::new();
    while let Some(folder) = left.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() { left.push(path) } else { found.push(path) }
        }
    }
    Ok(found)
}

/// Nothing that any media has can be read there, and nothing of these bytes.
fn is_hidden(place: &Place, bytes: &[u8]) -> Result<()> {
    let parts = (0..bytes.len().saturating_sub(24)).step_by(4096).map(|at| &bytes[at..at + 24]);
    let telling: Vec<&[u8]> = parts.filter(|part| part.iter().any(|b| *b != part[0])).collect();
    ensure!(telling.len() > 4, "too little is looked for");
    for path in kept(place)? {
        // What nobody needs any more goes meanwhile.
        let Ok(there) = std::fs::read(&path) else { continue };
        ensure!(there.len() >= 8, "{} is short", path.display());
        for known in [&b"ftypisom"[..], b"mdat\0", b"Lavf", b"ustar", b"moov\0"].iter().chain(&telling) {
            let seen = there.windows(known.len()).any(|part| part == *known);
            ensure!(!seen, "{} can be read: {:?}", path.display(), String::from_utf8_lossy(known));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_kept_can_be_read_where_it_lies() -> Result<()> {
    let place = Place::new()?;
    let key = new_key(&place, "key", &[])?;
    let work = place.at("work").display().to_string();
    let hub = hub(&place, &key, &["--work-dir", &work, "--metadata", "auto"])?;
    let source = std::fs::read(eight()?)?;
    let media = hub.upload(&eight()?).await?;
    hub.ends(hub.client.describe(&media).await?.id).await?;
    ensure!(hub.client.metadata(&media).await?.failed.is_empty());
    let ended = hub.ends(hub.client.submit(&job(media.clone()), None).await?.id).await?;
    ensure!(ended.phase == JobPhase::Completed, "{ended:?}");
    let out = place.at("o.mp4");
    hub.client.fetch(ended.id, &out).await?;
    same_frames(&eight()?, &out)?;
    // A worker elsewhere, and what it makes.
    let worker = Worker::start(&place, "elsewhere", &hub.address, Duration::ZERO, &[])?;
    hub.connected(2).await?;
    let other = NewJob { name: Some("p.mkv".to_owned()), ..job(media.clone()) };
    let other = hub.ends(hub.client.submit(&other, None).await?.id).await?;
    ensure!(other.phase == JobPhase::Completed, "{other:?}");
    drop(worker);
    // A package, whose files are read within it.
    let package = run(kinora()
        .args(["submit", "--hub", &hub.address, "--recipe", "ladder", "--wait", "--json"])
        .arg(eight()?))?;
    ensure!(package.code == Some(0), "{package:?}");
    let packaged: serde_json::Value =
        serde_json::from_str(package.stdout.lines().last().context("nothing")?)?;
    let list = format!("/api/v1/jobs/{}/hls/master.m3u8", packaged["id"].as_str().context("no id")?);
    let list = wire::ask(&hub.address, "GET", &list, &[])?;
    ensure!(list.status == 200 && list.text().starts_with("#EXTM3U"), "{list:?}");
    // Any part of it.
    let path = format!("/api/v1/media/{media}/content");
    let got = wire::ask(&hub.address, "GET", &path, &[])?;
    ensure!(got.status == 200 && got.body == source);
    for (from, end) in [(0, 1), (65_535, 65_537), (100_000, 300_000), (source.len() - 1, source.len())] {
        let range = format!("bytes={from}-{}", end - 1);
        let got = wire::ask(&hub.address, "GET", &path, &[("range", &range)])?;
        ensure!(got.status == 206 && got.body == source[from..end], "{range}: {}", got.status);
    }
    ensure!(kept(&place)?.len() >= 8, "{:?}", kept(&place)?);
    is_hidden(&place, &source)?;
    // What was worked on is gone, too.
    let own = support::names(&place.at("work"))?.remove(0);
    support::until("nothing to be left of the work", || {
        let left = |name: &str| support::names(&place.at("work").join(&own).join(name));
        ["sources", "scratch"].iter().all(|name| left(name).is_ok_and(|names| names.is_empty()))
    })?;
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(place.at("work").join(&own))?.permissions(),
    );
    ensure!(mode & 0o077 == 0, "others may look there: {mode:o}");
    let view = hub.client.system().await?.encryption.context("it is not said")?;
    ensure!(view.settled && view.unreadable == 0, "{view:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_damaged_is_told_and_not_served() -> Result<()> {
    let place = Place::new()?;
    let key = new_key(&place, "key", &[])?;
    let hub = hub(&place, &key, &["--local-worker", "off"])?;
    let source = std::fs::read(eight()?)?;
    let media = hub.upload(&eight()?).await?;
    let stored = kept(&place)?.remove(0);
    let good = std::fs::read(&stored)?;
    let path = format!("/api/v1/media/{media}/content");
    for at in [0, 20, 60, 8192, 8192 + 70_000, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 4;
        std::fs::write(&stored, bad)?;
        // It is refused at once, or the answer breaks off before the damage.
        if let Ok(got) = wire::ask(&hub.address, "GET", &path, &[]) {
            ensure!(got.status != 200 || got.body.len() < source.len(), "{at}: {}", got.status);
            ensure!(got.status != 200 || source.starts_with(&got.body), "other bytes were served: {at}");
            ensure!(got.status == 200 || !got.text().contains("/media/"), "a place is named: {}", got.text());
        }
        let scrub = run(kinora().args(["scrub", "--hub", &hub.address]))?;
        ensure!(
            scrub.code != Some(0) && (scrub.stdout.clone() + &scrub.stderr).contains(media.as_str()),
            "{scrub:?}"
        );
    }
    std::fs::write(&stored, &good)?;
    ensure!(wire::ask(&hub.address, "GET", &path, &[])?.body == source);
    // What anybody can read is not taken for what was encrypted.
    std::fs::write(&stored, &source)?;
    ensure!(wire::ask(&hub.address, "GET", &path, &[])?.status == 410);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_has_files_begins_to_encrypt_them_and_takes_another_key() -> Result<()> {
    let place = Place::new()?;
    let plain = Hub::start_as(&place, &["--listen", "127.0.0.1:0"])?;
    let source = std::fs::read(eight()?)?;
    let media = plain.upload(&eight()?).await?;
    let first = plain.ends(plain.client.submit(&job(media.clone()), None).await?.id).await?;
    ensure!(first.phase == JobPhase::Completed, "{first:?}");
    // An upload that is not complete yet.
    let (bytes, half) = (std::fs::read(place.file("long", source.repeat(2))?)?, source.len());
    let length = bytes.len().to_string();
    let tus = ("tus-resumable", "1.0.0");
    let begun = wire::ask(&plain.address, "POST", routes::UPLOADS, &[tus, ("upload-length", &length)])?;
    let upload = begun.header("location")?.to_owned();
    let patch = |hub: &Hub, from: usize, end: usize| -> Result<wire::Answer> {
        use std::io::Write as _;
        let (offset, length) = (from.to_string(), (end - from).to_string());
        let headers = [
            tus,
            ("content-type", "application/offset+octet-stream"),
            ("upload-offset", offset.as_str()),
            ("content-length", length.as_str()),
        ];
        let mut stream = wire::open(&hub.address, "PATCH", &upload, &headers)?;
        stream.write_all(&bytes[from..end])?;
        wire::read(stream)
    };
    ensure!(patch(&plain, 0, half)?.status == 204);
    again(plain)?;

    let one = new_key(&place, "one", &[])?;
    let hub_one = hub(&place, &one, &[])?;
    is_hidden(&place, &source)?;
    let path = format!("/api/v1/media/{media}/content");
    ensure!(wire::ask(&hub_one.address, "GET", &path, &[])?.body == source);
    let out = place.at("o.mp4");
    hub_one.client.fetch(first.id, &out).await?;
    same_frames(&eight()?, &out)?;
    // Chunks of before serve later jobs.
    let second = hub_one.ends(hub_one.client.submit(&job(media.clone()), None).await?.id).await?;
    ensure!(second.phase == JobPhase::Completed && second.chunks.reused == second.chunks.total, "{second:?}");
    ensure!(patch(&hub_one, half, half + 70_001)?.status == 204);
    again(hub_one)?;

    // Without the key, or with another, it does not start, and says why.
    let refused = |flags: &[&str]| -> Result<String> {
        let data = place.at("data").display().to_string();
        let own = ["hub", "--listen", "127.0.0.1:0", "--data", data.as_str()];
        let ended = run(kinora().args(own).args(flags).env_remove("KINORA_MASTER_KEY"))?;
        ensure!(ended.code == Some(1), "{ended:?}");
        Ok(ended.stderr)
    };
    ensure!(refused(&[])?.contains("start the hub with --encrypt-at-rest"));
    ensure!(refused(&["--encrypt-at-rest"])?.contains("kinora vault new-key"));
    let two = new_key(&place, "two", &[])?;
    let other = two.display().to_string();
    ensure!(refused(&["--encrypt-at-rest", "--master-key-file", &other])?.contains("need master key"));
    let odd = place.file("odd", "secret words\n")?.display().to_string();
    let why = refused(&["--encrypt-at-rest", "--master-key-file", &odd])?;
    ensure!(why.contains("line 1") && !why.contains("secret"), "{why}");

    // Another key takes over; no file is written again.
    let both = new_key(&place, "both", &[&one])?;
    let is_it = |path: &PathBuf| path.to_string_lossy().contains(media.as_str());
    let stored = kept(&place)?.into_iter().find(is_it).context("it is not there")?;
    let before = std::fs::read(&stored)?;
    let hub_both = hub(&place, &both, &["--local-worker", "off"])?;
    support::until("the new key to open all", || {
        let said = run(kinora().args(["vault", "status", "--hub", &hub_both.address]));
        said.is_ok_and(|said| said.stdout.contains("older master keys may go"))
    })?;
    let after = std::fs::read(&stored)?;
    ensure!(before[8192..] == after[8192..] && before[..8192] != after[..8192], "its bytes are as they were");
    again(hub_both)?;
    let newest = std::fs::read_to_string(&both)?.lines().next().context("no key")?.to_owned();
    let (program, text) = (place.at("key.sh"), format!("#!/bin/sh\necho {newest}\n"));
    std::fs::write(&program, text)?;
    let asked = format!("sh {}", program.display());
    let flags = ["--listen", "127.0.0.1:0", "--encrypt-at-rest", "--master-key-command", &asked];
    let by_program = Hub::start_as(&place, &flags)?;
    let done = patch(&by_program, half + 70_001, bytes.len())?;
    ensure!(done.status == 204, "{done:?}");
    let whole = format!("/api/v1/media/{}/content", done.header("x-kinora-media")?);
    ensure!(wire::ask(&by_program.address, "GET", &whole, &[])?.body == bytes);
    is_hidden(&place, &source)?;
    again(by_program)?;
    let flags = ["--listen", "127.0.0.1:0", "--encrypt-at-rest"];
    let by_environment = Hub::start_with(&place, &flags, &[("KINORA_MASTER_KEY", &newest)])?;
    ensure!(wire::ask(&by_environment.address, "GET", &path, &[])?.body == source);
    Ok(())
}

/// The hub's own worker is let in like others where nobody else is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_with_users_works_on_what_it_encrypts() -> Result<()> {
    let place = Place::new()?;
    let key = new_key(&place, "key", &[])?;
    let hub = hub(&place, &key, &["--tls", "own"])?;
    let admin = NewUser::new("boss", Role::Admin, "correct horse battery");
    hub.client.new_user(&admin).await?;
    ensure!(wire::ask(&hub.address, "GET", routes::MEDIA, &[])?.status != 200, "anybody comes in");
    let media = hub.upload(&eight()?).await?;
    let ended = hub.ends(hub.client.submit(&job(media), None).await?.id).await?;
    ensure!(ended.phase == JobPhase::Completed, "{ended:?}");
    let out = place.at("o.mp4");
    hub.client.fetch(ended.id, &out).await?;
    same_frames(&eight()?, &out)
}
