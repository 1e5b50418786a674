//! Nodes that fail what others then do: after a few of those they get no more work, until somebody has looked at them.

use std::collections::HashMap;

use kinora_protocol::NodeId;
use kinora_store::Withheld;

use super::{Nodes, Standing};

/// Tasks that failed here and nowhere else, less those done since, until a node gets no more.
const MOST: u32 = 3;

/// Who failed how often. Kept while a node is away.
#[derive(Debug, Default)]
pub(super) struct Strikes {
    counts: HashMap<NodeId, u32>,
}

impl Strikes {
    /// Somebody has looked at a node.
    pub(super) fn forgive(&mut self, id: &NodeId) {
        self.counts.remove(id);
    }

    /// A node did a task that others had failed; gives those that are to get nothing more.
    fn note(&mut self, by: &NodeId, failed: &[NodeId], what: &str) -> Vec<(NodeId, String)> {
        if let Some(count) = self.counts.get_mut(by) {
            *count = count.saturating_sub(1);
        }
        let mut bad = Vec::new();
        for id in failed.iter().filter(|id| *id != by) {
            let count = self.counts.entry(id.clone()).or_default();
            *count += 1;
            if *count >= MOST {
                let why = format!("it failed {count} tasks that other nodes then did, the last one {what}");
                bad.push((id.clone(), why));
                self.counts.remove(id);
            }
        }
        bad
    }
}

impl Nodes {
    /// A task was done by one node after others had failed; gives those that get nothing more from now on.
    pub(crate) fn note_done(&self, by: &NodeId, failed: &[NodeId], what: &str) -> Vec<NodeId> {
        let mut table = self.table();
        let mut withheld = Vec::new();
        for (id, why) in table.strikes.note(by, failed, what) {
            if matches!(table.withheld.get(&id), Some(Withheld::Quarantine { .. })) {
                continue;
            }
            tracing::warn!(node = %id, "quarantined: {why}");
            if let Some(node) = table.nodes.get_mut(&id) {
                node.standing = Standing::Quarantined { why: why.clone() };
            }
            table.withheld.insert(id.clone(), Withheld::Quarantine { why });
            withheld.push(id);
        }
        withheld
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_fails_alone_and_again_and_again() {
        let id = |name: &str| NodeId::from(name.to_owned());
        let (bad, good) = (id("bad"), id("good"));
        let mut strikes = Strikes::default();
        assert_eq!(strikes.note(&good, std::slice::from_ref(&bad), "chunk 1"), []);
        assert_eq!(strikes.note(&good, &[bad.clone(), good.clone()], "chunk 2"), []);
        // It did something itself.
        assert_eq!(strikes.note(&bad, &[], "chunk 3"), []);
        assert_eq!(strikes.note(&good, std::slice::from_ref(&bad), "chunk 4"), []);
        let out = strikes.note(&good, std::slice::from_ref(&bad), "chunk 5");
        assert!(matches!(&out[..], [(id, why)] if *id == bad && why.contains("chunk 5")), "{out:?}");
        assert_eq!(strikes.note(&good, std::slice::from_ref(&bad), "chunk 6"), [], "told once");
        assert_eq!(strikes.note(&good, std::slice::from_ref(&bad), "chunk 7"), []);
        strikes.forgive(&bad);
        assert_eq!(strikes.note(&good, std::slice::from_ref(&bad), "chunk 8"), [], "all is forgiven");
    }
}
