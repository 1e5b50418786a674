//! Windows of made-up indexes: what they must hold, whatever the source.

use proptest::prelude::*;

use kinora_protocol::Rational;
use kinora_protocol::task::Clock;

use super::*;

const HEAD: u64 = 1000;

fn index(packets: Vec<Packet>, layout: Layout, size: u64) -> PacketIndex {
    let source = Rational::new(1, 25).unwrap();
    let clock = Clock { source, hz: 25, start_us: 0, wraps: false, generate: false };
    PacketIndex { clock, size, packets, gops: vec![], config: [0; 16], layout }
}

/// Packets of 100 bytes after `HEAD`, 28 bytes of other streams between them, a key frame every `gop`.
fn steady(count: u64, gop: u64) -> (Vec<Packet>, u64) {
    let packet = |n: u64| {
        let pts = i64::try_from(n).unwrap();
        Packet::new(pts, Some(HEAD + n * 128), 100, n.is_multiple_of(gop))
    };
    ((0..count).map(packet).collect(), HEAD + count * 128)
}

fn mp4() -> Layout {
    Layout::Mp4 { structure: vec![Bytes { at: 0, len: HEAD }] }
}

fn places(window: &Window) -> Vec<(u64, u64, u64)> {
    window.segments.iter().map(|s| (s.at, s.from, s.len)).collect()
}

#[test]
fn an_mp4_window_is_sparse_and_seeks_two_key_frames_back() {
    let (packets, size) = steady(200, 10);
    let window = plan(&index(packets, mp4(), size), 105, 120, Preroll::Normal);
    // The key frame that shows at 105 is 100; two before is 80; packet 119 + 16 is the last.
    let (from, to) = (HEAD + 80 * 128, HEAD + 135 * 128 + 100);
    assert_eq!(window.seek, Some(80));
    assert_eq!(window.length, size);
    assert_eq!(places(&window), [(0, 0, 1100), (1128, 1128, 100), (from, from, to - from)]);
    assert!(window.source_serves(size));
}

#[test]
fn the_start_of_an_mp4_is_taken_without_holes_and_without_a_seek() {
    let (packets, size) = steady(200, 10);
    let window = plan(&index(packets, mp4(), size), 15, 20, Preroll::Normal);
    assert_eq!(window.seek, None);
    assert_eq!(places(&window), [(0, 0, HEAD + 35 * 128 + 100)]);
}

#[test]
fn an_open_gop_key_frame_that_shows_later_does_not_count() {
    // Decode order: key 12 comes before frame 10 and 11, which show first.
    let pts = [0, 4, 8, 12, 10, 11, 16, 14];
    let packets = pts
        .iter()
        .zip(0..)
        .map(|(&pts, n)| Packet::new(pts, Some(HEAD + n as u64 * 100), 100, [0, 4, 8, 12].contains(&pts)));
    let index = index(packets.collect(), mp4(), 5000);
    // At 10 the key frame shown is 8, and two before is 0; at 12 it is 12 itself.
    assert_eq!(plan(&index, 10, 12, Preroll::Normal).seek, None);
    assert_eq!(plan(&index, 12, 13, Preroll::Normal).seek, Some(4));
}

#[test]
fn gaps_are_spanned_by_a_free_box_or_a_void() {
    let (packets, size) = steady(200, 10);
    let moofs: Vec<u64> = (0..20).map(|n| HEAD + n * 1280 - 28).collect();
    let (from, to) = (moofs[8], moofs[14]);
    let fragmented = index(packets.clone(), Layout::Fragmented { head: 500, moofs }, size);
    let window = plan(&fragmented, 105, 120, Preroll::Normal);
    assert_eq!((window.length, window.seek), (to, None));
    assert_eq!(places(&window), [(0, 0, 500), (from, from, to - from)]);
    let mut header = vec![0, 0, 0, 1, b'f', b'r', b'e', b'e'];
    header.extend((from - 500).to_be_bytes());
    assert_eq!(window.patches, [Patch { at: 500, bytes: header }]);

    let clusters = (0..20).map(|n| Bytes { at: HEAD + n * 1280, len: 1280 }).collect();
    let matroska = index(packets, Layout::Matroska { head: HEAD, clusters }, size);
    let window = plan(&matroska, 105, 120, Preroll::Normal);
    let (from, to) = (HEAD + 8 * 1280, HEAD + 14 * 1280);
    assert_eq!(places(&window), [(0, 0, HEAD), (from, from, to - from)]);
    // 10240 bytes in all, of which nine are the header.
    assert_eq!(window.patches, [Patch { at: HEAD, bytes: vec![0xEC, 1, 0, 0, 0, 0, 0, 0x27, 0xF7] }]);
}

#[test]
fn a_transport_window_starts_with_its_tables() {
    let (packets, size) = steady(2000, 10);
    let tables = Layout::Transport { tables: vec![188, 376] };
    let window = plan(&index(packets, tables, size), 105, 120, Preroll::Normal);
    let (from, to) = (HEAD + 70 * 128, HEAD + 136 * 128 + 64 * 188);
    assert_eq!(places(&window), [(0, 188, 376), (376, from, to - from)]);
    assert_eq!(window.length, 376 + to - from);
}

#[test]
fn an_avi_window_needs_all_bytes_when_sound_lies_between() {
    let avi = Layout::Avi { head: HEAD - 8, seekable: true };
    let (packets, size) = steady(200, 10);
    let window = plan(&index(packets, avi.clone(), size), 105, 120, Preroll::Normal);
    assert_eq!((places(&window), window.seek), (vec![(0, 0, size)], Some(80)));

    let packet = |n: i64| Packet::new(n, Some(HEAD + n as u64 * 108), 100, n % 10 == 0);
    let window = plan(&index((0..200).map(packet).collect(), avi, 30_000), 105, 120, Preroll::Normal);
    let (from, to, end) = (HEAD + 80 * 108 - 8, HEAD + 135 * 108 + 100, HEAD + 199 * 108 + 100);
    assert_eq!(places(&window), [(0, 0, 1208), (from, from, to - from), (end, end, 30_000 - end)]);
}

#[test]
fn what_cannot_be_planned_takes_the_whole_file() {
    let (packets, size) = steady(200, 10);
    let whole = Window::whole(size);
    let opaque = index(packets.clone(), Layout::Opaque { reason: "test".to_owned() }, size);
    assert_eq!(plan(&opaque, 105, 120, Preroll::Normal), whole);
    let film = index(packets.clone(), mp4(), size);
    assert_eq!(plan(&film, 105, 120, Preroll::FromStart), whole);
    assert_eq!(plan(&film, 500, 600, Preroll::Normal), whole, "no frame there");
    assert_eq!(plan(&film, 120, 105, Preroll::Normal), whole, "the wrong way round");
    let avi = index(packets.clone(), Layout::Avi { head: 10, seekable: false }, size);
    assert_eq!(plan(&avi, 105, 120, Preroll::Normal), whole);
    let mut lost = packets;
    lost[100] = Packet::new(100, None, 100, true);
    assert_eq!(plan(&index(lost, mp4(), size), 105, 120, Preroll::Normal), whole, "a position is missing");
    assert_eq!(plan(&index(vec![], mp4(), size), 0, 1, Preroll::Normal), whole);
}

/// Any packets, in any order, near or far past the end of the file.
fn any_packets() -> impl Strategy<Value = Vec<Packet>> {
    let packet = (-50_i64..200, prop::option::weighted(0.98, 0_u64..40_000), 0_u32..3000, any::<bool>());
    prop::collection::vec(packet.prop_map(|(pts, pos, size, key)| Packet::new(pts, pos, size, key)), 0..120)
}

/// Packets as in a file: one after another, with some reordering.
fn file_packets() -> impl Strategy<Value = Vec<Packet>> {
    prop::collection::vec((1_u32..900, 0_u64..200, 0_i64..4, prop::bool::weighted(0.15)), 1..150).prop_map(
        |list| {
            let mut pos = HEAD;
            let parts = list.into_iter().zip(0_i64..).map(|((size, gap, late, key), n)| {
                let packet = Packet::new(2 * n + 2 * late, Some(pos + gap), size, key);
                pos += gap + u64::from(size);
                packet
            });
            parts.collect()
        },
    )
}

fn any_layout() -> impl Strategy<Value = Layout> {
    let offsets = || {
        prop::collection::vec(0_u64..40_000, 0..20).prop_map(|mut list| {
            list.sort_unstable();
            list.dedup();
            list
        })
    };
    let bytes = || {
        offsets().prop_map(|list| {
            list.windows(2).map(|pair| Bytes { at: pair[0], len: pair[1] - pair[0] }).collect::<Vec<_>>()
        })
    };
    prop_oneof![
        bytes().prop_map(|structure| Layout::Mp4 { structure }),
        (0_u64..2000, offsets()).prop_map(|(head, moofs)| Layout::Fragmented { head, moofs }),
        (0_u64..2000, bytes()).prop_map(|(head, clusters)| Layout::Matroska { head, clusters }),
        offsets().prop_map(|tables| Layout::Transport { tables }),
        (0_u64..2000, any::<bool>()).prop_map(|(head, seekable)| Layout::Avi { head, seekable }),
    ]
}

fn source_holds(window: &Window, at: u64, end: u64) -> bool {
    window.segments.iter().any(|s| s.from <= at && end <= s.from + s.len)
}

/// The same packets by the words of the rule, without the planner's shortcuts.
fn by_the_rule(packets: &[Packet], a: i64, b: i64, steps: usize) -> Option<(usize, usize)> {
    let first = packets.iter().position(|p| (a..b).contains(&p.pts))?;
    let keys: Vec<usize> = (0..packets.len()).filter(|&i| packets[i].is_key()).collect();
    let key = keys.iter().rposition(|&i| i <= first && packets[i].pts <= a);
    let start = key.and_then(|key| key.checked_sub(steps)).map_or(0, |key| keys[key]);
    let last = packets.iter().rposition(|p| p.pts < b)?;
    Some((start, (last + 16).min(packets.len() - 1)))
}

proptest! {
    #[test]
    fn any_window_is_well_formed(
        packets in any_packets(), layout in any_layout(), size in 1_u64..50_000, a in -60_i64..210, len in 0_i64..80,
    ) {
        let index = index(packets, layout, size);
        for preroll in [Preroll::Normal, Preroll::Deep, Preroll::FromStart] {
            let window = plan(&index, a, a + len, preroll);
            let mut end = 0;
            for segment in &window.segments {
                prop_assert!(segment.at >= end && segment.len > 0);
                end = segment.at + segment.len;
                prop_assert!(end <= window.length && segment.from + segment.len <= size);
            }
            for patch in &window.patches {
                prop_assert!(patch.at + patch.bytes.len() as u64 <= window.length);
                let over = |s: &Segment| s.at < patch.at + patch.bytes.len() as u64 && patch.at < s.at + s.len;
                prop_assert!(!window.segments.iter().any(over), "a patch hides bytes of the source");
            }
        }
    }

    #[test]
    fn every_needed_packet_is_there(packets in file_packets(), kind in 0..5, a in 0_i64..300, len in 1_i64..80) {
        let end = packets.iter().map(|p| p.pos().unwrap() + u64::from(p.size())).max().unwrap();
        let starts: Vec<u64> =
            packets.iter().step_by(7).map(|p| p.pos().unwrap()).chain([end]).collect();
        let clusters = starts.windows(2).map(|pair| Bytes { at: pair[0], len: pair[1] - pair[0] }).collect();
        let head = starts[0].min(HEAD);
        let layout = match kind {
            0 => mp4(),
            1 => Layout::Fragmented { head, moofs: starts[..starts.len() - 1].to_vec() },
            2 => Layout::Matroska { head, clusters },
            3 => Layout::Transport { tables: vec![0, 188] },
            _ => Layout::Avi { head, seekable: true },
        };
        let steps = if kind == 3 { 3 } else { 2 };
        let index = index(packets, layout, end);
        let window = plan(&index, a, a + len, Preroll::Normal);
        if let Some((start, last)) = by_the_rule(&index.packets, a, a + len, steps) {
            for packet in &index.packets[start..=last] {
                let at = packet.pos().unwrap();
                prop_assert!(source_holds(&window, at, at + u64::from(packet.size())));
            }
            let sought = (start > 0 && matches!(kind, 0 | 4)).then(|| index.packets[start].pts);
            prop_assert_eq!(window.seek, sought);
        }
    }

    #[test]
    fn more_preroll_never_needs_fewer_bytes(packets in file_packets(), avi in any::<bool>(), a in 0_i64..300, len in 1_i64..80) {
        let end = packets.iter().map(|p| p.pos().unwrap() + u64::from(p.size())).max().unwrap();
        let layout = if avi { Layout::Avi { head: HEAD, seekable: true } } else { mp4() };
        let index = index(packets, layout, end);
        let windows = [Preroll::Normal, Preroll::Deep, Preroll::FromStart].map(|p| plan(&index, a, a + len, p));
        for pair in windows.windows(2) {
            prop_assert!(pair[0].segments.iter().all(|s| source_holds(&pair[1], s.from, s.from + s.len)));
        }
    }
}
