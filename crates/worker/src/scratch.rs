//! Where a node keeps files: results in `blobs`, everything else in a folder per attempt that goes when the attempt ends.

use std::io;
use std::path::{Path, PathBuf};

use kinora_protocol::node::Grant;

/// The folders of a node.
#[derive(Debug, Clone)]
pub struct Folders {
    /// Results. A node on the hub's machine writes them where the hub keeps them.
    pub blobs: PathBuf,
    /// Attempts in progress; emptied at start.
    pub scratch: PathBuf,
    /// A file that keeps what the benchmark found.
    pub benchmark: Option<PathBuf>,
}

impl Folders {
    /// Makes the folders and empties `scratch` of what an earlier run left.
    ///
    /// # Errors
    /// When they cannot be made or written.
    pub fn prepare(&self) -> io::Result<()> {
        match std::fs::remove_dir_all(&self.scratch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::fs::create_dir_all(&self.scratch)?;
        std::fs::create_dir_all(&self.blobs)
    }

    /// The folder of one attempt; it goes when the guard is dropped.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn attempt(&self, grant: &Grant) -> io::Result<AttemptFolder> {
        let path = self.scratch.join(format!("{}-{}", grant.task, grant.attempt));
        std::fs::create_dir_all(&path)?;
        Ok(AttemptFolder { path })
    }
}

/// A folder that goes when it is no longer needed.
#[derive(Debug)]
pub struct AttemptFolder {
    path: PathBuf,
}

impl AttemptFolder {
    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for AttemptFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
