//! What people and programs are shown: the store's rows and what the nodes are at, put together.

use std::collections::BTreeMap;

use kinora_protocol::api::{
    AttemptView, ChunkCounts, ClusterView, JobView, NodeState, NodeView, Page, RunningView, Share,
    SystemView, TaskView,
};
use kinora_protocol::job::JobPhase;
use kinora_protocol::node::PROTOCOL;
use kinora_protocol::task::{TaskKind, TaskSpec};
use kinora_protocol::{JobId, NodeId};
use kinora_store::{JobRow, TaskRow, TaskState};

use crate::nodes::{Node, Standing};
use crate::{Hub, Result};

impl Hub {
    /// The hub itself.
    pub fn system_view(&self) -> SystemView {
        SystemView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node_protocol: PROTOCOL,
            started_ms: self.inner.started_ms,
            allowed_folders: self.inner.settings.allowed_folders.clone(),
        }
    }

    /// All connected nodes together.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn cluster_view(&self) -> Result<ClusterView> {
        let mut jobs = BTreeMap::new();
        for job in self.open_jobs().await? {
            *jobs.entry(job.phase.name().to_owned()).or_default() += 1;
        }
        let mut view = ClusterView { nodes: 0, cores: 0, running: 0, fps: 0.0, jobs };
        self.inner.nodes.each(|node| {
            view.nodes += 1;
            view.cores += node.hello.capabilities.cores;
            view.running += u32::try_from(node.held.len()).unwrap_or(u32::MAX);
            view.fps = node.held.values().fold(view.fps, |sum, held| sum + held.progress.fps);
        });
        Ok(view)
    }

    /// All nodes that were ever here, by id.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn node_views(&self) -> Result<Vec<NodeView>> {
        let mut views: BTreeMap<NodeId, NodeView> = BTreeMap::new();
        for row in self.store().nodes().await? {
            let view = NodeView {
                id: row.id.clone(),
                name: row.name,
                state: NodeState::Disconnected,
                quarantined: None,
                capabilities: row.capabilities,
                slots: row.slots,
                running: Vec::new(),
                last_seen_ms: row.last_seen_ms,
            };
            views.insert(row.id, view);
        }
        let now = crate::now_ms();
        self.inner.nodes.each(|node| {
            if let Some(view) = views.get_mut(&node.hello.node) {
                view.state = state(node);
                // With what the benchmark found.
                view.capabilities = node.hello.capabilities.clone();
                if let Standing::Quarantined { why } = &node.standing {
                    view.quarantined = Some(why.clone());
                }
                view.last_seen_ms = now;
                view.running = node.held.values().map(running).collect();
                view.running.sort_by_key(|r| (r.job, r.kind, r.ordinal));
            }
        });
        Ok(views.into_values().collect())
    }

    /// One job with its progress.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn job_view(&self, job: JobId) -> Result<Option<JobView>> {
        let Some(row) = self.store().job(job).await? else { return Ok(None) };
        let tasks = self.store().tasks(job).await?;
        Ok(Some(view(row, &tasks, &self.running_of(job), self.moved(job))))
    }

    /// Jobs, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn job_views(&self, after: Option<JobId>, limit: u32) -> Result<Page<JobView>> {
        let rows = self.store().jobs(after, limit).await?;
        let whole = u32::try_from(rows.len()).unwrap_or(u32::MAX) == limit;
        let next = rows.last().filter(|_| whole).map(|row| row.id.to_string());
        let mut items = Vec::with_capacity(rows.len());
        for row in rows {
            let tasks = self.store().tasks(row.id).await?;
            let running = self.running_of(row.id);
            let moved = self.moved(row.id);
            items.push(view(row, &tasks, &running, moved));
        }
        Ok(Page { items, next })
    }

    /// Chunks of a job in progress: position, frames done and speed.
    fn running_of(&self, job: JobId) -> BTreeMap<u32, (u64, f32)> {
        let mut running: BTreeMap<u32, (u64, f32)> = BTreeMap::new();
        self.inner.nodes.each(|node| {
            let chunks = |h: &&crate::nodes::Held| h.claimed.job == job && h.claimed.kind == TaskKind::Chunk;
            for held in node.held.values().filter(chunks) {
                // Of two attempts at one chunk the one that is further counts.
                let known = running.entry(held.claimed.ordinal).or_default();
                if held.progress.frames >= known.0 {
                    *known = (held.progress.frames, held.progress.fps);
                }
            }
        });
        running
    }

    /// The tasks of a job with all their attempts.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn task_views(&self, job: JobId) -> Result<Vec<TaskView>> {
        let mut views = Vec::new();
        for row in self.store().tasks(job).await? {
            let attempts = self.store().attempts(row.id).await?.into_iter().map(|a| AttemptView {
                attempt: a.lease.attempt,
                node: a.lease.node,
                started_ms: a.started_ms,
                ended_ms: a.ended_ms,
                outcome: a.outcome.map(|o| o.name().to_owned()),
                failure: a.failure,
            });
            views.push(TaskView {
                id: row.id,
                kind: row.kind,
                ordinal: row.ordinal,
                state: row.state.name().to_owned(),
                frames: frames(&row.spec),
                attempts: attempts.collect(),
                node: row.node,
                progress: row.progress,
            });
        }
        Ok(views)
    }
}

fn state(node: &Node) -> NodeState {
    match (&node.standing, node.held.is_empty()) {
        (Standing::Arriving, _) => NodeState::Benchmarking,
        (Standing::Draining | Standing::Quarantined { .. }, _) => NodeState::Draining,
        (Standing::Active, true) => NodeState::Idle,
        (Standing::Active, false) => NodeState::Processing,
    }
}

fn running(held: &crate::nodes::Held) -> RunningView {
    RunningView {
        job: held.claimed.job,
        kind: held.claimed.kind,
        ordinal: held.claimed.ordinal,
        progress: held.progress,
    }
}

fn frames(spec: &TaskSpec) -> Option<(u64, u64)> {
    match spec {
        TaskSpec::Chunk(task) => Some((task.work.frames.start, task.work.frames.end)),
        _ => None,
    }
}

fn view(row: JobRow, tasks: &[TaskRow], running: &BTreeMap<u32, (u64, f32)>, moved_bytes: u64) -> JobView {
    let (mut total, mut done, mut chunks) = (0, 0, ChunkCounts::default());
    let mut shares: BTreeMap<&NodeId, Share> = BTreeMap::new();
    let mut fps = 0.0;
    for task in tasks {
        let Some((start, end)) = frames(&task.spec) else { continue };
        let count = end.saturating_sub(start);
        total += count;
        chunks.total += 1;
        match (task.state, running.get(&task.ordinal)) {
            (TaskState::Done, _) => {
                done += count;
                chunks.done += 1;
                match &task.node {
                    None => chunks.reused += 1,
                    Some(node) => {
                        let empty = || Share { node: node.clone(), chunks: 0, frames: 0 };
                        let share = shares.entry(node).or_insert_with(empty);
                        share.chunks += 1;
                        share.frames += count;
                    }
                }
            }
            (TaskState::Leased, progress) => {
                chunks.running += 1;
                let (frames, speed) = progress.copied().unwrap_or_default();
                done += frames.min(count);
                fps += speed;
            }
            _ => {}
        }
    }
    let left = total.saturating_sub(done) as f64;
    let moving = fps > 0.0 && row.phase == JobPhase::Processing;
    JobView {
        id: row.id,
        phase: row.phase,
        paused_from: row.paused_from,
        name: row.request.output.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        recipe: row.request.recipe,
        priority: row.request.priority,
        frames: total,
        done,
        fps,
        eta_seconds: moving.then(|| left / f64::from(fps)),
        chunks,
        failure: row.failure,
        created_ms: row.created_ms,
        finished_ms: row.finished_ms,
        shares: shares.into_values().collect(),
        moved_bytes,
    }
}
