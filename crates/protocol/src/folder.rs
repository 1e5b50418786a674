//! Folders that a hub watches: each file that comes into one becomes a job. How they are looked at is not known here.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::class::Tags;
use crate::id::{Digest, FolderId, JobId};
use crate::recipe::Recipe;

/// Extensions of files that are taken up where nobody says which.
pub const USUAL_EXTENSIONS: [&str; 17] = [
    "mp4", "m4v", "mov", "mkv", "webm", "avi", "ts", "m2ts", "mts", "mpg", "mpeg", "vob", "wmv", "flv",
    "mxf", "ogv", "3gp",
];
/// Seconds for which a file has to stay as it is, where nobody says how long.
pub const USUAL_SETTLE_SECONDS: u32 = 10;
/// Jobs of a folder at once, where nobody says how many.
pub const USUAL_JOBS: u32 = 2;

/// What becomes of results.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "to", rename_all = "snake_case", deny_unknown_fields)]
pub enum Delivery {
    /// The hub keeps them, as those of other jobs.
    #[default]
    Hub,
    /// They go into a folder, in the same folders below it as their sources.
    Folder {
        /// The folder, on the hub's machine.
        #[cfg_attr(feature = "schema", schema(value_type = String))]
        path: PathBuf,
    },
    /// They take the place of their sources, once they were decoded and found right.
    Replace {
        /// Where the sources go; they are deleted when absent.
        #[serde(default)]
        #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
        originals: Option<PathBuf>,
    },
}

impl Delivery {
    /// The folder besides the watched one that has to do with it.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder { path } => Some(path),
            Self::Replace { originals } => originals.as_deref(),
            Self::Hub => None,
        }
    }
}

/// A folder to be watched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewFolder {
    /// The folder on the hub's machine, below one that it allows.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub path: PathBuf,
    /// What to do with each file.
    #[serde(default)]
    pub recipe: Recipe,
    /// What the recipe is where it says nothing.
    #[serde(default)]
    pub preset: Option<String>,
    /// What becomes of results.
    #[serde(default)]
    pub result: Delivery,
    /// A file is taken up when it stayed as it is for so many seconds, 1 to 86400; 10 when absent.
    #[serde(default)]
    pub settle_seconds: Option<u32>,
    /// Extensions of files that are taken up, without dots; those of videos when absent.
    #[serde(default)]
    pub extensions: Option<Vec<String>>,
    /// Jobs of this folder at once, 1 to 1000; 2 when absent.
    #[serde(default)]
    pub jobs: Option<u32>,
    /// Priority of its jobs: greater runs first.
    #[serde(default)]
    pub priority: i32,
    /// Only nodes that have all of these work on its jobs.
    #[serde(default)]
    pub tags: Tags,
}

impl NewFolder {
    /// A folder whose files are made into what is usual.
    pub fn of(path: PathBuf) -> Self {
        Self {
            path,
            recipe: Recipe::default(),
            preset: None,
            result: Delivery::Hub,
            settle_seconds: None,
            extensions: None,
            jobs: None,
            priority: 0,
            tags: Tags::default(),
        }
    }
}

/// A folder that is watched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FolderView {
    /// Its id.
    pub id: FolderId,
    /// What was asked for, with what is usual where nothing was said.
    pub folder: NewFolder,
    /// Whether files are taken up.
    pub enabled: bool,
    /// Why it could not be looked at last time.
    pub error: Option<String>,
    /// Its files.
    pub files: FileCounts,
    /// When it was made.
    pub created_ms: i64,
}

/// Files of a folder, by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FileCounts {
    /// They still change, or wait for their turn.
    pub waiting: u64,
    /// There is a job.
    pub working: u64,
    /// The result is where it belongs.
    pub done: u64,
    /// Something went wrong.
    pub failed: u64,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FileState {
    /// There is a job.
    Working,
    /// The result is where it belongs.
    Done,
    /// Something went wrong. The file is as it was.
    Failed,
}

impl FileState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Working, Self::Done, Self::Failed];

    /// The name in the store and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// A file that was taken up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FolderFile {
    /// Its path below the folder, when it was taken up.
    pub name: String,
    /// BLAKE3 of its content: none is taken up twice.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// What became of it.
    pub state: FileState,
    /// Its job.
    pub job: Option<JobId>,
    /// Where the result is, unless the hub keeps it.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub result: Option<PathBuf>,
    /// What went wrong.
    pub error: Option<String>,
    /// When this last changed.
    pub updated_ms: i64,
}

/// What can be told to a watched folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FolderVerb {
    /// Take files up again.
    Enable,
    /// Take no further file up; what is under way is done.
    Disable,
    /// Try again what failed.
    Retry,
}

impl FolderVerb {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Enable, Self::Disable, Self::Retry];

    /// The word in the path.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Retry => "retry",
        }
    }
}
