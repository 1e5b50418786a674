//! From a finished probe to the tasks of a job: the recipe is settled, the cuts are made, earlier chunks are looked up, and
//! all of it is stored in one transaction with the probe's result.

use std::io::BufReader;

use kinora_jobs::admission;
use kinora_jobs::expand::{self, Known};
use kinora_jobs::key::Keys;
use kinora_jobs::retry::DEFAULT_MAX_ATTEMPTS;
use kinora_plan::index::PacketIndex;
use kinora_plan::time;
use kinora_protocol::class::Class;
use kinora_protocol::event::Event;
use kinora_protocol::inference::Network;
use kinora_protocol::job::{JobPhase, JobRequest, Work};
use kinora_protocol::node::Capabilities;
use kinora_protocol::recipe::Container;
use kinora_protocol::survey::Survey;
use kinora_protocol::task::{
    Blob, JoinSpec, MeasureSpec, PackageSpec, ProbeOutput, SourceTask, TaskKind, TaskOutput, TaskSpec,
};
use kinora_protocol::{ErrorCode, Failure, JobId};
use kinora_store::{Dep, Gate, Graph, NewTask};
use kinora_vault::Cursor;

use super::crew::Crew;
use super::describe::describe_graph;
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
        if let Some(limits) = self.inner.settings.admission
            && let Err(failure) = admission::check(&probe.facts, &index, limits)
        {
            let message = format!("{}: {}", request.input.display(), failure.message);
            return Ok(Err(Failure { message, ..failure }));
        }
        if let Work::Describe(_) = &request.work {
            return Ok(Ok(describe_graph(job, request, probe, &index)));
        }
        let crew = match self.crew(request, &probe.facts, node, None) {
            Ok(crew) => crew,
            Err(failure) => return Ok(Err(failure)),
        };
        let known = Known {
            source: &request.input,
            facts: &probe.facts,
            index: &index,
            settled: &crew.settled,
            capacity: crew.capacity,
        };
        if let Some(measures) = expand::measures(&known) {
            return Ok(Ok((survey_graph(request, measures), None)));
        }
        match expand::analyze(&known) {
            Some(spec) => {
                let task = new_task(request, 0, light(request), TaskSpec::Analyze(spec), Gate::None);
                Ok(Ok((Graph { tasks: vec![task], deps: Vec::new() }, None)))
            }
            None => self.work(job, request, probe, &index, crew, &Survey::default()).await,
        }
    }

    /// The work itself, by what is known of the whole film: cut where scenes change near. What was found in it was found by a model
    /// that nobody needs to have any more.
    pub(crate) async fn after_survey(
        &self,
        job: JobId,
        request: &JobRequest,
        (survey, found): (&Survey, Option<&Network>),
        node: &Capabilities,
    ) -> Result<Expanded> {
        let probe = self.probe_of(job).await?;
        let index = self.index_of(&probe).await?;
        match self.crew(request, &probe.facts, node, found) {
            Ok(crew) => self.work(job, request, &probe, &index, crew, survey).await,
            Err(failure) => Ok(Err(failure)),
        }
    }

    async fn work(
        &self,
        job: JobId,
        request: &JobRequest,
        probe: &ProbeOutput,
        index: &PacketIndex,
        crew: Crew,
        survey: &Survey,
    ) -> Result<Expanded> {
        let known = Known {
            source: &request.input,
            facts: &probe.facts,
            index,
            settled: &crew.settled,
            capacity: crew.capacity,
        };
        let expansion = expand::tasks(&known, survey);
        let package = PackageSpec {
            video: None,
            parts: Vec::new(),
            audio: None,
            audio_guard: expand::audio_guard(&probe.facts),
            facts: probe.facts.clone(),
            clock: index.clock,
            frames: index.packets.len() as u64,
            indexed_frames: index.packets.len() as u64,
            chapters: since_start(&survey.chapters, index),
            chunks: Vec::new(),
            build: crew.ffmpeg.clone(),
            output: request.output.clone(),
            notes: crew.notes,
            settled: crew.settled,
        };
        let class = crew.class.unwrap_or_else(|| light(request));
        let keys = Keys::new(index, &crew.ffmpeg);
        let ranks = expand::ranks(&expansion.chunks);
        let frames = expansion.chunks.iter().map(|c| c.work.frames).collect();
        let mut tasks = Vec::with_capacity(expansion.chunks.len() + 3);
        let mut reused = Vec::new();
        for (chunk, rank) in expansion.chunks.into_iter().zip(ranks) {
            let key = keys.of(&chunk.work);
            let done = self.kept_chunk(key.as_ref(), &chunk.work).await?;
            let ordinal = chunk.work.ordinal;
            reused.extend(done.is_some().then_some(ordinal));
            let spec = TaskSpec::Chunk(Box::new(chunk));
            let task = new_task(request, ordinal, class.clone(), spec, Gate::None);
            tasks.push(NewTask { rank, done, cache_key: key, ..task });
        }
        let graph = finish_graph(request, probe.facts.size, tasks, expansion.audio, package);
        Ok(Ok((graph, Some(Event::Planned { job, chunks: frames, reused }))))
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
        self.read_blob(&probe.index, |file| PacketIndex::read(file).map_err(|e| e.to_string())).await
    }

    /// A stored survey.
    pub(crate) async fn survey_of(&self, blob: &Blob) -> Result<Survey> {
        self.read_blob(blob, |file| serde_json::from_reader(file).map_err(|e| e.to_string())).await
    }

    /// What a stored blob holds.
    async fn read_blob<T: Send + 'static>(
        &self,
        blob: &Blob,
        read: impl FnOnce(BufReader<Cursor>) -> std::result::Result<T, String> + Send + 'static,
    ) -> Result<T> {
        let path = self.inner.blobs.join(&blob.path);
        let vault = self.vault().clone();
        let done = tokio::task::spawn_blocking(move || {
            let blob = |reason: String| HubError::Blob { path: path.clone(), reason };
            let file = vault.read(&path).map_err(|e| blob(e.to_string()))?.cursor();
            read(BufReader::new(file)).map_err(blob)
        });
        done.await.map_err(|e| HubError::Inconsistent(format!("reading a blob stopped ({e})")))?
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
            format!(
                "{}: its extension names no container; use .mp4, .mkv, .mov, .webm or .tar (HLS), \
                 or for sound alone .m4a, .opus or .mka",
                output.display()
            ),
        )
    })
}

/// What work of a job that needs no encoder asks of a node.
pub(crate) fn light(request: &JobRequest) -> Class {
    Class::light(request.tags.clone())
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
        tasks.push(new_task(request, 0, light(request), TaskSpec::Audio(audio), Gate::None));
    }
    if chunks > 0 {
        let join = tasks.len();
        let draft = TaskSpec::Join(JoinSpec { chunks: Vec::new(), packets: Vec::new(), parts: Vec::new() });
        tasks.push(new_task(request, 0, light(request), draft, Gate::Closed));
        deps.extend((0..chunks).map(|before| Dep { before, after: join }));
        before_package.push(join);
    }
    let last = tasks.len();
    let source = SourceTask { source: request.input.clone(), size, work: package };
    tasks.push(new_task(request, 0, light(request), TaskSpec::Package(Box::new(source)), Gate::Closed));
    deps.extend(before_package.into_iter().map(|before| Dep { before, after: last }));
    Graph { tasks, deps }
}

/// Ticks of a source in µs after its start.
fn since_start(ticks: &[i64], index: &PacketIndex) -> Vec<i64> {
    ticks.iter().map(|tick| time::ticks_to_us(*tick, index.clock.hz) - index.clock.start_us).collect()
}

/// The stretches of a film, and what is made of their measures once they are all there.
fn survey_graph(request: &JobRequest, measures: expand::Measures) -> Graph {
    let measure = |stretch: SourceTask<MeasureSpec>| {
        let class =
            Class::measure(request.tags.clone()).with_models(stretch.work.detector.iter().map(Network::key));
        let ordinal = stretch.work.ordinal;
        new_task(request, ordinal, class, TaskSpec::Measure(Box::new(stretch)), Gate::None)
    };
    let mut tasks: Vec<NewTask> = measures.stretches.into_iter().map(measure).collect();
    let after = tasks.len();
    tasks.push(new_task(request, 0, light(request), TaskSpec::Survey(measures.survey), Gate::Closed));
    Graph { tasks, deps: (0..after).map(|before| Dep { before, after }).collect() }
}

/// The phase after an expansion that made work.
pub(crate) const PHASE: JobPhase = JobPhase::Processing;
