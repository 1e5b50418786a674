//! One chunk from source to checked file. It gives back what it counted; whether that is right is judged in `jobs`.

use std::path::{Path, PathBuf};

use kinora_plan::digest;
use kinora_protocol::Digest;
use kinora_protocol::recipe::Verify;
use kinora_protocol::task::{ChunkSpec, OtherRendition, Window};

use crate::command::chunk::{self, ChunkPaths};
use crate::error::MediaError;
use crate::inspect::{self, SourceFrames};
use crate::pictures::{self, Models};
use crate::process::{self, Control};
use crate::tools::Tools;
use crate::{fragments, hash, window};

/// An encoded chunk.
#[derive(Debug, Clone)]
pub struct EncodedChunk {
    /// Size of the file in bytes.
    pub size: u64,
    /// BLAKE3 of the file.
    pub digest: Digest,
    /// What left the decoder.
    pub source: SourceFrames,
    /// Packets written.
    pub packets: u64,
    /// Digest over their times.
    pub times: Digest,
    /// Digest over the decoder configuration.
    pub config: Digest,
    /// Its other renditions.
    pub others: Vec<OtherRendition>,
    /// Processor seconds.
    pub cpu_seconds: f64,
}

/// Encodes a chunk into `out`, durably; `scratch` is an existing folder for this attempt only.
///
/// # Errors
/// See [`MediaError`]. Files in `scratch` are left to the caller.
pub async fn encode(
    (tools, models): (&Tools, &dyn Models),
    spec: &ChunkSpec,
    (source, size): (&Path, u64),
    scratch: &Path,
    out: &Path,
    control: &Control,
) -> Result<EncodedChunk, MediaError> {
    let what = format!("chunk {}", spec.ordinal);
    let input = input(&spec.window, source, size, scratch).await?;
    let frames = scratch.join("frames.crc");
    let count = spec.ladder.as_ref().map_or(0, |ladder| ladder.others.len());
    let others: Vec<PathBuf> = (1..=count).map(|n| scratch.join(format!("rendition{n}"))).collect();
    let paths = ChunkPaths { input: &input, chunk: out, others: &others, frames: &frames };
    let programs = chunk::encode(spec, tools.passthrough(), paths);
    let finished = pictures::run((tools, models), &format!("encoding {what}"), programs, control).await?;
    if !is_written(out) || !is_written(&frames) {
        return Err(MediaError::not_exact(what, "ffmpeg said it succeeded but wrote no file"));
    }
    let source_frames = inspect::source_frames(&frames, spec)?;
    let (checked, settled, others) = match others.is_empty() {
        // Counting and hashing both read the new file: side by side.
        true => {
            let (checked, settled) = tokio::join!(check(spec, out), settle(out, control));
            (checked?, settled?, Vec::new())
        }
        false => {
            let checked = check(spec, out).await?;
            let others = gather(spec, others, out).await?;
            (checked, settle(out, control).await?, others)
        }
    };
    let ((packets, times, config), (size, digest)) = (checked, settled);
    Ok(EncodedChunk {
        size,
        digest,
        source: source_frames,
        packets,
        times,
        config,
        others,
        cpu_seconds: finished.cpu_seconds,
    })
}

/// Writes the first frame of a chunk as it is, and beside it as it becomes, into a PNG of this height and twice this width.
///
/// # Errors
/// See [`MediaError`].
pub async fn before_and_after(
    (tools, models): (&Tools, &dyn Models),
    spec: &ChunkSpec,
    shown: (u32, u32),
    (source, size): (&Path, u64),
    scratch: &Path,
    out: &Path,
    control: &Control,
) -> Result<(), MediaError> {
    let input = input(&spec.window, source, size, scratch).await?;
    let what = "making the preview";
    let aside = scratch.join("before.png");
    let preview = chunk::before_and_after(spec, tools.passthrough(), shown, &input, (&aside, out));
    if let Some(before) = preview.before {
        process::run(&tools.ffmpeg(what, before), control).await?;
    }
    pictures::run((tools, models), what, preview.programs, control).await?;
    if is_written(out) { Ok(()) } else { Err(MediaError::not_exact(what, "there is no frame at that time")) }
}

/// Whether a program wrote something: the file itself may have been made for it.
pub(crate) fn is_written(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() > 0)
}

/// Checks the other renditions and puts them behind the first.
async fn gather(
    spec: &ChunkSpec,
    files: Vec<PathBuf>,
    out: &Path,
) -> Result<Vec<OtherRendition>, MediaError> {
    let mut gathered = Vec::with_capacity(files.len());
    for path in files {
        let (packets, times, config) = check(spec, &path).await?;
        let into = out.to_owned();
        let length = blocking(move || append(&path, &into)).await?;
        gathered.push(OtherRendition { length, packets, times, config });
    }
    Ok(gathered)
}

/// Moves a file's bytes to the end of another; gives their number.
fn append(path: &Path, into: &Path) -> Result<u64, MediaError> {
    let mut from = std::fs::File::open(path).map_err(MediaError::io(path))?;
    let mut to = std::fs::OpenOptions::new().append(true).open(into).map_err(MediaError::io(into))?;
    let length = std::io::copy(&mut from, &mut to).map_err(MediaError::io(into))?;
    std::fs::remove_file(path).map_err(MediaError::io(path))?;
    Ok(length)
}

type Checked = (u64, Digest, Digest);

/// Counts and times the packets of a chunk.
async fn check(spec: &ChunkSpec, out: &Path) -> Result<Checked, MediaError> {
    if spec.verify == Verify::Off {
        return Ok((spec.expect.frames, spec.expect.times.clone(), digest::bytes(b"unchecked")));
    }
    let path = out.to_owned();
    let held = blocking(move || fragments::read(&path)).await?;
    let hz = chunk::out_hz(spec);
    if i64::from(held.hz) != hz {
        let reason = format!("its packets are timed in 1/{} s, planned was 1/{hz} s", held.hz);
        return Err(MediaError::not_exact(format!("chunk {}", spec.ordinal), reason));
    }
    Ok((held.times.len() as u64, digest::times(held.times.iter().copied()), held.config))
}

/// What ffmpeg reads: the source itself where it serves, else the window, built in `scratch`.
pub(crate) async fn input(
    wanted: &Window,
    source: &Path,
    size: u64,
    scratch: &Path,
) -> Result<PathBuf, MediaError> {
    if wanted.source_serves(size) {
        return Ok(source.to_owned());
    }
    let path = scratch.join("window").with_extension(source.extension().unwrap_or_default());
    let (source, wanted, out) = (source.to_owned(), wanted.clone(), path.clone());
    blocking(move || window::build(&source, &wanted, &out).map_err(MediaError::io(&out))).await?;
    Ok(path)
}

/// Hashes a finished file and makes it survive a power cut.
///
/// # Errors
/// When it cannot be read or synced, or the work was cancelled.
pub async fn settle(path: &Path, control: &Control) -> Result<(u64, Digest), MediaError> {
    let (path, cancel) = (path.to_owned(), control.cancel.clone());
    blocking(move || {
        let hashed = hash::file(&path, &cancel)?;
        let file = std::fs::File::open(&path).map_err(MediaError::io(&path))?;
        file.sync_all().map_err(MediaError::io(&path))?;
        Ok(hashed)
    })
    .await
}

/// Runs file work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MediaError> + Send + 'static,
) -> Result<T, MediaError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(MediaError::ToolUnusable { program: "file worker".to_owned(), reason: error.to_string() })
    })
}
