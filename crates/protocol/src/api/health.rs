//! Whether a hub can do its work, for whatever watches over it.

use serde::{Deserialize, Serialize};

/// Whether a hub can take jobs and bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ReadyView {
    /// All of it is well.
    pub ready: bool,
    /// The store answers.
    pub store: Health,
    /// Results can be written.
    pub blobs: Health,
    /// There is room on the disk.
    pub disk: Health,
    /// Machines that are connected and take work. A hub without any takes jobs all the same.
    pub nodes: u32,
}

/// How a part of a hub is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It is well.
    Ok,
    /// It is not, and why.
    Failing(String),
}

impl Health {
    /// Whether it is well.
    pub fn is_ok(&self) -> bool {
        *self == Self::Ok
    }
}
