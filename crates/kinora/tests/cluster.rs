//! A hub and workers as processes of their own, which share nothing but the network: what they make together is what one
//! machine makes, and nothing is lost whatever falls.
#![cfg(unix)]

mod support;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::api::JobView;
use kinora_protocol::client::JobVerb;
use kinora_protocol::job::JobPhase;
use kinora_protocol::task::TaskKind;
use kinora_testkit::fault;
use support::cluster::{Hub, Worker, from_path, job};
use support::{PATIENCE, Place, eight, kinora, long_gops, other_eight, run, signal};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_share_a_job_over_the_network() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let slow = Duration::from_millis(300);
    let one = Worker::start(&place, "one", &hub.address, slow, &["--copy", "--slots", "1"])?;
    let two = Worker::start(&place, "two", &hub.address, slow, &["--copy", "--slots", "1"])?;
    hub.connected(2).await?;
    let id = hub.client.submit(&job(hub.upload(&eight()?).await?), None).await?.id;
    let ended = hub.ends(id).await?;
    hub.right(&place, &ended, &eight()?).await?;
    ensure!(ended.shares.len() == 2, "both worked: {ended:?}");
    for worker in [&one, &two] {
        fault::expect_no_orphans(&worker.working(), Duration::from_secs(10))?;
    }
    let outputs = place.at("data").join("outputs").join(id.to_string());
    ensure!(support::names(&outputs)? == ["o.mp4"], "nothing is left beside the result");
    Ok(())
}

/// A worker that sees the hub's files uses them, and copies nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_machine_nothing_is_copied() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let worker =
        Worker::start(&place, "one", &hub.address, Duration::ZERO, &["--benchmark-duration", "0.5"])?;
    hub.connected(1).await?;
    let nodes = hub.client.nodes().await?.items;
    let measured = nodes.first().map(|node| &node.capabilities.speeds);
    ensure!(measured.is_some_and(|speeds| !speeds.is_empty()), "nothing was measured: {nodes:?}");
    let id = hub.client.submit(&job(hub.upload(&eight()?).await?), None).await?.id;
    let ended = hub.ends(id).await?;
    hub.right(&place, &ended, &eight()?).await?;
    ensure!(ended.moved_bytes == 0, "{ended:?}");
    ensure!(support::names(&worker.folder.join("media"))?.is_empty());
    Ok(())
}

/// Three clips at once on three workers; one is killed, one stands still past its lease and wakes up late, the hub is killed
/// and started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_whatever_falls() -> Result<()> {
    let place = Place::new()?;
    let mut hub = Hub::alone(&place, "127.0.0.1:0")?;
    let listen = hub.listen();
    let slow = Duration::from_millis(900);
    let start =
        |name: &str| Worker::start(&place, name, &hub.address, slow, &["--copy", "--reconnect-delay", "0.2"]);
    let (killed, frozen, steady) = (start("killed")?, start("frozen")?, start("steady")?);
    hub.connected(3).await?;
    let sources = [eight()?, other_eight()?, long_gops()?];
    let mut ids = Vec::new();
    for source in &sources {
        ids.push(hub.client.submit(&job(hub.upload(source).await?), None).await?.id);
    }
    // In the middle of chunks, on all three.
    let started = Instant::now();
    loop {
        let nodes = hub.client.nodes().await?.items;
        let at_chunks =
            |n: &&kinora_protocol::api::NodeView| n.running.iter().any(|r| r.kind == TaskKind::Chunk);
        if nodes.iter().filter(at_chunks).count() == 3 {
            break;
        }
        ensure!(started.elapsed() < PATIENCE, "no chunks: {nodes:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    signal(&frozen.child, "STOP")?;
    let gone = killed.working();
    drop(killed);
    fault::expect_no_orphans(&gone, Duration::from_secs(10))?;
    hub.child.kill()?;
    hub.child.wait()?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let hub = Hub::alone(&place, &listen)?;
    let mut tasks = Vec::new();
    for (id, source) in ids.iter().zip(&sources) {
        let ended = hub.ends(*id).await?;
        tasks.extend(hub.right(&place, &ended, source).await?);
    }
    let outcomes = |outcome: &str| {
        tasks.iter().flat_map(|t| &t.attempts).filter(|a| a.outcome.as_deref() == Some(outcome)).count()
    };
    ensure!(outcomes("expired") >= 2, "the leases of two nodes ran out: {tasks:?}");
    ensure!(
        tasks.iter().flat_map(|t| &t.attempts).all(|a| a.ended_ms.is_some()),
        "no lease is left: {tasks:?}"
    );
    // What it made while nobody waited for it is not taken, and it goes on as a good node.
    signal(&frozen.child, "CONT")?;
    hub.connected(2).await?;
    for worker in [&frozen, &steady] {
        fault::expect_no_orphans(&worker.working(), Duration::from_secs(10))?;
        support::until("empty scratch folders", || {
            support::names(&worker.folder.join("scratch")).is_ok_and(|names| names.is_empty())
        })?;
    }
    for id in ids {
        let outputs = place.at("data").join("outputs").join(id.to_string());
        ensure!(support::names(&outputs)? == ["o.mp4"], "nothing is left beside the result");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_asked_to_end_finishes_first() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let flags = ["--copy", "--slots", "1"];
    let worker = Worker::start(&place, "one", &hub.address, Duration::from_millis(800), &flags)?;
    hub.connected(1).await?;
    let id = hub.client.submit(&job(hub.upload(&eight()?).await?), None).await?.id;
    hub.until(id, |view| view.chunks.running == 1).await?;
    signal(&worker.child, "TERM")?;
    let mut worker = worker;
    support::until("its end", || worker.child.try_wait().is_ok_and(|status| status.is_some()))?;
    ensure!(worker.child.wait()?.success());
    let view = hub.client.job(id).await?;
    ensure!((view.chunks.done, view.chunks.running) == (1, 0), "{view:?}");
    let tasks = hub.client.tasks(id).await?.items;
    ensure!(
        tasks.iter().flat_map(|t| &t.attempts).all(|a| a.outcome.as_deref() == Some("done")),
        "{tasks:?}"
    );
    // The next one, under the same id, is stopped twice, which means at once; what it was at is free before its lease ends.
    drop(worker);
    let mut worker = Worker::start(&place, "one", &hub.address, Duration::from_secs(600), &flags)?;
    hub.until(id, |view| view.chunks.running == 1).await?;
    signal(&worker.child, "TERM")?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    signal(&worker.child, "TERM")?;
    let asked = Instant::now();
    worker.child.wait()?;
    hub.until(id, |view| view.chunks.running == 0).await?;
    ensure!(asked.elapsed() < Duration::from_secs(10), "it waited for the lease: {:?}", asked.elapsed());
    drop(worker);
    let _worker = Worker::start(&place, "one", &hub.address, Duration::ZERO, &flags)?;
    let ended = hub.ends(id).await?;
    hub.right(&place, &ended, &eight()?).await?;
    ensure!(hub.client.nodes().await?.items.len() == 1);
    Ok(())
}

#[test]
fn workers_that_cannot_work_say_why() -> Result<()> {
    let place = Place::new()?;
    let work = |folder: &str, hub: &str, ffmpeg: Option<&str>| -> Result<support::Run> {
        let mut command = kinora();
        command
            .args(["worker", "--benchmark-seconds", "0", "--hub", hub, "--work-dir"])
            .arg(place.at(folder));
        command.args(ffmpeg.into_iter().flat_map(|f| ["--ffmpeg", f]));
        run(&mut command)
    };
    let nobody = work("a", "http://127.0.0.1:1", None)?;
    ensure!(nobody.code == Some(1) && nobody.stderr.contains("cannot be reached"), "{nobody:?}");
    let no_address = work("a", "127.0.0.1:8000", None)?;
    ensure!(
        no_address.code == Some(1) && no_address.stderr.contains("is no address of a hub"),
        "{no_address:?}"
    );
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let no_tool = work("a", &hub.address, Some("/nowhere/ffmpeg"))?;
    ensure!(no_tool.code == Some(1) && no_tool.stderr.contains("/nowhere/ffmpeg"), "{no_tool:?}");
    let useless =
        place.file("useless", "#!/bin/sh\ncase \"$*\" in *-version*) echo ffmpeg version 6.0 ;; esac\n")?;
    std::fs::set_permissions(&useless, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let useless = useless.to_str().context("an odd path")?;
    let no_encoder = work("a", &hub.address, Some(useless))?;
    ensure!(no_encoder.code == Some(1) && no_encoder.stderr.contains("no encoder of"), "{no_encoder:?}");
    let _first = Worker::start(&place, "b", &hub.address, Duration::ZERO, &[])?;
    support::until("its lock", || place.at("b").join("node.id").exists())?;
    let second = work("b", &hub.address, None)?;
    ensure!(second.code == Some(1) && second.stderr.contains("another worker works in"), "{second:?}");
    Ok(())
}

/// Ten minutes in which a key frame comes each second.
fn ten_minutes(extension: &str) -> Result<std::path::PathBuf> {
    let source = "-f lavfi -i testsrc2=size=320x180:rate=25:duration=600,noise=alls=20:allf=t";
    let codec = "-c:v libx264 -preset ultrafast -b:v 700k -bf 2 -pix_fmt yuv420p -g 25";
    let whole = support::clip("ten_minutes.mp4", &format!("{source} {codec}"))?;
    match extension {
        "mp4" => Ok(whole),
        other => support::clip(&format!("ten_minutes.{other}"), &format!("-i {} -c copy", whole.display())),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_moves_only_its_bytes() -> Result<()> {
    for extension in ["mp4", "mkv", "ts"] {
        let source = ten_minutes(extension)?;
        let place = Place::new()?;
        let folder = source.parent().context("no folder")?.display().to_string();
        // The hub's machine does what needs the whole file, and is too slow to do more than a chunk.
        let (hub, _stub) =
            Hub::start(&place, Duration::from_secs(300), &["--allow-dir", &folder, "--jobs", "1"])?;
        let _far = Worker::start(&place, "far", &hub.address, Duration::ZERO, &["--copy", "--slots", "1"])?;
        hub.connected(2).await?;
        let mut asked = from_path(source.clone());
        asked.recipe = kinora_protocol::recipe::Recipe::default();
        asked.recipe.video.crf = Some(45.0);
        asked.recipe.video.preset = Some("ultrafast".to_owned());
        asked.recipe.chunks.seconds = Some(10.0);
        let id = hub.client.submit(&asked, None).await?.id;
        let far = |view: &JobView| view.shares.iter().map(|s| u64::from(s.chunks)).sum::<u64>();
        let view = hub.until(id, |view| far(view) >= 2).await?;
        let chunks = far(&view) + 1;
        let size = std::fs::metadata(&source)?.len();
        let part = view.moved_bytes as f64 / chunks as f64 / size as f64;
        ensure!(
            view.chunks.total == 60 && part <= 0.03,
            "{extension}: {:.2} % of {size} for each",
            part * 100.0
        );
        ensure!(view.moved_bytes > 0, "{view:?}");
        hub.client.tell_job(id, JobVerb::Cancel).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_wait_for_nodes_and_have_an_end() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let media = hub.upload(&eight()?).await?;
    let waits = kinora_protocol::api::NewJob { required_nodes: Some(2), ..job(media.clone()) };
    let id = hub.client.submit(&waits, None).await?.id;
    ensure!(hub.client.job(id).await?.phase == JobPhase::WaitingForNodes);
    let ends =
        kinora_protocol::api::NewJob { required_nodes: Some(9), deadline_seconds: Some(1), ..job(media) };
    let late = hub.client.submit(&ends, None).await?.id;
    let _one = Worker::start(&place, "one", &hub.address, Duration::ZERO, &[])?;
    hub.connected(1).await?;
    ensure!(hub.client.job(id).await?.phase == JobPhase::WaitingForNodes);
    let _two = Worker::start(&place, "two", &hub.address, Duration::ZERO, &[])?;
    let ended = hub.ends(id).await?;
    hub.right(&place, &ended, &eight()?).await?;
    let ended = hub.ends(late).await?;
    let why = ended.failure.map(|f| f.message).unwrap_or_default();
    ensure!(ended.phase == JobPhase::Failed && why.contains("deadline"), "{why}");
    Ok(())
}

/// A chunk that no node can do fails its job with what each of them said; a node that alone fails is set aside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_everywhere_and_who_fails_alone() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let media = hub.upload(&eight()?).await?;
    let bad = |name: &str| Worker::start_bad(&place, name, &hub.address, &["--copy", "--slots", "1"]);
    let (one, two, three) = (bad("one")?, bad("two")?, bad("three")?);
    hub.connected(3).await?;
    let id = hub.client.submit(&job(media.clone()), None).await?.id;
    let failure = hub.ends(id).await?.failure.context("it did not fail")?;
    ensure!(failure.message.contains("after 3 attempts"), "{failure:?}");
    let nodes = hub.client.nodes().await?.items;
    for node in &nodes {
        ensure!(failure.detail.contains(node.id.as_str()), "{} is not named: {failure:?}", node.id);
    }
    drop((two, three));
    let _good = Worker::start(&place, "good", &hub.address, Duration::ZERO, &["--copy", "--slots", "1"])?;
    hub.connected(2).await?;
    // Enough chunks for it to fail a few of them.
    let mut many = job(media);
    many.recipe.chunks.seconds = Some(0.5);
    let id = hub.client.submit(&many, None).await?.id;
    let ended = hub.ends(id).await?;
    hub.right(&place, &ended, &eight()?).await?;
    let nodes = hub.client.nodes().await?.items;
    let aside = nodes.iter().find(|n| n.quarantined.is_some()).context("nobody was set aside")?;
    ensure!(aside.name == "one", "{aside:?}");
    // A hub that is started again has not forgotten it.
    let listen = hub.listen();
    drop(hub);
    let hub = Hub::alone(&place, &listen)?;
    hub.connected(2).await?;
    ensure!(hub.client.node(&aside.id).await?.quarantined == aside.quarantined);
    hub.client.tell_node(&aside.id, kinora_protocol::client::NodeVerb::Undrain).await?;
    ensure!(hub.client.node(&aside.id).await?.quarantined.is_none());
    drop(one);
    Ok(())
}

/// A chunk that hangs on one node is done on another that has nothing else to do; the first one is told to stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stragglers_are_repeated_elsewhere() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let media = hub.upload(&eight()?).await?;
    let flags = ["--copy", "--slots", "1"];
    let slow = Worker::start(&place, "slow", &hub.address, Duration::from_secs(600), &flags)?;
    let _quick = Worker::start(&place, "quick", &hub.address, Duration::ZERO, &flags)?;
    hub.connected(2).await?;
    let id = hub.client.submit(&job(media), None).await?.id;
    let ended = hub.ends(id).await?;
    let tasks = hub.right(&place, &ended, &eight()?).await?;
    let twice = tasks.iter().filter(|t| t.attempts.len() == 2).count();
    ensure!(twice == 1, "one chunk was done twice: {tasks:?}");
    fault::expect_no_orphans(&slow.working(), Duration::from_secs(10))
}
