//! Looking at finished files: the frames that went in, the packets that came out. Facts only; whether they are right is
//! judged in `jobs`.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader};
use std::path::Path;

use kinora_plan::digest::TimesDigest;
use kinora_protocol::enhance::Support;
use kinora_protocol::task::ChunkSpec;
use kinora_protocol::{Digest, Rational};

use crate::command::inspect;
use crate::error::MediaError;
use crate::index::Records;
use crate::process::Control;
use crate::tools::Tools;

/// Frames past the end of a chunk that are compared with the next chunk's first ones.
pub const SEAM_FRAMES: usize = 6;

/// One line of a `framecrc` file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLine {
    /// Presentation time in the file's time base.
    pub pts: i64,
    /// Bytes of the raw frame.
    pub size: u64,
    /// Adler-32 of the raw frame.
    pub checksum: u32,
}

impl FrameLine {
    /// `stream, dts, pts, duration, size, 0xchecksum[, …]`; `None` for comments.
    pub fn parse(line: &str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let mut fields = line.split(',').map(str::trim);
        let pts = fields.nth(2)?.parse().ok()?;
        let size = fields.nth(1)?.parse().ok()?;
        let checksum = u32::from_str_radix(fields.next()?.trim_start_matches("0x"), 16).ok()?;
        Some(Self { pts, size, checksum })
    }
}

/// Digest over checksums and sizes of frames: the pictures without their times.
#[derive(Debug, Clone, Default)]
pub struct PicturesDigest(blake3::Hasher);

impl PicturesDigest {
    /// Adds a frame.
    pub fn push(&mut self, frame: &FrameLine) {
        self.0.update(&frame.size.to_le_bytes()).update(&frame.checksum.to_le_bytes());
    }

    /// The digest of all that was added.
    pub fn finish(&self) -> Digest {
        Digest::from_bytes(self.0.finalize().as_bytes())
    }
}

/// The frames of a chunk as they left the decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFrames {
    /// Frames with time below the chunk's end.
    pub count: u64,
    /// Digest over their times.
    pub times: Digest,
    /// Digest over the same times with the chunk's shift.
    pub shifted: Digest,
    /// Digest over the pictures.
    pub pictures: Digest,
    /// Checksums of the first frames.
    pub head: Vec<u32>,
    /// Checksums of the frames past the end.
    pub tail: Vec<u32>,
    /// Checksums of the frames before the first that filters saw.
    pub before: Vec<u32>,
    /// Checksums of the last frames, where filters see frames of their neighbours.
    pub end: Vec<u32>,
}

/// Reads a chunk's `framecrc` file: counts and sums of the frames in `[a, b)`, and what is around them.
///
/// # Errors
/// When the file cannot be read.
pub fn source_frames(path: &Path, spec: &ChunkSpec) -> Result<SourceFrames, MediaError> {
    let ChunkSpec { a, b, shift, .. } = *spec;
    // The next chunk's filters see as much before it as this one's would before its own.
    let ends = if spec.context.is_some() { Support::of(&spec.enhance).before } else { 0 };
    let (mut before, mut end) = (Vec::new(), VecDeque::new());
    let mut count = 0;
    let (mut times, mut shifted) = (TimesDigest::default(), TimesDigest::default());
    let mut pictures = PicturesDigest::default();
    let (mut head, mut tail) = (Vec::new(), Vec::new());
    each_frame(path, |frame| {
        if frame.pts < a {
            before.push(frame.checksum);
            return;
        }
        if frame.pts >= b {
            if tail.len() < SEAM_FRAMES {
                tail.push(frame.checksum);
            }
            return;
        }
        count += 1;
        times.push(frame.pts);
        shifted.push(frame.pts + shift);
        pictures.push(&frame);
        if head.len() < SEAM_FRAMES {
            head.push(frame.checksum);
        }
        end.push_back(frame.checksum);
        if end.len() > ends {
            end.pop_front();
        }
    })?;
    Ok(SourceFrames {
        count,
        times: times.finish(),
        shifted: shifted.finish(),
        pictures: pictures.finish(),
        head,
        tail,
        before,
        end: end.into(),
    })
}

/// Calls `each` with every frame line of a file.
///
/// # Errors
/// When the file cannot be read.
pub fn each_frame(path: &Path, mut each: impl FnMut(FrameLine)) -> Result<(), MediaError> {
    let file = std::fs::File::open(path).map_err(MediaError::io(path))?;
    for line in BufReader::new(file).lines() {
        let line = line.map_err(MediaError::io(path))?;
        if let Some(frame) = FrameLine::parse(&line) {
            each(frame);
        }
    }
    Ok(())
}

/// What a finished video stream holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Presentation times in display order, in the stream's time base.
    pub times: Vec<i64>,
    /// Unit of the times.
    pub time_base: Option<Rational>,
}

/// Counts and times the packets of the first video stream.
///
/// # Errors
/// When ffprobe cannot read the file.
pub async fn written(tools: &Tools, path: &Path, control: &Control) -> Result<Written, MediaError> {
    let invocation = tools.ffprobe(format!("checking {}", path.display()), inspect::written_packets(path));
    let (mut times, mut time_base) = (Vec::new(), None);
    let take = |section: &str, fields: &BTreeMap<String, String>| match section {
        "packet" if !fields.get("flags").is_some_and(|f| f.contains('D')) => {
            times.extend(fields.get("pts").and_then(|p| p.parse::<i64>().ok()));
        }
        "stream" => {
            time_base = fields.get("time_base").and_then(|t| t.parse().ok());
        }
        _ => {}
    };
    Records::each(&invocation, control, take).await?;
    times.sort_unstable();
    Ok(Written { times, time_base })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_lines_of_framecrc() {
        assert_eq!(
            FrameLine::parse("0,       1024,       2048,      512,   345600, 0x1f2e3d4c"),
            Some(FrameLine { pts: 2048, size: 345_600, checksum: 0x1f2e_3d4c })
        );
        assert_eq!(FrameLine::parse("#tb 0: 1/12800"), None);
        assert_eq!(FrameLine::parse("garbage"), None);
    }
}
