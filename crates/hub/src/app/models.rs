//! The models of connected nodes, and what they did. What runs them is not known here.

use kinora_protocol::inference::{ModelTask, ModelView};

use crate::Hub;

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

    /// Whether a connected node has a model that finds things.
    pub(crate) fn detects(&self) -> bool {
        self.model_views().iter().any(|view| view.network.task == ModelTask::Detect)
    }
}
