//! What a watcher is told, and when: at once if nothing was told for a while, else gathered for a tenth of a second. What
//! happened is read from the store, where each event has its number; what is at work, from memory.

use std::collections::BTreeMap;
use std::time::Duration;

use kinora_protocol::JobId;
use kinora_protocol::api::NodeView;
use kinora_protocol::event::Event;
use kinora_protocol::live::{RunningJob, RunningTask, Subscribe, Topic, Update};
use kinora_store::OutboxRow;
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::{Hub, Result};

/// Least time between two updates to one watcher.
const GATHER: Duration = Duration::from_millis(100);
/// How often it is looked when nothing is heard, and nodes at the most.
const NET: Duration = Duration::from_secs(1);
/// Events read at a time.
const MOST: u32 = 500;

/// One watcher.
pub struct Watcher {
    hub: Hub,
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
    /// Starts to watch.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn watch(&self, what: Subscribe) -> Result<Watcher> {
        // Listening starts before looking, so that nothing between the two is missed.
        let bell = self.inner.events.subscribe();
        let newest = self.store().outbox_newest().await?;
        let after = what.after.unwrap_or(newest);
        Ok(Watcher {
            hub: self.clone(),
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
    /// The next update, as soon as there is one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn next(&mut self) -> Result<Update> {
        loop {
            if let Some(told) = self.told {
                tokio::time::sleep_until(told + GATHER).await;
            }
            // What rang until now is looked at now.
            self.bell = self.bell.resubscribe();
            if let Some(update) = self.look().await? {
                self.told = Some(Instant::now());
                return Ok(update);
            }
            let _ = tokio::time::timeout(NET, self.bell.recv()).await;
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
        let wanted = |row: OutboxRow| self.wants(row.job).then_some(row.event);
        let events: Vec<Event> = rows.into_iter().filter_map(wanted).collect();
        let running = self.changed_running();
        let nodes = self.changed_nodes().await?;
        if events.is_empty() && running.is_empty() && nodes.is_none() && !self.missed {
            return Ok(None);
        }
        let missed = std::mem::take(&mut self.missed);
        Ok(Some(Update { seq: self.seq, missed, events, running, nodes }))
    }

    /// What is at work of jobs where that is not what was told.
    fn changed_running(&mut self) -> Vec<RunningJob> {
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
        now.values_mut().for_each(|tasks| tasks.sort_by_key(|t| (t.kind, t.ordinal)));
        let ended = self.running.keys().filter(|job| !now.contains_key(*job)).map(|job| (*job, Vec::new()));
        let changed = now.iter().filter(|(job, tasks)| self.running.get(*job) != Some(*tasks));
        let changed = changed.map(|(job, tasks)| (*job, tasks.clone())).chain(ended);
        let changed = changed.map(|(job, tasks)| RunningJob { job, tasks }).collect();
        self.running = now;
        changed
    }

    /// The nodes, if they are not what was told.
    async fn changed_nodes(&mut self) -> Result<Option<Vec<NodeView>>> {
        let due = self.nodes_at.is_none_or(|at| at.elapsed() >= NET);
        if !self.topics.contains(&Topic::Nodes) || !due {
            return Ok(None);
        }
        self.nodes_at = Some(Instant::now());
        let now = self.hub.node_views().await?;
        // That time goes by is no news.
        let timeless = now.iter().map(|view| NodeView { last_seen_ms: 0, ..view.clone() }).collect();
        let before = self.nodes.replace(timeless);
        Ok((before != self.nodes).then_some(now))
    }
}
