//! Nodes: the WebSocket that they open, and what is shown of them.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use futures_util::stream::SplitSink;
use futures_util::{SinkExt as _, Stream, StreamExt as _};
use kinora_protocol::api::{LogView, NodeVerb, NodeView, Page};
use kinora_protocol::node::{ToHub, ToNode};
use kinora_protocol::{ErrorCode, Failure, NodeId};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::asked;
use super::problem::Refusal;
use super::sockets::NODE;
use crate::Hub;
use crate::app::access::Caller;
use crate::app::access::audit::Outcome;
use crate::session::Absence;

/// How often a silent node is asked whether it is there.
const PING: Duration = Duration::from_secs(5);
/// A node that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(15);
/// Messages of a node that may wait.
const BACKLOG: usize = 64;

/// The nodes.
#[utoipa::path(
    get,
    path = "/api/v1/nodes",
    operation_id = "listNodes",
    tag = "nodes",
    responses((status = 200, description = "As asked", body = Page<NodeView>), Refusal),
)]
pub(super) async fn list(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Page<NodeView>>, Refusal> {
    Ok(Json(Page { items: hub.node_views(&caller.actor.sight()).await?, next: None }))
}

/// Drains it, takes it up again, or sends it away.
#[utoipa::path(
    post,
    path = "/api/v1/nodes/{node}/{verb}",
    operation_id = "actOnNode",
    tag = "nodes",
    params(("node" = String, Path, description = "Id of the node"), ("verb" = NodeVerb, Path, description = "What to do")),
    responses((status = 204, description = "Done"), Refusal),
)]
pub(super) async fn act(
    State(hub): State<Hub>,
    Path((node, verb)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    let node = NodeId::from(node);
    let known = match verb.as_str() {
        "drain" => hub.drain_node(&node).await?,
        "undrain" => hub.undrain_node(&node).await?,
        "disconnect" => hub.disconnect_node(&node),
        "revoke" => hub.revoke_node(&node).await?,
        other => return Err(Refusal::not_found(format!("{other:?} for nodes"))),
    };
    match verb.as_str() {
        _ if known => Ok(StatusCode::NO_CONTENT),
        "revoke" => Err(Refusal::not_found(format!("node {node} that was let in by a token"))),
        _ => Err(Refusal::not_found(format!("node {node} connected"))),
    }
}

/// A node.
#[utoipa::path(
    get,
    path = "/api/v1/nodes/{node}",
    operation_id = "showNode",
    tag = "nodes",
    params(("node" = String, Path, description = "Id of the node")),
    responses((status = 200, description = "As asked", body = NodeView), Refusal),
)]
pub(super) async fn show(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(node): Path<String>,
) -> Result<Json<NodeView>, Refusal> {
    let known =
        hub.node_views(&caller.actor.sight()).await?.into_iter().find(|view| view.id.as_str() == node);
    Ok(Json(known.ok_or_else(|| Refusal::not_found(format!("node {node}")))?))
}

/// Forgets a node that is not connected.
#[utoipa::path(
    delete,
    path = "/api/v1/nodes/{node}",
    operation_id = "forgetNode",
    tag = "nodes",
    params(("node" = String, Path, description = "Id of the node")),
    responses((status = 204, description = "Done"), Refusal),
)]
pub(super) async fn forget(State(hub): State<Hub>, Path(node): Path<String>) -> Result<StatusCode, Refusal> {
    match hub.forget_node(&NodeId::from(node.clone())).await? {
        Some(true) => Ok(StatusCode::NO_CONTENT),
        Some(false) => Err(Refusal::not_found(format!("node {node}"))),
        None => {
            let why = format!("node {node} is connected: disconnect it first");
            Err(Refusal::new(StatusCode::CONFLICT, ErrorCode::Busy, why))
        }
    }
}

/// Changes what a node that is connected says in its log, until it is started again. The hub's own node says what the hub says.
#[utoipa::path(
    put,
    path = "/api/v1/nodes/{node}/log",
    operation_id = "changeNodeLog",
    tag = "nodes",
    params(("node" = String, Path, description = "Id of the node")),
    request_body = LogView,
    responses((status = 204, description = "It was told"), Refusal),
)]
pub(super) async fn change_log(
    State(hub): State<Hub>,
    Path(node): Path<String>,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let wanted: LogView = asked::json(&body, "the log", ErrorCode::BadInput)?;
    if hub.change_log_of(&NodeId::from(node.clone()), &wanted)? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Refusal::not_found(format!("node {node} connected")))
    }
}

pub(super) async fn connect(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    upgrade: WebSocketUpgrade,
) -> Response {
    NODE.of(upgrade).on_upgrade(move |socket| async move { converse(hub, caller, socket).await })
}

/// Carries messages between the socket and the conversation until one of them ends.
async fn converse(hub: Hub, caller: Caller, socket: WebSocket) {
    let (out, incoming) = socket.split();
    let mut incoming = NODE.paced(hub.metrics(), incoming);
    let (to_hub, from_node) = mpsc::channel(BACKLOG);
    let (to_node, from_hub) = mpsc::unbounded_channel::<ToNode>();
    let last_words = to_node.clone();
    let talking = hub.clone();
    let talk = tokio::spawn(async move { talking.serve_node(from_node, to_node, Absence::Temporary).await });
    let write = tokio::spawn(write(out, from_hub));
    hear(&hub, &caller, &mut incoming, &to_hub, &last_words).await;
    drop((to_hub, last_words));
    match talk.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!("a conversation with a node ended: {error}"),
        Err(error) => tracing::error!("a conversation with a node broke: {error}"),
    }
    let _ = write.await;
}

type Out = SplitSink<WebSocket, Message>;

/// Writes what the node is told, and asks whether it is there.
async fn write(mut out: Out, mut from_hub: mpsc::UnboundedReceiver<ToNode>) {
    let mut ping = tokio::time::interval(PING);
    loop {
        let message = tokio::select! {
            message = from_hub.recv() => match message {
                None => break,
                Some(message) => match serde_json::to_string(&message) {
                    Ok(text) => Message::Text(text.into()),
                    Err(error) => {
                        tracing::error!("a message cannot be written: {error}");
                        break;
                    }
                },
            },
            _ = ping.tick() => Message::Ping(Vec::new().into()),
        };
        if out.send(message).await.is_err() {
            break;
        }
    }
    let _ = out.close().await;
}

/// Passes on what the node says, as long as it is somebody.
async fn hear(
    hub: &Hub,
    caller: &Caller,
    incoming: &mut (impl Stream<Item = Result<Message, axum::Error>> + Unpin),
    to_hub: &mpsc::Sender<ToHub>,
    to_node: &mpsc::UnboundedSender<ToNode>,
) {
    let mut known = tokio::time::interval(PING);
    let mut heard = Instant::now();
    loop {
        let message = tokio::select! {
            message = timeout_at(heard + SILENCE, incoming.next()) => message,
            _ = known.tick() => match hub.still(caller).await {
                Ok(Ok(_)) => continue,
                _ => return,
            },
        };
        let Ok(Some(Ok(message))) = message else { return };
        heard = Instant::now();
        let text = match message {
            Message::Text(text) => text,
            Message::Close(_) => return,
            Message::Ping(_) | Message::Pong(_) => continue,
            Message::Binary(_) => return refuse(to_node, "a message of bytes, where text was expected"),
        };
        match serde_json::from_str::<ToHub>(&text) {
            Ok(ToHub::Hello(hello)) if !caller.is_node(&hello.node) => {
                let why = format!("it greets as machine {}", hello.node);
                hub.record(caller, "connect", Outcome::Denied, &why).await;
                return refuse(to_node, "a greeting of another machine than the one that was let in");
            }
            // Who was shut out before its first word is not let in by it.
            Ok(ToHub::Hello(_)) if !matches!(hub.still(caller).await, Ok(Ok(_))) => return,
            Ok(message) => {
                if to_hub.send(message).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                return refuse(to_node, &format!("a message that is none of the node protocol: {error}"));
            }
        }
    }
}

fn refuse(to_node: &mpsc::UnboundedSender<ToNode>, why: &str) {
    let _ = to_node.send(ToNode::Refused(Failure::new(ErrorCode::BadInput, format!("the hub got {why}"))));
}
