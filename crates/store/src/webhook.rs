//! Webhooks and their deliveries as stored.

use kinora_protocol::webhook::{DeliveryState, WebhookEvent};
use kinora_protocol::{DeliveryId, JobId, WebhookId};

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookRow {
    /// Its id.
    pub id: WebhookId,
    /// Where deliveries go.
    pub url: String,
    /// What it is told of.
    pub events: Vec<WebhookEvent>,
    /// What deliveries are signed with.
    pub secret: Vec<u8>,
    /// Whether it is told anything.
    pub enabled: bool,
    /// Events up to this position were before it.
    pub since: i64,
    /// When it was made.
    pub created_ms: i64,
}

/// A delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    /// Its id.
    pub id: DeliveryId,
    /// The webhook.
    pub webhook: WebhookId,
    /// Position of the event; none for a ping.
    pub seq: Option<i64>,
    /// What happened.
    pub event: WebhookEvent,
    /// To which job.
    pub job: Option<JobId>,
    /// What is sent, JSON.
    pub body: String,
    /// How it stands.
    pub state: DeliveryState,
    /// Tries so far.
    pub tries: u32,
    /// When it is to be sent.
    pub next_ms: i64,
    /// HTTP status of the last answer.
    pub status: Option<u16>,
    /// Why the last try failed.
    pub error: Option<String>,
    /// When it was made.
    pub created_ms: i64,
    /// When it was last tried.
    pub tried_ms: Option<i64>,
}

/// What a try came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// How the delivery stands now.
    pub state: DeliveryState,
    /// When it is to be sent again, if it is.
    pub next_ms: i64,
    /// HTTP status of the answer.
    pub status: Option<u16>,
    /// Why it failed.
    pub error: Option<String>,
}
