//! What is kept for how long, and whether it is still what it was.
#![cfg(unix)]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::client::JobVerb;
use kinora_protocol::job::JobPhase;
use support::cluster::{Hub, job};
use support::{PATIENCE, Place, eight, kinora, run};

/// The only file in a folder whose name holds this.
fn only(folder: &Path, part: &str) -> Result<PathBuf> {
    let names = support::names(folder)?;
    let mut fits = names.iter().filter(|name| name.contains(part));
    let one = fits.next().with_context(|| format!("no {part} among {names:?}"))?;
    Ok(folder.join(one))
}

/// Turns over one bit in the middle of a file.
fn damage(path: &Path) -> Result<()> {
    let mut bytes = std::fs::read(path)?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).context("an empty file")? ^= 1;
    Ok(std::fs::write(path, bytes)?)
}

fn scrub(hub: &Hub) -> Result<support::Run> {
    run(kinora().args(["scrub", "--hub", &hub.address]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_bytes_are_found_and_made_again_or_reported() -> Result<()> {
    let place = Place::new()?;
    let (hub, _stub) = Hub::start(&place, Duration::ZERO, &["--metadata", "auto"])?;
    let media = hub.upload(&eight()?).await?;
    let described = hub.client.describe(&media).await?;
    hub.ends(described.id).await?;
    let asked = job(media.clone());
    let first = hub.ends(hub.client.submit(&asked, None).await?.id).await?;
    ensure!(first.phase == JobPhase::Completed, "{first:?}");
    let sound = scrub(&hub)?;
    ensure!(sound.code == Some(0) && !sound.stdout.contains("repaired"), "{sound:?}");

    let blobs = place.at("data").join("blobs");
    damage(&only(&blobs, "-describe-")?)?;
    damage(&only(&blobs, "-chunk-")?)?;
    std::fs::remove_file(only(&blobs, ".index")?)?;
    let repaired = scrub(&hub)?;
    ensure!(repaired.code == Some(0) && repaired.stdout.matches("repaired: ").count() == 3, "{repaired:?}");
    let again = hub.client.describe(&media).await?;
    hub.ends(again.id).await?;
    let found = hub.client.metadata(&media).await?;
    ensure!(found.scenes.is_some() && found.loudness.is_some() && found.failed.is_empty(), "{found:?}");
    // A later job does just the damaged chunk anew.
    let second = hub.ends(hub.client.submit(&asked, None).await?.id).await?;
    ensure!(second.chunks.reused + 1 == second.chunks.total, "{second:?}");
    hub.right(&place, &second, &eight()?).await?;

    damage(&only(&place.at("data").join("media"), media.as_str())?)?;
    let lost = scrub(&hub)?;
    ensure!(
        lost.code == Some(1) && lost.stdout.contains("lost: media") && lost.stdout.contains("eight"),
        "{lost:?}"
    );
    // The same bytes again put it right.
    hub.upload(&eight()?).await?;
    let sound = scrub(&hub)?;
    ensure!(sound.code == Some(0), "{sound:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_forgotten_when_they_have_ended() -> Result<()> {
    let place = Place::new()?;
    let (hub, _stub) = Hub::start(&place, Duration::from_secs(1), &[])?;
    let asked = job(hub.upload(&eight()?).await?);
    let running = hub.client.submit(&asked, None).await?.id;
    let refused = hub.client.delete_job(running).await;
    ensure!(refused.as_ref().is_err_and(|f| f.message.contains("cancel it first")), "{refused:?}");
    hub.client.tell_job(running, JobVerb::Cancel).await?;
    // One with a deadline is not waited for when it is gone.
    let timed = kinora_protocol::api::NewJob { deadline_seconds: Some(3), ..asked.clone() };
    let timed = hub.client.submit(&timed, None).await?.id;
    hub.client.tell_job(timed, JobVerb::Cancel).await?;
    hub.client.delete_job(timed).await?;
    let removed = run(kinora().args(["jobs", "rm", &running.to_string(), "--hub", &hub.address]))?;
    ensure!(removed.code == Some(0), "{removed:?}");
    ensure!(hub.client.job(running).await.is_err() && hub.client.jobs(None, 10).await?.items.is_empty());
    let outputs = place.at("data").join("outputs");
    ensure!(support::names(&outputs)?.is_empty());
    ensure!(hub.client.events(running, 0).await.is_err());
    // The hub goes on past the deadline of the job that is gone.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let late = kinora_protocol::api::NewJob { deadline_seconds: Some(1), ..asked };
    let late = hub.ends(hub.client.submit(&late, None).await?.id).await?;
    ensure!(late.phase == JobPhase::Failed, "{late:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_jobs_go_by_themselves() -> Result<()> {
    let place = Place::new()?;
    let (mut hub, _stub) = Hub::start(&place, Duration::ZERO, &[])?;
    let asked = job(hub.upload(&eight()?).await?);
    let ended = hub.ends(hub.client.submit(&asked, None).await?.id).await?;
    ensure!(ended.phase == JobPhase::Completed);
    support::signal(&hub.child, "TERM")?;
    hub.child.wait()?;
    // At its start it looks at once.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let hub = Hub::start_as(&place, &["--listen", "127.0.0.1:0", "--keep-jobs", "1s"])?;
    let started = std::time::Instant::now();
    while hub.client.job(ended.id).await.is_ok() {
        ensure!(started.elapsed() < PATIENCE, "it is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ensure!(hub.client.media().await?.items.len() == 1, "media stays");
    let refused = run(kinora().args(["hub", "--keep-jobs", "soon"]))?;
    ensure!(refused.code == Some(2) && refused.stderr.contains("30d"), "{refused:?}");
    Ok(())
}
