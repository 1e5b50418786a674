//! Uploads that are on their way. What their bytes are is known when they are complete.

use kinora_protocol::{Digest, UploadId, UserId};
use serde::{Deserialize, Serialize};

/// An upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRow {
    /// Id.
    pub id: UploadId,
    /// Name for people.
    pub name: String,
    /// What the client said of it, as it said it.
    pub metadata: String,
    /// Bytes that it will have, once that is known.
    pub length: Option<u64>,
    /// Bytes that are on the disk for certain.
    pub offset: u64,
    /// What it is a part of, or made from.
    pub part: Part,
    /// Whose it is.
    pub owner: Option<UserId>,
    /// The media that it became.
    pub media: Option<Digest>,
    /// When it was begun.
    pub created_ms: i64,
    /// When it is dropped, unless something comes before.
    pub expires_ms: i64,
}

impl UploadRow {
    /// All of it is there.
    pub fn is_complete(&self) -> bool {
        self.length == Some(self.offset)
    }
}

/// How an upload stands to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// It is a file.
    Whole,
    /// It becomes a file together with others.
    Partial,
    /// It is made from these, in order.
    Joined(Vec<UploadId>),
}
