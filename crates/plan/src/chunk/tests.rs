//! Properties of cuts: whatever the source, every frame is in exactly one chunk.

use kinora_protocol::Rational;
use kinora_protocol::task::Clock;
use proptest::prelude::*;

use super::*;
use crate::index::{Gop, Packet};
use crate::layout::Layout;

fn index(times: &[(i64, bool)], hz: i64, start_us: i64) -> PacketIndex {
    PacketIndex {
        clock: Clock { source: Rational::new(1, hz).unwrap(), hz, start_us, wraps: false, generate: false },
        size: 1 << 20,
        packets: times.iter().map(|(t, key)| Packet::new(*t, Some(0), 100, *key)).collect(),
        gops: vec![Gop { first: 0, digest: [0; 16] }],
        config: [0; 16],
        layout: Layout::Opaque { reason: "made up".to_owned() },
    }
}

/// Irregular times, negative starts, repeated times, any pattern of key frames, decode order shuffled a little.
fn sources() -> impl Strategy<Value = (Vec<(i64, bool)>, i64, i64)> {
    let gaps = prop::collection::vec((0_i64..2000, prop::bool::weighted(0.15)), 1..300);
    let hz = prop::sample::select(vec![25_i64, 600, 1000, 12_800, 30_000, 90_000, 23_040_000]);
    (gaps, -500_000_i64..500_000, hz, any::<u8>()).prop_map(|(gaps, start, hz, swap)| {
        let mut at = start;
        let mut times: Vec<(i64, bool)> = gaps
            .into_iter()
            .map(|(gap, key)| {
                at += gap;
                (at, key)
            })
            .collect();
        times[0].1 = true;
        let step = usize::from(swap % 5) + 2;
        for i in (1..times.len().saturating_sub(1)).step_by(step) {
            times.swap(i, i + 1);
        }
        (times, hz, start)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_frame_is_in_exactly_one_chunk(
        (times, hz, start) in sources(),
        count in 1_u32..40,
        scenes in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        keys in prop::sample::select(vec![KeyFrames::Often, KeyFrames::AtScenes, KeyFrames::Every(7)]),
    ) {
        let index = index(&times, hz, start);
        let timeline = Timeline::new(&index, None);
        let wished = timeline.wished(count);
        let timeline = timeline.cut_for(keys, &wished);
        let sorted = timeline.times().to_vec();
        let mut scenes: Vec<i64> = scenes.iter().map(|i| sorted[i.index(sorted.len())]).collect();
        scenes.sort_unstable();
        let chunks = timeline.split(&timeline.cuts(&wished, &scenes));
        prop_assert!(chunks.len() < 2 * count as usize);
        let first_key = index.packets.iter().filter(|p| p.is_key()).map(|p| p.pts).min().unwrap();
        let mut covered = 0;
        for (n, chunk) in chunks.iter().enumerate() {
            let inside = sorted.iter().filter(|t| **t >= chunk.a && **t < chunk.b).count() as u64;
            prop_assert!(inside > 0, "chunk {n} is empty");
            prop_assert_eq!(inside, chunk.frames.count());
            prop_assert_eq!(inside, chunk.expect.source_frames);
            prop_assert_eq!(chunk.frames.start, covered);
            prop_assert!(chunk.seam_end >= chunk.b);
            prop_assert!(n == 0 || chunk.a > first_key);
            covered = chunk.frames.end;
        }
        prop_assert_eq!(covered, sorted.len() as u64);
        for pair in chunks.windows(2) {
            prop_assert_eq!(pair[0].b, pair[1].a);
        }
    }

    #[test]
    fn a_constant_rate_has_every_output_frame_once(
        (times, hz, start) in sources(),
        count in 1_u32..20,
        rate in prop::sample::select(vec![(24, 1), (25, 1), (30_000, 1001), (60, 1), (5, 2)]),
        keys in prop::sample::select(vec![KeyFrames::Often, KeyFrames::AtScenes, KeyFrames::Every(7)]),
    ) {
        let index = index(&times, hz, start * 1000 / hz);
        let rate = Rational::new(rate.0, rate.1).unwrap();
        let whole = Timeline::new(&index, Some(rate));
        let unsplit = whole.split(&[]);
        let wished = whole.wished(count);
        let whole = whole.cut_for(keys, &wished);
        let chunks = whole.split(&whole.cuts(&wished, &[]));
        let mut covered = 0;
        for chunk in &chunks {
            prop_assert_eq!(chunk.frames.start, covered);
            prop_assert!(chunk.frames.count() > 0);
            covered = chunk.frames.end;
        }
        prop_assert_eq!(covered, unsplit[0].frames.end);
    }
}

#[test]
fn a_cut_goes_to_the_scene_change_in_reach() {
    let times: Vec<(i64, bool)> = (0..400).map(|n| (n * 512, n % 50 == 0)).collect();
    let index = index(&times, 12_800, 0);
    let timeline = Timeline::new(&index, None);
    let wished = timeline.wished(4);
    assert_eq!(wished, [51_200, 102_400, 153_600]);
    // One scene within a second, one out of reach, none for the last, which takes the key frame there.
    let scenes = [51_200 + 512 * 7, 102_400 + 512 * 40];
    assert_eq!(timeline.cuts(&wished, &scenes), [107, 200, 300]);
    // An encoder that puts key frames at scene changes only is worth a longer way.
    let far = timeline.cut_for(KeyFrames::AtScenes, &wished);
    assert_eq!(far.cuts(&wished, &scenes), [107, 240, 350], "the next is wished from there");
    assert_eq!(far.cuts(&wished, &[100 * 512, 200 * 512, 300 * 512 - 512]), [100, 200, 299]);
    assert_eq!(far.cuts(&wished, &[140 * 512, 270 * 512]), [140, 270], "what is left is less than a third");
}

#[test]
fn a_cut_goes_where_the_encoder_has_a_key_frame_anyway() {
    let times: Vec<(i64, bool)> = (0..1650).map(|n| (n * 512, n % 50 == 0)).collect();
    let index = index(&times, 12_800, 0);
    let cuts = |count: u32, interval: u64, fps: Option<Rational>| {
        let timeline = Timeline::new(&index, fps);
        let wished = timeline.wished(count);
        timeline.cut_for(KeyFrames::Every(interval), &wished).cuts(&wished, &[700 * 512])
    };
    assert_eq!(cuts(7, 161, None), [322, 644, 966, 1288], "what is left is 362, so it is one chunk");
    assert_eq!(cuts(5, 161, None), [322, 644, 966, 1288]);
    assert_eq!(cuts(6, 128, None), [256, 512, 768, 1024, 1280, 1536], "the last is more than a third");
    // Twice the frames come out: 322 of them are 161 of the source.
    assert_eq!(cuts(10, 161, Rational::new(50, 1)), [161, 322, 483, 644, 805, 966, 1127, 1288, 1449]);
    // Much shorter chunks were wished than there are key frames.
    assert_eq!(cuts(33, 161, None).len(), 32);
}

#[test]
fn irregular_key_frames_are_scene_changes() {
    let keys = [0, 250, 500, 612, 750, 1000];
    let times: Vec<(i64, bool)> = (0..1100).map(|n| (n * 512, keys.contains(&n))).collect();
    let timeline = Timeline::new(&index(&times, 12_800, 0), None);
    assert_eq!(timeline.irregular_keys(), [612 * 512, 750 * 512]);
    let regular: Vec<(i64, bool)> = (0..1100).map(|n| (n * 512, n % 50 == 0)).collect();
    assert_eq!(Timeline::new(&index(&regular, 12_800, 0), None).irregular_keys(), [0_i64; 0]);
}
