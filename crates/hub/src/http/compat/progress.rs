//! Jobs as clients of other systems watch them over a WebSocket: each change of a job as one message in their own words.

use std::collections::BTreeSet;

use axum::extract::ws::{Message, WebSocket};
use futures_util::{SinkExt as _, StreamExt as _};
use kinora_protocol::JobId;
use kinora_protocol::api::JobView;
use kinora_protocol::event::Event;
use kinora_protocol::job::{JobPhase, Work};
use kinora_protocol::live::{Subscribe, Topic, Update};
use serde_json::Value;
use tokio::time::timeout;

use super::super::live::{PING, SLOW, Told};
use super::super::sockets::WATCHER;
use crate::Hub;
use crate::app::access::Caller;

/// How far a job is, as most systems say it.
pub(super) fn status(phase: JobPhase) -> &'static str {
    match phase {
        JobPhase::Queued | JobPhase::WaitingForNodes => "pending",
        JobPhase::Benchmarking | JobPhase::Processing | JobPhase::Combining => "processing",
        JobPhase::Paused => "paused",
        JobPhase::Completed => "completed",
        JobPhase::Failed => "failed",
        JobPhase::Cancelled => "cancelled",
    }
}

/// How much of it is done, in percent.
pub(super) fn percent(view: &JobView) -> f64 {
    match view.phase {
        JobPhase::Completed => 100.0,
        _ if view.frames == 0 => 0.0,
        _ => view.done as f64 * 100.0 / view.frames as f64,
    }
}

/// As [`percent`], to a tenth.
pub(super) fn rounded(view: &JobView) -> f64 {
    (percent(view) * 10.0).round() / 10.0
}

/// The jobs that an update is about.
fn touched(update: &Update) -> BTreeSet<JobId> {
    let happened = update.events.iter().map(|event| match event {
        Event::Job { job, .. } | Event::Planned { job, .. } | Event::Task { job, .. } => *job,
    });
    happened.chain(update.running.iter().map(|running| running.job)).collect()
}

/// Tells of all jobs that make a file, until the client goes.
pub(super) async fn tell(hub: &Hub, caller: Caller, socket: WebSocket, told: impl Fn(&JobView) -> Value) {
    let (mut out, incoming) = socket.split();
    let mut incoming = WATCHER.paced(hub.metrics(), incoming);
    let all = Subscribe { subscribe: vec![Topic::Jobs], after: None };
    let Ok(watcher) = hub.watch(caller, all).await else { return };
    let mut updates = Told::start(watcher).updates;
    let mut ping = tokio::time::interval(PING);
    loop {
        let mut messages = Vec::new();
        tokio::select! {
            said = incoming.next() => match said {
                // What they say is for keeping the connection.
                Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            update = updates.recv() => {
                let Some(update) = update else { return };
                for job in touched(&update) {
                    let Ok(Some(view)) = hub.job_view(job).await else { continue };
                    if view.work == Work::Encode {
                        messages.push(Message::Text(told(&view).to_string().into()));
                    }
                }
            }
            _ = ping.tick() => messages.push(Message::Ping(Vec::new().into())),
        }
        for message in messages {
            if !matches!(timeout(SLOW, out.send(message)).await, Ok(Ok(()))) {
                return;
            }
        }
    }
}
