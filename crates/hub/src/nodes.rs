//! The nodes that are connected, what they hold and how fast they are: kept in memory, as it is true only while they are
//! there. Nothing here waits for a disk or a network.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kinora_jobs::schedule;
use kinora_plan::sizing::{self, Capacity};
use kinora_protocol::class::{Class, Tags};
use kinora_protocol::encode::Encoder;
use kinora_protocol::node::{Capabilities, FileMark, Grant, Hello, Load, Progress, SlotClass, Speed, ToNode};
use kinora_protocol::routes::Capability;
use kinora_protocol::task::TaskKind;
use kinora_protocol::{Attempt, NodeId, TaskId};
use kinora_store::{Avoid, Claimed, Lease, Wanted, Withheld};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::app::chunks::chunk_spec;

mod quarantine;
mod second;
mod speed;

/// Task and fence.
pub(crate) type Key = (TaskId, Attempt);

/// Who may ask beyond the tasks that there are.
const SPARE: u32 = 8;

/// Which conversation with a node it is: a node that comes back takes the place of its older self.
pub(crate) type SessionId = u64;

/// How a node stands with the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It was greeted and is not ready yet.
    Arriving,
    /// It gets work.
    Active,
    /// It finishes what it has.
    Draining,
    /// As draining, because it fails what others do.
    Quarantined {
        /// What it failed.
        why: String,
    },
}

/// Adds those that are not among them.
pub(crate) fn add_missing(encoders: &mut Vec<Encoder>, more: &[Encoder]) {
    for encoder in more {
        if !encoders.contains(encoder) {
            encoders.push(*encoder);
        }
    }
}

/// What there is for a class of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Supply {
    /// No node that is there could do it.
    Nobody,
    /// Only nodes that get no work.
    Withheld,
    /// A node that is about to be ready.
    Arriving,
    /// A node that gets work.
    Working,
}

/// A lease that a node holds.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) claimed: Claimed,
    pub(crate) progress: Progress,
    /// When it was handed out; unknown when it was taken up again.
    pub(crate) since: Option<Instant>,
    /// The source as it was then.
    pub(crate) mark: Option<FileMark>,
    /// When the store last heard of it.
    pub(crate) renewed: Instant,
    /// The hub has the result and is busy with it.
    pub(crate) finishing: bool,
}

impl Held {
    fn new(claimed: Claimed, since: Option<Instant>, mark: Option<FileMark>) -> Self {
        let progress = Progress::default();
        Self { claimed, progress, since, mark, renewed: Instant::now(), finishing: false }
    }
}

/// A connected node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) session: SessionId,
    pub(crate) hello: Hello,
    pub(crate) build: String,
    pub(crate) standing: Standing,
    /// Paths of the hub's are good there.
    pub(crate) shares_files: bool,
    pub(crate) held: HashMap<Key, Held>,
    /// How busy it said that its machine is.
    pub(crate) load: Option<Load>,
    to_node: mpsc::UnboundedSender<ToNode>,
}

impl Node {
    pub(crate) fn tell(&self, message: ToNode) -> bool {
        self.to_node.send(message).is_ok()
    }

    /// It is ready for work.
    pub(crate) fn arrive(&mut self, shares_files: bool, speeds: Vec<Speed>) {
        self.shares_files = shares_files;
        self.hello.capabilities.speeds = speeds;
        if self.standing == Standing::Arriving {
            self.standing = Standing::Active;
        }
    }

    /// How many chunks of an encoder at once, by its processors.
    fn at_once(&self, encoder: Encoder, jobs: Option<u32>) -> u32 {
        let cores = self.hello.capabilities.cores;
        sizing::jobs(encoder, Capacity { cores, machines: 1, jobs, seconds: None })
            .min(self.hello.slots.chunks)
    }

    /// How many stretches at once are measured; one of whatever it is, as long as it has nothing.
    fn measures_at_once(&self, jobs: Option<u32>) -> u32 {
        let measures = self.held.values().any(|held| held.claimed.kind == TaskKind::Measure);
        let most = if measures { self.hello.capabilities.cores.max(1) } else { 1 };
        most.min(jobs.unwrap_or(u32::MAX)).min(self.hello.slots.chunks)
    }

    fn busy(&self, slot: SlotClass) -> u32 {
        let count = self.held.values().filter(|h| SlotClass::of(h.claimed.kind) == slot).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// How many of a kind of work at once: an encoder that threads well by itself gets fewer.
    fn limit(&self, slot: SlotClass, jobs: Option<u32>) -> u32 {
        match slot {
            SlotClass::Other => self.hello.slots.other,
            SlotClass::Describe => 1.min(self.hello.slots.other),
            SlotClass::Chunk => {
                let encoders =
                    self.held.values().filter_map(|h| chunk_spec(&h.claimed.spec)).map(|s| s.encode.encoder);
                let at_once = encoders.map(|encoder| self.at_once(encoder, jobs)).min();
                at_once.unwrap_or_else(|| self.measures_at_once(jobs))
            }
        }
    }

    fn free(&self, slot: SlotClass, jobs: Option<u32>) -> u32 {
        match self.standing {
            Standing::Active => self.limit(slot, jobs).saturating_sub(self.busy(slot)),
            Standing::Arriving | Standing::Draining | Standing::Quarantined { .. } => 0,
        }
    }

    fn serves(&self, class: &Class) -> bool {
        schedule::serves(class, &self.hello.capabilities, &self.build, &self.hello.tags)
    }
}

/// All connected nodes.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    nodes: BTreeMap<NodeId, Node>,
    /// Nodes that get no work, also after they have reconnected.
    withheld: BTreeMap<NodeId, Withheld>,
    /// Counts how often work was handed out.
    turn: usize,
    strikes: quarantine::Strikes,
    speeds: speed::Speeds,
    sessions: SessionId,
}

impl Table {
    /// Those that get work.
    fn active(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(|n| n.standing == Standing::Active)
    }

    /// Those that get work of jobs that ask for these tags.
    fn active_with(&self, tags: &Tags) -> impl Iterator<Item = &Node> {
        self.active().filter(|n| tags.are_among(&n.hello.tags))
    }
}

impl Nodes {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what was decided of a node in an earlier life of the hub.
    pub(crate) fn remember(&self, id: NodeId, withheld: Withheld) {
        self.table().withheld.insert(id, withheld);
    }

    /// Takes a node in; an older conversation with it ends.
    pub(crate) fn connect(
        &self,
        hello: Hello,
        held: Vec<Claimed>,
        to_node: mpsc::UnboundedSender<ToNode>,
    ) -> SessionId {
        let mut table = self.table();
        table.sessions += 1;
        let session = table.sessions;
        let held = held.into_iter().map(|claimed| {
            let key = (claimed.lease.task, claimed.lease.attempt);
            (key, Held::new(claimed, None, None))
        });
        let standing = match table.withheld.get(&hello.node) {
            Some(Withheld::Quarantine { why }) => Standing::Quarantined { why: why.clone() },
            Some(Withheld::Drain) => Standing::Draining,
            None => Standing::Arriving,
        };
        let node = Node {
            session,
            build: schedule::build_name(&hello.capabilities.ffmpeg),
            standing,
            shares_files: false,
            held: held.collect(),
            load: None,
            to_node,
            hello,
        };
        table.nodes.insert(node.hello.node.clone(), node);
        session
    }

    /// Lets a node go, unless it has come back meanwhile. Whether it was let go.
    pub(crate) fn disconnect(&self, id: &NodeId, session: SessionId) -> bool {
        let mut table = self.table();
        let mine = table.nodes.get(id).is_some_and(|n| n.session == session);
        if mine {
            table.nodes.remove(id);
        }
        mine
    }

    /// Takes a node out of the table, as if its connection was gone: nothing that it says counts any more.
    pub(crate) fn expel(&self, id: &NodeId) {
        self.table().nodes.remove(id);
    }

    /// Gives a node no more work, whether it is there or not.
    pub(crate) fn drain(&self, id: &NodeId) {
        let mut table = self.table();
        if let Some(node) = table.nodes.get_mut(id) {
            node.tell(ToNode::Drain);
            if !matches!(node.standing, Standing::Quarantined { .. }) {
                node.standing = Standing::Draining;
            }
        }
        table.withheld.entry(id.clone()).or_insert(Withheld::Drain);
    }

    /// Why a node gets no work.
    pub(crate) fn withheld(&self, id: &NodeId) -> Option<Withheld> {
        self.table().withheld.get(id).cloned()
    }

    /// Also from a quarantine. Whether there was anything to undo.
    pub(crate) fn undrain(&self, id: &NodeId) -> bool {
        let mut table = self.table();
        let was = table.withheld.remove(id).is_some();
        table.strikes.forgive(id);
        let Some(node) = table.nodes.get_mut(id) else { return was };
        node.standing = Standing::Active;
        true
    }

    /// Looks at or changes one node.
    pub(crate) fn with<T>(&self, id: &NodeId, work: impl FnOnce(&mut Node) -> T) -> Option<T> {
        self.table().nodes.get_mut(id).map(work)
    }

    /// As [`Nodes::with`], if the conversation is still the one that is meant.
    pub(crate) fn within<T>(
        &self,
        id: &NodeId,
        session: SessionId,
        work: impl FnOnce(&mut Node) -> T,
    ) -> Option<T> {
        self.table().nodes.get_mut(id).filter(|n| n.session == session).map(work)
    }

    /// The source of a task as it was when the task was handed out.
    pub(crate) fn mark_of(&self, lease: &Lease) -> Option<FileMark> {
        self.table().nodes.get(&lease.node)?.held.get(&(lease.task, lease.attempt))?.mark
    }

    /// A chunk's result was accepted: so fast is its node.
    pub(crate) fn note_speed(&self, id: &NodeId, key: Key) {
        let mut table = self.table();
        let Table { nodes, speeds, .. } = &mut *table;
        if let Some(held) = nodes.get(id).and_then(|node| node.held.get(&key)) {
            speeds.note(id, held);
        }
    }

    /// What all nodes that can do a class have together, if there are any.
    pub(crate) fn together(&self, class: &Class, jobs: Option<u32>) -> Option<Capacity> {
        let table = self.table();
        let mut all = Capacity { cores: 0, machines: 0, jobs: None, seconds: None };
        let mut at_once = 0;
        for node in table.active().filter(|n| n.serves(class)) {
            at_once += class.encoder.map_or(1.min(node.hello.slots.chunks), |e| node.at_once(e, jobs));
            all.cores += node.hello.capabilities.cores;
            all.machines += 1;
        }
        match all.machines {
            0 => None,
            1 => Some(Capacity { jobs, ..all }),
            _ => Some(Capacity { jobs: Some(at_once), ..all }),
        }
    }

    /// What the nodes with these tags can do, by ffmpeg build: that of `first` before all others.
    pub(crate) fn builds(&self, first: &Capabilities, tags: &Tags) -> Vec<Capabilities> {
        let mut builds = vec![first.clone()];
        for node in self.table().active_with(tags) {
            let can = &node.hello.capabilities;
            match builds.iter_mut().find(|build| build.ffmpeg == can.ffmpeg) {
                None => builds.push(can.clone()),
                Some(build) => {
                    add_missing(&mut build.encoders, &can.encoders);
                    build.inference.and(&can.inference);
                }
            }
        }
        builds
    }

    /// What one of the nodes with these tags can do, one with the hub's files if there is any.
    pub(crate) fn example(&self, tags: &Tags) -> Option<Capabilities> {
        let table = self.table();
        let node =
            table.active_with(tags).find(|n| n.shares_files).or_else(|| table.active_with(tags).next());
        node.map(|n| n.hello.capabilities.clone())
    }

    /// How many with these tags are ready for work.
    pub(crate) fn ready(&self, tags: &Tags) -> u32 {
        u32::try_from(self.table().active_with(tags).count()).unwrap_or(u32::MAX)
    }

    /// What there is for a class: who gets work before all others.
    pub(crate) fn supply(&self, class: &Class) -> Supply {
        let table = self.table();
        let able = table.nodes.values().filter(|n| n.serves(class));
        able.map(|node| match node.standing {
            Standing::Active => Supply::Working,
            Standing::Arriving => Supply::Arriving,
            Standing::Draining | Standing::Quarantined { .. } => Supply::Withheld,
        })
        .max()
        .unwrap_or(Supply::Nobody)
    }

    /// Looks at all of them.
    pub(crate) fn each(&self, mut look: impl FnMut(&Node)) {
        self.table().nodes.values().for_each(&mut look);
    }

    /// Tells a node to stop an attempt, if it is there.
    pub(crate) fn cancel(&self, id: &NodeId, (task, attempt): Key) {
        self.with(id, |node| {
            node.held.remove(&(task, attempt));
            node.tell(ToNode::Cancel { task, attempt })
        });
    }

    /// Who should be asked for which work: for each free slot one asker, as long as there is work of its classes. `ready` is
    /// what waits, by class, with its number.
    pub(crate) fn askers(&self, ready: &[(Class, u32)], jobs: Option<u32>) -> Vec<Wanted> {
        let mut table = self.table();
        table.turn += 1;
        let table = &*table;
        let mut nodes: Vec<&Node> = table.nodes.values().collect();
        // Another one is first each time.
        let turn = table.turn.checked_rem(nodes.len()).unwrap_or(0);
        nodes.rotate_left(turn);
        nodes.sort_by_key(|n| std::cmp::Reverse(n.hello.priority));
        // Some more may ask than there is work: one that has failed a task asks in vain.
        let mut left: Vec<(&Class, u32)> =
            ready.iter().map(|(class, count)| (class, count + SPARE)).collect();
        let servers = |class: &Class| nodes.iter().filter(|n| n.serves(class)).count();
        // Whoever has the hub's files at hand spares everybody the way of whole files over the network.
        let near = |class: &Class| table.active().any(|n| n.shares_files && n.serves(class));
        let left_to_near: BTreeSet<&Class> = ready
            .iter()
            .map(|(class, _)| class)
            .filter(|class| class.slot != SlotClass::Chunk && near(class))
            .collect();
        let several: Vec<bool> = ready.iter().map(|(class, _)| servers(class) > 1).collect();
        let ending = second::Ending::new(&nodes, &table.speeds);
        let worth = |node: &Node, class: &Class, waiting: u32| {
            let fps = || class.encoder.and_then(|encoder| table.speeds.of(node, encoder, &nodes));
            ending.worth_taking(&node.hello.node, class, waiting, fps)
        };
        let mut askers = Vec::new();
        for node in &nodes {
            for slot in SlotClass::ALL {
                for _ in 0..node.free(slot, jobs) {
                    let mine = |(class, count): &(&Class, u32)| {
                        *count > 0
                            && class.slot == slot
                            && node.serves(class)
                            && (node.shares_files || !left_to_near.contains(*class))
                            && worth(node, class, count.saturating_sub(SPARE))
                    };
                    let Some(first) = left.iter().position(&mine) else { break };
                    let classes =
                        left.iter().filter(|e| mine(e)).map(|(class, _)| (*class).clone()).collect();
                    if let Some((_, count)) = left.get_mut(first) {
                        *count -= 1;
                    }
                    let others = several.get(first).copied().unwrap_or(false);
                    let avoid = if others { Avoid::OwnFailures } else { Avoid::Nothing };
                    askers.push(Wanted { node: node.hello.node.clone(), classes, avoid });
                }
            }
        }
        askers
    }

    /// Gives a lease to its node, with the right to the task's bytes. `false`: it is gone.
    pub(crate) fn grant(&self, claimed: &Claimed, capability: &Capability, source: Option<FileMark>) -> bool {
        let grant = Grant {
            job: claimed.job,
            task: claimed.lease.task,
            attempt: claimed.lease.attempt,
            spec: claimed.spec.clone(),
            capability: capability.to_string(),
            source,
        };
        let granted = self.with(&claimed.lease.node, |node| {
            let held = Held::new(claimed.clone(), Some(Instant::now()), source);
            node.held.insert((grant.task, grant.attempt), held);
            node.tell(ToNode::Lease(Box::new(grant)))
        });
        granted.unwrap_or(false)
    }
}
