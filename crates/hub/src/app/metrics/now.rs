//! What is so now: asked of the store and of what is known of nodes when somebody looks.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use kinora_protocol::api::NodeState;
use kinora_protocol::job::JobPhase;
use kinora_protocol::task::TaskKind;
use kinora_store::Sums;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::{Labels, labels};
use crate::app::views::state;
use crate::nodes::Node;
use crate::{Hub, Result, now_ms};

/// A number that may have a fraction.
type Level = Gauge<f64, AtomicU64>;

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Adds a number of each of these, and zero of those that there are none of.
fn counted<T: Copy + PartialEq>(
    to: &mut Registry,
    (name, help): (&str, &str),
    (label, all): (&'static str, &[T]),
    spelt: fn(T) -> &'static str,
    found: &[(T, u64)],
) {
    let family = Family::<Labels, Gauge>::default();
    for one in all {
        let number = found.iter().find(|(of, _)| of == one).map_or(0, |(_, number)| *number);
        family.get_or_create(&labels([(label, spelt(*one))])).set(whole(number));
    }
    to.register(name, help, family);
}

fn one(to: &mut Registry, name: &str, help: &str, unit: Option<Unit>, number: f64) {
    let level = Level::default();
    level.set(number);
    match unit {
        Some(unit) => to.register_with_unit(name, help, unit, level),
        None => to.register(name, help, level),
    }
}

/// What is known of each node.
#[derive(Default)]
struct OfNodes {
    states: BTreeMap<&'static str, u64>,
    fps: Family<Labels, Level>,
    running: Family<Labels, Gauge>,
    cpu: Family<Labels, Level>,
    gpu: Family<Labels, Level>,
}

impl OfNodes {
    fn look(&mut self, node: &Node) {
        *self.states.entry(state(node).name()).or_default() += 1;
        let (id, name) = (node.hello.node.to_string(), &node.hello.name);
        let of = labels([("node", &id), ("name", name)]);
        let fps: f32 = node.held.values().map(|held| held.progress.fps).sum();
        self.fps.get_or_create(&of).set(f64::from(fps));
        self.running.get_or_create(&of).set(whole(node.held.len() as u64));
        let Some(load) = &node.load else { return };
        self.cpu.get_or_create(&of).set(f64::from(load.cpu));
        for (number, gpu) in load.gpus.iter().enumerate() {
            let gpu_name = format!("{number} {}", gpu.name);
            let of = labels([("node", &id), ("name", name), ("gpu", &gpu_name)]);
            self.gpu.get_or_create(&of).set(f64::from(gpu.busy));
        }
    }

    fn register(mut self, to: &mut Registry) {
        let states = Family::<Labels, Gauge>::default();
        for state in [NodeState::Benchmarking, NodeState::Processing, NodeState::Idle, NodeState::Draining] {
            self.states.entry(state.name()).or_default();
        }
        for (state, number) in self.states {
            states.get_or_create(&labels([("state", state)])).set(whole(number));
        }
        to.register("nodes", "Nodes that are connected, by state", states);
        to.register("node_frames_per_second", "Frames that a node makes in a second now", self.fps);
        to.register("node_tasks", "Tasks that a node is at", self.running);
        to.register_with_unit(
            "node_cpu_busy",
            "Part of a node's processors that is busy",
            Unit::Ratios,
            self.cpu,
        );
        let help = "Part of the time that a node's graphics processor is busy";
        to.register_with_unit("node_gpu_busy", help, Unit::Ratios, self.gpu);
    }
}

impl Hub {
    /// What is so now.
    pub(super) async fn metrics_now(&self) -> Result<Registry> {
        let mut all = Registry::with_prefix("kinora");
        let version = env!("CARGO_PKG_VERSION").to_owned();
        all.register("build", "Version of Kinora", Info::new([("version", version)]));
        // Of a store that fails the rest is told, and that it fails.
        match self.store().sums().await {
            Ok(sums) => self.stored(&mut all, &sums).await?,
            Err(error) => tracing::error!("what is stored cannot be counted: {error}"),
        }
        let free = fs4::available_space(&self.inner.data).unwrap_or(0);
        one(&mut all, "disk_free", "Room on the hub's disk", Some(Unit::Bytes), free as f64);
        let ready = self.readiness().await;
        let parts = Family::<Labels, Gauge>::default();
        for (part, health) in [("store", &ready.store), ("blobs", &ready.blobs), ("disk", &ready.disk)] {
            parts.get_or_create(&labels([("part", part)])).set(i64::from(health.is_ok()));
        }
        all.register("ready", "Whether a part of the hub is well", parts);
        let mut nodes = OfNodes::default();
        self.inner.nodes.each(|node| nodes.look(node));
        nodes.register(&mut all);
        Ok(all)
    }

    /// What the store knows.
    async fn stored(&self, all: &mut Registry, sums: &Sums) -> Result<()> {
        let phases = ("phase", &JobPhase::ALL[..]);
        counted(all, ("jobs", "Jobs that there are, by phase"), phases, JobPhase::name, &sums.jobs);
        let kinds = ("kind", &TaskKind::ALL[..]);
        let help = "Tasks that wait for a node, by kind";
        counted(all, ("queue_tasks", help), kinds, TaskKind::name, &sums.ready);
        let help = "Tasks that nodes are at, by kind";
        counted(all, ("running_tasks", help), kinds, TaskKind::name, &sums.running);
        let oldest = sums.oldest_ready_ms.map_or(0, |since| (now_ms() - since).max(0));
        let help = "Age of the oldest job that waits for a node, and that nobody works on";
        one(all, "queue_oldest_job", help, Some(Unit::Seconds), oldest as f64 / 1000.0);
        let bytes = |number: u64| number as f64;
        one(all, "media", "Media that is kept", Some(Unit::Bytes), bytes(sums.media_bytes));
        let help = "Chunks that are kept for later jobs";
        one(all, "chunk_cache", help, Some(Unit::Bytes), bytes(sums.chunk_bytes));
        let help = "What webhooks are still to be told";
        one(all, "webhook_deliveries_waiting", help, None, bytes(sums.deliveries));
        let waiting = self.scanner_view().await?.map_or(0, |view| view.waiting);
        let help = "Media that is to be looked at for malware";
        one(all, "scans_waiting", help, None, bytes(waiting));
        Ok(())
    }
}
