//! Where unfinished work is kept, who may use it, and when it goes.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kinora_plan::digest;
use kinora_protocol::recipe::Recipe;
use kinora_protocol::{ErrorCode, Failure};

/// The state folder of one output, held by this process alone.
pub struct State {
    path: PathBuf,
    /// It was not there before this run.
    fresh: bool,
    _lock: File,
}

fn disk(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(ErrorCode::Disk, format!("{}: {error}", path.display()))
}

impl State {
    /// Opens or makes the folder: `dir`, or a hidden one beside the output.
    ///
    /// # Errors
    /// `Busy` when another run has it; `Disk` when it cannot be written.
    pub fn open(output: &Path, dir: Option<&Path>) -> Result<Self, Failure> {
        let path = match dir {
            Some(dir) => dir.to_owned(),
            None => {
                let mut name = std::ffi::OsString::from(".");
                name.push(output.file_name().unwrap_or_default());
                name.push(".kinora");
                output.with_file_name(name)
            }
        };
        let fresh = !path.exists();
        std::fs::create_dir_all(&path).map_err(|e| disk(&path, &e))?;
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path).map_err(|e| disk(&lock_path, &e))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, fresh, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Failure::new(
                ErrorCode::Busy,
                format!("another run is already making {}: wait for it or stop it", output.display()),
            )),
            Err(TryLockError::Error(error)) => Err(disk(&lock_path, &error)),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The job is done: the folder goes, unless it is to be kept.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn finish(self, keep: bool) -> Result<(), Failure> {
        if keep {
            return Ok(());
        }
        self.remove().map_err(|e| disk(&self.path, &e))
    }

    /// A run that could not start leaves nothing behind; one that did leaves its finished chunks.
    pub fn abandon_if_useless(self, failure: &Failure) {
        let hopeless =
            matches!(failure.code, ErrorCode::BadInput | ErrorCode::BadRecipe | ErrorCode::ToolMissing);
        let chunks = std::fs::read_dir(self.path.join("blobs")).is_ok_and(|mut entries| {
            entries.any(|e| e.is_ok_and(|e| e.path().extension().is_some_and(|x| x == "mp4")))
        });
        if self.fresh && (hopeless || !chunks) {
            let _ = self.remove();
        }
    }

    /// Removes what Kinora wrote; a folder that the user named and that holds other things stays.
    fn remove(&self) -> std::io::Result<()> {
        for name in ["blobs", "scratch"] {
            ignore_missing(std::fs::remove_dir_all(self.path.join(name)))?;
        }
        for name in ["store.db", "store.db-wal", "store.db-shm", "store.db.lock", "store.lock", "lock"] {
            ignore_missing(std::fs::remove_file(self.path.join(name)))?;
        }
        match std::fs::remove_dir(&self.path) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
            other => ignore_missing(other),
        }
    }
}

fn ignore_missing(outcome: std::io::Result<()>) -> std::io::Result<()> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// What can be seen to be wrong before anything is made.
///
/// # Errors
/// `BadInput` or `Disk`, naming the path.
pub fn check_paths(input: &Path, output: &Path, proof: Option<&Path>) -> Result<(), Failure> {
    let bad = |reason: &str| Err(Failure::new(ErrorCode::BadInput, format!("{}: {reason}", input.display())));
    match std::fs::metadata(input) {
        Err(error) if error.kind() == ErrorKind::NotFound => return bad("no such file"),
        Err(error) => return bad(&error.to_string()),
        Ok(facts) if facts.is_dir() => return bad("it is a folder, not a video file"),
        Ok(facts) if !facts.is_file() => return bad("it is not a regular file"),
        Ok(facts) if facts.len() == 0 => return bad("it is empty"),
        Ok(_) => {}
    }
    for target in std::iter::once(output).chain(proof) {
        if target.is_dir() {
            let reason = format!("{}: it is a folder; name a file", target.display());
            return Err(Failure::new(ErrorCode::Disk, reason));
        }
        let folder = parent(target);
        if !folder.is_dir() {
            let what = if folder.exists() { "is not a folder" } else { "does not exist" };
            let reason = format!("{}: its folder {} {what}", target.display(), folder.display());
            return Err(Failure::new(ErrorCode::Disk, reason));
        }
    }
    if same(input, output) {
        return bad("it is also the output: name another file for the result");
    }
    if let Some(proof) = proof.filter(|p| same(p, input) || same(p, output)) {
        let reason = format!("{}: the proof needs a file of its own", proof.display());
        return Err(Failure::new(ErrorCode::BadInput, reason));
    }
    std::iter::once(output).chain(proof).try_for_each(try_to_write)
}

/// Whether two paths lead to one file, which need not be there yet.
fn same(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| {
        let folder = || Some(std::fs::canonicalize(parent(path)).ok()?.join(path.file_name()?));
        std::fs::canonicalize(path).ok().or_else(folder)
    };
    real(a).zip(real(b)).is_some_and(|(a, b)| a == b)
}

/// Hours of work are not to end at a folder that cannot be written.
fn try_to_write(target: &Path) -> Result<(), Failure> {
    let name = format!(".kinora.try-{}", std::process::id());
    let path = parent(target).join(name);
    File::create_new(&path).and_then(|_| std::fs::remove_file(&path)).map_err(|e| disk(target, &e))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The path from the root, so that it means the same wherever the next run is started.
///
/// # Errors
/// When the present folder is gone.
pub fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|e| disk(path, &e))
}

/// What makes two runs the same: the input as it is on disk, the recipe, the output, the ffmpeg build and the models. A file that was
/// touched or copied is another job, but its chunks are found again by their content.
///
/// # Errors
/// When the input cannot be looked at.
pub fn key(input: &Path, output: &Path, recipe: &Recipe, build: &str) -> Result<String, Failure> {
    let facts = std::fs::metadata(input).map_err(|e| disk(input, &e))?;
    let recipe = serde_json::to_string(recipe)
        .map_err(|e| Failure::new(ErrorCode::Internal, format!("the recipe cannot be written: {e}")))?;
    let parts = [
        absolute(input)?.display().to_string(),
        absolute(output)?.display().to_string(),
        identity(&facts),
        recipe,
        build.to_owned(),
        env!("CARGO_PKG_VERSION").to_owned(),
    ];
    Ok(digest::bytes(parts.join("\0").as_bytes()).to_string())
}

#[cfg(unix)]
fn identity(facts: &std::fs::Metadata) -> String {
    use std::os::unix::fs::MetadataExt as _;
    format!(
        "{} {} {} {}.{} {}.{}",
        facts.dev(),
        facts.ino(),
        facts.size(),
        facts.mtime(),
        facts.mtime_nsec(),
        facts.ctime(),
        facts.ctime_nsec()
    )
}

#[cfg(not(unix))]
fn identity(facts: &std::fs::Metadata) -> String {
    format!("{} {:?}", facts.len(), facts.modified().ok())
}
