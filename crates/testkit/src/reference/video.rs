//! Compares frames: how many, which pictures, when.
//!
//! It must not know how frames are decoded or files written.

use std::path::Path;

use super::difference::{Difference, Kind};
use super::frames::{Decode, Frame, Origin, frames};
use crate::clips::Container;

/// How far apart the times of the same frame may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameTimes {
    /// Equal as fractions.
    Exact,
    /// For containers that round to milliseconds.
    WithinMillis(u32),
    /// Equal, or within half a tick of the coarser of the two time bases: for a source against an output that
    /// cannot hold the source's time base.
    WithinHalfTick,
}

/// What `compare_video` lets pass.
#[derive(Clone, Debug)]
pub struct VideoRules {
    pub times: FrameTimes,
    /// `File` compares absolute times; with the others, an offset of all times is not looked at.
    pub origin: Origin,
    /// How the first file is decoded. Its `origin` is replaced by the rule's.
    pub decode_a: Decode,
    pub decode_b: Decode,
}

impl VideoRules {
    /// Two files in the same container: exact in MP4 and MOV, 1 ms in Matroska, absolute times.
    pub fn same_container(container: Container) -> VideoRules {
        let times = match container {
            Container::Mkv | Container::Webm => FrameTimes::WithinMillis(1),
            _ => FrameTimes::Exact,
        };
        VideoRules { times, origin: Origin::File, decode_a: Decode::default(), decode_b: Decode::default() }
    }
}

/// The first difference between the first video streams of two files.
pub fn compare_video(a: &Path, b: &Path, rules: &VideoRules) -> Result<(), Difference> {
    let decode = |path: &Path, how: &Decode| frames(path, &Decode { origin: rules.origin, ..how.clone() });
    compare_frames(&decode(a, &rules.decode_a)?, &decode(b, &rules.decode_b)?, rules.times)
}

/// The first difference between two lists of frames. Pictures come before times and times before the count, since a
/// lost frame shows first as another picture: the text says which frames of the other list have it.
pub fn compare_frames(a: &[Frame], b: &[Frame], times: FrameTimes) -> Result<(), Difference> {
    let counts = format!("{} frames against {}", a.len(), b.len());
    for (n, (x, y)) in a.iter().zip(b).enumerate() {
        if x.hash != y.hash {
            let kind = if a.len() == b.len() { Kind::FramePicture } else { Kind::FrameCount };
            let here = place(&x.hash, b);
            let there = place(&y.hash, a);
            let text = format!(
                "frame {n} is another picture ({counts}); the first file's is {here} of the second, the second's \
                 is {there} of the first\n{}",
                around(a, b, n)
            );
            return Err(Difference::new(kind, text));
        }
    }
    if a.len() != b.len() {
        let last = a.len().min(b.len());
        let text = format!("{counts}; all of the shorter one are the same pictures\n{}", around(a, b, last));
        return Err(Difference::new(Kind::FrameCount, text));
    }
    for (n, (x, y)) in a.iter().zip(b).enumerate() {
        if !close(x, y, times) {
            let text = format!("frame {n} has another time ({times:?})\n{}", around(a, b, n));
            return Err(Difference::new(Kind::FrameTime, text));
        }
    }
    Ok(())
}

fn close(x: &Frame, y: &Frame, times: FrameTimes) -> bool {
    let (ticks, den) = y.time_since(x);
    match times {
        FrameTimes::Exact => ticks == 0,
        FrameTimes::WithinMillis(millis) => ticks.abs() * 1000 <= i128::from(millis) * den,
        FrameTimes::WithinHalfTick => [x.time_base, y.time_base]
            .iter()
            .any(|(num, rate)| ticks.abs() * 2 * i128::from(*rate) <= i128::from(*num) * den),
    }
}

fn place(hash: &str, frames: &[Frame]) -> String {
    match frames.iter().position(|frame| frame.hash == hash) {
        Some(n) => format!("frame {n}"),
        None => "no frame".to_owned(),
    }
}

fn around(a: &[Frame], b: &[Frame], n: usize) -> String {
    let shown = |frame: Option<&Frame>| match frame {
        Some(f) => {
            let (num, den) = f.time_base;
            format!("{}*{num}/{den} ({:.6} s) {}", f.pts_ticks, f.seconds(), &f.hash[..f.hash.len().min(8)])
        }
        None => "-".to_owned(),
    };
    let lines = (n.saturating_sub(2)..n + 3)
        .filter(|i| *i < a.len() || *i < b.len())
        .map(|i| format!("  {i}: {} | {}", shown(a.get(i)), shown(b.get(i))));
    lines.collect::<Vec<_>>().join("\n")
}
