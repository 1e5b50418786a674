//! What people and programs are shown: the store's rows and what the nodes are at, put together.

use std::collections::{BTreeMap, HashMap};

use kinora_protocol::access::Sight;
use kinora_protocol::api::{
    AttemptView, ChunkCounts, ClusterView, EventView, JobView, NodeState, NodeView, Page, RunningView, Share,
    SystemView, TaskView,
};
use kinora_protocol::class::{Class, Tags};
use kinora_protocol::encode::Encoder;
use kinora_protocol::job::JobPhase;
use kinora_protocol::machine::Machine;
use kinora_protocol::node::PROTOCOL;
use kinora_protocol::task::TaskSpec;
use kinora_protocol::{JobId, NodeId, TaskId};
use kinora_store::{ChunkSum, JobRow, TaskRow, TaskState, Withheld};

use super::chunks::chunk_spec;
use crate::nodes::{Held, Node, Standing, Supply};
use crate::{Hub, Result};

impl Hub {
    /// The hub itself.
    pub fn system_view(&self) -> SystemView {
        let machine = &self.inner.settings.machine;
        SystemView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node_protocol: PROTOCOL,
            started_ms: self.inner.started_ms,
            machine: machine.clone(),
            tier: machine.tier(),
            defaults: machine.defaults(),
            longest_upload: self.longest_upload(),
            allowed_folders: self.inner.settings.allowed_folders.clone(),
            scanner: None,
            encryption: self.encryption_view(),
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

    /// All nodes that were ever here, by id, with what they are at as far as somebody gets to see that.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn node_views(&self, sight: &Sight) -> Result<Vec<NodeView>> {
        let mut views: BTreeMap<NodeId, NodeView> = BTreeMap::new();
        for row in self.store().nodes().await? {
            let view = NodeView {
                id: row.id.clone(),
                name: row.name,
                state: NodeState::Disconnected,
                drained: row.withheld == Some(Withheld::Drain),
                quarantined: match row.withheld {
                    Some(Withheld::Quarantine { why }) => Some(why),
                    Some(Withheld::Drain) | None => None,
                },
                tier: row.capabilities.machine.as_ref().map(Machine::tier),
                capabilities: row.capabilities,
                slots: row.slots,
                tags: Tags::NONE,
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
                view.tier = view.capabilities.machine.as_ref().map(Machine::tier);
                view.tags = node.hello.tags.clone();
                if let Standing::Quarantined { why } = &node.standing {
                    view.quarantined = Some(why.clone());
                }
                view.last_seen_ms = now;
                view.running = node.held.values().map(running).collect();
                view.running.sort_by_key(|r| (r.job, r.kind, r.ordinal));
            }
        });
        let mut views: Vec<NodeView> = views.into_values().collect();
        if *sight != Sight::All {
            let jobs = views.iter().flat_map(|view| view.running.iter().map(|running| running.job)).collect();
            let seen = self.store().seen_jobs(jobs, sight).await?;
            views.iter_mut().for_each(|view| view.running.retain(|running| seen.contains(&running.job)));
        }
        Ok(views)
    }

    /// One job with its progress.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn job_view(&self, job: JobId) -> Result<Option<JobView>> {
        let _counts_stand = self.inner.moving.read().await;
        match self.store().job(job).await? {
            Some(row) => Ok(Some(self.view_of(row).await?)),
            None => Ok(None),
        }
    }

    /// The jobs that somebody gets to see, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn job_views(&self, sight: &Sight, after: Option<JobId>, limit: u32) -> Result<Page<JobView>> {
        let _counts_stand = self.inner.moving.read().await;
        let rows = self.store().jobs(sight, after, limit).await?;
        let whole = u32::try_from(rows.len()).unwrap_or(u32::MAX) == limit;
        let next = rows.last().filter(|_| whole).map(|row| row.id.to_string());
        let mut items = Vec::with_capacity(rows.len());
        for row in rows {
            items.push(self.view_of(row).await?);
        }
        Ok(Page { items, next })
    }

    async fn view_of(&self, row: JobRow) -> Result<JobView> {
        let chunks = self.store().chunks(row.id).await?;
        let stuck = self.stuck(&row).await?;
        let moved = row.moved_bytes + self.moved(row.id);
        let running = self.running_of(row.id, &chunks.leased);
        Ok(view(row, &chunks.sums, running, moved, stuck))
    }

    /// What a job waits for that none of the nodes can give.
    async fn stuck(&self, row: &JobRow) -> Result<Option<String>> {
        match row.phase {
            JobPhase::WaitingForNodes => {
                let (ready, wanted) = (self.inner.nodes.ready(&row.request.tags), row.request.required_nodes);
                Ok(Some(format!("{ready} of {wanted} workers are ready{}", with_tags(&row.request.tags))))
            }
            JobPhase::Queued | JobPhase::Benchmarking | JobPhase::Processing | JobPhase::Combining => {
                let waiting = self.store().ready_classes(row.id).await?;
                Ok(waiting.iter().find_map(|class| self.nobody_for(class)))
            }
            JobPhase::Completed | JobPhase::Failed | JobPhase::Cancelled | JobPhase::Paused => Ok(None),
        }
    }

    /// Why nobody gets work of a class; `None` when somebody does, or is about to.
    fn nobody_for(&self, class: &Class) -> Option<String> {
        let supply = |class: &Class| self.inner.nodes.supply(class);
        match supply(class) {
            Supply::Working | Supply::Arriving => return None,
            Supply::Withheld => {
                let why = "the workers that could go on are drained or set aside (see `kinora nodes ls`)";
                return Some(why.to_owned());
            }
            Supply::Nobody => {}
        }
        let tags = with_tags(&class.tags);
        let Some(encoder) = class.encoder.map(Encoder::name) else {
            return Some(format!("no worker is connected{tags}"));
        };
        let plain = Class { models: Vec::new(), ..class.clone() };
        if !class.models.is_empty() && supply(&plain) != Supply::Nobody {
            return Some(format!(
                "no worker with {encoder} is connected{tags} that can run the models of the job"
            ));
        }
        if supply(&Class { build: None, ..class.clone() }) == Supply::Nobody {
            return Some(format!("no worker with {encoder} is connected{tags}"));
        }
        Some(format!(
            "no worker with {encoder} is connected{tags} whose ffmpeg is of the build that the job began with; bring \
             one back, or cancel and submit again"
        ))
    }

    /// Chunks of a job in progress.
    fn running_of(&self, job: JobId, leased: &[u32]) -> Running {
        let mut chunks: BTreeMap<u32, (u64, f32)> = BTreeMap::new();
        self.inner.nodes.each(|node| {
            let mine = |held: &&Held| held.claimed.job == job && leased.contains(&held.claimed.ordinal);
            for held in node.held.values().filter(mine) {
                let Some(spec) = chunk_spec(&held.claimed.spec) else { continue };
                // Of two attempts at one chunk the one that is further counts.
                let known = chunks.entry(held.claimed.ordinal).or_default();
                if held.progress.frames >= known.0 {
                    *known = (held.progress.frames.min(spec.frames.count()), held.progress.fps);
                }
            }
        });
        let sum = |sum: Running, (frames, fps): &(u64, f32)| Running {
            frames: sum.frames + frames,
            fps: sum.fps + fps,
        };
        chunks.values().fold(Running::default(), sum)
    }

    /// What happened to a job, from a position on.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn job_events(&self, job: JobId, after: i64, limit: u32) -> Result<Page<EventView>> {
        let rows = self.store().outbox_of(job, after, limit).await?;
        let whole = u32::try_from(rows.len()).unwrap_or(u32::MAX) == limit;
        let next = rows.last().filter(|_| whole).map(|row| row.seq.to_string());
        let items = rows.into_iter().map(|row| EventView { seq: row.seq, event: row.event }).collect();
        Ok(Page { items, next })
    }

    /// The tasks of a job with all their attempts.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn task_views(&self, job: JobId) -> Result<Vec<TaskView>> {
        let tasks = self.store().tasks(job).await?;
        let mut attempts: HashMap<TaskId, Vec<AttemptView>> = HashMap::new();
        for made in self.store().attempts_of(job).await? {
            let a = made.attempt;
            attempts.entry(a.lease.task).or_default().push(AttemptView {
                attempt: a.lease.attempt,
                node: a.lease.node,
                started_ms: a.started_ms,
                ended_ms: a.ended_ms,
                outcome: a.outcome.map(|o| o.name().to_owned()),
                failure: a.failure,
                sandbox: a.sandbox,
            });
        }
        let view = |row: TaskRow| TaskView {
            id: row.id,
            kind: row.kind,
            ordinal: row.ordinal,
            state: row.state.name().to_owned(),
            frames: frames(&row.spec),
            attempts: attempts.remove(&row.id).unwrap_or_default(),
            node: row.node,
            progress: row.progress,
        };
        Ok(tasks.into_iter().map(view).collect())
    }
}

pub(super) fn state(node: &Node) -> NodeState {
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

fn with_tags(tags: &Tags) -> String {
    if tags.is_empty() { String::new() } else { format!(" with {tags}") }
}

/// What nodes are at of one job.
#[derive(Debug, Clone, Copy, Default)]
struct Running {
    /// Output frames of unfinished chunks that are done.
    frames: u64,
    /// Output frames per second.
    fps: f32,
}

fn view(
    row: JobRow,
    sums: &[ChunkSum],
    running: Running,
    moved_bytes: u64,
    stuck: Option<String>,
) -> JobView {
    let (mut total, mut finished, mut chunks) = (0, 0, ChunkCounts::default());
    let mut shares = Vec::new();
    for sum in sums {
        total += sum.frames;
        chunks.total += sum.chunks;
        match (sum.state, &sum.node) {
            (TaskState::Done, node) => {
                finished += sum.frames;
                chunks.done += sum.chunks;
                match node {
                    None => chunks.reused += sum.chunks,
                    Some(node) => {
                        let (node, chunks, frames) = (node.clone(), sum.chunks, sum.frames);
                        shares.push(Share { node, chunks, frames });
                    }
                }
            }
            (TaskState::Leased, _) => chunks.running += sum.chunks,
            _ => {}
        }
    }
    let done = (finished + running.frames).min(total);
    let left = total.saturating_sub(done) as f64;
    let moving = running.fps > 0.0 && row.phase == JobPhase::Processing;
    JobView {
        id: row.id,
        work: row.request.work,
        phase: row.phase,
        paused_from: row.paused_from,
        name: row.request.output.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        recipe: row.request.recipe,
        priority: row.request.priority,
        tags: row.request.tags,
        stuck,
        frames: total,
        done,
        fps: running.fps,
        eta_seconds: moving.then(|| left / f64::from(running.fps)),
        chunks,
        failure: row.failure,
        created_ms: row.created_ms,
        finished_ms: row.finished_ms,
        shares,
        moved_bytes,
    }
}
