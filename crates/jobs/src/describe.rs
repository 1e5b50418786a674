//! What is to be found out about a file: which frames are looked at, how large pictures are, where small ones are taken.

use kinora_plan::chunk::Timeline;
use kinora_plan::index::PacketIndex;
use kinora_protocol::describe::{DescribeSpec, Sampling, Size};
use kinora_protocol::media::{MediaFacts, VideoFacts};

/// Longest side of a thumbnail, in samples.
const THUMBNAIL: u32 = 640;
/// Thumbnails beside the poster.
const THUMBNAILS: i64 = 6;
/// Longest side of a small picture.
const TILE: u32 = 160;
/// Small pictures in a line of a sheet, and lines.
const GRID: Size = Size { width: 10, height: 10 };
/// Small pictures of a video at the most, but for rounding.
const MOST_TILES: i64 = 400;
/// Frames that a histogram counts, about.
const SAMPLED: u64 = 64;
/// With fewer key frames than this all frames are decoded for it.
const ENOUGH_KEYS: u64 = 24;
/// Points of a waveform at the most, but for rounding.
const MOST_POINTS: i64 = 8000;
/// Points of a waveform in a second at the most.
const POINTS_PER_SECOND: u32 = 100;

const SECOND: i64 = 1_000_000;

/// All parts that a file can have, those first that are done soonest.
pub fn parts(facts: &MediaFacts, index: &PacketIndex) -> Vec<DescribeSpec> {
    let timeline = Timeline::new(index, None);
    let duration_us = (timeline.seconds() * SECOND as f64) as i64;
    let mut parts = Vec::new();
    if let Some((stream, video)) = facts.video() {
        let frames = timeline.source_frames();
        let shown = shown(video);
        let pictures = THUMBNAILS.min(i64::try_from(frames).unwrap_or(THUMBNAILS));
        parts.push(DescribeSpec::Thumbnails {
            stream: stream.index,
            size: within(shown, THUMBNAIL),
            poster_us: duration_us / 10,
            at_us: (0..pictures).map(|n| duration_us * (2 * n + 1) / (2 * pictures)).collect(),
        });
        let keys = index.packets.iter().filter(|packet| packet.is_key()).count() as u64;
        let every = |of: u64| of.div_ceil(SAMPLED).max(1);
        parts.push(DescribeSpec::Histogram {
            stream: stream.index,
            size: Size { width: video.width, height: video.height },
            sampling: if keys >= ENOUGH_KEYS {
                Sampling::KeyFrames { every: every(keys) }
            } else {
                Sampling::Frames { every: every(frames) }
            },
        });
        parts.push(DescribeSpec::Scenes {
            stream: stream.index,
            frames,
            tile: within(shown, TILE),
            grid: GRID,
            // In whole tenths of a second.
            every_us: ((duration_us / MOST_TILES) / (SECOND / 10) + 1).max(10) * (SECOND / 10),
        });
    }
    if let Some((stream, audio)) = facts.audio().next() {
        // What a file declares may be too little.
        let duration_us = facts.duration_us.unwrap_or(0).max(duration_us);
        let samples = i128::from(duration_us) * i128::from(audio.sample_rate) / i128::from(SECOND);
        let wanted = u32::try_from(samples / i128::from(MOST_POINTS)).unwrap_or(u32::MAX);
        parts.push(DescribeSpec::Sound {
            stream: stream.index,
            sample_rate: audio.sample_rate,
            channels: audio.channels,
            layout: audio.layout.clone(),
            duration_us,
            samples_per_point: wanted.max(audio.sample_rate / POINTS_PER_SECOND).max(1),
        });
    }
    parts
}

/// The size at which a player shows pictures: square samples, upright.
fn shown(video: &VideoFacts) -> Size {
    let aspect =
        video.sample_aspect.filter(|aspect| aspect.is_positive()).map_or(1.0, |aspect| aspect.approx());
    let width = (f64::from(video.width) * aspect).round() as u32;
    match video.rotation {
        90 | 270 => Size { width: video.height, height: width },
        _ => Size { width, height: video.height },
    }
}

/// The same shape with no side longer than this, and both even.
fn within(size: Size, longest: u32) -> Size {
    let scale = (f64::from(longest) / f64::from(size.width.max(size.height).max(1))).min(1.0);
    let side = |length: u32| ((f64::from(length) * scale / 2.0).round() as u32 * 2).max(2);
    Size { width: side(size.width), height: side(size.height) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_keep_their_shape() {
        let size = |width, height| Size { width, height };
        let cases = [
            (size(1920, 1080), 160, size(160, 90)),
            (size(1080, 1920), 160, size(90, 160)),
            (size(720, 576), 640, size(640, 512)),
            (size(33, 21), 160, size(34, 22)),
            (size(4000, 3), 160, size(160, 2)),
        ];
        for (shape, longest, wanted) in cases {
            assert_eq!(within(shape, longest), wanted, "{shape:?}");
        }
    }
}
