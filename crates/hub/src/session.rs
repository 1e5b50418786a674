//! The conversation with one node: its words are carried to the use cases. How messages travel is the caller's business;
//! what the node gets to do is decided by the dispatcher.

use std::time::Duration;

use kinora_protocol::event::TaskChange;
use kinora_protocol::node::{Capabilities, Hello, PROTOCOL, Progress, Renewal, ToHub, ToNode};
use kinora_protocol::step::Step;
use kinora_protocol::task::TaskOutput;
use kinora_protocol::{ErrorCode, Failure, NodeId};
use kinora_store::{Claimed, Lease, NodeRow};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::nodes::{Held, Key, SessionId, Standing};
use crate::{Hub, HubError, LEASE, Result, lease_until, now_ms};

/// How often a lease is written anew; progress in between is only passed on.
const RENEW: Duration = Duration::from_secs(5);

/// Longest name of a node, in bytes.
const LONGEST_NAME: usize = 200;

/// What a node that leaves without a word is thought to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// It lives and dies with the connection: its work is given to others at once.
    Final,
    /// It works on and comes back: its leases run out by themselves.
    Temporary,
}

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The connection is gone.
    Cut,
    /// The node said that it has stopped.
    Bye,
}

struct Session {
    hub: Hub,
    node: NodeId,
    id: SessionId,
    capabilities: Capabilities,
    /// Results that the hub is busy with; the node may say more meanwhile.
    finishing: JoinSet<(Key, Result<()>)>,
}

impl Hub {
    /// Talks with a node until its side is closed.
    ///
    /// # Errors
    /// When the store fails: then the hub cannot go on.
    pub async fn serve_node(
        &self,
        mut from_node: mpsc::Receiver<ToHub>,
        to_node: mpsc::UnboundedSender<ToNode>,
        absence: Absence,
    ) -> Result<()> {
        let Some(ToHub::Hello(hello)) = from_node.recv().await else { return Ok(()) };
        if let Some(failure) = refusal(&hello) {
            let _ = to_node.send(ToNode::Refused(failure));
            return Ok(());
        }
        let mut session = self.meet(*hello, to_node, absence).await?;
        let outcome = session.converse(&mut from_node).await;
        let gone = self.inner.nodes.disconnect(&session.node, session.id);
        // What the hub was busy with is brought to its end, whoever made it.
        while let Some(done) = session.finishing.join_next().await {
            if let Ok((_, Err(error))) = done {
                tracing::error!("a result could not be taken: {error}");
            }
        }
        let over = absence == Absence::Final || matches!(outcome, Ok(Ending::Bye));
        tracing::info!(node = %session.node, over, "a node is gone");
        if gone && over {
            self.store().release_node(&session.node, now_ms()).await?;
        }
        self.ring();
        outcome.map(|_| ())
    }

    /// Takes a node in with what it still holds.
    async fn meet(
        &self,
        hello: Hello,
        to_node: mpsc::UnboundedSender<ToNode>,
        absence: Absence,
    ) -> Result<Session> {
        let node = hello.node.clone();
        let row = NodeRow {
            id: node.clone(),
            name: hello.name.clone(),
            capabilities: hello.capabilities.clone(),
            slots: hello.slots,
            last_seen_ms: now_ms(),
            withheld: None,
        };
        self.store().put_node(&row).await?;
        let (kept, forgotten): (Vec<Claimed>, Vec<Claimed>) = self
            .store()
            .leases_of(&node)
            .await?
            .into_iter()
            .partition(|c| hello.holding.contains(&(c.lease.task, c.lease.attempt)));
        // It has just said that it is at them.
        let renewed: Vec<_> = kept.iter().map(|c| (c.lease.clone(), Progress::default())).collect();
        let in_force = self.store().renew(&renewed, lease_until()).await?;
        let kept: Vec<Claimed> =
            kept.into_iter().zip(in_force).filter_map(|(claimed, held)| held.then_some(claimed)).collect();
        // Whatever else it held in an earlier life, it does not work on now.
        let forgotten: Vec<_> = forgotten.into_iter().map(|c| c.lease).collect();
        self.store().release(&forgotten, now_ms()).await?;
        let lease_ms = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
        let shared = match absence {
            Absence::Final => None,
            // Nobody but the hub can read what is encrypted.
            Absence::Temporary if self.vault().is_sealed() => None,
            Absence::Temporary => Some(self.shared()?),
        };
        let (version, limits) = (env!("CARGO_PKG_VERSION").to_owned(), self.inner.settings.node_limits);
        let _ = to_node.send(ToNode::Welcome { version, lease_ms, shared, limits });
        for (task, attempt) in &hello.holding {
            if !kept.iter().any(|c| (c.lease.task, c.lease.attempt) == (*task, *attempt)) {
                tracing::debug!(%node, %task, %attempt, "came back with a lease that is over");
                let _ = to_node.send(ToNode::Cancel { task: *task, attempt: *attempt });
            }
        }
        let capabilities = hello.capabilities.clone();
        tracing::info!(%node, name = hello.name, holding = kept.len(), "a node is there");
        let id = self.inner.nodes.connect(hello, kept, to_node);
        self.ring();
        Ok(Session { hub: self.clone(), node, id, capabilities, finishing: JoinSet::new() })
    }
}

/// Why a node cannot be taken.
fn refusal(hello: &Hello) -> Option<Failure> {
    let word = |why: String| Some(Failure::new(ErrorCode::BadInput, why));
    if hello.protocol != PROTOCOL {
        let who = if hello.protocol < PROTOCOL { "the worker" } else { "the hub" };
        return word(format!(
            "node {} speaks version {} of the node protocol and the hub version {PROTOCOL}: upgrade {who}",
            hello.name, hello.protocol
        ));
    }
    if hello.name.len() > LONGEST_NAME {
        return word(format!("a node's name has {LONGEST_NAME} bytes at the most"));
    }
    if hello.capabilities.encoders.is_empty() {
        return word(format!("node {} has no encoder that works: see `kinora doctor` there", hello.name));
    }
    None
}

impl Session {
    async fn converse(&mut self, from_node: &mut mpsc::Receiver<ToHub>) -> Result<Ending> {
        let mut tick = tokio::time::interval(RENEW);
        loop {
            tokio::select! {
                message = from_node.recv() => match message {
                    None => return Ok(Ending::Cut),
                    Some(ToHub::Bye) => return Ok(Ending::Bye),
                    Some(message) => self.hear(message).await?,
                },
                Some(done) = self.finishing.join_next(), if !self.finishing.is_empty() => {
                    let Ok((key, outcome)) = done else { continue };
                    self.within(|node| node.held.remove(&key));
                    self.note(key);
                    self.hub.ring();
                    outcome?;
                }
                _ = tick.tick() => self.renew_finishing().await?,
            }
            if self.within(|_| ()).is_none() {
                // It has come back by another connection.
                return Ok(Ending::Cut);
            }
        }
    }

    fn within<T>(&self, work: impl FnOnce(&mut crate::nodes::Node) -> T) -> Option<T> {
        self.hub.inner.nodes.within(&self.node, self.id, work)
    }

    async fn hear(&mut self, message: ToHub) -> Result<()> {
        match message {
            ToHub::Hello(_) | ToHub::Bye => Ok(()),
            ToHub::Ready { shares_files, speeds } => {
                self.capabilities.speeds.clone_from(&speeds);
                self.within(|node| node.arrive(shares_files, speeds));
                self.hub.ring();
                self.hub.look_at_conditions().await
            }
            ToHub::Renew { running } => self.renew(&running).await,
            ToHub::Complete { task, attempt, output, steps } => {
                self.complete((task, attempt), *output, steps);
                Ok(())
            }
            ToHub::Fail { task, attempt, failure, steps } => {
                let key = (task, attempt);
                if let Some(held) = self.within(|n| n.held.remove(&key)).flatten() {
                    tracing::info!(node = %self.node, job = %held.claimed.job, %task, %attempt, "an attempt failed: {}", crate::app::log::line(&failure.message));
                    let job = held.claimed.job;
                    self.hub.traces().worked(&held.claimed, steps);
                    match self.hub.failed(&held.claimed, failure).await {
                        Err(_) if self.hub.is_forgotten(job).await? => {}
                        outcome => outcome?,
                    }
                }
                self.note(key);
                Ok(())
            }
            ToHub::Load(load) => {
                self.within(|node| node.load = Some(load));
                Ok(())
            }
            ToHub::Models { mut added } => {
                // Of those that it has: names are labels, of which there must not be too many.
                let known = self.within(|node| {
                    let models = node.hello.capabilities.inference.models();
                    added.retain(|name, _| models.iter().any(|model| model.name == *name));
                });
                known.is_some().then(|| self.hub.metrics().models(&added));
                Ok(())
            }
            ToHub::Draining => {
                self.within(|n| n.standing = Standing::Draining);
                Ok(())
            }
        }
    }

    /// A result may take long to judge (an index is read, kept chunks are hashed); meanwhile the lease is renewed here.
    fn complete(&mut self, key: Key, output: TaskOutput, steps: Vec<Step>) {
        let begun = self.within(|node| {
            let held = node.held.get_mut(&key)?;
            Some((std::mem::replace(&mut held.finishing, true), held.claimed.clone()))
        });
        let claimed = match begun.flatten() {
            // Said again: the hub is at it.
            Some((true, _)) => return,
            Some((false, claimed)) => claimed,
            None => {
                tracing::debug!(node = %self.node, task = %key.0, attempt = %key.1, "a result of no lease");
                self.within(|n| n.tell(ToNode::Cancel { task: key.0, attempt: key.1 }));
                return;
            }
        };
        let (hub, capabilities) = (self.hub.clone(), self.capabilities.clone());
        self.hub.traces().worked(&claimed, steps);
        self.finishing.spawn(async move {
            let _judging = hub.traces().judging(&claimed);
            let outcome = match hub.completed(&claimed, output, &capabilities).await {
                Ok(()) => Ok(()),
                Err(_) if hub.is_forgotten(claimed.job).await.unwrap_or(false) => Ok(()),
                // What the hub could not do with a result fails the job; only a failing store ends the conversation.
                Err(HubError::Store(error)) => Err(error.into()),
                Err(error) => hub.fail_job(claimed.job, Failure::from(error)).await,
            };
            (key, outcome)
        });
    }

    /// The node need not say it again.
    fn note(&self, (task, attempt): Key) {
        self.within(|n| n.tell(ToNode::Noted { task, attempt }));
    }

    async fn renew(&mut self, running: &[Renewal]) -> Result<()> {
        let mut due = Vec::new();
        for Renewal { task, attempt, progress } in running {
            let key = (*task, *attempt);
            let known = self.within(|node| {
                let held = node.held.get_mut(&key)?;
                held.progress = *progress;
                let overdue = held.renewed.elapsed() >= RENEW;
                if overdue {
                    held.renewed = Instant::now();
                }
                Some((held.claimed.clone(), overdue))
            });
            let Some((claimed, overdue)) = known.flatten() else {
                // It works on something that is not its any more.
                tracing::debug!(node = %self.node, %task, %attempt, "work of no lease");
                self.within(|n| n.tell(ToNode::Cancel { task: *task, attempt: *attempt }));
                continue;
            };
            self.hub.task_event(&claimed, TaskChange::Progress(*progress));
            if overdue {
                due.push((claimed.lease, *progress));
            }
        }
        self.write_renewals(due).await
    }

    async fn renew_finishing(&mut self) -> Result<()> {
        let finishing = |held: &Held| held.finishing.then(|| (held.claimed.lease.clone(), held.progress));
        let due = self.within(|n| n.held.values().filter_map(finishing).collect::<Vec<_>>());
        self.write_renewals(due.unwrap_or_default()).await
    }

    async fn write_renewals(&mut self, due: Vec<(Lease, Progress)>) -> Result<()> {
        if due.is_empty() {
            return Ok(());
        }
        let kept = self.hub.store().renew(&due, lease_until()).await?;
        for ((lease, _), _) in due.iter().zip(kept).filter(|(_, kept)| !kept) {
            tracing::debug!(node = %lease.node, task = %lease.task, attempt = %lease.attempt, "a lease is over");
            let key = (lease.task, lease.attempt);
            // The hub may have accepted its result just now.
            if self.within(|n| n.held.get(&key).is_some_and(|held| !held.finishing)) == Some(true) {
                self.hub.inner.nodes.cancel(&self.node, key);
            }
        }
        Ok(())
    }
}
