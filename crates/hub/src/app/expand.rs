//! From a finished probe to the tasks of a job: the recipe is settled, the cuts are made, earlier chunks are looked up, and
//! all of it is stored in one transaction with the probe's result.

use kinora_jobs::expand::{self, Known};
use kinora_jobs::key::Keys;
use kinora_jobs::retry::DEFAULT_MAX_ATTEMPTS;
use kinora_jobs::schedule;
use kinora_plan::index::PacketIndex;
use kinora_plan::settle;
use kinora_plan::sizing::Capacity;
use kinora_protocol::class::Class;
use kinora_protocol::encode::Settled;
use kinora_protocol::event::Event;
use kinora_protocol::job::{JobPhase, JobRequest};
use kinora_protocol::node::Capabilities;
use kinora_protocol::recipe::Container;
use kinora_protocol::task::{JoinSpec, PackageSpec, ProbeOutput, SourceTask, TaskKind, TaskOutput, TaskSpec};
use kinora_protocol::{ErrorCode, Failure, JobId};
use kinora_store::{Dep, Gate, Graph, NewTask};

use crate::{Hub, HubError, Result};

/// Tasks to be stored, or why the job cannot be done.
pub(crate) type Expanded = std::result::Result<(Graph, Option<Event>), Failure>;

impl Hub {
    /// The tasks that follow a probe: a look for scene changes where one is worth it, else the work itself.
    pub(crate) async fn after_probe(
        &self,
        job: JobId,
        request: &JobRequest,
        probe: &ProbeOutput,
        node: &Capabilities,
    ) -> Result<Expanded> {
        let index = self.index_of(probe).await?;
        let (settled, _) = match self.settle(request, probe, node) {
            Ok(settled) => settled,
            Err(failure) => return Ok(Err(failure)),
        };
        let known = Known {
            source: &request.input,
            facts: &probe.facts,
            index: &index,
            settled: &settled,
            capacity: self.capacity(request, node, &settled),
        };
        match expand::analyze(&known) {
            Some(spec) => {
                let task = new_task(request, 0, Class::LIGHT, TaskSpec::Analyze(spec), Gate::None);
                Ok(Ok((Graph { tasks: vec![task], deps: Vec::new() }, None)))
            }
            None => self.work(job, request, probe, &index, node, &[]).await,
        }
    }

    /// The work itself, cut at `scenes` where they are near.
    pub(crate) async fn after_analyze(
        &self,
        job: JobId,
        request: &JobRequest,
        scenes: &[i64],
        node: &Capabilities,
    ) -> Result<Expanded> {
        let probe = self.probe_of(job).await?;
        let index = self.index_of(&probe).await?;
        self.work(job, request, &probe, &index, node, scenes).await
    }

    async fn work(
        &self,
        job: JobId,
        request: &JobRequest,
        probe: &ProbeOutput,
        index: &PacketIndex,
        node: &Capabilities,
        scenes: &[i64],
    ) -> Result<Expanded> {
        let (settled, notes) = match self.settle(request, probe, node) {
            Ok(settled) => settled,
            Err(failure) => return Ok(Err(failure)),
        };
        let known = Known {
            source: &request.input,
            facts: &probe.facts,
            index,
            settled: &settled,
            capacity: self.capacity(request, node, &settled),
        };
        let expansion = expand::tasks(&known, scenes);
        let package = PackageSpec {
            video: None,
            audio: None,
            audio_guard: expand::audio_guard(&probe.facts),
            facts: probe.facts.clone(),
            clock: index.clock,
            frames: index.packets.len() as u64,
            indexed_frames: index.packets.len() as u64,
            chunks: Vec::new(),
            build: node.ffmpeg.clone(),
            notes,
            output: request.output.clone(),
            settled,
        };
        let build = schedule::build_name(&node.ffmpeg);
        let keys = Keys::new(index, &node.ffmpeg);
        let ranks = expand::ranks(&expansion.chunks);
        let frames = expansion.chunks.iter().map(|c| c.work.frames).collect();
        let mut tasks = Vec::with_capacity(expansion.chunks.len() + 3);
        let mut reused = Vec::new();
        for (chunk, rank) in expansion.chunks.into_iter().zip(ranks) {
            let key = keys.of(&chunk.work);
            let done = self.kept_chunk(key.as_ref(), &chunk.work).await?;
            let ordinal = chunk.work.ordinal;
            reused.extend(done.is_some().then_some(ordinal));
            let class = Class::chunk(chunk.work.encode.encoder, build.clone());
            let spec = TaskSpec::Chunk(Box::new(chunk));
            let task = new_task(request, ordinal, class, spec, Gate::None);
            tasks.push(NewTask { rank, done, cache_key: key, ..task });
        }
        let graph = finish_graph(request, probe.facts.size, tasks, expansion.audio, package);
        Ok(Ok((graph, Some(Event::Planned { job, chunks: frames, reused }))))
    }

    fn settle(
        &self,
        request: &JobRequest,
        probe: &ProbeOutput,
        node: &Capabilities,
    ) -> std::result::Result<(Settled, Vec<String>), Failure> {
        let container = match request.recipe.container {
            Some(container) => container,
            None => container_of(&request.output)?,
        };
        let outcome = settle::settle(&request.recipe, &probe.facts, container, &node.encoders)?;
        Ok((outcome.settled, outcome.notes))
    }

    /// What there is to run on: the nodes that can do the work alike, or the one that has probed.
    fn capacity(&self, request: &JobRequest, node: &Capabilities, settled: &Settled) -> Capacity {
        let jobs = self.inner.settings.jobs;
        let alone = Capacity { cores: node.cores, machines: 1, jobs, seconds: None };
        let class = settled
            .video
            .as_ref()
            .map(|video| Class::chunk(video.encode.encoder, schedule::build_name(&node.ffmpeg)));
        let together = class.and_then(|class| self.inner.nodes.together(&class, jobs));
        let seconds = request.recipe.chunks.seconds.filter(|s| s.is_finite() && *s > 0.0);
        Capacity { seconds, ..together.unwrap_or(alone) }
    }

    /// What the probe of a job found.
    pub(crate) async fn probe_of(&self, job: JobId) -> Result<ProbeOutput> {
        let tasks = self.store().tasks(job).await?;
        let found = tasks.into_iter().find(|t| t.kind == TaskKind::Probe).and_then(|t| t.output);
        match found {
            Some(TaskOutput::Probe(probe)) => Ok(*probe),
            _ => Err(HubError::Inconsistent(format!("job {job} has tasks and no probe"))),
        }
    }

    /// The stored index of a probed file.
    pub(crate) async fn index_of(&self, probe: &ProbeOutput) -> Result<PacketIndex> {
        let path = self.inner.blobs.join(&probe.index.path);
        let read = tokio::task::spawn_blocking(move || {
            let blob = |reason: String| HubError::Blob { path: path.clone(), reason };
            let file = std::fs::File::open(&path).map_err(|e| blob(e.to_string()))?;
            PacketIndex::read(std::io::BufReader::new(file)).map_err(|e| blob(e.to_string()))
        });
        read.await.map_err(|e| HubError::Inconsistent(format!("reading an index stopped ({e})")))?
    }
}

/// The container that an output's extension stands for.
///
/// # Errors
/// [`ErrorCode::BadRecipe`] naming the extensions that there are.
pub fn container_of(output: &std::path::Path) -> std::result::Result<Container, Failure> {
    let extension = output.extension().and_then(|e| e.to_str()).unwrap_or("");
    Container::from_extension(extension).ok_or_else(|| {
        Failure::new(
            ErrorCode::BadRecipe,
            format!("{}: its extension names no container; use .mp4, .mkv, .mov or .webm", output.display()),
        )
    })
}

/// A task of a job that is tried as often as its recipe says.
pub(crate) fn new_task(
    request: &JobRequest,
    ordinal: u32,
    class: Class,
    spec: TaskSpec,
    gate: Gate,
) -> NewTask {
    NewTask {
        ordinal,
        class,
        priority: request.priority,
        rank: 0.0,
        max_attempts: request.recipe.chunks.max_attempts.unwrap_or(DEFAULT_MAX_ATTEMPTS).max(1),
        spec,
        done: None,
        cache_key: None,
        gate,
    }
}

/// Adds sound, join and package to the chunks. Join and package have drafts for specs: what they work on is known only when
/// the tasks before them are done.
fn finish_graph(
    request: &JobRequest,
    size: u64,
    mut tasks: Vec<NewTask>,
    audio: Option<SourceTask<kinora_protocol::task::AudioSpec>>,
    package: PackageSpec,
) -> Graph {
    let mut deps = Vec::new();
    let mut before_package = Vec::new();
    let chunks = tasks.len();
    if let Some(audio) = audio {
        before_package.push(tasks.len());
        tasks.push(new_task(request, 0, Class::LIGHT, TaskSpec::Audio(audio), Gate::None));
    }
    if chunks > 0 {
        let join = tasks.len();
        let draft = TaskSpec::Join(JoinSpec { chunks: Vec::new(), packets: Vec::new() });
        tasks.push(new_task(request, 0, Class::LIGHT, draft, Gate::Closed));
        deps.extend((0..chunks).map(|before| Dep { before, after: join }));
        before_package.push(join);
    }
    let last = tasks.len();
    let source = SourceTask { source: request.input.clone(), size, work: package };
    tasks.push(new_task(request, 0, Class::LIGHT, TaskSpec::Package(Box::new(source)), Gate::Closed));
    deps.extend(before_package.into_iter().map(|before| Dep { before, after: last }));
    Graph { tasks, deps }
}

/// The phase after an expansion that made work.
pub(crate) const PHASE: JobPhase = JobPhase::Processing;
