//! `cluster`: one command in JSON, by POST or as messages of a WebSocket, and one answer to each.

use std::path::PathBuf;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::{Extension, Json};
use futures_util::{SinkExt as _, StreamExt as _};
use kinora_access::{Action, Actor, Resource, authorize};
use kinora_protocol::access::{Area, Kind};
use kinora_protocol::api::{JobView, NewJob, NodeState, NodeView, Source};
use kinora_protocol::job::{JobPhase, Work};
use kinora_protocol::{ErrorCode, Failure, JobId, NodeId};
use serde::{Deserialize, Serialize};

use super::super::sockets::WATCHER;
use super::progress::percent;
use crate::app::access::audit::Outcome;
use crate::app::access::{Caller, denied};
use crate::{ClusterDefaults, Hub, Result};

/// Jobs of a list.
const LISTED: u32 = 500;

/// What is asked.
#[derive(Debug, Deserialize)]
pub(in crate::http) enum Command {
    ProcessLocalFile { file_path: PathBuf, config: Option<Config> },
    ProcessUploadedFile { file_name: String, config: Option<Config> },
    CancelJob { job_id: String },
    GetJobStatus { job_id: String },
    ListJobs,
    ListClients,
    DisconnectClient { client_id: String },
}

/// How a file is worked on.
#[derive(Debug, Deserialize)]
pub(in crate::http) struct Config {
    ffmpeg_params: Option<Vec<String>>,
    required_clients: Option<u32>,
}

/// What is answered.
#[derive(Debug, Serialize)]
pub(in crate::http) enum Answer {
    JobCreated { job_id: JobId },
    JobStatus { job_id: JobId, status: &'static str, progress: f64, error: Option<String> },
    JobsList(Vec<Job>),
    ClientsList(Vec<Client>),
    Error { code: &'static str, message: String },
}

#[derive(Debug, Serialize)]
pub(in crate::http) struct Job {
    job_id: JobId,
    file_name: String,
    status: &'static str,
    progress: f64,
    created_at: i64,
    completed_at: Option<i64>,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
pub(in crate::http) struct Client {
    client_id: NodeId,
    name: String,
    connected_at: i64,
    current_job: Option<JobId>,
    performance: Option<f64>,
    status: NodeState,
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        let code = match failure.code {
            ErrorCode::BadInput => "INVALID_FILE",
            ErrorCode::BadRecipe => "INVALID_CONFIG",
            ErrorCode::Disk => "DISK_ERROR",
            ErrorCode::Unauthenticated | ErrorCode::Forbidden => "PERMISSION_DENIED",
            _ => "ERROR",
        };
        Self::Error { code, message: failure.message }
    }
}

pub(in crate::http) async fn post(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    body: axum::body::Bytes,
) -> Json<Answer> {
    Json(answer(&hub, &caller, &body).await)
}

pub(in crate::http) async fn connect(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    upgrade: WebSocketUpgrade,
) -> Response {
    WATCHER.of(upgrade).on_upgrade(move |socket| async move { converse(&hub, caller, socket).await })
}

async fn converse(hub: &Hub, mut caller: Caller, socket: WebSocket) {
    let (mut out, incoming) = socket.split();
    let mut incoming = WATCHER.paced(hub.metrics(), incoming);
    while let Some(Ok(message)) = incoming.next().await {
        let Message::Text(text) = message else { continue };
        // Each command is of whoever it is now.
        match hub.still(&caller).await {
            Ok(Ok(actor)) => caller.actor = actor,
            _ => return,
        }
        let answer = answer(hub, &caller, text.as_bytes()).await;
        let Ok(answer) = serde_json::to_string(&answer) else { return };
        if out.send(Message::Text(answer.into())).await.is_err() {
            return;
        }
    }
}

async fn answer(hub: &Hub, caller: &Caller, text: &[u8]) -> Answer {
    let command = match serde_json::from_slice(text) {
        Ok(command) => command,
        Err(error) => {
            return Answer::Error {
                code: "INVALID_COMMAND",
                message: format!("this is no command: {error}"),
            };
        }
    };
    run(hub, caller, command).await.unwrap_or_else(|error| Answer::from(Failure::from(error)))
}

/// What a command takes besides the right to give commands, unless it is decided where it is carried out.
async fn refusal(hub: &Hub, actor: &Actor, command: &Command) -> Result<Option<Failure>> {
    let (action, area, job) = match command {
        Command::ProcessLocalFile { .. } | Command::ProcessUploadedFile { .. } => {
            (Action::Create, Area::Jobs, None)
        }
        Command::CancelJob { job_id } => (Action::Change, Area::Jobs, Some(job_id)),
        Command::GetJobStatus { job_id } => (Action::Read, Area::Jobs, Some(job_id)),
        Command::ListJobs => (Action::Read, Area::Jobs, None),
        Command::ListClients => (Action::Read, Area::Nodes, None),
        Command::DisconnectClient { .. } => (Action::Operate, Area::Nodes, None),
    };
    Ok(match job {
        Some(job) => hub.may(actor, action, (Kind::Job, job)).await?.err(),
        None => {
            let verdict = authorize(actor, action, Resource::Area(area));
            verdict.err().map(|denial| denied(denial, area.name()))
        }
    })
}

async fn run(hub: &Hub, caller: &Caller, command: Command) -> Result<Answer> {
    let actor = &caller.actor;
    let refused = refusal(hub, actor, &command).await?;
    let done = if refused.is_some() { Outcome::Denied } else { Outcome::Done };
    match &command {
        Command::ListJobs | Command::ListClients | Command::GetJobStatus { .. } if refused.is_none() => {}
        _ => hub.record(caller, "/ws/command", done, &format!("{command:?}")).await,
    }
    if let Some(failure) = refused {
        return Ok(match (&command, failure.code) {
            (Command::CancelJob { .. } | Command::GetJobStatus { .. }, ErrorCode::BadInput) => {
                Answer::Error { code: "JOB_NOT_FOUND", message: failure.message }
            }
            _ => failure.into(),
        });
    }
    match command {
        Command::ProcessLocalFile { file_path, config } => {
            submit(hub, actor, Source::Path(below_allowed(hub, file_path)), config).await
        }
        Command::ProcessUploadedFile { file_name, config } => {
            let kept = hub.media_views(&actor.sight()).await?.into_iter().find(|m| m.name == file_name);
            match kept {
                Some(media) => submit(hub, actor, Source::Media(media.id), config).await,
                None => Ok(Answer::Error {
                    code: "FILE_NOT_FOUND",
                    message: format!("no file {file_name:?} was uploaded"),
                }),
            }
        }
        Command::GetJobStatus { job_id } => status(hub, &job_id).await,
        Command::CancelJob { job_id } => {
            if let Ok(job) = job_id.parse::<JobId>()
                && hub.job(job).await?.is_some()
            {
                hub.cancel(job).await?;
            }
            status(hub, &job_id).await
        }
        Command::ListJobs => {
            let page = hub.job_views(&actor.sight(), None, LISTED).await?;
            // That system knows no jobs that make no file.
            let encodes = page.items.into_iter().filter(|view| view.work == Work::Encode);
            Ok(Answer::JobsList(encodes.map(job).collect()))
        }
        Command::ListClients => clients(hub, actor).await,
        Command::DisconnectClient { client_id } => {
            if hub.disconnect_node(&NodeId::from(client_id.clone())) {
                return clients(hub, actor).await;
            }
            let message = format!("client {client_id} is not connected");
            Ok(Answer::Error { code: "CLIENT_NOT_FOUND", message })
        }
    }
}

/// A name without a folder is looked for in the allowed folders.
fn below_allowed(hub: &Hub, path: PathBuf) -> PathBuf {
    if path.is_absolute() {
        return path;
    }
    let folders = &hub.system_view().allowed_folders;
    folders.iter().map(|folder| folder.join(&path)).find(|path| path.exists()).unwrap_or(path)
}

async fn submit(hub: &Hub, actor: &Actor, source: Source, config: Option<Config>) -> Result<Answer> {
    let defaults: &ClusterDefaults = hub.cluster_defaults();
    let (params, required) = config.map_or((None, None), |c| (c.ffmpeg_params, c.required_clients));
    let mut asked =
        NewJob { name: defaults.output_name.clone(), required_nodes: required, ..NewJob::of(source) };
    asked.recipe.video.ffmpeg_params =
        params.map(|words| words.join(" ")).or_else(|| defaults.ffmpeg_params.clone());
    Ok(match hub.submit_api(actor, asked, None).await? {
        Ok(submitted) => Answer::JobCreated { job_id: submitted.id() },
        Err(failure) => failure.into(),
    })
}

async fn status(hub: &Hub, job_id: &str) -> Result<Answer> {
    let view = match job_id.parse() {
        Ok(job) => hub.job_view(job).await?,
        Err(_) => None,
    };
    Ok(match view {
        None => Answer::Error { code: "JOB_NOT_FOUND", message: format!("there is no job {job_id}") },
        Some(view) => Answer::JobStatus {
            job_id: view.id,
            status: phase(view.phase),
            progress: percent(&view),
            error: view.failure.map(|failure| failure.message),
        },
    })
}

fn phase(phase: JobPhase) -> &'static str {
    match phase {
        JobPhase::WaitingForNodes => "WaitingForClients",
        other => other.name(),
    }
}

fn job(view: JobView) -> Job {
    Job {
        job_id: view.id,
        status: phase(view.phase),
        progress: percent(&view),
        created_at: view.created_ms / 1000,
        completed_at: view.finished_ms.map(|ms| ms / 1000),
        error: view.failure.map(|failure| failure.message),
        file_name: view.name,
    }
}

async fn clients(hub: &Hub, actor: &Actor) -> Result<Answer> {
    let nodes = hub.node_views(&actor.sight()).await?.into_iter();
    Ok(Answer::ClientsList(nodes.filter(|n| n.state != NodeState::Disconnected).map(client).collect()))
}

fn client(node: NodeView) -> Client {
    let fps: f32 = node.running.iter().map(|r| r.progress.fps).sum();
    let measured = node.capabilities.speeds.first().map(|s| f64::from(s.frames_per_minute) / 60.0);
    Client {
        client_id: node.id,
        name: node.name,
        connected_at: node.last_seen_ms / 1000,
        current_job: node.running.first().map(|r| r.job),
        performance: if fps > 0.0 { Some(f64::from(fps)) } else { measured },
        status: node.state,
    }
}
