//! How machines are let in, and known.

use serde::{Deserialize, Serialize};

use crate::id::{EnrollmentId, NodeId};

/// What a hub shows of itself to a machine that is to trust it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HubIdentity {
    /// Its key (Ed25519), in hexadecimal digits.
    pub public_key: String,
    /// The authority that signs its certificates, as PEM; empty when it has none of its own.
    pub authority: String,
    /// Made with the key, over the nonce that was asked with and the authority.
    pub signature: String,
}

/// A machine that wants to be let in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Enroll {
    /// Id of the token: what stands between its first and its second `_`.
    pub token: EnrollmentId,
    /// What the machine calls itself.
    pub node: NodeId,
    /// Its key (Ed25519), in hexadecimal digits.
    pub public_key: String,
    /// Made with the key, over the token's id, the machine and the hub's fingerprint.
    pub signature: String,
    /// Made with the token, over the same and the key: the token itself is not sent.
    pub proof: String,
}

/// By what a machine is known for a while.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Identity {
    /// Goes with each of its requests.
    pub token: String,
    /// Seconds that it is good for; it is renewed before.
    pub expires_in: u32,
}

/// Which machine wants something to sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AskChallenge {
    /// The machine.
    pub node: NodeId,
}

/// Something to sign, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Challenge {
    /// What is signed.
    pub nonce: String,
}

/// A machine asks for its next identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Renew {
    /// The machine.
    pub node: NodeId,
    /// What it was given.
    pub nonce: String,
    /// Made with its key, over the nonce and its id.
    pub signature: String,
}

/// A token for a machine, to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct NewEnrollment {
    /// Which machine it is for, for people.
    pub name: Option<String>,
    /// Seconds that it is good for; an hour when absent.
    pub expires_in: Option<u32>,
}

/// A token for a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EnrollmentView {
    /// Id.
    pub id: EnrollmentId,
    /// Which machine it is for.
    pub name: String,
    /// Who made it.
    pub made_by: String,
    /// When it was made.
    pub created_ms: i64,
    /// When it ends.
    pub expires_ms: i64,
    /// When it was used.
    pub used_ms: Option<i64>,
    /// The machine that it let in.
    pub node: Option<NodeId>,
    /// The token itself, with the hub's fingerprint at its end: in the answer to its making, and never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}
