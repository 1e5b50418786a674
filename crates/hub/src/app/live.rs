//! What a watcher is told, and when: at once if nothing was told for a while, else gathered for a tenth of a second. What
//! happened is read from the store, where each event has its number; what is at work, from memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kinora_protocol::JobId;
use kinora_protocol::access::Sight;
use kinora_protocol::api::NodeView;
use kinora_protocol::event::Event;
use kinora_protocol::live::{RunningJob, RunningTask, Subscribe, Topic, Update};
use kinora_store::OutboxRow;
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::access::Caller;
use crate::{Hub, Result};

/// Least time between two updates to one watcher.
const GATHER: Duration = Duration::from_millis(100);
/// How often it is looked when nothing is heard, and nodes at the most.
const NET: Duration = Duration::from_secs(1);
/// A watcher that is nobody any more is told nothing after so long.
const KNOWN_FOR: Duration = Duration::from_secs(2);
/// Events read at a time.
const MOST: u32 = 500;

/// One watcher.
pub struct Watcher {
    hub: Hub,
    caller: Caller,
    /// When it was last asked who the watcher is.
    known_at: Instant,
    topics: Vec<Topic>,
    seq: i64,
    missed: bool,
    running: BTreeMap<JobId, Vec<RunningTask>>,
    nodes: Option<Vec<NodeView>>,
    nodes_at: Option<Instant>,
    told: Option<Instant>,
    bell: broadcast::Receiver<Event>,
}

impl Hub {
    /// Starts to watch, for somebody who gets to see what is shared with it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn watch(&self, caller: Caller, what: Subscribe) -> Result<Watcher> {
        // Listening starts before looking, so that nothing between the two is missed.
        let bell = self.inner.events.subscribe();
        let newest = self.store().outbox_newest().await?;
        let after = what.after.unwrap_or(newest);
        Ok(Watcher {
            hub: self.clone(),
            caller,
            known_at: Instant::now(),
            topics: what.subscribe,
            seq: after.min(newest),
            // A number that was never given: it is another hub's.
            missed: after > newest,
            running: BTreeMap::new(),
            nodes: None,
            nodes_at: None,
            told: None,
            bell,
        })
    }
}

impl Watcher {
    /// The next update, as soon as there is one; `None` when the watcher may see nothing any more.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn next(&mut self) -> Result<Option<Update>> {
        loop {
            if !self.is_still_known().await? {
                return Ok(None);
            }
            if let Some(told) = self.told {
                tokio::time::sleep_until(told + GATHER).await;
            }
            // What rang until now is looked at now.
            self.bell = self.bell.resubscribe();
            if let Some(update) = self.look().await? {
                self.told = Some(Instant::now());
                return Ok(Some(update));
            }
            let _ = tokio::time::timeout(NET, self.bell.recv()).await;
        }
    }

    /// Whether the watcher is still somebody, with the rights of now.
    async fn is_still_known(&mut self) -> Result<bool> {
        if self.known_at.elapsed() < KNOWN_FOR {
            return Ok(true);
        }
        self.known_at = Instant::now();
        match self.hub.still(&self.caller).await? {
            Ok(actor) => {
                self.caller.actor = actor;
                Ok(true)
            }
            Err(_) => Ok(false),
        }
    }

    fn wants(&self, job: JobId) -> bool {
        self.topics.iter().any(|topic| match topic {
            Topic::Jobs => true,
            Topic::Job(one) => *one == job,
            Topic::Nodes => false,
        })
    }

    async fn look(&mut self) -> Result<Option<Update>> {
        let rows = self.hub.store().outbox_after(self.seq, MOST).await?;
        if let Some(first) = rows.first() {
            self.missed |= first.seq > self.seq + 1;
        }
        self.seq = rows.last().map_or(self.seq, |row| row.seq);
        let rows: Vec<OutboxRow> = rows.into_iter().filter(|row| self.wants(row.job)).collect();
        let seen = self.seen(rows.iter().map(|row| row.job)).await?;
        let rows = rows.into_iter().filter(|row| seen.contains(&row.job));
        let events: Vec<Event> = rows.map(|row| row.event).collect();
        let running = self.changed_running().await?;
        let nodes = self.changed_nodes().await?;
        if events.is_empty() && running.is_empty() && nodes.is_none() && !self.missed {
            return Ok(None);
        }
        let missed = std::mem::take(&mut self.missed);
        Ok(Some(Update { seq: self.seq, missed, events, running, nodes }))
    }

    /// Those of these jobs that the watcher gets to see.
    async fn seen(&self, jobs: impl Iterator<Item = JobId>) -> Result<BTreeSet<JobId>> {
        let jobs: BTreeSet<JobId> = jobs.collect();
        let sight = self.caller.actor.sight();
        if sight == Sight::All || jobs.is_empty() {
            return Ok(jobs);
        }
        Ok(self.hub.store().seen_jobs(jobs.into_iter().collect(), &sight).await?.into_iter().collect())
    }

    /// What is at work of jobs where that is not what was told.
    async fn changed_running(&mut self) -> Result<Vec<RunningJob>> {
        let mut now: BTreeMap<JobId, Vec<RunningTask>> = BTreeMap::new();
        self.hub.inner.nodes.each(|node| {
            for held in node.held.values().filter(|held| self.wants(held.claimed.job)) {
                now.entry(held.claimed.job).or_default().push(RunningTask {
                    kind: held.claimed.kind,
                    ordinal: held.claimed.ordinal,
                    node: node.hello.node.clone(),
                    progress: held.progress,
                });
            }
        });
        let seen = self.seen(now.keys().copied()).await?;
        now.retain(|job, _| seen.contains(job));
        now.values_mut().for_each(|tasks| tasks.sort_by_key(|t| (t.kind, t.ordinal)));
        let ended = self.running.keys().filter(|job| !now.contains_key(*job)).map(|job| (*job, Vec::new()));
        let changed = now.iter().filter(|(job, tasks)| self.running.get(*job) != Some(*tasks));
        let changed = changed.map(|(job, tasks)| (*job, tasks.clone())).chain(ended);
        let changed: Vec<_> = changed.map(|(job, tasks)| RunningJob { job, tasks }).collect();
        self.running = now;
        Ok(changed)
    }

    /// The nodes, if they are not what was told.
    async fn changed_nodes(&mut self) -> Result<Option<Vec<NodeView>>> {
        let due = self.nodes_at.is_none_or(|at| at.elapsed() >= NET);
        if !self.topics.contains(&Topic::Nodes) || !due {
            return Ok(None);
        }
        self.nodes_at = Some(Instant::now());
        let now = self.hub.node_views(&self.caller.actor.sight()).await?;
        // That time goes by is no news.
        let timeless = now.iter().map(|view| NodeView { last_seen_ms: 0, ..view.clone() }).collect();
        let before = self.nodes.replace(timeless);
        Ok((before != self.nodes).then_some(now))
    }
}
