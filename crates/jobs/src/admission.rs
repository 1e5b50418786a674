//! Whether a probed file is taken: what it would cost to decode is read off its streams and its packets, never off the durations
//! that it declares.

use kinora_plan::chunk::Timeline;
use kinora_plan::index::PacketIndex;
use kinora_protocol::media::MediaFacts;
use kinora_protocol::{ErrorCode, Failure};

/// What a file may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Samples of a picture. Decoders on the nodes have the same limit.
    pub pixels: u64,
    /// Frames a second, on average.
    pub fps: f64,
    /// Streams.
    pub streams: usize,
    /// Video packets.
    pub packets: u64,
    /// Seconds from the first frame to the last.
    pub seconds: f64,
}

impl Default for Limits {
    fn default() -> Self {
        // 8192 x 4352; slow motion of phones has 240 frames a second, and a little more.
        // Packets and length are of two weeks at 24 frames a second.
        Self { pixels: 35_651_584, fps: 250.0, streams: 64, packets: 29_030_400, seconds: 1_209_600.0 }
    }
}

/// Shortest video whose frames a second say anything, in seconds.
const SHORT: f64 = 1.0;

/// Whether a file is within the limits.
///
/// # Errors
/// [`ErrorCode::BadInput`] naming what is too much.
pub fn check(facts: &MediaFacts, index: &PacketIndex, limits: Limits) -> Result<(), Failure> {
    let refuse = |why: String| Err(Failure::new(ErrorCode::BadInput, why));
    if facts.streams.len() > limits.streams {
        return refuse(format!("it has {} streams, and {} are taken", facts.streams.len(), limits.streams));
    }
    let Some((_, video)) = facts.video() else { return Ok(()) };
    if u64::from(video.width) * u64::from(video.height) > limits.pixels {
        let (width, height) = (video.width, video.height);
        return refuse(format!("its pictures are {width}x{height}, and {} samples are taken", limits.pixels));
    }
    let packets = index.packets.len() as u64;
    if packets > limits.packets {
        return refuse(format!("it has {packets} video packets, and {} are taken", limits.packets));
    }
    let timeline = Timeline::new(index, None);
    if timeline.seconds() > limits.seconds {
        return refuse(format!(
            "it is {:.0} s long from its first frame to its last, and {:.0} s are taken",
            timeline.seconds(),
            limits.seconds
        ));
    }
    let fps = timeline.source_frames() as f64 / timeline.seconds().max(SHORT);
    if fps > limits.fps {
        return refuse(format!("it has {fps:.0} frames a second, and {:.0} are taken", limits.fps));
    }
    Ok(())
}
