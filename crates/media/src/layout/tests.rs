//! Layouts of made-up files, sound and hostile.

use std::io::Write;

use kinora_plan::layout::Bytes;

use super::*;

const MP4: &str = "mov,mp4,m4a,3gp,3g2,mj2";

fn layout(bytes: &[u8], format: &str) -> Layout {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    read(&mut file, format).unwrap()
}

fn is_opaque(layout: &Layout) -> bool {
    matches!(layout, Layout::Opaque { .. })
}

fn bx(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8).unwrap();
    [&size.to_be_bytes(), kind.as_slice(), body].concat()
}

/// A box whose header names a size of its own.
fn wide(kind: &[u8; 4], size: u64) -> Vec<u8> {
    [&1_u32.to_be_bytes(), kind.as_slice(), &size.to_be_bytes()].concat()
}

#[test]
fn mp4_structure_is_all_but_the_payload_of_mdat() {
    let bytes = [bx(b"ftyp", &[0; 8]), bx(b"mdat", &[1; 100]), bx(b"moov", &[2; 50])].concat();
    let structure = vec![Bytes { at: 0, len: 24 }, Bytes { at: 124, len: 58 }];
    assert_eq!(layout(&bytes, MP4), Layout::Mp4 { structure });

    // 64-bit size, cut off by the end of the file; and size 0, which means up to the end.
    for mdat in [wide(b"mdat", 1 << 40), [&0_u32.to_be_bytes(), b"mdat".as_slice(), &[0; 8]].concat()] {
        let bytes = [bx(b"moov", &[2; 50]), mdat.clone(), vec![0; 90]].concat();
        let header = if mdat[3] == 1 { 16 } else { 8 };
        let structure = vec![Bytes { at: 0, len: 58 + header }];
        assert_eq!(layout(&bytes, MP4), Layout::Mp4 { structure });
    }
}

#[test]
fn fragments_need_a_time_of_their_own() {
    let traf = |child: &[u8; 4]| bx(b"traf", &[bx(b"tfhd", &[0; 8]), bx(child, &[0; 8])].concat());
    let moof = |child| bx(b"moof", &[bx(b"mfhd", &[0; 8]), traf(child)].concat());
    let file = |child| {
        [bx(b"ftyp", &[0; 8]), bx(b"moov", &[0; 8]), bx(b"sidx", &[0; 8]), moof(child), bx(b"mdat", &[0; 9])]
            .concat()
    };
    assert_eq!(layout(&file(b"tfdt"), MP4), Layout::Fragmented { head: 32, moofs: vec![48] });
    assert!(is_opaque(&layout(&file(b"trun"), MP4)));
}

#[test]
fn hostile_boxes_end_the_walk() {
    let cases = [
        vec![],
        bx(b"mdat", &[0; 100]),
        [bx(b"moov", &[]), bx(b"moov", &[])].concat(),
        [bx(b"moof", &[]), bx(b"moov", &[])].concat(),
        vec![0xFF; 300],
        vec![0, 0, 0, 4, b'm', b'o', b'o', b'v'],
    ];
    for (number, bytes) in cases.iter().enumerate() {
        assert!(is_opaque(&layout(bytes, MP4)), "case {number}");
    }
    // A size that overflows, and one that is smaller than its header: what follows comes along.
    for bad in [wide(b"free", u64::MAX), wide(b"free", 3), vec![0, 0, 0, 2, 0, 0, 0, 0]] {
        let bytes = [bx(b"moov", &[0; 8]), bad].concat();
        let structure = vec![Bytes { at: 0, len: bytes.len() as u64 }];
        assert_eq!(layout(&bytes, MP4), Layout::Mp4 { structure });
    }
}

fn element(id: &[u8], body: &[u8]) -> Vec<u8> {
    let size = (body.len() as u64 | 1 << 56).to_be_bytes();
    [id, &size, body].concat()
}

const EBML: [u8; 4] = [0x1A, 0x45, 0xDF, 0xA3];
const SEGMENT: [u8; 4] = [0x18, 0x53, 0x80, 0x67];
const TRACKS: [u8; 4] = [0x16, 0x54, 0xAE, 0x6B];
const CLUSTER: [u8; 4] = [0x1F, 0x43, 0xB6, 0x75];
const UNKNOWN: [u8; 8] = [1, 255, 255, 255, 255, 255, 255, 255];

#[test]
fn matroska_clusters_are_found_and_a_cut_one_ends_with_the_file() {
    let clusters = [element(&CLUSTER, &[0; 30]), element(&CLUSTER, &[0; 40])].concat();
    let body = [element(&TRACKS, &[0; 10]), clusters].concat();
    let head = 12 + 12 + 22;
    for segment in [element(&SEGMENT, &body), [SEGMENT.as_slice(), &UNKNOWN, &body].concat()] {
        let bytes = [element(&EBML, &[]), segment].concat();
        let expected = |second| Layout::Matroska {
            head,
            clusters: vec![Bytes { at: head, len: 42 }, Bytes { at: head + 42, len: second }],
        };
        assert_eq!(layout(&bytes, "matroska,webm"), expected(52));
        assert_eq!(layout(&bytes[..bytes.len() - 7], "matroska,webm"), expected(45));
    }
}

#[test]
fn matroska_that_does_not_add_up_is_opaque() {
    let tracks = element(&TRACKS, &[0; 10]);
    let file = |body: &[u8]| [element(&EBML, &[]), element(&SEGMENT, body)].concat();
    let unknown_cluster = [CLUSTER.as_slice(), &UNKNOWN, &[0; 20]].concat();
    let two = [file(&[tracks.clone(), element(&CLUSTER, &[0; 9])].concat()), element(&EBML, &[])].concat();
    let cases = [
        vec![],
        element(&EBML, &[]),
        file(&[]),
        file(&tracks),
        file(&[element(&CLUSTER, &[0; 9]), tracks.clone()].concat()),
        file(&[tracks.clone(), unknown_cluster].concat()),
        file(&[tracks.clone(), element(&CLUSTER, &[0; 9]), vec![0; 50]].concat()),
        file(&[tracks, element(&[0x42, 0x86], &[0; 9])].concat()),
        two,
    ];
    for (number, bytes) in cases.iter().enumerate() {
        assert!(is_opaque(&layout(bytes, "matroska,webm")), "case {number}");
    }
}

fn ts(pid: u16, start: bool, payload: &[u8]) -> Vec<u8> {
    let high = u8::try_from(pid >> 8).unwrap() | if start { 0x40 } else { 0 };
    let mut packet = vec![0x47, high, u8::try_from(pid & 0xFF).unwrap(), 0x10];
    packet.extend_from_slice(payload);
    packet.resize(188, 0xFF);
    packet
}

fn section(table: u8, body: &[u8]) -> Vec<u8> {
    // Five bytes of header follow the length, and four of checksum end it.
    let len = u16::try_from(body.len() + 9).unwrap().to_be_bytes();
    [&[0, table, 0xB0 | len[0], len[1], 0, 1, 0xC1, 0, 0], body, &[0; 4]].concat()
}

#[test]
fn transport_tables_are_found_even_in_parts() {
    let pat = section(0, &[0, 0, 0xE0, 0x10, 0, 1, 0xE1, 0x00, 0, 2, 0xE1, 0x01]);
    let pmt = section(2, &[7; 300]);
    let other = || ts(0x50, true, &[0; 184]);
    let bytes = [
        other(),
        ts(0, true, &pat),
        other(),
        ts(0x100, false, &pmt[..184]),
        ts(0x100, true, &pmt[..184]),
        other(),
        ts(0x100, false, &pmt[184..]),
        ts(0x100, true, &pmt[..184]),
        other(),
    ]
    .concat();
    // The second programme is only named.
    let tables = |shift: u64| Layout::Transport { tables: [1, 4, 6].map(|n| n * 188 + shift).to_vec() };
    assert_eq!(layout(&bytes, "mpegts"), tables(0));
    assert_eq!(layout(&[vec![1; 77], bytes.clone()].concat(), "mpegts"), tables(77));
    let mut damaged = [other().repeat(8), bytes.clone()].concat();
    damaged.splice(188 * 11..188 * 11, [9; 21]);
    let shifted = Layout::Transport { tables: vec![9 * 188, 12 * 188 + 21, 14 * 188 + 21] };
    assert_eq!(layout(&damaged, "mpegts"), shifted);

    let wide: Vec<u8> = bytes.chunks(188).flat_map(|packet| [&[0; 4], packet].concat()).collect();
    for bytes in [vec![], vec![0x47; 20], wide, other().repeat(20)] {
        assert!(is_opaque(&layout(&bytes, "mpegts")));
    }
}

fn riff(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len()).unwrap();
    let mut bytes = [kind.as_slice(), &size.to_le_bytes(), body].concat();
    if body.len() % 2 == 1 {
        bytes.push(0);
    }
    bytes
}

fn list(kind: &[u8; 4], children: &[Vec<u8>]) -> Vec<u8> {
    riff(b"LIST", &[kind.as_slice(), &children.concat()].concat())
}

#[test]
fn avi_needs_one_part_and_one_index() {
    let header = |extra: Vec<u8>| list(b"hdrl", &[riff(b"avih", &[0; 56]), list(b"strl", &[extra])]);
    let movi = list(b"movi", &[riff(b"00dc", &[0; 33])]);
    let index = riff(b"idx1", &[0; 16]);
    let file = |parts: &[Vec<u8>]| riff(b"RIFF", &[b"AVI ".as_slice(), &parts.concat()].concat());
    let plain = header(riff(b"strh", &[0; 56]));
    let good = file(&[plain.clone(), movi.clone(), index.clone()]);
    let head = 12 + plain.len() as u64 + 12;
    assert_eq!(layout(&good, "avi"), Layout::Avi { head, seekable: false });
    let cases = [
        vec![],
        riff(b"RIFF", b"WAVE"),
        file(&[plain.clone(), movi.clone()]),
        file(&[plain, index.clone()]),
        file(&[header(riff(b"indx", &[0; 24])), movi, index]),
        [good, riff(b"RIFF", b"AVIX")].concat(),
    ];
    for (number, bytes) in cases.iter().enumerate() {
        assert!(is_opaque(&layout(bytes, "avi")), "case {number}");
    }
}

#[test]
fn other_formats_are_opaque() {
    assert!(is_opaque(&layout(b"anything", "mpeg")));
}

#[test]
fn noise_and_cut_files_never_panic() {
    let mut seed = 1_u64;
    let mut noise = |len: usize| -> Vec<u8> {
        (0..len)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (seed >> 56) as u8
            })
            .collect()
    };
    let good = [bx(b"ftyp", &[0; 8]), bx(b"moov", &[0; 40]), bx(b"moof", &[0; 60])].concat();
    for _ in 0..300 {
        let len = usize::from(noise(1)[0]);
        for start in [&[][..], &good, &EBML, &[0x47], b"RIFF\xFF\xFF\xFF\xFFAVI LIST"] {
            let bytes = [start, &noise(len)].concat();
            for format in [MP4, "matroska,webm", "mpegts", "avi"] {
                let _ = layout(&bytes, format);
            }
        }
    }
}
