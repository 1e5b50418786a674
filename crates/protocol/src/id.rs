//! Typed identifiers. They are opaque: nothing may read meaning out of an id.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An id that is a UUID.
macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $(#[$made:meta])* $make:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            $(#[$made])*
            pub fn generate() -> Self {
                Self(Uuid::$make())
            }
        }

        impl $name {
            /// Its bytes, for what has to follow from it.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

uuid_id! {
    /// One job. Ordered by creation time (UUID version 7).
    JobId,
    /// A new id; ids made later by the same process sort later.
    now_v7
}

uuid_id! {
    /// One upload, while it is on its way.
    UploadId,
    /// A new id. It is random: whoever knows it may go on with the upload.
    new_v4
}

uuid_id! {
    /// One webhook. Ordered by creation time.
    WebhookId,
    /// A new id.
    now_v7
}

uuid_id! {
    /// One delivery of a webhook. Ordered by creation time.
    DeliveryId,
    /// A new id.
    now_v7
}

uuid_id! {
    /// One folder that is watched. Ordered by creation time.
    FolderId,
    /// A new id.
    now_v7
}

uuid_id! {
    /// One user. Ordered by creation time.
    UserId,
    /// A new id.
    now_v7
}

uuid_id! {
    /// Some users together. Ordered by creation time.
    TeamId,
    /// A new id.
    now_v7
}

uuid_id! {
    /// One login, until its logout.
    SessionId,
    /// A new id. It tells nothing about others.
    new_v4
}

uuid_id! {
    /// One API key.
    KeyId,
    /// A new id. It tells nothing about others.
    new_v4
}

uuid_id! {
    /// One token that lets a machine in.
    EnrollmentId,
    /// A new id. It tells nothing about others.
    new_v4
}

/// One machine that runs tasks. Kept by the machine, so it survives restarts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct NodeId(String);

impl NodeId {
    /// A new random id.
    pub fn generate() -> Self {
        Self(Uuid::now_v7().to_string())
    }

    /// The id as stored text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for NodeId {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One task of one job; the row's key in the task table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct TaskId(pub i64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which try of a task this is, from 1. It fences late results and never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Attempt(pub u32);

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A BLAKE3 digest as 64 lower-case hex digits: the name of media, blobs and plans by content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// The text is not 64 lower-case hex digits.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a BLAKE3 digest (64 lower-case hex digits)")]
pub struct BadDigest(String);

impl Digest {
    /// From the 32 raw bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        use fmt::Write as _;
        let mut text = String::with_capacity(64);
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// The hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Digest {
    type Error = BadDigest;
    fn try_from(text: String) -> Result<Self, BadDigest> {
        let ok = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if ok { Ok(Self(text)) } else { Err(BadDigest(text)) }
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_refuses_what_could_be_a_path() {
        assert!(Digest::try_from("../../etc/passwd".to_owned()).is_err());
        assert!(Digest::try_from("A".repeat(64)).is_err());
        assert_eq!(Digest::from_bytes(&[0xab; 32]).as_str(), "ab".repeat(32));
    }
}
