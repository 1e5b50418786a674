//! A description of media, part by part: what ffmpeg shows of it is counted, measured and laid end to end in one file.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use kinora_protocol::Digest;
use kinora_protocol::describe::{DescribeSpec, Found, Piece};
use kinora_protocol::node::Progress;

use crate::error::MediaError;
use crate::hash;
use crate::loudness::Sound;
use crate::process::Control;
use crate::tools::Tools;

mod histogram;
mod jpeg;
mod scenes;
mod sound;
mod thumbnails;

/// What one part needs.
struct Work<'a> {
    tools: &'a Tools,
    source: &'a Path,
    scratch: &'a Path,
    control: &'a Control,
}

impl Work<'_> {
    fn progress(&self, frames: u64) {
        (self.control.progress)(Progress { frames, ..Progress::default() });
    }
}

/// What was found, with the files that go with it.
struct Findings {
    found: Found,
    files: Files,
}

/// Files that will lie end to end.
#[derive(Debug, Default)]
struct Files {
    parts: Vec<(Content, Piece)>,
    length: u64,
}

#[derive(Debug)]
enum Content {
    Bytes(Vec<u8>),
    /// A whole file.
    File(PathBuf),
}

impl Files {
    fn add(&mut self, content: Content, len: u64) -> Piece {
        let piece = Piece { at: self.length, len };
        self.length += len;
        self.parts.push((content, piece));
        piece
    }

    fn bytes(&mut self, bytes: Vec<u8>) -> Piece {
        let len = bytes.len() as u64;
        self.add(Content::Bytes(bytes), len)
    }

    fn file(&mut self, path: PathBuf) -> Result<Piece, MediaError> {
        let len = std::fs::metadata(&path).map_err(MediaError::io(&path))?.len();
        Ok(self.add(Content::File(path), len))
    }
}

/// Finds out one part about `source`; its files go into `out`, whose size and BLAKE3 are given when there are any.
///
/// # Errors
/// The source cannot be decoded, the disk is full, or the work was cancelled.
pub async fn describe(
    tools: &Tools,
    spec: &DescribeSpec,
    source: &Path,
    scratch: &Path,
    out: &Path,
    control: &Control,
) -> Result<(Found, Option<(u64, Digest)>), MediaError> {
    let work = Work { tools, source, scratch, control };
    let Findings { found, files } = match spec {
        DescribeSpec::Thumbnails { stream, size, poster_us, at_us } => {
            thumbnails::find(&work, *stream, *size, *poster_us, at_us).await?
        }
        DescribeSpec::Histogram { stream, size, sampling } => {
            histogram::find(&work, *stream, *size, *sampling).await?
        }
        DescribeSpec::Scenes { stream, frames, tile, grid, every_us } => {
            let layout = scenes::Layout { tile: *tile, grid: *grid, every_us: *every_us };
            scenes::find(&work, *stream, *frames, layout).await?
        }
        DescribeSpec::Sound { stream, sample_rate, channels, layout, samples_per_point, .. } => {
            let sound = Sound { sample_rate: *sample_rate, channels: *channels, layout: layout.as_deref() };
            sound::find(&work, *stream, sound, *samples_per_point).await?
        }
    };
    if files.parts.is_empty() {
        return Ok((found, None));
    }
    let out = out.to_owned();
    let written = tokio::task::spawn_blocking(move || write(&files, &out))
        .await
        .map_err(|e| MediaError::io(scratch)(std::io::Error::other(e)))??;
    Ok((found, Some(written)))
}

fn write(files: &Files, out: &Path) -> Result<(u64, Digest), MediaError> {
    hash::durable(out, |writer| {
        for (content, piece) in &files.parts {
            let copied = match content {
                Content::Bytes(bytes) => {
                    writer.write_all(bytes).map_err(MediaError::io(out))?;
                    bytes.len() as u64
                }
                Content::File(path) => {
                    let mut file = File::open(path).map_err(MediaError::io(path))?;
                    std::io::copy(&mut file, writer).map_err(MediaError::io(out))?
                }
            };
            debug_assert_eq!(copied, piece.len, "a file changed after it was measured");
        }
        Ok(())
    })
}
