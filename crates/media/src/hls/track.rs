//! Tracks and the segments that they are cut into. Pure: what is in which file is decided here, not written.

use crate::fragments::{Fragment, Held};

/// A track of a package, in a folder of its own.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Track {
    /// Name of the folder.
    pub(super) folder: String,
    /// Its codec by RFC 6381.
    pub(super) codec: String,
    /// Ticks per second.
    pub(super) hz: u32,
    /// Bytes before the first segment: what a player needs to decode any of them.
    pub(super) head: u64,
    /// Segments in order.
    pub(super) segments: Vec<Segment>,
}

/// A file of a track. Times are those of the presentation, in ticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// Offset in the track's file.
    pub(super) at: u64,
    /// Bytes.
    pub(super) length: u64,
    /// When it begins.
    pub(super) start: i64,
    /// Ticks until the next one begins.
    pub(super) duration: i64,
    /// Key frames in it.
    pub(super) keys: Vec<Key>,
}

/// A key frame with all that is needed to show it: bytes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    /// Offset in the segment.
    pub(super) at: u64,
    /// Bytes.
    pub(super) length: u64,
    /// Ticks until the next one.
    pub(super) duration: i64,
}

impl Track {
    /// Greatest bit rate of a segment, and that of all of them, in bit/s.
    pub(super) fn bit_rates(&self) -> (u64, u64) {
        self.rates(self.segments.iter().map(|segment| (segment.length, segment.duration)))
    }

    /// The same of its key frames alone.
    pub(super) fn key_bit_rates(&self) -> (u64, u64) {
        let keys = self.segments.iter().flat_map(|segment| &segment.keys);
        self.rates(keys.map(|key| (key.length, key.duration)))
    }

    /// Greatest and mean bit rate of stretches of bytes and ticks.
    fn rates(&self, stretches: impl Iterator<Item = (u64, i64)>) -> (u64, u64) {
        let rate = |bytes: u64, ticks: i64| {
            let ticks = u128::try_from(ticks.max(1)).unwrap_or(1);
            let bits = u128::from(bytes) * 8 * u128::from(self.hz);
            u64::try_from(bits.div_ceil(ticks)).unwrap_or(u64::MAX)
        };
        let (mut peak, mut bytes, mut ticks) = (0, 0, 0);
        for (length, duration) in stretches {
            peak = rate(length, duration).max(peak);
            bytes += length;
            ticks += duration;
        }
        (peak, rate(bytes, ticks))
    }

    /// Ticks of all segments.
    pub(super) fn duration(&self) -> i64 {
        self.segments.iter().map(|segment| segment.duration).sum()
    }

    /// When its last segment ends, in seconds.
    pub(super) fn end(&self) -> f64 {
        let last = self.segments.last().map_or(0, |segment| segment.start + segment.duration);
        last as f64 / f64::from(self.hz.max(1))
    }
}

/// Times of the presentation at which all of `tracks` have a key frame and a segment may begin: no two closer than half of `wish`.
pub(super) fn boundaries(tracks: &[Held], wish: i64) -> Vec<i64> {
    let starts = |held: &Held| -> Vec<i64> {
        held.fragments.iter().map(|fragment| fragment.start - held.skipped).collect()
    };
    let mut tracks = tracks.iter().map(starts);
    let Some(mut common) = tracks.next() else { return Vec::new() };
    for other in tracks {
        common.retain(|time| other.binary_search(time).is_ok());
    }
    let mut found: Vec<i64> = Vec::new();
    for time in common {
        if found.last().is_none_or(|last| time - last >= (wish / 2).max(1)) {
            found.push(time);
        }
    }
    found
}

/// Cuts a track where its fragments begin at one of `boundaries`.
pub(super) fn cut(held: &Held, boundaries: &[i64]) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut boundaries = boundaries.iter().copied().peekable();
    for (n, fragment) in held.fragments.iter().enumerate() {
        let next = held.fragments.get(n + 1).map_or(fragment.start + fragment.duration, |next| next.start);
        let start = fragment.start - held.skipped;
        let begins = boundaries.next_if_eq(&start).is_some() || segments.is_empty();
        if begins {
            segments.push(Segment { at: fragment.at, length: 0, start, duration: 0, keys: Vec::new() });
        }
        let Some(segment) = segments.last_mut() else { continue };
        let Fragment { at, length, first, start, .. } = *fragment;
        segment.keys.push(Key { at: at - segment.at, length: first, duration: next - start });
        segment.length = at + length - segment.at;
        segment.duration += next - start;
    }
    from_zero(segments)
}

/// What is before the film's start, an encoder's priming, is not shown: the first segment is so much shorter.
fn from_zero(mut segments: Vec<Segment>) -> Vec<Segment> {
    if let Some(first) = segments.first_mut().filter(|first| first.start < 0) {
        first.duration = (first.duration + first.start).max(1);
        first.start = 0;
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;
    use kinora_protocol::Digest;

    fn held(starts: &[i64], end: i64, skipped: i64) -> Held {
        let next = |n: usize| starts.get(n + 1).copied().unwrap_or(end);
        let fragments = starts.iter().enumerate().map(|(n, &start)| Fragment {
            at: 100 + 1000 * n as u64,
            length: 1000,
            first: 300,
            start,
            duration: next(n) - start,
        });
        Held {
            times: Vec::new(),
            hz: 10,
            config: Digest::from_bytes(&[0; 32]),
            entry: (*b"avc1", Vec::new()),
            head: 100,
            skipped,
            fragments: fragments.collect(),
        }
    }

    #[test]
    fn segments_begin_where_all_renditions_can() {
        let one = held(&[2, 22, 42, 45, 62], 80, 2);
        // Its encoder holds back one frame less.
        let two = held(&[1, 21, 44, 61, 69], 79, 1);
        let found = boundaries(&[one.clone(), two], 20);
        assert_eq!(found, [0, 20, 43, 60]);
        let segments = cut(&one, &found);
        let seen: Vec<_> =
            segments.iter().map(|s| (s.at, s.length, s.start, s.duration, s.keys.len())).collect();
        assert_eq!(
            seen,
            [
                (100, 1000, 0, 20, 1),
                (1100, 2000, 20, 23, 2),
                (3100, 1000, 43, 17, 1),
                (4100, 1000, 60, 18, 1)
            ]
        );
        assert_eq!(segments[1].keys[1], Key { at: 1000, length: 300, duration: 3 });
    }

    #[test]
    fn close_key_frames_are_no_boundaries() {
        assert_eq!(boundaries(&[held(&[0, 4, 9, 10, 14, 20], 30, 0)], 20), [0, 10, 20]);
        assert_eq!(boundaries(&[held(&[], 30, 0)], 20), [0_i64; 0]);
    }

    #[test]
    fn priming_is_not_shown() {
        let starts = [0, 40, 80];
        let segments = cut(&held(&starts, 90, 1), &[-1, 39, 79]);
        let seen: Vec<_> = segments.iter().map(|s| (s.start, s.duration)).collect();
        assert_eq!(seen, [(0, 39), (39, 40), (79, 10)]);
        let track = Track { folder: "a0".into(), codec: "c".into(), hz: 10, head: 100, segments };
        assert_eq!((track.bit_rates(), track.duration()), ((8000, 2697), 89));
        assert!((track.end() - 8.9).abs() < 1e-9);
    }
}
