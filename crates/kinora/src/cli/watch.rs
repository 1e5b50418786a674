//! Following a job of a hub to its end: the whole, the map of chunks and what each node did of it. It asks for the job when
//! something is told, and goes on when the hub was away for a while.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use kinora_protocol::api::{JobView, TaskView};
use kinora_protocol::client::Client;
use kinora_protocol::event::{Event, TaskChange};
use kinora_protocol::job::JobPhase;
use kinora_protocol::live::{RunningTask, Subscribe, Topic, Update};
use kinora_protocol::task::{FrameRange, TaskKind};
use kinora_protocol::{ErrorCode, Failure, JobId, NodeId};
use tokio::sync::mpsc::Receiver;

use super::jobs::percent;
use super::progress::{Bars, Cell, ChunkMap, Out};

/// How often a job is looked at without being told.
const LOOK: Duration = Duration::from_millis(500);
/// How often it is looked at although nothing was told.
const NET: Duration = Duration::from_secs(5);
/// Least time between two looks.
const BREATH: Duration = Duration::from_millis(200);
/// A hub that cannot be reached for so long does not come back.
const AWAY: Duration = Duration::from_secs(120);
/// The speed that is shown is that of the last so many seconds: between two chunks nodes encode nothing.
const SPEED_OVER: Duration = Duration::from_secs(20);
/// Nodes that are shown, those with the most work first.
const SHOWN_NODES: usize = 12;

/// Follows a job to its end; gives it when it is completed.
pub async fn follow(client: &Client, job: JobId, out: Out) -> Result<JobView, Failure> {
    let mut watching = Watching {
        client,
        job,
        chunks: ChunkMap::default(),
        running: Vec::new(),
        names: BTreeMap::new(),
        stale: true,
        updates: None,
        seq: None,
        shown: String::new(),
        speed: Speed::default(),
        out,
    };
    loop {
        let view = watching.look().await?;
        watching.show(&view);
        match view.phase {
            JobPhase::Completed => return Ok(view),
            JobPhase::Failed => {
                let unknown = || Failure::new(ErrorCode::Internal, format!("job {job} failed"));
                return Err(view.failure.unwrap_or_else(unknown));
            }
            JobPhase::Cancelled => {
                return Err(Failure::new(ErrorCode::Cancelled, format!("job {job} was cancelled")));
            }
            _ => watching.wait().await,
        }
    }
}

struct Watching<'a> {
    client: &'a Client,
    job: JobId,
    chunks: ChunkMap,
    running: Vec<RunningTask>,
    names: BTreeMap<NodeId, String>,
    /// What is known of chunks and nodes is not what the hub knows.
    stale: bool,
    /// Without updates it is looked now and then.
    updates: Option<Receiver<Update>>,
    seq: Option<i64>,
    shown: String,
    speed: Speed,
    out: Out,
}

impl Watching<'_> {
    /// The job as it stands. A hub that is away for a while is waited for.
    async fn look(&mut self) -> Result<JobView, Failure> {
        let since = Instant::now();
        let mut told = false;
        loop {
            match self.ask().await {
                Err(failure) if failure.code == ErrorCode::Unreachable && since.elapsed() < AWAY => {
                    if self.shown.is_empty() {
                        return Err(failure);
                    }
                    if !told {
                        self.out.note(&format!("{failure}; trying again"));
                    }
                    told = true;
                    self.updates = None;
                    tokio::time::sleep(LOOK).await;
                }
                answer => return answer,
            }
        }
    }

    async fn ask(&mut self) -> Result<JobView, Failure> {
        if self.updates.is_none() {
            let what = Subscribe { subscribe: vec![Topic::Job(self.job)], after: self.seq };
            self.updates = self.client.live(&what).await.ok();
        }
        let view = self.client.job(self.job).await?;
        if matches!(self.out, Out::Bars(_)) {
            let unnamed = view.shares.iter().any(|share| !self.names.contains_key(&share.node));
            if self.stale || unnamed || (self.chunks.is_empty() && view.chunks.total > 0) {
                self.catch_up().await?;
            }
            // Nodes that were forgotten keep their shares.
            for share in &view.shares {
                self.names.entry(share.node.clone()).or_insert_with(|| share.node.to_string());
            }
        }
        Ok(view)
    }

    /// Learns anew what events tell only once.
    async fn catch_up(&mut self) -> Result<(), Failure> {
        let (tasks, nodes) = tokio::try_join!(self.client.tasks(self.job), self.client.nodes())?;
        self.names = nodes.items.into_iter().map(|node| (node.id, node.name)).collect();
        self.chunks = chunks_of(&tasks.items);
        self.stale = false;
        Ok(())
    }

    /// Waits until something is new, and a moment in any case.
    async fn wait(&mut self) {
        let Some(updates) = &mut self.updates else { return tokio::time::sleep(LOOK).await };
        match tokio::time::timeout(NET, updates.recv()).await {
            Err(_) => return,
            Ok(None) => {
                self.updates = None;
                return tokio::time::sleep(LOOK).await;
            }
            Ok(Some(update)) => self.take(update),
        }
        tokio::time::sleep(BREATH).await;
        while let Some(update) = self.updates.as_mut().and_then(|updates| updates.try_recv().ok()) {
            self.take(update);
        }
    }

    fn take(&mut self, update: Update) {
        self.seq = Some(update.seq);
        self.stale |= update.missed;
        for event in &update.events {
            match event {
                Event::Planned { chunks, reused, .. } => self.chunks = ChunkMap::planned(chunks, reused),
                Event::Task { kind, ordinal, change, .. } => self.changed(*kind, *ordinal, change),
                Event::Job { .. } => {}
            }
        }
        for running in update.running.into_iter().filter(|running| running.job == self.job) {
            self.running = running.tasks;
        }
        for task in self.running.iter().filter(|task| task.kind == TaskKind::Chunk) {
            self.chunks.set(task.ordinal, Cell::Running(task.progress.frames));
            self.stale |= !self.names.contains_key(&task.node);
        }
    }

    fn changed(&mut self, kind: TaskKind, ordinal: u32, change: &TaskChange) {
        if kind == TaskKind::Chunk {
            self.chunks.change(ordinal, change);
        }
        if let TaskChange::Retry { failure } = change {
            self.out.note(&format!("{} {ordinal} is tried again: {failure}", kind.name()));
        }
    }

    fn show(&mut self, view: &JobView) {
        let lines = match &self.out {
            Out::Bars(_) => self.node_lines(view),
            Out::Lines | Out::Nothing => Vec::new(),
        };
        self.speed.note(Instant::now(), view.done);
        match &mut self.out {
            Out::Bars(bars) => draw(bars, view, self.speed.fps(), &self.chunks, lines),
            Out::Lines => {
                let now = in_words(view);
                if now != self.shown {
                    tell!("kinora: {now}");
                    self.shown = now;
                }
            }
            Out::Nothing => {}
        }
        if self.shown.is_empty() {
            view.phase.name().clone_into(&mut self.shown);
        }
    }

    /// What each node did and is at, those with the most frames first.
    fn node_lines(&self, view: &JobView) -> Vec<String> {
        let mut nodes: BTreeMap<&NodeId, Part> = BTreeMap::new();
        for share in &view.shares {
            let part = nodes.entry(&share.node).or_default();
            (part.chunks, part.frames) = (share.chunks, share.frames);
        }
        for task in &self.running {
            let part = nodes.entry(&task.node).or_default();
            part.frames += task.progress.frames;
            part.fps += task.progress.fps;
            part.at.push(match task.kind {
                TaskKind::Chunk => {
                    let of = self.chunks.frames_of(task.ordinal).max(1);
                    format!("chunk {} {}%", task.ordinal, (task.progress.frames * 100 / of).min(100))
                }
                kind => kind.name().to_owned(),
            });
        }
        let all: u64 = nodes.values().map(|part| part.frames).sum();
        let mut parts: Vec<(&NodeId, Part)> = nodes.into_iter().collect();
        parts.sort_by_key(|(_, part)| std::cmp::Reverse(part.frames));
        let more = parts.len().saturating_sub(SHOWN_NODES);
        let shown = parts.iter().take(SHOWN_NODES).map(|(node, part)| {
            let name = self.names.get(*node).cloned().unwrap_or_else(|| node.to_string());
            part.line(&super::one_line(&name), all)
        });
        shown.chain((more > 0).then(|| format!("and {more} more"))).collect()
    }
}

/// What one node has of a job.
#[derive(Debug, Default)]
struct Part {
    chunks: u32,
    frames: u64,
    fps: f32,
    at: Vec<String>,
}

impl Part {
    fn line(&self, name: &str, all: u64) -> String {
        let Self { chunks, frames, fps, at } = self;
        let share = (frames * 100).checked_div(all).unwrap_or(0);
        let at = at.join(", ");
        format!("{name:<20.20} {share:>3}%  {chunks:>4} chunks  {frames:>7} frames  {fps:>5.0} fps  {at}")
    }
}

fn chunks_of(tasks: &[TaskView]) -> ChunkMap {
    ChunkMap::of(tasks.iter().filter(|task| task.kind == TaskKind::Chunk).filter_map(|task| {
        let (start, end) = task.frames?;
        let cell = match task.state.as_str() {
            "done" if task.node.is_none() => Cell::Reused,
            "done" => Cell::Done,
            "leased" => Cell::Running(task.progress.frames),
            _ if task.attempts.is_empty() => Cell::Waiting,
            _ => Cell::Again,
        };
        Some((task.ordinal, FrameRange { start, end }, cell))
    }))
}

/// How fast a job was of late.
#[derive(Debug, Default)]
struct Speed {
    seen: VecDeque<(Instant, u64)>,
}

impl Speed {
    /// So many frames were done at a time. Fewer than before: what an attempt did is lost.
    fn note(&mut self, at: Instant, done: u64) {
        if self.seen.back().is_some_and(|(_, before)| done < *before) {
            self.seen.clear();
        }
        while self.seen.front().is_some_and(|(then, _)| at.duration_since(*then) > SPEED_OVER) {
            self.seen.pop_front();
        }
        self.seen.push_back((at, done));
    }

    /// Frames a second.
    fn fps(&self) -> f64 {
        let (Some((first, from)), Some((last, to))) = (self.seen.front(), self.seen.back()) else {
            return 0.0;
        };
        let seconds = last.duration_since(*first).as_secs_f64();
        if seconds > 0.5 { to.saturating_sub(*from) as f64 / seconds } else { 0.0 }
    }
}

fn draw(bars: &mut Bars, view: &JobView, fps: f64, chunks: &ChunkMap, lines: Vec<String>) {
    let why = view.stuck.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let at = super::one_line(&format!("{}{why}", view.phase.name()));
    let left = view.frames.saturating_sub(view.done);
    let eta = (fps > 0.0 && left > 0).then(|| left as f64 / fps);
    bars.frames(view.done, view.frames, fps, eta, &at);
    bars.map(chunks);
    bars.lines(lines);
}

fn in_words(view: &JobView) -> String {
    let chunks = format!("{}/{} chunks", view.chunks.done, view.chunks.total);
    let so_far = format!("{} {}%, {chunks}", view.phase.name(), percent(view));
    let eta = view.eta_seconds.map(|s| format!(", ETA {:.0} s", s.ceil())).unwrap_or_default();
    match &view.stuck {
        Some(why) => format!("{so_far}: {why}"),
        None => format!("{so_far}, {:.0} fps{eta}", view.fps),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_is_that_of_the_last_seconds() {
        let start = Instant::now();
        let mut speed = Speed::default();
        assert_eq!(speed.fps(), 0.0);
        for second in 0..60 {
            let done = if second < 30 { second * 100 } else { 3000 + (second - 30) * 10 };
            speed.note(start + Duration::from_secs(second), done);
        }
        assert_eq!(speed.fps(), 10.0, "what was long ago does not count");
        speed.note(start + Duration::from_secs(60), 2000);
        assert_eq!(speed.fps(), 0.0, "nothing is negative");
    }
}
