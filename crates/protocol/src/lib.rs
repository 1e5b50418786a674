//! What crosses a process or version boundary: ids, recipes, jobs, tasks, nodes, events, proofs and error codes.
//!
//! This crate is data with serde on it. It must not decide anything, touch a disk, a clock or the network,
//! and it must not know ffmpeg's argument syntax.

pub mod access;
pub mod api;
pub mod backup;
pub mod blob;
pub mod class;
#[cfg(feature = "client")]
pub mod client;
pub mod describe;
pub mod encode;
pub mod enhance;
pub mod error;
pub mod event;
pub mod fault;
pub mod folder;
pub mod id;
pub mod inference;
pub mod job;
pub mod live;
pub mod machine;
pub mod media;
pub mod node;
pub mod objects;
pub mod planes;
pub mod proof;
pub mod proxy;
pub mod rational;
pub mod recipe;
pub mod routes;
#[cfg(feature = "schema")]
mod schema;
pub mod step;
pub mod survey;
pub mod task;
pub mod webhook;

/// What in the environment is secret: no program that is started gets to see it.
pub const SECRETS: [&str; 8] = [
    "KINORA_KEY",
    "KINORA_MASTER_KEY",
    "KINORA_OIDC_SECRET",
    "KINORA_TOKEN",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
];

pub use error::{ErrorCode, Failure};
pub use id::{
    Attempt, DeliveryId, Digest, EnrollmentId, FolderId, JobId, KeyId, NodeId, SessionId, TaskId, TeamId,
    UploadId, UserId, WebhookId,
};
pub use rational::Rational;
