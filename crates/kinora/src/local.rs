//! A hub and a worker in one process, with the store in a folder of the job: the same code that runs a cluster.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kinora_hub::session::Absence;
use kinora_hub::{Hub, HubError, Settings};
use kinora_media::Tools;
use kinora_protocol::encode::Encoder;
use kinora_protocol::node::Slots;
use kinora_protocol::{Failure, NodeId};
use kinora_worker::{Folders, Link, Worker, capability};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Messages between the two that may wait.
const BACKLOG: usize = 256;
/// The one node of a local run: the same in each, so that a run takes up the leases of the one before it.
const NODE: &str = "local";

/// What a local run is made with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Programs.
    pub tools: Tools,
    /// Chunks at once, when the user says.
    pub jobs: Option<u32>,
    /// Encoders that the recipe names and that need a trial.
    pub wanted: Vec<Encoder>,
    /// A program that makes no progress for so long is stopped.
    pub stall: Duration,
    /// Folders below which jobs that come over the network may name files.
    pub allowed_folders: Vec<PathBuf>,
}

/// An engine that is open and does not work yet: nobody takes a task while jobs are taken up.
pub struct Opened {
    /// The hub.
    pub hub: Hub,
    worker: Worker,
}

/// A running engine.
pub struct Engine {
    /// The hub.
    pub hub: Hub,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<Result<(), HubError>>>,
}

impl Opened {
    /// Opens the store below `state`.
    ///
    /// # Errors
    /// When the folder cannot be used or ffmpeg cannot be run.
    pub async fn open(state: &Path, setup: Setup) -> Result<Self, Failure> {
        let folders = Folders { blobs: state.join("blobs"), scratch: state.join("scratch") };
        folders.prepare().map_err(|e| {
            Failure::new(
                kinora_protocol::ErrorCode::Disk,
                format!("cannot write into {}: {e}", state.display()),
            )
        })?;
        let capabilities = capability::detect(&setup.tools, &setup.wanted).await;
        let node = NodeId::from(NODE.to_owned());
        let settings = Settings {
            jobs: setup.jobs,
            own_node: Some(node.clone()),
            allowed_folders: setup.allowed_folders,
        };
        let hub = Hub::open(state, settings).await?;
        let chunks = setup.jobs.unwrap_or(capabilities.cores.max(2)).max(1);
        let worker = Worker {
            node,
            name: NODE.to_owned(),
            tools: setup.tools,
            capabilities,
            slots: Slots { chunks, other: 2 },
            folders,
            stall: setup.stall,
        };
        Ok(Self { hub, worker })
    }

    /// Starts to work on what is there. Leases are not watched: the only node lives and dies with this process, and a machine
    /// that sleeps for an hour must not lose what it was at.
    pub fn start(self) -> Engine {
        let Self { hub, worker } = self;
        let stop = CancellationToken::new();
        let (to_hub, from_node) = mpsc::channel(BACKLOG);
        let (to_node, from_hub) = mpsc::unbounded_channel();
        let (serving, working) = (hub.clone(), stop.clone());
        let (dispatching, dispatched) = (hub.clone(), stop.clone());
        let tasks = vec![
            tokio::spawn(async move { serving.serve_node(from_node, to_node, Absence::Final).await }),
            tokio::spawn(async move { dispatching.dispatch(dispatched).await }),
            tokio::spawn(async move {
                worker.run(Link { to_hub, from_hub }, working).await;
                Ok(())
            }),
        ];
        Engine { hub, stop, tasks }
    }
}

impl Engine {
    /// Also looks after what time makes wrong: for an engine that runs for long and has other nodes than its own.
    ///
    /// Of finished chunks `budget` bytes are kept for other jobs.
    pub fn keep_house(&mut self, budget: u64) {
        let (hub, stop) = (self.hub.clone(), self.stop.clone());
        self.tasks.push(tokio::spawn(async move {
            tokio::join!(
                hub.watch_leases(stop.clone()),
                hub.watch_waiting(stop.clone()),
                hub.watch_blobs(budget, stop)
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
            Ok(Ok(())) => Failure::new(kinora_protocol::ErrorCode::Internal, "the engine stopped by itself"),
            Err(error) => {
                Failure::new(kinora_protocol::ErrorCode::Internal, format!("the engine broke: {error}"))
            }
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
        self.hub.close().await?;
        match first {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }
}
