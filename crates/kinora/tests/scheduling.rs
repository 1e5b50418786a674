//! Which machines a job goes to, what it is made with when it does not say, and what is told of it.
#![cfg(unix)]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::api::{NewJob, NodeState, Source};
use kinora_protocol::class::Tags;
use kinora_protocol::client::{JobVerb, NodeVerb};
use kinora_protocol::event::{Event, TaskChange};
use kinora_protocol::job::JobPhase;
use kinora_protocol::recipe::{AudioCodec, ChunkRecipe};
use kinora_testkit::ffmpeg;
use support::cluster::{Hub, Worker, job};
use support::{Place, eight, kinora, other_eight, signal};

/// The ffmpeg of this machine as if it had been built by somebody else.
fn another_build(place: &Place) -> Result<PathBuf> {
    for (name, sed) in [("ffmpeg", "1s/Copyright/built elsewhere Copyright/"), ("ffprobe", "")] {
        let real = ffmpeg::find(name)?.display().to_string();
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *-version*) '{real}' \"$@\" | sed '{sed}'; exit 0 ;; esac\nexec '{real}' \"$@\"\n"
        );
        let path = place.at(name);
        std::fs::write(&path, script)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(place.at("ffmpeg"))
}

/// Chunks that are to be joined are made by one build; of several builds, by that of which there are more machines, whoever
/// has looked at the source.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_to_the_larger_crew() -> Result<()> {
    let (place, tools) = (Place::new()?, Place::new()?);
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let media = hub.upload(&eight()?).await?;
    // It sees the hub's files, so it gets all that needs whole files.
    let _near = Worker::start(&place, "near", &hub.address, Duration::ZERO, &["--slots", "1"])?;
    let tool = another_build(&tools)?;
    let far =
        |name: &str| Worker::start_with_tool(&place, name, &hub.address, &tool, &["--copy", "--slots", "1"]);
    let (one, two) = (far("one")?, far("two")?);
    hub.connected(3).await?;
    let ended = hub.ends(hub.client.submit(&job(media.clone()), None).await?.id).await?;
    hub.right(&place, &ended, &eight()?).await?;
    let nodes = hub.client.nodes().await?.items;
    let near = nodes.iter().find(|n| n.name == "near").context("no such node")?;
    ensure!(ended.shares.iter().all(|share| share.node != near.id), "{:?} {near:?}", ended.shares);
    // A job that has begun waits for its build, and says so.
    let mut again = job(media);
    again.recipe.chunks.seconds = Some(1.0);
    let id = hub.client.submit(&again, None).await?.id;
    hub.until(id, |view| view.chunks.running > 0).await?;
    drop((one, two));
    let stuck =
        |view: &kinora_protocol::api::JobView| view.stuck.as_ref().is_some_and(|w| w.contains("build"));
    let view = hub.until(id, |view| stuck(view) || view.phase.is_final()).await?;
    ensure!(stuck(&view), "{view:?}");
    let _back = far("one")?;
    let ended = hub.ends(id).await?;
    hub.right(&place, &ended, &eight()?).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_choose_the_machines() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let tags = |words: &[&str]| Tags::try_from(words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
    let _plain = Worker::start(&place, "plain", &hub.address, Duration::ZERO, &[])?;
    hub.connected(1).await?;
    let asked = NewJob { tags: tags(&["attic"])?, ..job(hub.upload(&eight()?).await?) };
    let id = hub.client.submit(&asked, None).await?.id;
    let view = hub.until(id, |view| view.stuck.is_some()).await?;
    ensure!(view.stuck.as_deref() == Some("no worker is connected with attic"), "{view:?}");
    let flags = ["--tags", "gpu,attic", "--copy"];
    let _tagged = Worker::start(&place, "tagged", &hub.address, Duration::ZERO, &flags)?;
    let ended = hub.ends(id).await?;
    let tasks = hub.right(&place, &ended, &eight()?).await?;
    let nodes = hub.client.nodes().await?.items;
    let tagged = nodes.iter().find(|n| n.name == "tagged").context("no such node")?;
    ensure!(tagged.tags == tags(&["attic", "gpu"])?, "{tagged:?}");
    ensure!(tasks.iter().flat_map(|t| &t.attempts).all(|a| a.node == tagged.id), "{tasks:?}");
    // Told to drain, it is not forgotten by the next hub, and who waits for it is told.
    hub.client.tell_node(&tagged.id, NodeVerb::Drain).await?;
    let listen = hub.listen();
    drop(hub);
    let hub = Hub::alone(&place, &listen)?;
    hub.connected(2).await?;
    let node = hub.client.node(&tagged.id).await?;
    ensure!(node.drained && node.state == NodeState::Draining, "{node:?}");
    let again = hub.client.submit(&NewJob { priority: 1, ..asked }, None).await?.id;
    hub.until(again, |v| v.stuck.as_ref().is_some_and(|why| why.contains("drained"))).await?;
    hub.client.tell_node(&tagged.id, NodeVerb::Undrain).await?;
    let ended = hub.ends(again).await?;
    ensure!(ended.phase == JobPhase::Completed && ended.chunks.reused == ended.chunks.total, "{ended:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_made_as_the_hub_is_set() -> Result<()> {
    let place = Place::new()?;
    let flags = "--local-worker off --listen 127.0.0.1:0 --chunk-seconds 2 --max-attempts 2 --retry-delay 0.1 \
                 --required-nodes 2 --benchmark-seconds 0";
    let hub = Hub::start_as(&place, &flags.split(' ').collect::<Vec<_>>())?;
    let media = hub.upload(&eight()?).await?;
    let id = hub.client.submit(&NewJob::of(Source::Media(media.clone())), None).await?.id;
    let view = hub.client.job(id).await?;
    let set = ChunkRecipe { seconds: Some(2.0), max_attempts: Some(2), retry_delay: Some(0.1) };
    ensure!(view.recipe.chunks == set && view.phase == JobPhase::WaitingForNodes, "{view:?}");
    ensure!(view.stuck.as_deref() == Some("0 of 2 workers are ready"), "{view:?}");
    // It says nothing of a benchmark itself.
    let mut plain = kinora();
    plain.args(["worker", "--hub", &hub.address, "--name", "plain", "--slots", "1", "--work-dir"]);
    let mut plain = plain.arg(place.at("plain")).spawn()?;
    hub.connected(1).await?;
    let node = hub.client.nodes().await?.items.pop().context("nobody is there")?;
    ensure!(node.capabilities.speeds.is_empty(), "it was measured: {node:?}");
    plain.kill()?;
    plain.wait()?;
    hub.connected(0).await?;
    let _bad = Worker::start_bad(&place, "bad", &hub.address, &[])?;
    let _worse = Worker::start_bad(&place, "worse", &hub.address, &[])?;
    let ended = hub.ends(id).await?;
    let failure = ended.failure.context("it did not fail")?;
    ensure!(failure.message.contains("after 2 attempts"), "{failure:?}");
    let mut own = NewJob { required_nodes: Some(0), ..job(media.clone()) };
    own.recipe.chunks.max_attempts = Some(1);
    let ended = hub.ends(hub.client.submit(&own, None).await?.id).await?;
    let tasks = hub.client.tasks(ended.id).await?.items;
    let failed = tasks.iter().find(|t| t.state == "failed").context("nothing failed")?;
    ensure!(failed.attempts.len() == 1, "what a job says itself counts: {failed:?}");
    own.recipe.chunks.retry_delay = Some(-1.0);
    let refused = hub.client.submit(&own, None).await;
    ensure!(refused.is_err_and(|f| f.message.contains("pause")));
    Ok(())
}

/// What was made for one job serves another with the same pictures, whatever else is asked; and what happened is on record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finished_chunks_serve_other_jobs() -> Result<()> {
    let place = Place::new()?;
    let mut hub = Hub::alone(&place, "127.0.0.1:0")?;
    let listen = hub.listen();
    let start = || Worker::start(&place, "far", &hub.address, Duration::ZERO, &["--copy"]);
    let worker = start()?;
    hub.connected(1).await?;
    let first = job(hub.upload(&eight()?).await?);
    let made = hub.ends(hub.client.submit(&first, None).await?.id).await?;
    ensure!((made.chunks.reused, made.chunks.done) == (0, made.chunks.total), "{made:?}");
    // The same packets in another container, so another file, with another recipe for all but the pictures.
    let remuxed = support::clip("eight_again.mov", &format!("-i {} -c copy", eight()?.display()))?;
    let mut second = job(hub.upload(&remuxed).await?);
    ensure!(second.source != first.source);
    second.name = Some("again.mkv".to_owned());
    second.recipe.audio.codec = Some(AudioCodec::Opus);
    second.recipe.container = None;
    let again = hub.ends(hub.client.submit(&second, None).await?.id).await?;
    ensure!(again.phase == JobPhase::Completed, "{again:?}");
    ensure!(again.chunks.reused == made.chunks.total, "nothing is made twice: {again:?}");
    // Another film has nothing of it.
    let third = job(hub.upload(&other_eight()?).await?);
    let other = hub.ends(hub.client.submit(&third, None).await?.id).await?;
    ensure!(other.chunks.reused == 0, "{other:?}");
    // The record of it, whole and in parts; and the count of bytes outlives the hub.
    let events = hub.client.events(made.id, 0).await?.items;
    let done = |e: &Event| matches!(e, Event::Task { change: TaskChange::Done, .. });
    ensure!(events.iter().filter(|e| done(&e.event)).count() >= made.chunks.total as usize, "{events:?}");
    ensure!(events.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    let middle = events.get(2).context("few events")?;
    ensure!(hub.client.events(made.id, middle.seq).await?.items == events[3..]);
    ensure!(hub.client.tell_job(made.id, JobVerb::Cancel).await.is_err(), "it has ended");
    ensure!(made.moved_bytes > 0);
    let moved = hub.client.job(made.id).await?.moved_bytes;
    drop(worker);
    signal(&hub.child, "TERM")?;
    hub.child.wait()?;
    let hub = Hub::alone(&place, &listen)?;
    ensure!(hub.client.job(made.id).await?.moved_bytes == moved);
    Ok(())
}
