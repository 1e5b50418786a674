//! `edge`, the part about nodes: its nodes register and say that they live; those that speak the node protocol are listed with
//! them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use kinora_protocol::NodeId;
use kinora_protocol::access::Sight;
use kinora_protocol::api::{NodeState, NodeView};
use kinora_protocol::node::{Capabilities, Slots};
use kinora_store::NodeRow;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::problem::Refusal;
use crate::{Hub, now_ms};

/// A node that says nothing for so long is not there, in milliseconds.
const SILENCE_MS: i64 = 60_000;
/// Longest id or name.
const LONGEST: usize = 64;

/// What a node says of itself.
#[derive(Debug, Deserialize)]
pub(in crate::http) struct Registration {
    #[serde(alias = "id")]
    node_id: Option<String>,
    name: Option<String>,
    #[serde(default)]
    cpu_cores: u32,
}

pub(in crate::http) async fn register(
    State(hub): State<Hub>,
    Json(said): Json<Registration>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let short = |text: &String| (1..=LONGEST).contains(&text.len()) && !text.contains(char::is_control);
    let node = match said.node_id.filter(short) {
        Some(id) => NodeId::from(id),
        None => NodeId::generate(),
    };
    let row = NodeRow {
        id: node.clone(),
        name: said.name.filter(short).unwrap_or_else(|| node.to_string()),
        capabilities: Capabilities { cores: said.cpu_cores, ..Capabilities::default() },
        slots: Slots { chunks: 0, other: 0 },
        last_seen_ms: now_ms(),
        withheld: None,
    };
    hub.note_node(&row).await?;
    Ok((StatusCode::CREATED, Json(json!({ "node_id": node, "status": "registered" }))))
}

pub(in crate::http) async fn heartbeat(
    State(hub): State<Hub>,
    Path(node): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let node = NodeId::from(node);
    let known = hub.seen_node(&node).await?;
    if !known {
        return Err(Refusal::not_found(format!("node {node}: register it first")));
    }
    Ok(Json(json!({ "node_id": node, "status": "ok" })))
}

pub(in crate::http) async fn list(State(hub): State<Hub>) -> Result<Json<Value>, Refusal> {
    let nodes: Vec<Value> = hub.node_views(&Sight::All).await?.iter().map(shown).collect();
    Ok(Json(json!({ "total": nodes.len(), "nodes": nodes })))
}

pub(in crate::http) async fn status(State(hub): State<Hub>) -> Result<Json<Value>, Refusal> {
    let (nodes, cluster) = (hub.node_views(&Sight::All).await?, hub.cluster_view().await?);
    let online = nodes.iter().filter(|node| is_online(node)).count();
    Ok(Json(json!({
        "total_nodes": nodes.len(),
        "online_nodes": online,
        "total_cores": cluster.cores,
        "running_tasks": cluster.running,
        "jobs": cluster.jobs,
    })))
}

fn is_online(node: &NodeView) -> bool {
    node.state != NodeState::Disconnected || node.last_seen_ms + SILENCE_MS > now_ms()
}

fn shown(node: &NodeView) -> Value {
    json!({
        "node_id": node.id,
        "name": node.name,
        "status": if is_online(node) { "online" } else { "offline" },
        "state": node.state,
        "cpu_cores": node.capabilities.cores,
        "encoders": node.capabilities.encoders,
        "running_tasks": node.running.len(),
        "last_heartbeat": node.last_seen_ms / 1000,
    })
}
