//! One connected node: its slots are filled with leases, its words are carried to the use cases. How messages travel is the
//! caller's business.

use std::collections::HashMap;
use std::time::Duration;

use kinora_plan::sizing::{self, Capacity};
use kinora_protocol::encode::Encoder;
use kinora_protocol::event::TaskChange;
use kinora_protocol::node::{Capabilities, Grant, Progress, SlotClass, Slots, ToHub, ToNode};
use kinora_protocol::{Attempt, Failure, NodeId, TaskId};
use kinora_store::{Claimed, NodeRow};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::app::chunks::chunk_spec;
use crate::app::expand::NodeFacts;
use crate::{Hub, Result, now_ms};

/// How long a lease lasts without being renewed.
const LEASE: Duration = Duration::from_secs(15);
/// How often a lease is written anew; progress in between is only passed on.
const RENEW: Duration = Duration::from_secs(5);
/// How often work is looked for when nothing rings: retries become due without a bell.
const POLL: Duration = Duration::from_millis(200);

/// A node as the rest of the hub sees it.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) id: NodeId,
    to_node: mpsc::UnboundedSender<ToNode>,
}

impl Connected {
    /// Tells it to stop an attempt.
    pub(crate) fn cancel(&self, task: TaskId, attempt: Attempt) {
        let _ = self.to_node.send(ToNode::Cancel { task, attempt });
    }
}

/// A lease that this node holds.
struct Held {
    claimed: Claimed,
    renewed: Instant,
}

/// The conversation with one node.
struct Session {
    hub: Hub,
    node: NodeId,
    facts: NodeFacts,
    slots: Slots,
    to_node: mpsc::UnboundedSender<ToNode>,
    held: HashMap<(TaskId, Attempt), Held>,
}

impl Hub {
    /// Talks with a node until its side is closed. Its leases end with the conversation.
    ///
    /// # Errors
    /// When the store fails: then the hub cannot go on.
    pub async fn serve_node(
        &self,
        mut from_node: mpsc::Receiver<ToHub>,
        to_node: mpsc::UnboundedSender<ToNode>,
    ) -> Result<()> {
        let Some(ToHub::Hello { node, capabilities, slots }) = from_node.recv().await else { return Ok(()) };
        let Capabilities { ffmpeg, encoders, cores } = capabilities.clone();
        let row = NodeRow { id: node.clone(), capabilities, slots, last_seen_ms: now_ms() };
        self.store().put_node(&row).await?;
        // Whatever it held in an earlier life, it does not work on now.
        self.store().release_node(&node, now_ms()).await?;
        self.nodes().push(Connected { id: node.clone(), to_node: to_node.clone() });
        let facts = NodeFacts { encoders, build: ffmpeg, cores };
        let mut session =
            Session { hub: self.clone(), node: node.clone(), facts, slots, to_node, held: HashMap::new() };
        let outcome = session.converse(&mut from_node).await;
        self.forget(&node);
        self.store().release_node(&node, now_ms()).await?;
        outcome
    }
}

impl Session {
    async fn converse(&mut self, from_node: &mut mpsc::Receiver<ToHub>) -> Result<()> {
        let mut poll = tokio::time::interval(POLL);
        let hub = self.hub.clone();
        loop {
            // Listening starts before looking, so that no bell between the two is missed.
            let bell = hub.inner.work.notified();
            tokio::pin!(bell);
            bell.as_mut().enable();
            self.fill().await?;
            tokio::select! {
                message = from_node.recv() => match message {
                    None => return Ok(()),
                    Some(message) => self.hear(message).await?,
                },
                () = &mut bell => {}
                _ = poll.tick() => {}
            }
        }
    }

    async fn hear(&mut self, message: ToHub) -> Result<()> {
        match message {
            ToHub::Hello { .. } => Ok(()),
            ToHub::Renew { task, attempt, progress } => self.renew((task, attempt), progress).await,
            ToHub::Complete { task, attempt, output } => {
                let Some(held) = self.held.remove(&(task, attempt)) else { return Ok(()) };
                let done = self.hub.completed(&held.claimed, *output, &self.facts).await;
                self.settle(&held.claimed, done).await
            }
            ToHub::Fail { task, attempt, failure } => {
                let Some(held) = self.held.remove(&(task, attempt)) else { return Ok(()) };
                self.hub.failed(&held.claimed, failure).await
            }
        }
    }

    /// What the hub could not do with a result fails the job; only a failing store ends the conversation.
    async fn settle(&self, claimed: &Claimed, done: Result<()>) -> Result<()> {
        match done {
            Err(crate::HubError::Store(error)) => Err(error.into()),
            Err(error) => self.hub.fail_job(claimed.job, Failure::from(error)).await,
            Ok(()) => Ok(()),
        }
    }

    async fn renew(&mut self, key: (TaskId, Attempt), progress: Progress) -> Result<()> {
        let Some(held) = self.held.get_mut(&key) else {
            // It works on something that is not its any more.
            let _ = self.to_node.send(ToNode::Cancel { task: key.0, attempt: key.1 });
            return Ok(());
        };
        self.hub.task_event(&held.claimed, TaskChange::Progress(progress));
        if held.renewed.elapsed() < RENEW {
            return Ok(());
        }
        held.renewed = Instant::now();
        let renewals = [(held.claimed.lease.clone(), progress)];
        let kept = self.hub.store().renew(&renewals, until()).await?;
        if kept.first() == Some(&false) {
            self.held.remove(&key);
            let _ = self.to_node.send(ToNode::Cancel { task: key.0, attempt: key.1 });
        }
        Ok(())
    }

    /// Fills free slots with what is ready.
    async fn fill(&mut self) -> Result<()> {
        for class in [SlotClass::Other, SlotClass::Chunk] {
            while self.busy(class) < self.limit(class) {
                let Some(claimed) = self.hub.store().claim(&self.node, class, now_ms(), until()).await?
                else {
                    break;
                };
                self.hub.task_event(&claimed, TaskChange::Leased { attempt: claimed.lease.attempt });
                let grant = Grant {
                    job: claimed.job,
                    task: claimed.lease.task,
                    attempt: claimed.lease.attempt,
                    spec: claimed.spec.clone(),
                };
                let key = (grant.task, grant.attempt);
                self.held.insert(key, Held { claimed, renewed: Instant::now() });
                if self.to_node.send(ToNode::Lease(Box::new(grant))).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn busy(&self, class: SlotClass) -> u32 {
        let count = self.held.values().filter(|h| SlotClass::of(h.claimed.kind) == class).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// How many of a class at once: an encoder that threads well by itself gets fewer.
    fn limit(&self, class: SlotClass) -> u32 {
        match class {
            SlotClass::Other => self.slots.other,
            SlotClass::Chunk => {
                let encoders =
                    self.held.values().filter_map(|h| chunk_spec(&h.claimed.spec)).map(|s| s.encode.encoder);
                let jobs = |encoder: Encoder| {
                    let jobs = self.hub.inner.settings.jobs;
                    sizing::jobs(encoder, Capacity { cores: self.facts.cores, jobs, seconds: None })
                };
                encoders.map(jobs).min().unwrap_or(1).min(self.slots.chunks)
            }
        }
    }
}

fn until() -> i64 {
    now_ms() + i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX)
}
