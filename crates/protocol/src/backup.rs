//! What a copy of a hub holds: names and facts that whoever takes one and whoever puts it back have in common.

use serde::{Deserialize, Serialize};

/// What stands first in the archive.
pub const MANIFEST: &str = "manifest.json";
/// The store.
pub const STORE: &str = "store.db";
/// What stands last: the BLAKE3 of each file and its name, a line each.
pub const CHECKSUMS: &str = "checksums.b3";

/// What a copy is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the archive.
    pub format: u32,
    /// Version of the hub.
    pub version: String,
    /// Milliseconds since 1970 when it was taken.
    pub taken_ms: i64,
    /// Where the hub kept its files: the store names them so.
    pub data: String,
    /// Media and results are encrypted: the master key is not in it.
    pub encrypted: bool,
    /// Files.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
}

impl Manifest {
    /// The version of archives that is written and read.
    pub const FORMAT: u32 = 1;
}
