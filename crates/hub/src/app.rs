//! Use cases, one file per resource. They know neither HTTP nor WebSockets.

pub(crate) mod access;
pub mod checksum;
pub mod chunks;
pub(crate) mod conditions;
mod crew;
pub mod describe;
pub mod expand;
pub(crate) mod folders;
pub mod gates;
pub mod import;
mod incoming;
pub mod jobs;
mod known;
pub mod live;
pub mod media;
pub mod nodes;
mod outgoing;
pub(crate) mod packages;
pub(crate) mod proxies;
mod publish;
mod quota;
pub mod scrub;
pub mod tasks;
pub mod uploads;
pub mod views;
pub(crate) mod webhooks;
pub mod work;
