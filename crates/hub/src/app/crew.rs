//! Who makes the chunks of a job: nodes with one ffmpeg build, so that their frames fit together. Which settings these come to
//! is decided in `plan`; who gets which chunk, by the dispatcher.

use kinora_jobs::schedule;
use kinora_plan::settle;
use kinora_plan::sizing::Capacity;
use kinora_protocol::Failure;
use kinora_protocol::class::Class;
use kinora_protocol::encode::Settled;
use kinora_protocol::job::JobRequest;
use kinora_protocol::media::MediaFacts;
use kinora_protocol::node::Capabilities;

use super::expand::container_of;
use crate::Hub;

/// Nodes with one ffmpeg build, and what a job comes to on them.
pub(crate) struct Crew {
    pub(crate) settled: Settled,
    pub(crate) notes: Vec<String>,
    pub(crate) capacity: Capacity,
    /// First line of `ffmpeg -version`.
    pub(crate) ffmpeg: String,
}

impl Crew {
    /// What its chunks ask of a node; `None` when no video is encoded.
    pub(crate) fn class(&self, request: &JobRequest) -> Option<Class> {
        let encoder = self.settled.video.as_ref()?.encode.encoder;
        Some(Class::chunk(encoder, schedule::build_name(&self.ffmpeg), request.tags.clone()))
    }
}

impl Hub {
    /// The nodes with most processors for the job; among equals, those that are alike to the one that probed.
    ///
    /// # Errors
    /// The recipe makes no sense for the file, or none of the connected nodes can do it: what is wrong on the build of the
    /// one that probed.
    pub(crate) fn crew(
        &self,
        request: &JobRequest,
        facts: &MediaFacts,
        prober: &Capabilities,
    ) -> Result<Crew, Failure> {
        let mut builds = self.inner.nodes.builds(prober, &request.tags).into_iter();
        let alike = builds.next().unwrap_or_else(|| prober.clone());
        let first = self.crew_of(request, facts, &alike);
        builds.fold(first, |best, build| match (best, self.crew_of(request, facts, &build)) {
            (Ok(best), Ok(other)) if other.capacity.cores > best.capacity.cores => Ok(other),
            (Err(_), Ok(other)) => Ok(other),
            (best, _) => best,
        })
    }

    fn crew_of(
        &self,
        request: &JobRequest,
        facts: &MediaFacts,
        build: &Capabilities,
    ) -> Result<Crew, Failure> {
        let container = match request.recipe.container {
            Some(container) => container,
            None => container_of(&request.output)?,
        };
        let outcome = settle::settle(&request.recipe, facts, container, &build.encoders)?;
        let jobs = self.inner.settings.jobs;
        let capacity = Capacity { cores: build.cores, machines: 1, jobs, seconds: None };
        let (settled, notes) = (outcome.settled, outcome.notes);
        let crew = Crew { settled, notes, capacity, ffmpeg: build.ffmpeg.clone() };
        let together = crew.class(request).and_then(|class| self.inner.nodes.together(&class, jobs));
        let seconds = request.recipe.chunks.seconds.filter(|s| s.is_finite() && *s > 0.0);
        Ok(Crew { capacity: Capacity { seconds, ..together.unwrap_or(capacity) }, ..crew })
    }
}
