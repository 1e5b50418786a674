//! A hub as its users have it: real processes, talked to by the typed client. What is encoded through it is what `encode`
//! makes; what it accepted outlives it; what is asked wrongly is refused in a sentence.
#![cfg(unix)]

mod support;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use kinora_protocol::api::{JobView, NewJob};
use kinora_protocol::client::{JobVerb, NodeVerb};
use kinora_protocol::event::{Event, TaskChange};
use kinora_protocol::job::JobPhase;
use kinora_protocol::live::{Subscribe, Topic};
use kinora_protocol::task::TaskKind;
use kinora_protocol::{Digest, ErrorCode, JobId, NodeId};
use kinora_testkit::fault;
use support::cluster::{Hub, from_path, job, working};
use support::{CHUNK, Place, decoded, eight, kinora, run, same_frames, signal};

fn told(answer: Result<JobView, kinora_protocol::Failure>) -> Result<(ErrorCode, String)> {
    match answer {
        Ok(view) => bail!("it was taken: {view:?}"),
        Err(failure) => Ok((failure.code, failure.message)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_hub_makes_is_exact() -> Result<()> {
    let place = Place::new()?;
    let (hub, _stub) = Hub::start(&place, Duration::ZERO, &[])?;
    let media = hub.upload(&eight()?).await?;
    ensure!(hub.upload(&eight()?).await? == media, "the same content is the same media");
    ensure!(hub.client.media().await?.items.len() == 1);
    let view = hub.client.submit(&job(media.clone()), None).await?;
    let ended = hub.ends(view.id).await?;
    ensure!(ended.phase == JobPhase::Completed, "{ended:?}");
    ensure!(
        (ended.frames, ended.done, ended.chunks.total, ended.chunks.done) == (200, 200, 4, 4),
        "{ended:?}"
    );
    ensure!(ended.shares.iter().map(|s| s.frames).sum::<u64>() == 200, "{ended:?}");
    let out = place.at("o.mp4");
    hub.client.fetch(view.id, &out).await?;
    same_frames(&eight()?, &out)?;
    ensure!(hub.client.proof(view.id).await?.verified);
    let tasks = hub.client.tasks(view.id).await?.items;
    ensure!(tasks.iter().all(|t| t.state == "done" && t.attempts.len() == 1), "{tasks:?}");
    // Hub and worker are one machine, and of one class.
    let (system, node) = (hub.client.system().await?, hub.client.nodes().await?.items.remove(0));
    ensure!(node.capabilities.machine.as_ref() == Some(&system.machine), "{node:?} {system:?}");
    ensure!(node.tier == Some(system.tier) && system.tier == system.machine.tier(), "{node:?} {system:?}");
    ensure!(
        node.slots.chunks == system.defaults.chunks && system.machine.memory > 1 << 28,
        "{node:?} {system:?}"
    );
    // The same again finds its chunks.
    let again = hub.client.submit(&job(media.clone()), None).await?;
    let again = hub.ends(again.id).await?;
    ensure!((again.phase, again.chunks.reused) == (JobPhase::Completed, 4), "{again:?}");
    // A source that was probed is not probed again: another recipe starts with its chunks.
    let other = hub.client.submit(&NewJob { name: Some("p.mkv".to_owned()), ..job(media) }, None).await?;
    ensure!(other.chunks.total == 4, "the plan stands at once: {other:?}");
    ensure!(hub.ends(other.id).await?.phase == JobPhase::Completed);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_outlives_kill_9() -> Result<()> {
    let place = Place::new()?;
    let (mut hub, _stub) = Hub::start(&place, Duration::from_secs(1), &[])?;
    // More chunks than any machine encodes at once: some are done while others are at work.
    let mut many = job(hub.upload(&eight()?).await?);
    many.recipe.chunks.seconds = Some(0.2);
    let id = hub.client.submit(&many, None).await?.id;
    hub.until(id, |view| view.chunks.done >= 1 && view.chunks.running >= 1).await?;
    let before = hub.client.tasks(id).await?.items;
    hub.child.kill()?;
    hub.child.wait()?;
    fault::expect_no_orphans(&working(&place), Duration::from_secs(10))?;
    let (hub, _stub) = Hub::start(&place, Duration::ZERO, &[])?;
    let ended = hub.ends(id).await?;
    ensure!(ended.phase == JobPhase::Completed, "{ended:?}");
    let tasks = hub.client.tasks(id).await?.items;
    let done = |outcome: &str| {
        let attempts = tasks.iter().flat_map(|t| &t.attempts);
        attempts.filter(|a| a.outcome.as_deref() == Some(outcome)).count()
    };
    ensure!(done("done") == tasks.len(), "each task is accepted once: {tasks:?}");
    ensure!(done("released") >= 1, "what ran was given back: {tasks:?}");
    for was in before.iter().filter(|task| task.state == "done") {
        let now = tasks.iter().find(|task| task.id == was.id).context("a task is gone")?;
        ensure!(now.attempts.len() == was.attempts.len(), "what was done is not done again: {now:?}");
    }
    let out = place.at("o.mp4");
    hub.client.fetch(id, &out).await?;
    same_frames(&eight()?, &out)
}

/// Started again after a job, a hub keeps its chunks within the budget and nothing else of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_needs_is_dropped() -> Result<()> {
    let place = Place::new()?;
    let (mut hub, _stub) = Hub::start(&place, Duration::ZERO, &[])?;
    let media = hub.upload(&eight()?).await?;
    let id = hub.client.submit(&job(media), None).await?.id;
    ensure!(hub.ends(id).await?.phase == JobPhase::Completed);
    // The index stays for later jobs of the same source.
    let blobs = || -> Result<Vec<String>> {
        let names = support::names(&place.at("data").join("blobs"))?;
        Ok(names.into_iter().filter(|name| !name.ends_with(".index")).collect())
    };
    ensure!(blobs()?.len() == 4 + 2, "chunks, sound, join: {:?}", blobs()?);
    let mut again = |flags: &[&str]| -> Result<()> {
        hub.child.kill()?;
        hub.child.wait()?;
        hub = Hub::start(&place, Duration::ZERO, flags)?.0;
        Ok(())
    };
    again(&[])?;
    support::until("the chunks alone", || {
        blobs().is_ok_and(|b| b.len() == 4 && b.iter().all(|n| n.contains(CHUNK)))
    })?;
    again(&["--chunk-cache", "0"])?;
    support::until("nothing", || blobs().is_ok_and(|b| b.is_empty()))?;
    ensure!(hub.client.fetch(id, &place.at("o.mp4")).await? > 0, "the result stays");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_paused_cancelled_and_tried_again() -> Result<()> {
    let place = Place::new()?;
    let (hub, _stub) = Hub::start(&place, Duration::from_millis(500), &[])?;
    let media = hub.upload(&eight()?).await?;
    let id = hub.client.submit(&job(media.clone()), None).await?.id;
    hub.until(id, |view| view.chunks.running >= 1).await?;
    let paused = hub.client.tell_job(id, JobVerb::Pause).await?;
    ensure!(
        (paused.phase, paused.paused_from) == (JobPhase::Paused, Some(JobPhase::Processing)),
        "{paused:?}"
    );
    hub.until(id, |view| view.chunks.running == 0).await?;
    let (code, why) = told(hub.client.tell_job(id, JobVerb::Retry).await)?;
    ensure!(code == ErrorCode::BadInput && why.contains("Paused cannot be told to retry"), "{why}");
    hub.client.tell_job(id, JobVerb::Resume).await?;
    hub.until(id, |view| view.chunks.running >= 1).await?;
    let asked = Instant::now();
    hub.client.tell_job(id, JobVerb::Cancel).await?;
    fault::expect_no_orphans(&working(&place), Duration::from_secs(10))?;
    ensure!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    let done = hub.client.job(id).await?.chunks.done;
    hub.client.tell_job(id, JobVerb::Retry).await?;
    let ended = hub.ends(id).await?;
    ensure!(ended.phase == JobPhase::Completed && done <= 4, "{ended:?}");
    // A node that drains takes nothing until it may again.
    let node = NodeId::from("local".to_owned());
    hub.client.tell_node(&node, NodeVerb::Drain).await?;
    let waiting = hub.client.submit(&job(media), None).await?.id;
    tokio::time::sleep(Duration::from_millis(300)).await;
    ensure!(hub.client.job(waiting).await?.phase == JobPhase::Queued);
    hub.client.tell_node(&node, NodeVerb::Undrain).await?;
    ensure!(hub.ends(waiting).await?.phase == JobPhase::Completed);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_submissions_with_one_key_are_one_job() -> Result<()> {
    let place = Place::new()?;
    let (hub, _stub) = Hub::start(&place, Duration::ZERO, &[])?;
    let job = job(hub.upload(&eight()?).await?);
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let (client, job) = (hub.client.clone(), job.clone());
            tokio::spawn(async move { client.submit(&job, Some("the same")).await })
        })
        .collect();
    let mut ids = Vec::new();
    for call in calls {
        ids.push(call.await??.id);
    }
    ids.dedup();
    ensure!(ids.len() == 1 && hub.client.jobs(None, 500).await?.items.len() == 1, "{ids:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_wrongly_is_refused() -> Result<()> {
    let place = Place::new()?;
    let allowed = place.at("allowed");
    std::fs::create_dir(&allowed)?;
    std::fs::copy(eight()?, allowed.join("good.mp4"))?;
    let secret = place.file("secret.mp4", "none of yours")?;
    std::os::unix::fs::symlink(&secret, allowed.join("link.mp4"))?;
    let (hub, _stub) = Hub::start(&place, Duration::ZERO, &["--allow-dir", &allowed.display().to_string()])?;
    for path in [secret, allowed.join("../secret.mp4"), allowed.join("link.mp4"), "/etc/passwd".into()] {
        let (code, why) = told(hub.client.submit(&from_path(path), None).await)?;
        ensure!(code == ErrorCode::BadInput && why.contains("not below an allowed folder"), "{why}");
    }
    for (job, words) in [
        (from_path(allowed.join("missing.mp4")), "No such file"),
        (from_path(allowed.clone()), "not a regular file"),
        (job(Digest::from_bytes(&[7; 32])), "there is no media"),
        (NewJob { name: Some("../x.mp4".to_owned()), ..from_path(allowed.join("good.mp4")) }, "is no name"),
        (NewJob { output: Some("/etc/x.mp4".into()), ..from_path(allowed.join("good.mp4")) }, "not below"),
    ] {
        let (_, why) = told(hub.client.submit(&job, None).await)?;
        ensure!(why.contains(words), "{words}: {why}");
    }
    let (_, why) = told(hub.client.job(JobId::generate()).await)?;
    ensure!(why.contains("there is no job"), "{why}");
    let empty = place.file("empty.mp4", "")?;
    let failure = hub.client.upload(&empty, |_| ()).await.err().context("an empty file was taken")?;
    ensure!(failure.message.contains("is empty"), "{failure}");
    // What is no video fails as a job, and the hub stays up.
    let text = hub.upload(&place.file("text.mp4", "no video at all")?).await?;
    let id = hub.client.submit(&job(text), None).await?.id;
    let ended = hub.ends(id).await?;
    ensure!(ended.phase == JobPhase::Failed, "{ended:?}");
    let why = ended.failure.context("no reason")?.to_string();
    ensure!(why.contains("text.mp4") && !why.contains(&place.marker()), "{why}");
    let (_, why) = told(hub.client.tell_job(id, JobVerb::Pause).await)?;
    ensure!(why.contains("Failed cannot be told to pause"), "{why}");
    let good = hub.client.submit(&from_path(allowed.join("good.mp4")), None).await?.id;
    ensure!(hub.ends(good).await?.phase == JobPhase::Completed);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_does_it_too() -> Result<()> {
    let place = Place::new()?;
    let (hub, _stub) = Hub::start(&place, Duration::ZERO, &[])?;
    let words = |args: &[&str]| -> Result<support::Run> {
        run(kinora().args(args).args(["--hub", &hub.address]).current_dir(place.path()))
    };
    let input = eight()?.display().to_string();
    let lossless = ["--quality", "lossless", "--preset", "ultrafast", "--chunk-seconds", "2"];
    let done = words(&[&["submit", &input, "-o", "o.mp4"], &lossless[..]].concat())?;
    ensure!(done.code == Some(0) && done.stdout.contains("200 frames"), "{done:?}");
    ensure!(done.stderr.contains("Completed 100%, 4/4 chunks"), "{done:?}");
    let got = decoded(&place.at("o.mp4"))?;
    ensure!(got == decoded(&eight()?)?, "other frames");
    let id = words(&[&["submit", &input], &lossless[..]].concat())?.stdout.trim().to_owned();
    ensure!(words(&["jobs", "watch", &id])?.code == Some(0));
    let list = words(&["jobs", "ls"])?.stdout;
    ensure!(list.lines().count() == 2 && list.contains(&id) && list.contains("Completed"), "{list}");
    let shown = words(&["jobs", "show", &id])?.stdout;
    ensure!(
        shown.contains("chunk 3: done  frames 150..200") && shown.contains("attempt 1 on local: done"),
        "{shown}"
    );
    ensure!(words(&["jobs", "proof", &id])?.json()?["verified"] == true);
    ensure!(words(&["jobs", "fetch", &id, "-o", "p.mp4"])?.code == Some(0));
    ensure!(decoded(&place.at("p.mp4"))? == got, "other frames");
    let nodes = words(&["nodes", "ls", "--json"])?.json()?;
    ensure!(nodes["items"][0]["state"] == "Idle", "{nodes}");
    let failed = words(&["submit", "missing.mp4", "--json"])?;
    ensure!(failed.code == Some(1) && failed.stderr.contains("missing.mp4"), "{failed:?}");
    ensure!(failed.json()?["error"]["code"] == "bad_input", "{failed:?}");
    Ok(())
}

#[test]
fn no_hub_and_two_hubs() -> Result<()> {
    let place = Place::new()?;
    let nobody = run(kinora().args(["jobs", "ls", "--hub", "http://127.0.0.1:1"]))?;
    ensure!(nobody.code == Some(1) && nobody.stderr.contains("cannot be reached"), "{nobody:?}");
    let (hub, _stub) = Hub::start(&place, Duration::ZERO, &[])?;
    let second = run(kinora().args(["hub", "--listen", "127.0.0.1:0", "--data"]).arg(place.at("data")))?;
    ensure!(second.code == Some(1) && second.stderr.contains("in use"), "{second:?}");
    let taken = hub.listen();
    let third = run(kinora().args(["hub", "--listen", &taken, "--data"]).arg(place.at("other")))?;
    ensure!(third.code == Some(1) && third.stderr.contains("cannot listen"), "{third:?}");
    signal(&hub.child, "TERM")?;
    let started = Instant::now();
    let mut hub = hub;
    while hub.child.try_wait()?.is_none() {
        ensure!(started.elapsed() < Duration::from_secs(15), "it does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// What happens is told in order and at most ten times a second; over a new connection, from where the last one ended, also
/// when the hub was killed in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_are_told_and_miss_nothing() -> Result<()> {
    let place = Place::new()?;
    let (mut hub, _stub) = Hub::start(&place, Duration::from_millis(400), &[])?;
    let media = hub.upload(&eight()?).await?;
    let what = |after| Subscribe { subscribe: vec![Topic::Jobs, Topic::Nodes], after };
    let mut updates = hub.client.live(&what(None)).await?;
    let id = hub.client.submit(&job(media), None).await?.id;
    let (mut events, mut seq, mut at_work, mut nodes) = (Vec::new(), 0, 0, 0);
    let (started, mut count) = (Instant::now(), 0);
    while events.iter().filter(|e| is_done_chunk(e)).count() < 2 {
        let update = updates.recv().await.context("the connection ended")?;
        ensure!(update.seq >= seq && !update.missed, "{update:?}");
        (seq, count) = (update.seq, count + 1);
        at_work += update.running.iter().filter(|r| r.job == id && !r.tasks.is_empty()).count();
        nodes += usize::from(update.nodes.is_some());
        events.extend(update.events);
    }
    ensure!(at_work > 0 && nodes > 0, "what is at work is told");
    ensure!(f64::from(count) <= 2.0 + 10.0 * started.elapsed().as_secs_f64(), "{count} updates");
    hub.child.kill()?;
    hub.child.wait()?;
    let (hub, _stub) = Hub::start(&place, Duration::ZERO, &[])?;
    hub.ends(id).await?;
    let mut updates = hub.client.live(&what(Some(seq))).await?;
    while !matches!(events.last(), Some(Event::Job { phase: JobPhase::Completed, .. })) {
        let update = updates.recv().await.context("the connection ended")?;
        ensure!(!update.missed, "{update:?}");
        events.extend(update.events);
    }
    let done = events.iter().filter(|e| is_done_chunk(e)).count();
    ensure!(done == 4, "each chunk is told once: {events:?}");
    // A number that this hub never gave.
    let mut odd = hub.client.live(&what(Some(1 << 40))).await?;
    ensure!(odd.recv().await.is_some_and(|update| update.missed), "it does not say so");
    Ok(())
}

fn is_done_chunk(event: &Event) -> bool {
    matches!(event, Event::Task { kind: TaskKind::Chunk, change: TaskChange::Done, .. })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_says_whether_it_can_work() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let ask = || -> Result<(u16, serde_json::Value)> {
        let said = support::wire::ask(&hub.address, "GET", kinora_protocol::routes::HEALTH_READY, &[])?;
        Ok((said.status, serde_json::from_slice(&said.body)?))
    };
    let (status, view) = ask()?;
    ensure!(status == 200 && view["ready"] == true && view["store"] == "ok" && view["nodes"] == 0, "{view}");
    let (blobs, away) = (place.at("data/blobs"), place.at("away"));
    std::fs::rename(&blobs, &away)?;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let (status, view) = ask()?;
    let why = view["blobs"]["failing"].as_str().unwrap_or_default();
    ensure!(status == 503 && view["ready"] == false && why.contains("cannot be written"), "{view}");
    ensure!(!view.to_string().contains(&blobs.display().to_string()), "strangers learn where it is: {view}");
    std::fs::rename(&away, &blobs)?;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    ensure!(ask()?.0 == 200);
    Ok(())
}
