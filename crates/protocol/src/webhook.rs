//! Webhooks: which events they tell of, and how a delivery is signed. The form is that of Standard Webhooks
//! (<https://www.standardwebhooks.com>). How they are sent is not known here.

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::id::{DeliveryId, JobId, WebhookId};
use crate::job::JobPhase;

/// What a webhook can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum WebhookEvent {
    /// A job was accepted.
    #[serde(rename = "job.queued")]
    JobQueued,
    /// Its work began, or goes on after a pause.
    #[serde(rename = "job.processing")]
    JobProcessing,
    /// Somebody holds it.
    #[serde(rename = "job.paused")]
    JobPaused,
    /// Its result is there.
    #[serde(rename = "job.completed")]
    JobCompleted,
    /// It cannot be done.
    #[serde(rename = "job.failed")]
    JobFailed,
    /// Somebody stopped it.
    #[serde(rename = "job.cancelled")]
    JobCancelled,
    /// Somebody tries the webhook.
    #[serde(rename = "ping")]
    Ping,
}

impl WebhookEvent {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::JobQueued,
        Self::JobProcessing,
        Self::JobPaused,
        Self::JobCompleted,
        Self::JobFailed,
        Self::JobCancelled,
        Self::Ping,
    ];

    /// What a webhook is told of that does not say: that a job ended.
    pub const USUAL: [Self; 3] = [Self::JobCompleted, Self::JobFailed, Self::JobCancelled];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::JobQueued => "job.queued",
            Self::JobProcessing => "job.processing",
            Self::JobPaused => "job.paused",
            Self::JobCompleted => "job.completed",
            Self::JobFailed => "job.failed",
            Self::JobCancelled => "job.cancelled",
            Self::Ping => "ping",
        }
    }

    /// What webhooks are told when something happens; `None` when they are not.
    pub fn of(event: &Event) -> Option<(Self, JobId)> {
        let Event::Job { job, phase, .. } = event else { return None };
        let told = match phase {
            JobPhase::Queued => Self::JobQueued,
            JobPhase::Processing => Self::JobProcessing,
            JobPhase::Paused => Self::JobPaused,
            JobPhase::Completed => Self::JobCompleted,
            JobPhase::Failed => Self::JobFailed,
            JobPhase::Cancelled => Self::JobCancelled,
            JobPhase::WaitingForNodes | JobPhase::Benchmarking | JobPhase::Combining => return None,
        };
        Some((told, *job))
    }
}

/// A webhook to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// Where deliveries go: `http` or `https`.
    pub url: String,
    /// What it is told of; that jobs ended when absent.
    #[serde(default)]
    pub events: Option<Vec<WebhookEvent>>,
    /// `whsec_` and 24 to 64 bytes in base64; made by the hub when absent.
    #[serde(default)]
    pub secret: Option<String>,
}

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WebhookView {
    /// Its id.
    pub id: WebhookId,
    /// Where deliveries go.
    pub url: String,
    /// What it is told of.
    pub events: Vec<WebhookEvent>,
    /// Whether it is told anything. A receiver that answers 410 is not any more.
    pub enabled: bool,
    /// What deliveries are signed with; told once, when it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// When it was made.
    pub created_ms: i64,
}

/// How a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is to be sent, for the first time or again.
    Pending,
    /// The receiver took it.
    Delivered,
    /// It was tried often enough.
    Failed,
}

impl DeliveryState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Failed];

    /// The name in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

/// A delivery, as the log shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DeliveryView {
    /// Its id: `webhook-id` of all tries, by which a receiver knows what it has seen.
    pub id: DeliveryId,
    /// What happened.
    pub event: WebhookEvent,
    /// The job; none for a ping.
    pub job: Option<JobId>,
    /// How it stands.
    pub state: DeliveryState,
    /// Tries so far.
    pub tries: u32,
    /// When it is tried again.
    pub next_ms: Option<i64>,
    /// HTTP status of the last answer.
    pub status: Option<u16>,
    /// Why the last try failed.
    pub error: Option<String>,
    /// When it was made.
    pub created_ms: i64,
    /// When it was last tried.
    pub tried_ms: Option<i64>,
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Payload<T> {
    /// What happened.
    #[serde(rename = "type")]
    pub kind: WebhookEvent,
    /// Milliseconds since 1970 when it was found to have happened.
    pub timestamp_ms: i64,
    /// What it happened to, as it is when the payload is made.
    pub data: T,
}
