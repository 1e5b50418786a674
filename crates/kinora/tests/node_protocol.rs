//! Nodes that misbehave in their words: what they say twice, late, wrongly or without right changes nothing, and the hub
//! stays up. A real worker does the work; between it and the hub sits the test.
#![cfg(unix)]

mod support;

use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kinora_media::command::Limits;
use kinora_media::{Sandbox, Tools};
use kinora_protocol::api::JobView;
use kinora_protocol::class::Tags;
use kinora_protocol::client::JobVerb;
use kinora_protocol::job::JobPhase;
use kinora_protocol::node::{Grant, Slots, ToHub, ToNode};
use kinora_protocol::task::{TaskKind, TaskOutput};
use kinora_protocol::{Digest, ErrorCode, JobId, NodeId, routes};
use kinora_worker::cache::MediaCache;
use kinora_worker::capability::{self, Trials};
use kinora_worker::models::Models;
use kinora_worker::reach::{Reach, Remote};
use kinora_worker::{Folders, Link, Worker};
use support::cluster::{Hub, job};
use support::{Place, eight, same_frames, wire};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Any free port.
const ANY: &str = "127.0.0.1:0";

/// A worker whose words pass through the test.
struct Between {
    /// What the worker says.
    said: mpsc::Receiver<ToHub>,
    to_hub: mpsc::Sender<ToHub>,
    /// All that it was given.
    grants: Arc<Mutex<Vec<Grant>>>,
    _stop: tokio_util::sync::DropGuard,
}

impl Between {
    async fn start(place: &Place, hub: &Hub, name: &str) -> Result<Self> {
        let tools =
            Tools::find("ffmpeg".as_ref(), "ffprobe".as_ref(), Sandbox::off("a test"), Limits::default())
                .await?;
        let at = |what: &str| place.at(&format!("{name}-{what}"));
        let folders = Folders { blobs: at("results"), scratch: at("scratch"), benchmark: None };
        folders.prepare()?;
        let cache = MediaCache::open(at("media"), 1 << 30)?;
        let models = Arc::new(Models::none("no model is asked for"));
        let worker = Worker {
            node: NodeId::from(name.to_owned()),
            name: name.to_owned(),
            capabilities: capability::detect(&tools, &models, &Trials::Hardware(Vec::new())).await,
            tools,
            models,
            slots: Slots { chunks: 2, other: 2 },
            tags: Tags::NONE,
            priority: 0,
            folders,
            reach: Reach::Apart(Remote::new(hub.client.clone(), cache, false)),
            stall: None,
            benchmark: Some(Duration::ZERO),
            log: None,
        };
        let (to_hub, mut from_hub) = hub.client.connect_node().await?;
        let (to_test, said) = mpsc::channel(64);
        let (to_worker, heard) = mpsc::unbounded_channel();
        let grants = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&grants);
        tokio::spawn(async move {
            while let Some(message) = from_hub.recv().await {
                if let (ToNode::Lease(grant), Ok(mut noted)) = (&message, noted.lock()) {
                    noted.push(Grant::clone(grant));
                }
                let _ = to_worker.send(message);
            }
        });
        let stop = CancellationToken::new();
        tokio::spawn(worker.run(Link { to_hub: to_test, from_hub: heard }, stop.clone()));
        Ok(Self { said, to_hub, grants, _stop: stop.drop_guard() })
    }

    /// Passes on what the worker says, each word so often, until a job has ended.
    async fn pass_on(&mut self, hub: &Hub, job: JobId, times: usize) -> Result<JobView> {
        let to_hub = self.to_hub.clone();
        let passing = async {
            while let Some(message) = self.said.recv().await {
                for _ in 0..times {
                    let _ = to_hub.send(message.clone()).await;
                }
            }
            anyhow::bail!("the worker stopped")
        };
        tokio::select! {
            view = hub.ends(job) => view,
            stopped = passing => stopped,
        }
    }

    fn grants_of(&self, kind: TaskKind) -> Vec<Grant> {
        let grants = self.grants.lock().map(|g| g.clone()).unwrap_or_default();
        grants.into_iter().filter(|g| g.spec.kind() == kind).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_twice_counts_once() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, ANY)?;
    let mut between = Between::start(&place, &hub, "twice").await?;
    let id = hub.client.submit(&job(hub.upload(&eight()?).await?), None).await?.id;
    let view = between.pass_on(&hub, id, 2).await?;
    ensure!(view.phase == JobPhase::Completed, "{view:?}");
    let tasks = hub.client.tasks(id).await?.items;
    ensure!(tasks.iter().all(|t| t.attempts.len() == 1 && t.state == "done"), "{tasks:?}");
    let out = place.at("o.mp4");
    hub.client.fetch(id, &out).await?;
    same_frames(&eight()?, &out)
}

/// Results of a cancelled job, held back until it is cancelled, change nothing; neither does their right to bytes live on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_late_counts_for_nothing() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, ANY)?;
    let mut between = Between::start(&place, &hub, "late").await?;
    let id = hub.client.submit(&job(hub.upload(&eight()?).await?), None).await?.id;
    let held_back = loop {
        let message = between.said.recv().await.context("the worker stopped")?;
        match &message {
            ToHub::Complete { output, .. } if matches!(**output, TaskOutput::Chunk(_)) => break message,
            _ => between.to_hub.send(message).await?,
        }
    };
    hub.client.tell_job(id, JobVerb::Cancel).await?;
    between.to_hub.send(held_back.clone()).await?;
    between.to_hub.send(held_back).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let view = hub.client.job(id).await?;
    ensure!((view.phase, view.chunks.done) == (JobPhase::Cancelled, 0), "{view:?}");
    let grant = between.grants_of(TaskKind::Chunk).pop().context("no chunk")?;
    let late = hub.client.work_result(&grant.capability, &eight()?, &Digest::from_bytes(&[0; 32])).await;
    let failure = late.err().context("a late result was taken")?;
    ensure!(failure.code == ErrorCode::LeaseLost && failure.message.contains("is over"), "{failure}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_are_given_and_taken_by_right_only() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, ANY)?;
    let mut between = Between::start(&place, &hub, "bytes").await?;
    let media = hub.upload(&eight()?).await?;
    let id = hub.client.submit(&job(media), None).await?.id;
    let (first, grant) = loop {
        let message = between.said.recv().await.context("the worker stopped")?;
        if let ToHub::Complete { output, task, .. } = &message
            && matches!(**output, TaskOutput::Chunk(_))
        {
            let task = *task;
            let grant = between.grants_of(TaskKind::Chunk).into_iter().find(|g| g.task == task);
            break (message, grant.context("no grant")?);
        }
        between.to_hub.send(message).await?;
    };
    let client = &hub.client;
    // Not the bytes that were announced.
    let wrong = client.work_result(&grant.capability, &eight()?, &Digest::from_bytes(&[1; 32])).await;
    let failure = wrong.err().context("a wrong hash was taken")?;
    ensure!(failure.code == ErrorCode::BadInput && failure.message.contains("was sent with"), "{failure}");
    // Cut off in the middle.
    let path = routes::work_result(&grant.capability);
    let mut cut = wire::open(&hub.address, "PUT", &path, &[("content-length", "100000")])?;
    cut.write_all(b"only this")?;
    drop(cut);
    support::until("nothing of it", || {
        let names = support::names(&place.at("data").join("blobs")).unwrap_or_default();
        !names.iter().any(|name| name.ends_with(".incoming"))
    })?;
    // Somebody else's right, and no right at all.
    for capability in
        [format!("{}x", grant.capability), "7.1.00".to_owned(), grant.capability.replace('.', ".0")]
    {
        let forged = client.work_source(&capability, vec![(0, 1)]).await;
        ensure!(forged.is_err(), "{capability} was taken");
    }
    // Bytes that the chunk has no use for.
    let beyond =
        client.work_source(&grant.capability, vec![(0, 1 << 40)]).await.err().context("it was given")?;
    ensure!(beyond.message.contains("not among those that the task needs"), "{beyond}");
    // None of it has harmed the result that was there.
    between.to_hub.send(first).await?;
    let view = between.pass_on(&hub, id, 1).await?;
    ensure!(view.phase == JobPhase::Completed, "{view:?}");
    let out = place.at("o.mp4");
    hub.client.fetch(id, &out).await?;
    same_frames(&eight()?, &out)
}

/// Says hello as a real worker would, but for what `change` makes of it; gives the hub's answer.
async fn answer_to(
    place: &Place,
    hub: &Hub,
    change: impl Fn(&mut kinora_protocol::node::Hello),
) -> Result<ToNode> {
    let mut between = Between::start(place, hub, "odd").await?;
    let ToHub::Hello(mut hello) = between.said.recv().await.context("no hello")? else {
        anyhow::bail!("it did not begin with a hello")
    };
    change(&mut hello);
    let (to_hub, mut from_hub) = hub.client.connect_node().await?;
    to_hub.send(ToHub::Hello(hello)).await?;
    from_hub.recv().await.context("no answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_do_not_fit_are_told_why() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, ANY)?;
    let refused = |answer: ToNode| match answer {
        ToNode::Refused(failure) => Ok(failure.message),
        other => Err(anyhow::anyhow!("it was taken: {other:?}")),
    };
    let old = refused(answer_to(&place, &hub, |hello| hello.protocol = 0).await?)?;
    ensure!(old.contains("upgrade the worker"), "{old}");
    let new = refused(answer_to(&place, &hub, |hello| hello.protocol = 99).await?)?;
    ensure!(new.contains("upgrade the hub"), "{new}");
    let unable = refused(answer_to(&place, &hub, |hello| hello.capabilities.encoders.clear()).await?)?;
    ensure!(unable.contains("no encoder that works"), "{unable}");
    ensure!(matches!(answer_to(&place, &hub, |_| ()).await?, ToNode::Welcome { .. }));
    ensure!(hub.client.system().await.is_ok(), "the hub stays up");
    Ok(())
}
