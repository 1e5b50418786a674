//! The models of connected nodes, and what they did. What runs them is not known here.

use std::collections::BTreeMap;

use kinora_protocol::inference::{ModelCount, ModelView};

use crate::Hub;

/// Takes what a node says its models did, and gives what was added since it said so last.
pub(crate) fn added(
    known: &mut BTreeMap<String, ModelCount>,
    told: BTreeMap<String, ModelCount>,
) -> BTreeMap<String, ModelCount> {
    let since = |(name, count): (&String, &ModelCount)| {
        (name.clone(), count.since(known.get(name).copied().unwrap_or_default()))
    };
    let added = told.iter().map(since).collect();
    *known = told;
    added
}

impl Hub {
    /// The models that connected nodes can run, by their names.
    pub(crate) fn model_views(&self) -> Vec<ModelView> {
        let mut views: Vec<ModelView> = Vec::new();
        let counts = self.metrics().of_models().clone();
        self.inner.nodes.each(|node| {
            for network in node.hello.capabilities.inference.models() {
                match views.iter_mut().find(|view| view.network.sha256 == network.sha256) {
                    Some(view) => view.nodes += 1,
                    None => {
                        let count = counts.get(&network.name).copied().unwrap_or_default();
                        views.push(ModelView { network: network.clone(), nodes: 1, count });
                    }
                }
            }
        });
        views.sort_by(|a, b| a.network.name.cmp(&b.network.name));
        views
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added() {
        let count = |pictures| ModelCount { pictures, ..ModelCount::default() };
        let told = |pictures| BTreeMap::from([("a".to_owned(), count(pictures))]);
        let mut known = BTreeMap::new();
        assert_eq!(added(&mut known, told(3)), told(3));
        assert_eq!(added(&mut known, told(5)), told(2));
        assert_eq!(added(&mut known, told(1)), told(1), "its process began anew");
    }
}
