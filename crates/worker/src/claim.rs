//! The node's main loop: grants in, reports out. One task of its own runs each attempt; this loop only keeps the books.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kinora_media::{Control, Tools};
use kinora_protocol::node::{Capabilities, Grant, Hello, PROTOCOL, Progress, Renewal, Slots, ToHub, ToNode};
use kinora_protocol::task::TaskOutput;
use kinora_protocol::{Attempt, ErrorCode, Failure, NodeId, TaskId};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::run;
use crate::scratch::Folders;

/// How often progress is reported and leases are renewed.
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// The two directions between a node and its hub.
#[derive(Debug)]
pub struct Link {
    /// To the hub.
    pub to_hub: mpsc::Sender<ToHub>,
    /// From the hub.
    pub from_hub: mpsc::UnboundedReceiver<ToNode>,
}

/// A node.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Its id.
    pub node: NodeId,
    /// Its name for people.
    pub name: String,
    /// Its programs.
    pub tools: Tools,
    /// What it can do.
    pub capabilities: Capabilities,
    /// How much at once.
    pub slots: Slots,
    /// Its folders.
    pub folders: Folders,
    /// A program that makes no progress for so long is stopped.
    pub stall: Duration,
}

/// An attempt in progress.
struct Running {
    cancel: CancellationToken,
    progress: Arc<Mutex<Progress>>,
}

type Key = (TaskId, Attempt);
type Outcome = (Key, Result<TaskOutput, Failure>);

impl Worker {
    /// Works until `stop` is cancelled or the hub goes away. Running programs are stopped before it returns; their leases are
    /// left to the hub, which gives them to this node again or to another.
    pub async fn run(self, mut link: Link, stop: CancellationToken) {
        let hello = Hello {
            protocol: PROTOCOL,
            node: self.node.clone(),
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capabilities: self.capabilities.clone(),
            slots: self.slots,
            tags: Vec::new(),
            priority: 0,
            holding: Vec::new(),
        };
        if link.to_hub.send(ToHub::Hello(Box::new(hello))).await.is_err() {
            return;
        }
        let worker = Arc::new(self);
        let mut running: HashMap<Key, Running> = HashMap::new();
        let mut attempts: JoinSet<Outcome> = JoinSet::new();
        let mut report = tokio::time::interval(REPORT_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                message = link.from_hub.recv() => match message {
                    None => break,
                    Some(ToNode::Lease(grant)) => worker.start(*grant, &stop, &mut running, &mut attempts),
                    Some(ToNode::Cancel { task, attempt }) => {
                        if let Some(found) = running.get(&(task, attempt)) {
                            found.cancel.cancel();
                        }
                    }
                    // Grants stop coming; what runs is finished.
                    Some(ToNode::Drain | ToNode::Welcome { .. }) => {}
                    Some(ToNode::Refused(failure)) => {
                        tracing::error!("the hub does not take this node: {failure}");
                        break;
                    }
                    Some(ToNode::Disconnect) => break,
                },
                Some(ended) = attempts.join_next(), if !attempts.is_empty() => {
                    if let Ok((key, result)) = ended {
                        running.remove(&key);
                        if link.to_hub.send(outcome(key, result)).await.is_err() { break }
                    }
                }
                _ = report.tick() => {
                    if running.is_empty() { continue }
                    let renewal = |(key, attempt): (&Key, &Running)| {
                        let progress = *attempt.progress.lock().unwrap_or_else(PoisonError::into_inner);
                        Renewal { task: key.0, attempt: key.1, progress }
                    };
                    let running = running.iter().map(renewal).collect();
                    if link.to_hub.send(ToHub::Renew { running }).await.is_err() { break }
                }
            }
        }
        for attempt in running.values() {
            attempt.cancel.cancel();
        }
        while attempts.join_next().await.is_some() {}
    }

    fn start(
        self: &Arc<Self>,
        grant: Grant,
        stop: &CancellationToken,
        running: &mut HashMap<Key, Running>,
        attempts: &mut JoinSet<Outcome>,
    ) {
        let key = (grant.task, grant.attempt);
        let cancel = stop.child_token();
        let progress = Arc::new(Mutex::new(Progress::default()));
        let latest = Arc::clone(&progress);
        let control = Control {
            cancel: cancel.clone(),
            progress: Arc::new(move |now| *latest.lock().unwrap_or_else(PoisonError::into_inner) = now),
            stall: self.stall,
        };
        running.insert(key, Running { cancel, progress });
        let worker = Arc::clone(self);
        attempts.spawn(async move {
            let span = tracing::info_span!(
                "task", job = %grant.job, task = %grant.task, attempt = %grant.attempt, kind = grant.spec.kind().name()
            );
            // In a task of its own: what breaks there must not look like an attempt that never ends.
            let attempt = tokio::spawn(tracing::Instrument::instrument(
                async move { run::run(&worker, &grant, &control).await },
                span,
            ));
            let broke = |error: JoinError| {
                Err(Failure::new(ErrorCode::Internal, format!("an attempt broke off ({error}): this is a bug")))
            };
            (key, attempt.await.unwrap_or_else(broke))
        });
    }
}

fn outcome((task, attempt): Key, result: Result<TaskOutput, Failure>) -> ToHub {
    match result {
        Ok(output) => ToHub::Complete { task, attempt, output: Box::new(output) },
        Err(failure) => ToHub::Fail { task, attempt, failure },
    }
}

/// A file of the node itself cannot be read or written.
pub(crate) fn disk(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(ErrorCode::Disk, format!("{what}: {error}"))
}
