//! Work near the end of a job: which chunks are worth a second attempt, and which nodes should leave the last ones to
//! faster ones. What is known is gathered here; decided is in `jobs::schedule`.

use std::collections::BTreeMap;

use kinora_jobs::schedule::{self, Idle, Left, Running};
use kinora_protocol::class::Class;
use kinora_protocol::node::SlotClass;
use kinora_protocol::task::TaskKind;
use kinora_protocol::{NodeId, TaskId};

use super::speed::{self, Speeds};
use super::{Held, Node, Nodes};
use crate::app::chunks::chunk_spec;

/// A chunk in progress and who has it.
struct AtWork<'a> {
    node: &'a Node,
    held: &'a Held,
    class: Class,
    frames: u64,
    fps: Option<f64>,
}

impl Nodes {
    /// Chunks that idle nodes should work on, too. To be asked when no chunk waits.
    pub(crate) fn backups(&self, jobs: Option<u32>) -> Vec<(TaskId, NodeId)> {
        let table = self.table();
        let nodes: Vec<&Node> = table.nodes.values().collect();
        let idle: Vec<&Node> = nodes.iter().copied().filter(|n| n.free(SlotClass::Chunk, jobs) > 0).collect();
        if idle.is_empty() {
            return Vec::new();
        }
        let at_work = at_work(&nodes, &table.speeds);
        let mut classes: Vec<&Class> = at_work.iter().map(|w| &w.class).collect();
        classes.sort_unstable();
        classes.dedup();
        let mut chosen = Vec::new();
        for class in classes {
            let Some(encoder) = class.encoder else { continue };
            let fps = |node: &Node| table.speeds.of(node, encoder, &nodes);
            let able =
                idle.iter().filter(|n| n.serves(class) && !chosen.iter().any(|(_, id)| *id == n.hello.node));
            let able: Vec<Idle> =
                able.filter_map(|n| Some(Idle { node: n.hello.node.clone(), fps: fps(n)? })).collect();
            let running: Vec<Running> =
                at_work.iter().filter(|w| w.class == *class).filter_map(running).collect();
            chosen.extend(schedule::backups(&with_pairs(running), &able));
        }
        chosen
    }
}

fn running(work: &AtWork<'_>) -> Option<Running> {
    Some(Running {
        task: work.held.claimed.lease.task,
        node: work.node.hello.node.clone(),
        frames: work.frames,
        done: work.held.progress.frames.min(work.frames),
        fps: work.fps?,
        backed_up: false,
    })
}

/// Marks tasks that two nodes work on.
fn with_pairs(mut running: Vec<Running>) -> Vec<Running> {
    let tasks: Vec<TaskId> = running.iter().map(|r| r.task).collect();
    for one in &mut running {
        one.backed_up = tasks.iter().filter(|t| **t == one.task).count() > 1;
    }
    running
}

/// All chunks in progress. Those whose result is being judged are as good as done.
fn at_work<'a>(nodes: &[&'a Node], speeds: &Speeds) -> Vec<AtWork<'a>> {
    let mut found = Vec::new();
    for &node in nodes {
        for held in node.held.values().filter(|h| h.claimed.kind == TaskKind::Chunk && !h.finishing) {
            let Some(spec) = chunk_spec(&held.claimed.spec) else { continue };
            let encoder = spec.encode.encoder;
            let fps = speed::so_far(held).or_else(|| speeds.of(node, encoder, nodes));
            let class = held.claimed.class.clone();
            found.push(AtWork { node, held, class, frames: spec.frames.count(), fps });
        }
    }
    found
}

/// What is at work of each class, summed up once for all who ask.
pub(super) struct Ending {
    classes: BTreeMap<Class, Sum>,
    own: BTreeMap<(Class, NodeId), Sum>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    chunks: u64,
    frames: u64,
    left: f64,
    fps: f64,
}

impl Sum {
    fn add(&mut self, work: &AtWork<'_>) {
        self.chunks += 1;
        self.frames += work.frames;
        self.left += work.frames.saturating_sub(work.held.progress.frames) as f64;
        self.fps += work.fps.unwrap_or(0.0);
    }
}

impl Ending {
    pub(super) fn new(nodes: &[&Node], speeds: &Speeds) -> Self {
        let (mut classes, mut own) = (BTreeMap::<_, Sum>::new(), BTreeMap::<_, Sum>::new());
        for work in at_work(nodes, speeds) {
            classes.entry(work.class.clone()).or_default().add(&work);
            own.entry((work.class.clone(), work.node.hello.node.clone())).or_default().add(&work);
        }
        Self { classes, own }
    }

    /// Whether a node that makes `fps` should take a chunk of a class of which `waiting` are left, or leave it to faster
    /// ones.
    pub(super) fn worth_taking(
        &self,
        node: &NodeId,
        class: &Class,
        waiting: u32,
        fps: impl FnOnce() -> Option<f64>,
    ) -> bool {
        let Some(all) = self.classes.get(class) else { return true };
        let Some(fps) = fps() else { return true };
        let own = self.own.get(&(class.clone(), node.clone())).copied().unwrap_or_default();
        let frames = all.frames / all.chunks.max(1);
        // This one is among those that wait.
        let waiting = f64::from(waiting.saturating_sub(1)) * frames as f64;
        let left = Left { waiting, running: all.left - own.left, fps: all.fps - own.fps };
        schedule::worth_taking(frames, fps, left)
    }
}
