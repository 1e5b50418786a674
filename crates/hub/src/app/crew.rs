//! Who makes the chunks of a job: nodes with one ffmpeg build, so that their frames fit together. Which settings these come to
//! is decided in `plan`; who gets which chunk, by the dispatcher.

use kinora_jobs::schedule;
use kinora_plan::settle::{self, Available};
use kinora_plan::sizing::Capacity;
use kinora_protocol::Failure;
use kinora_protocol::class::{Class, Tags};
use kinora_protocol::encode::{Encoder, Settled};
use kinora_protocol::enhance;
use kinora_protocol::inference::{Inference, Network};
use kinora_protocol::job::JobRequest;
use kinora_protocol::media::MediaFacts;
use kinora_protocol::node::Capabilities;
use kinora_protocol::recipe::Recipe;

use super::expand::container_of;
use crate::Hub;
use crate::nodes::add_missing;

/// A build with what chunks ask of its nodes, and what these have together.
type Best = (Capabilities, Class, Capacity);

/// Nodes with one ffmpeg build, and what a job comes to on them.
pub(crate) struct Crew {
    pub(crate) settled: Settled,
    pub(crate) notes: Vec<String>,
    pub(crate) capacity: Capacity,
    /// What its chunks ask of a node; `None` when no video is encoded.
    pub(crate) class: Option<Class>,
    /// First line of `ffmpeg -version`.
    pub(crate) ffmpeg: String,
}

/// A recipe by which something was found already: the model that found it counts as there.
fn with_found(recipe: &Recipe, inference: &mut Inference, found: Option<&Network>) -> Recipe {
    let mut recipe = recipe.clone();
    if let Some(network) = found {
        recipe.enhance.detector = Some(network.name.clone());
        let mut known = Inference::Ready { runtime: String::new(), models: vec![network.clone()] };
        known.and(inference);
        *inference = known;
    }
    recipe
}

impl Hub {
    /// What a job comes to on all connected nodes together, and of those that can do that, by build, the ones with most
    /// processors; among equals, those that are alike to the one that probed.
    ///
    /// # Errors
    /// The recipe makes no sense for the file, or no node can do it.
    pub(crate) fn crew(
        &self,
        request: &JobRequest,
        facts: &MediaFacts,
        prober: &Capabilities,
        found: Option<&Network>,
    ) -> Result<Crew, Failure> {
        let container = match request.recipe.container {
            Some(container) => container,
            None => container_of(&request.output)?,
        };
        let builds = self.inner.nodes.builds(prober, &request.tags);
        let mut all: Vec<Encoder> = Vec::new();
        let mut inference = prober.inference.clone();
        for build in &builds {
            add_missing(&mut all, &build.encoders);
            inference.and(&build.inference);
        }
        let recipe = with_found(&request.recipe, &mut inference, found);
        let jobs = self.inner.settings.jobs;
        let chosen = |inference: &Inference| -> Result<_, Failure> {
            let available = Available { encoders: &all, inference };
            let outcome = settle::settle(&recipe, facts, container, available)?;
            let best = self.best(&builds, &outcome.settled, &request.tags);
            Ok((outcome, best))
        };
        let (mut outcome, mut best) = chosen(&inference)?;
        // The encoder may be on one node and the models on another.
        let nobody = |best: &Option<Best>| {
            best.as_ref().is_some_and(|(build, class, capacity)| {
                let able =
                    |can| schedule::serves(class, can, &schedule::build_name(&build.ffmpeg), &request.tags);
                !class.models.is_empty() && capacity.machines == 0 && !able(prober)
            })
        };
        if nobody(&best) {
            let reason = "no node has both the encoder and the models that are wanted".to_owned();
            (outcome, best) = chosen(&Inference::Missing { reason })?;
        }
        let alone = Capacity { cores: prober.cores, machines: 1, jobs, seconds: None };
        let (build, class, capacity) = match best {
            Some((build, class, Capacity { machines: 0, .. })) => (build, Some(class), alone),
            Some((build, class, capacity)) => (build, Some(class), capacity),
            // No video is encoded.
            None => (prober.clone(), None, alone),
        };
        let seconds = request.recipe.chunks.seconds.filter(|s| s.is_finite() && *s > 0.0);
        Ok(Crew {
            settled: outcome.settled,
            notes: outcome.notes,
            capacity: Capacity { seconds, ..capacity },
            class,
            ffmpeg: build.ffmpeg,
        })
    }

    /// Of the builds whose nodes can do a settled job the one with most processors; none when no video is encoded.
    fn best(&self, builds: &[Capabilities], settled: &Settled, tags: &Tags) -> Option<Best> {
        let video = settled.video.encoded()?;
        let encoder = video.encode.encoder;
        let jobs = self.inner.settings.jobs;
        let mut best: Option<Best> = None;
        for build in builds.iter().filter(|build| build.encoders.contains(&encoder)) {
            let name = schedule::build_name(&build.ffmpeg);
            let class =
                Class::chunk(encoder, name, tags.clone()).with_models(enhance::models(&video.enhance));
            // Nobody of a build may be there any more.
            let capacity = self.inner.nodes.together(&class, jobs);
            let capacity = capacity.unwrap_or(Capacity { cores: 0, machines: 0, jobs, seconds: None });
            if best.as_ref().is_none_or(|(_, _, best)| capacity.cores > best.cores) {
                best = Some((build.clone(), class, capacity));
            }
        }
        best
    }
}
