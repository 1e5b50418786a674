//! Who makes the chunks of a job: nodes with one ffmpeg build, so that their frames fit together. Which settings these come to
//! is decided in `plan`; who gets which chunk, by the dispatcher.

use kinora_jobs::schedule;
use kinora_plan::settle::{self, Available};
use kinora_plan::sizing::Capacity;
use kinora_protocol::Failure;
use kinora_protocol::class::Class;
use kinora_protocol::encode::{Encoder, Settled};
use kinora_protocol::enhance;
use kinora_protocol::job::JobRequest;
use kinora_protocol::media::MediaFacts;
use kinora_protocol::node::Capabilities;

use super::expand::container_of;
use crate::Hub;
use crate::nodes::add_missing;

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
        let available = Available { encoders: &all, inference: &inference };
        let outcome = settle::settle(&request.recipe, facts, container, available)?;
        let video = outcome.settled.video.encoded();
        let encoder = video.map(|video| video.encode.encoder);
        let models = || video.into_iter().flat_map(|video| enhance::models(&video.enhance));
        let jobs = self.inner.settings.jobs;
        let mut best: Option<(Capabilities, Class, Capacity)> = None;
        for build in builds {
            let Some(encoder) = encoder.filter(|e| build.encoders.contains(e)) else { continue };
            let build_name = schedule::build_name(&build.ffmpeg);
            let class = Class::chunk(encoder, build_name, request.tags.clone()).with_models(models());
            // Nobody of a build may be there any more.
            let capacity = self.inner.nodes.together(&class, jobs);
            let capacity = capacity.unwrap_or(Capacity { cores: 0, machines: 0, jobs, seconds: None });
            if best.as_ref().is_none_or(|(_, _, best)| capacity.cores > best.cores) {
                best = Some((build, class, capacity));
            }
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
}
