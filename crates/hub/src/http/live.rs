//! The WebSocket of watchers.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use futures_util::{SinkExt as _, StreamExt as _};
use kinora_access::{Action, Resource, authorize};
use kinora_protocol::access::Area;
use kinora_protocol::live::{Subscribe, Topic, Update};
use kinora_protocol::{ErrorCode, Failure};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::sockets::WATCHER;
use crate::Hub;
use crate::app::access::{Caller, denied};
use crate::app::live::Watcher;

/// A watcher has to say what it wants within this.
const PATIENCE: Duration = Duration::from_secs(30);
/// A watcher that takes nothing for so long is gone.
pub(super) const SLOW: Duration = Duration::from_secs(30);
/// How often a silent connection is kept open.
pub(super) const PING: Duration = Duration::from_secs(15);

pub(super) async fn connect(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    upgrade: WebSocketUpgrade,
) -> Response {
    WATCHER.of(upgrade).on_upgrade(move |socket| async move { tell(&hub, caller, socket).await })
}

async fn tell(hub: &Hub, mut caller: Caller, socket: WebSocket) {
    let (mut out, incoming) = socket.split();
    let mut incoming = WATCHER.paced(hub.metrics(), incoming);
    let mut told: Option<Told> = None;
    let mut ping = tokio::time::interval(PING);
    let patience = tokio::time::Instant::now() + PATIENCE;
    loop {
        let message = tokio::select! {
            said = incoming.next() => match said {
                Some(Ok(Message::Text(text))) => match begin(hub, &mut caller, &text).await {
                    Ok(watcher) => {
                        told = Some(Told::start(watcher));
                        continue;
                    }
                    Err(failure) => text_of(&serde_json::json!({ "error": failure })),
                },
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                _ => return,
            },
            update = next(&mut told) => match update {
                Some(update) => text_of(&update),
                None => return,
            },
            _ = ping.tick() => Some(Message::Ping(Vec::new().into())),
            () = tokio::time::sleep_until(patience), if told.is_none() => return,
        };
        let Some(message) = message else { return };
        if !matches!(timeout(SLOW, out.send(message)).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// Updates of one watcher, gathered in a task of their own: nothing of one is lost while something else happens.
pub(super) struct Told {
    pub(super) updates: mpsc::Receiver<Update>,
}

impl Told {
    pub(super) fn start(mut watcher: Watcher) -> Self {
        let (to_socket, updates) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                let update = tokio::select! {
                    update = watcher.next() => update,
                    () = to_socket.closed() => return,
                };
                match update {
                    Ok(None) => return,
                    Ok(Some(update)) => {
                        if to_socket.send(update).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        tracing::error!("a watcher cannot be told anything: {error}");
                        return;
                    }
                }
            }
        });
        Self { updates }
    }
}

async fn begin(hub: &Hub, caller: &mut Caller, text: &str) -> Result<Watcher, Failure> {
    let what: Subscribe = serde_json::from_str(text).map_err(|e| {
        Failure::new(ErrorCode::BadInput, format!("write {{\"subscribe\": [\"jobs\"]}}: {e}"))
    })?;
    // Whoever watches anew is who it is now.
    caller.actor = hub.still(caller).await??;
    for topic in &what.subscribe {
        let area = match topic {
            Topic::Jobs | Topic::Job(_) => Area::Jobs,
            Topic::Nodes => Area::Nodes,
        };
        authorize(&caller.actor, Action::Read, Resource::Area(area)).map_err(|d| denied(d, area.name()))?;
    }
    Ok(hub.watch(caller.clone(), what).await?)
}

/// The next update; `None` when there will be none any more. It waits for ever before something is watched.
async fn next(told: &mut Option<Told>) -> Option<Update> {
    match told {
        Some(told) => told.updates.recv().await,
        None => std::future::pending().await,
    }
}

fn text_of(value: &impl Serialize) -> Option<Message> {
    serde_json::to_string(value).ok().map(|text| Message::Text(text.into()))
}
