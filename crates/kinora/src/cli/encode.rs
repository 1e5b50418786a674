//! `kinora encode`: one file in, one file out, by the engine that runs a cluster.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use kinora_hub::Hub;
use kinora_hub::Settings;
use kinora_protocol::class::Tags;
use kinora_protocol::encode::{Encoder, VideoWork};
use kinora_protocol::event::Event;
use kinora_protocol::job::{JobPhase, JobRequest, Work};
use kinora_protocol::proof::Proof;
use kinora_protocol::recipe::Recipe;
use kinora_protocol::task::{TaskKind, TaskOutput, TaskSpec};
use kinora_protocol::{ErrorCode, Failure, JobId, TaskId};
use kinora_worker::capability::Trials;
use serde::Serialize;
use tokio::sync::broadcast::Receiver;
use tokio_util::sync::CancellationToken;

use super::interrupt::interruption;
use super::progress::Out;
use super::{complain, print_json};
use crate::config::Config;
use crate::local::{Engine, Local, Opened, Setup};
use crate::{models, tools};

mod args;
pub mod enhance;
pub mod recipe;
mod show;
mod state;

pub use args::{EncodeArgs, RecipeArgs};
use show::Display;
use state::State;

/// The object that `--json` prints.
#[derive(Debug, Serialize)]
struct Summary {
    frames: u64,
    chunks: u64,
    reused_chunks: u64,
    input: PathBuf,
    output: PathBuf,
    output_bytes: u64,
    seconds: f64,
    wall_seconds: f64,
    encode_cpu_seconds: f64,
    verified: bool,
    /// Whether the result has no picture.
    sound_alone: bool,
    notes: Vec<String>,
}

/// How a run ended.
enum End {
    Done(Box<Summary>),
    Failed(Failure),
    Interrupted,
}

/// Runs the command to its exit status.
pub async fn run(args: EncodeArgs, config: &Config) -> ExitCode {
    let started = Instant::now();
    let end = match encode(&args, config, started).await {
        Ok(end) => end,
        Err(failure) => End::Failed(failure),
    };
    match end {
        End::Done(summary) => {
            if args.json {
                print_json(&summary);
            } else {
                show::summary(&summary);
            }
            ExitCode::SUCCESS
        }
        End::Failed(failure) => {
            complain(&failure);
            if args.json {
                print_json(&serde_json::json!({ "error": failure }));
            }
            ExitCode::FAILURE
        }
        End::Interrupted => {
            tell!("kinora: interrupted; run the same command to go on");
            ExitCode::from(130)
        }
    }
}

async fn encode(args: &EncodeArgs, config: &Config, started: Instant) -> Result<End, Failure> {
    let recipe = recipe::build(&args.recipe, Some(&args.output))?;
    state::check_paths(&args.input, &args.output, args.proof.as_deref())?;
    let tools = tools::find(config).await?;
    let interrupt = interruption();
    let state = State::open(&args.output, args.state_dir.as_deref())?;
    let models = models::find_for(&recipe.enhance, config);
    // What was begun with a model cannot go on without it.
    let made_by = [&[tools.build.clone()][..], &models.keys()].concat().join(" ");
    let local = Local {
        tools: tools.clone(),
        models,
        trials: Trials::Hardware(wanted_encoders(&recipe)),
        chunks: args.jobs,
        tags: Tags::NONE,
        optional: false,
        stall: Duration::from_secs(args.stall_timeout),
        apart: None,
    };
    // Sources are not remembered: a job here is known by the content of its source.
    let settings = Settings { jobs: args.jobs, ..Settings::default() };
    let setup = Setup { settings, local: Some(local) };
    let request = JobRequest {
        work: Work::Encode,
        input: state::absolute(&args.input)?,
        output: state::absolute(&args.output)?,
        idempotency_key: Some(state::key(&args.input, &args.output, &recipe, &made_by)?),
        recipe,
        priority: 0,
        required_nodes: 0,
        deadline_ms: None,
        tags: Tags::NONE,
    };
    let begun = tokio::select! {
        begun = begin(state.path(), setup, request) => begun,
        () = interrupt.cancelled() => return Ok(End::Interrupted),
    };
    let (mut engine, job, events) = match begun {
        Ok(begun) => begun,
        Err(failure) => {
            state.abandon_if_useless(&failure);
            return Err(failure);
        }
    };
    let watch = Watch { job, events, interrupt: &interrupt, started };
    let outcome = drive(&mut engine, watch, args, config).await;
    let stopped = engine.stop().await;
    match outcome {
        Ok(End::Done(summary)) => {
            stopped?;
            state.finish(args.keep_state)?;
            Ok(End::Done(summary))
        }
        Ok(End::Failed(failure)) => {
            state.abandon_if_useless(&failure);
            Ok(End::Failed(failure))
        }
        other => other,
    }
}

/// Hardware encoders that are asked for by name: only those are worth a trial.
fn wanted_encoders(recipe: &Recipe) -> Vec<Encoder> {
    let named = recipe.video.encoder.as_deref().and_then(Encoder::from_name);
    let params = recipe.video.ffmpeg_params.as_deref().unwrap_or("");
    named.into_iter().chain(params.split_whitespace().filter_map(Encoder::from_name)).collect()
}

/// Opens the engine, submits the job or takes up an earlier one, and only then lets it work.
async fn begin(
    state: &std::path::Path,
    setup: Setup,
    request: JobRequest,
) -> Result<(Engine, JobId, Receiver<Event>), Failure> {
    let opened = Opened::open(state, setup).await?;
    let job = take_up(&opened.hub, request).await?;
    let events = opened.hub.events();
    Ok((opened.start(), job, events))
}

/// What is watched, and by what it ends.
struct Watch<'a> {
    job: JobId,
    events: Receiver<Event>,
    interrupt: &'a CancellationToken,
    started: Instant,
}

/// Watches a job to its end.
async fn drive(
    engine: &mut Engine,
    watch: Watch<'_>,
    args: &EncodeArgs,
    config: &Config,
) -> Result<End, Failure> {
    let hub = engine.hub.clone();
    let Watch { job, mut events, interrupt, started } = watch;
    let before = done_chunks(&hub, job).await?;
    let mut display = Display::new(Out::of(config, args.json));
    display.catch_up(&hub.tasks(job).await?);
    let mut health = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            () = interrupt.cancelled() => {
                display.finish();
                return Ok(End::Interrupted);
            }
            event = events.recv() => {
                if let Ok(event) = event {
                    display.event(&event);
                }
            }
            _ = health.tick() => {
                display.tick();
                if let Some(failure) = engine.broken().await {
                    display.finish();
                    return Ok(End::Failed(failure));
                }
            }
        }
        let Some(row) = hub.job(job).await? else {
            return Err(Failure::new(ErrorCode::Internal, "the job is gone from its store"));
        };
        match row.phase {
            JobPhase::Completed => {
                display.finish();
                return Ok(End::Done(Box::new(summarize(&hub, job, args, &before, started).await?)));
            }
            JobPhase::Failed | JobPhase::Cancelled => {
                display.finish();
                let failure = row
                    .failure
                    .unwrap_or_else(|| Failure::new(ErrorCode::Cancelled, "the job was cancelled"));
                return Ok(End::Failed(failure));
            }
            _ => {}
        }
    }
}

/// The unfinished job of the same request goes on; others in the same state are given up, but their chunks stay.
async fn take_up(hub: &Hub, mut request: JobRequest) -> Result<JobId, Failure> {
    let key = request.idempotency_key.clone().unwrap_or_default();
    for open in hub.open_jobs().await? {
        if open.request.idempotency_key.as_ref() != Some(&key) {
            hub.cancel(open.id).await?;
        }
    }
    for round in 0_u32.. {
        if round > 0 {
            // Done before, with the state kept: a new job, which finds all its chunks.
            request.idempotency_key = Some(format!("{key}#{round}"));
        }
        let job = hub.submit(request.clone()).await?.id();
        let phase = hub.job(job).await?.map(|row| row.phase);
        match phase {
            Some(JobPhase::Completed) => {}
            Some(JobPhase::Failed | JobPhase::Cancelled) => {
                hub.retry(job).await?;
                return Ok(job);
            }
            _ => return Ok(job),
        }
    }
    Err(Failure::new(ErrorCode::Internal, "too many runs are kept in this state: remove it"))
}

async fn done_chunks(hub: &Hub, job: JobId) -> Result<Vec<(TaskId, PathBuf)>, Failure> {
    let rows = hub.tasks(job).await?;
    let done = rows.into_iter().filter_map(|row| match row.output {
        Some(TaskOutput::Chunk(out)) => Some((row.id, out.blob.path)),
        _ => None,
    });
    Ok(done.collect())
}

async fn summarize(
    hub: &Hub,
    job: JobId,
    args: &EncodeArgs,
    before: &[(TaskId, PathBuf)],
    started: Instant,
) -> Result<Summary, Failure> {
    let missing = || Failure::new(ErrorCode::Internal, "a completed job has no proof");
    let proof = hub.proof(job).await?.ok_or_else(missing)?;
    if let Some(path) = &args.proof {
        write_proof(path, &proof)?;
    }
    let (mut chunks, mut reused, mut cpu, mut declared) = (0, 0, 0.0, 0.0);
    for row in hub.tasks(job).await? {
        if let TaskSpec::Package(task) = &row.spec {
            declared = task.work.facts.duration_us.unwrap_or(0) as f64 / 1e6;
        }
        match (row.kind, row.output) {
            (TaskKind::Chunk, Some(TaskOutput::Chunk(out))) => {
                chunks += 1;
                let kept = row.node.is_none() || before.contains(&(row.id, out.blob.path.clone()));
                reused += u64::from(kept);
                cpu += if kept { 0.0 } else { out.cpu_seconds };
            }
            (_, Some(TaskOutput::Audio { cpu_seconds, .. })) => cpu += cpu_seconds,
            _ => {}
        }
    }
    let ticks = |c: &kinora_protocol::proof::ChunkProof| (c.ticks.1 - c.ticks.0) as f64 / c.hz as f64;
    let (span, counted) = (proof.chunks.iter().map(ticks).sum::<f64>(), proof.source.decoded_frames as f64);
    let seconds = match &proof.chunks[..] {
        // Copied or sound alone, not split.
        [] => sound_seconds(&proof).unwrap_or(declared),
        // From the first frame to the last; the last one shows for about as long as the others.
        _ if counted > 1.0 => span * counted / (counted - 1.0),
        _ => span,
    };
    Ok(Summary {
        frames: proof.output.packets,
        chunks,
        reused_chunks: reused,
        input: args.input.clone(),
        output: args.output.clone(),
        output_bytes: proof.output.size,
        seconds,
        wall_seconds: started.elapsed().as_secs_f64(),
        encode_cpu_seconds: cpu,
        verified: proof.verified,
        sound_alone: proof.settings.video == VideoWork::None,
        notes: proof.notes,
    })
}

/// How long the sound is that was counted, where it was.
fn sound_seconds(proof: &Proof) -> Option<f64> {
    let longest = proof.output.sound.iter().map(|sound| sound.span_us).max()?;
    Some(longest as f64 / 1e6)
}

fn write_proof(path: &std::path::Path, proof: &Proof) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(proof)
        .map_err(|e| Failure::new(ErrorCode::Internal, format!("the proof cannot be written: {e}")))?;
    std::fs::write(path, text + "\n")
        .map_err(|e| Failure::new(ErrorCode::Disk, format!("{}: {e}", path.display())))
}
