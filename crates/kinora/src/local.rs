//! A hub and a worker in one process, with the store in a folder of the job: the same code that runs a cluster.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kinora_access::private;
use kinora_hub::session::Absence;
use kinora_hub::{Hub, HubError, Settings};
use kinora_media::Tools;
use kinora_protocol::class::Tags;
use kinora_protocol::client::Client;
use kinora_protocol::node::Slots;
use kinora_protocol::{ErrorCode, Failure, NodeId};
use kinora_worker::cache::MediaCache;
use kinora_worker::capability::{self, Trials};
use kinora_worker::models::Models;
use kinora_worker::reach::{Reach, Remote};
use kinora_worker::{Folders, Link, Worker};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Messages between the two that may wait.
const BACKLOG: usize = 256;
/// The one node of a local run: the same in each, so that a run takes up the leases of the one before it.
const NODE: &str = "local";

/// What an engine is made with.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The hub's part; the node in this process is set when it is opened.
    pub settings: Settings,
    /// The node in this process, if there is one.
    pub local: Option<Local>,
}

/// What is kept for how long.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Bytes of finished chunks that are kept for later jobs.
    pub chunk_cache: u64,
    /// Jobs that ended longer ago are forgotten; none when absent.
    pub keep_jobs: Option<Duration>,
    /// How often all stored bytes are looked at; never when absent.
    pub scrub_every: Option<Duration>,
}

/// A node in the process of its hub.
#[derive(Debug, Clone)]
pub struct Local {
    /// Programs.
    pub tools: Tools,
    /// What runs models.
    pub models: Arc<Models>,
    /// Encoders that are tried before it comes.
    pub trials: Trials,
    /// Chunks at once at the most.
    pub chunks: Option<u32>,
    /// What jobs may ask for.
    pub tags: Tags,
    /// Without an encoder the engine goes on and only hands out work.
    pub optional: bool,
    /// A program that makes no progress for so long is stopped.
    pub stall: Duration,
    /// It cannot read the hub's files, as they are encrypted.
    pub apart: Option<Apart>,
}

/// What a node in the process of its hub needs to work as one elsewhere does.
#[derive(Debug, Clone)]
pub struct Apart {
    /// The hub.
    pub hub: Client,
    /// Where files are that are worked on. It is this node's alone.
    pub work: PathBuf,
}

impl Apart {
    /// Makes the folder anew, for this user alone: what is in it can be read.
    ///
    /// # Errors
    /// The disk fails.
    pub fn prepare(&self) -> std::io::Result<()> {
        match std::fs::remove_dir_all(&self.work) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        private::folder(&self.work)
    }
}

impl Local {
    /// Tries its encoders, which takes a moment, and is a worker then.
    async fn worker(self, node: NodeId, folders: Folders, reach: Reach) -> Worker {
        let capabilities = capability::detect(&self.tools, &self.models, &self.trials).await;
        let chunks = self.chunks.unwrap_or(capabilities.defaults().chunks).max(1);
        Worker {
            node,
            name: NODE.to_owned(),
            tools: self.tools,
            models: self.models,
            capabilities,
            slots: Slots { chunks, other: 2 },
            tags: self.tags,
            priority: 0,
            folders,
            reach,
            stall: Some(self.stall),
            benchmark: Some(Duration::ZERO),
            // Its process is the hub's.
            log: None,
        }
    }

    /// How it gets at the hub's files.
    fn reach(&self) -> std::io::Result<Reach> {
        let Some(Apart { hub, work }) = &self.apart else { return Ok(Reach::Same) };
        // Nothing stays readable for longer than it is worked on.
        let cache = MediaCache::open(work.join("sources"), 0)?;
        Ok(Reach::Apart(Remote::new(hub.clone(), cache, false)))
    }
}

/// An engine that is open and does not work yet: nobody takes a task while jobs are taken up.
pub struct Opened {
    /// The hub.
    pub hub: Hub,
    local: Option<(Local, Folders, Reach)>,
}

/// A running engine.
pub struct Engine {
    /// The hub.
    pub hub: Hub,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<Result<(), HubError>>>,
    /// What tells what happened, and goes on until nothing does.
    telling: (CancellationToken, Option<JoinHandle<()>>),
}

impl Opened {
    /// Opens the store below `state`.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub async fn open(state: &Path, setup: Setup) -> Result<Self, Failure> {
        let apart = setup.local.as_ref().and_then(|local| local.apart.as_ref());
        let scratch = apart.map_or_else(|| state.join("scratch"), |apart| apart.work.join("scratch"));
        let unusable = |folder: &Path, e: std::io::Error| {
            Failure::new(ErrorCode::Disk, format!("cannot write into {}: {e}", folder.display()))
        };
        let folders = Folders { blobs: state.join("blobs"), scratch, benchmark: None };
        folders.prepare().map_err(|e| unusable(&folders.scratch, e))?;
        let settings = Settings { own_node: Some(NodeId::from(NODE.to_owned())), ..setup.settings };
        let hub = Hub::open(state, settings).await?;
        if let Some(apart) = setup.local.as_ref().and_then(|local| local.apart.as_ref()) {
            apart.hub.show(Some(hub.local_key()));
        }
        let local = match setup.local {
            Some(local) => {
                let reach = local.reach().map_err(|e| unusable(&folders.scratch, e))?;
                Some((local, folders, reach))
            }
            None => None,
        };
        Ok(Self { hub, local })
    }

    /// Starts to work on what is there. Leases are not watched: the only node lives and dies with this process, and a machine
    /// that sleeps for an hour must not lose what it was at.
    pub fn start(self) -> Engine {
        let Self { hub, local } = self;
        let stop = CancellationToken::new();
        let (dispatching, dispatched) = (hub.clone(), stop.clone());
        let mut tasks = vec![tokio::spawn(async move { dispatching.dispatch(dispatched).await })];
        if let Some((local, folders, reach)) = local {
            let (to_hub, from_node) = mpsc::channel(BACKLOG);
            let (to_node, from_hub) = mpsc::unbounded_channel();
            let (serving, working) = (hub.clone(), stop.clone());
            tasks.push(tokio::spawn(
                async move { serving.serve_node(from_node, to_node, Absence::Final).await },
            ));
            tasks.push(tokio::spawn(async move {
                let optional = local.optional;
                let node = local.worker(NodeId::from(NODE.to_owned()), folders, reach).await;
                if optional && node.capabilities.encoders.is_empty() {
                    tracing::error!("no encoder works here: this machine only hands out work");
                    working.cancelled().await;
                    drop((to_hub, from_hub));
                    return Ok(());
                }
                node.run(Link { to_hub, from_hub }, working).await;
                Ok(())
            }));
        }
        Engine { hub, stop, tasks, telling: (CancellationToken::new(), None) }
    }
}

impl Engine {
    /// Also looks after what time makes wrong: for an engine that runs for long and has other nodes than its own.
    ///
    /// What is kept for how long is up to the policy.
    pub fn keep_house(&mut self, policy: Policy) {
        let (hub, done) = (self.hub.clone(), self.telling.0.clone());
        self.telling.1 = Some(tokio::spawn(async move { hub.watch_traces(done).await }));
        let (hub, stop) = (self.hub.clone(), self.stop.clone());
        self.tasks.push(tokio::spawn(async move {
            tokio::join!(
                hub.watch_leases(stop.clone()),
                hub.watch_waiting(stop.clone()),
                hub.watch_conditions(stop.clone()),
                hub.watch_moved(stop.clone()),
                hub.watch_uploads(stop.clone()),
                hub.watch_access(stop.clone()),
                hub.watch_webhooks(stop.clone()),
                hub.watch_folders(stop.clone()),
                hub.watch_scans(stop.clone()),
                hub.watch_keys(stop.clone()),
                hub.watch_ended(policy.keep_jobs, stop.clone()),
                hub.watch_stored(policy.scrub_every, stop.clone()),
                hub.watch_blobs(policy.chunk_cache, stop)
            );
            Ok(())
        }));
    }

    /// Whether a part of the engine has stopped by itself; its error, if it had one.
    pub async fn broken(&mut self) -> Option<Failure> {
        let finished = self.tasks.iter().position(JoinHandle::is_finished)?;
        let outcome = self.tasks.swap_remove(finished).await;
        let failure = match outcome {
            Ok(Err(error)) => Failure::from(error),
            Ok(Ok(())) => Failure::new(ErrorCode::Internal, "the engine stopped by itself"),
            Err(error) => Failure::new(ErrorCode::Internal, format!("the engine broke: {error}")),
        };
        Some(failure)
    }

    /// Stops all programs and closes the store. What is done is kept.
    ///
    /// # Errors
    /// When the store's last pages cannot be written.
    pub async fn stop(self) -> Result<(), Failure> {
        self.stop.cancel();
        let mut first = None;
        for task in self.tasks {
            if let Ok(Err(error)) = task.await {
                first.get_or_insert(error);
            }
        }
        let (done, telling) = self.telling;
        done.cancel();
        if let Some(telling) = telling {
            let _ = telling.await;
        }
        self.hub.close().await?;
        match first {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }
}
