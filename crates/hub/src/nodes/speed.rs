//! How fast nodes are believed to be: what they were seen to make, else what their benchmark says in proportion to nodes that
//! were seen. Speeds are output frames per second of one chunk at a time, as many as run there at once.

use std::collections::HashMap;
use std::time::Duration;

use kinora_protocol::NodeId;
use kinora_protocol::encode::Encoder;
use kinora_protocol::node::Speed;

use super::{Held, Node};
use crate::app::chunks::chunk_spec;

/// Part that the newest chunk has in what is believed.
const NEWEST: f64 = 0.4;
/// Of an attempt younger than this nothing can be told.
const YOUNG: Duration = Duration::from_secs(2);

/// One without a frame after this is thought to be stuck.
const STUCK: Duration = Duration::from_secs(15);

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Speeds {
    seen: HashMap<(NodeId, Encoder), f64>,
}

impl Speeds {
    /// A chunk was finished.
    pub(super) fn note(&mut self, node: &NodeId, held: &Held) {
        let Some(spec) = chunk_spec(&held.claimed.spec) else { return };
        let took = held.since.map_or(0.0, |since| since.elapsed().as_secs_f64());
        if took <= 0.0 {
            return;
        }
        let now = spec.frames.count() as f64 / took;
        let believed = self.seen.entry((node.clone(), spec.encode.encoder)).or_insert(now);
        *believed += NEWEST * (now - *believed);
    }

    /// What a node is believed to make, if anything can be said.
    pub(super) fn of(&self, node: &Node, encoder: Encoder, others: &[&Node]) -> Option<f64> {
        let seen = |node: &Node| self.seen.get(&(node.hello.node.clone(), encoder)).copied();
        if let Some(speed) = seen(node) {
            return Some(speed);
        }
        // As much faster as its benchmark is than that of a node that was seen.
        let mine = benchmark(&node.hello.capabilities.speeds, encoder);
        let known: Vec<(f64, Option<f64>)> = others
            .iter()
            .filter_map(|other| Some((seen(other)?, benchmark(&other.hello.capabilities.speeds, encoder))))
            .collect();
        let scaled = known.iter().filter_map(|(speed, theirs)| Some(speed * mine? / (*theirs)?));
        let guesses: Vec<f64> = scaled.collect();
        let guesses =
            if guesses.is_empty() { known.iter().map(|(speed, _)| *speed).collect() } else { guesses };
        let count = guesses.len();
        (count > 0).then(|| guesses.into_iter().sum::<f64>() / count as f64)
    }
}

fn benchmark(speeds: &[Speed], encoder: Encoder) -> Option<f64> {
    let found = speeds.iter().find(|s| s.encoder == encoder)?;
    Some(f64::from(found.frames_per_minute)).filter(|speed| *speed > 0.0)
}

/// What an attempt makes by what it has done so far; nothing while it is young.
pub(super) fn so_far(held: &Held) -> Option<f64> {
    let age = held.since?.elapsed();
    // Before its first frame it may wait for bytes, for pre-roll or for what its encoder looks ahead.
    let told = age >= STUCK || (age >= YOUNG && held.progress.frames > 0);
    told.then(|| held.progress.frames as f64 / age.as_secs_f64())
}
