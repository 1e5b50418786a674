//! What ffmpeg writes and reads of NUT, against what we do.

use std::io::Write as _;
use std::process::{Command, Stdio};

use kinora_protocol::Rational;

use super::*;

fn ffmpeg(args: &str, input: &[u8]) -> Vec<u8> {
    tool("ffmpeg", &format!("-y {args}"), input)
}

fn tool(program: &str, args: &str, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(["-v", "error"])
        .args(args.split(' '))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || pipe.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = feeder.join();
    assert!(output.status.success(), "{args}");
    output.stdout
}

/// ffmpeg's names and tags of formats.
const FORMATS: [(&str, [u8; 4], usize); 5] = [
    ("gray", *b"Y800", 1),
    ("yuv420p", *b"I420", 3),
    ("yuv422p10le", [b'Y', b'3', 10, 10], 8),
    ("yuv420p10le", [b'Y', b'3', 11, 10], 6),
    ("yuv444p", *b"444P", 6),
];

fn read(bytes: &[u8], piece: usize) -> (Vec<Picture>, Reader) {
    let mut reader = Reader::new(1 << 24);
    let pictures = bytes.chunks(piece).flat_map(|piece| reader.push(piece).unwrap()).collect();
    (pictures, reader)
}

#[test]
fn what_ffmpeg_writes_is_read() {
    for (format, tag, _) in FORMATS {
        // Times that no rate explains.
        let graph = format!(
            "testsrc2=s=64x36:r=25:d=1,settb=1/90000,setpts=N*3600+mod(N*N*37\\,1500),format={format}"
        );
        let source =
            format!("-f lavfi -i {graph} -fps_mode passthrough -enc_time_base 1/90000 -c:v rawvideo");
        let nut = ffmpeg(&format!("{source} -f nut -"), b"");
        let raw = ffmpeg(&format!("{source} -f rawvideo -"), b"");
        for piece in [1, 1_000, nut.len()] {
            let (pictures, reader) = read(&nut, piece);
            assert!(reader.is_done());
            assert_eq!((reader.unit(), reader.tag()), (Rational::new(1, 90_000), Some(tag)), "{format}");
            let times: Vec<i64> = pictures.iter().map(|p| p.pts).collect();
            let wanted: Vec<i64> = (0..25).map(|n| n * 3_600 + n * n * 37 % 1_500).collect();
            assert_eq!(times, wanted, "{format}");
            assert_eq!(pictures.iter().flat_map(|p| p.bytes.clone()).collect::<Vec<u8>>(), raw, "{format}");
        }
    }
}

#[test]
fn ffmpeg_reads_what_is_written() {
    for (format, tag, halves) in FORMATS {
        let length = 64 * 36 * halves.max(2) / 2;
        let length = if halves == 1 { 64 * 36 } else { length };
        let unit = Rational::new(1001, 24_000).unwrap();
        let (mut writer, mut bytes) = Writer::begin(tag, (64, 36), unit, Rational::new(30_000, 1001));
        let times = [0, 1, 2, 50, 51, 100_000, 4_000_000_000];
        for (n, pts) in (0_u8..).zip(times) {
            bytes.extend(writer.frame(pts, length));
            bytes.extend(vec![n; length]);
        }
        let told = ffmpeg(
            "-f nut -copyts -i - -fps_mode passthrough -enc_time_base 1001/24000 -c:v rawvideo -f framecrc -",
            &bytes,
        );
        let told = String::from_utf8(told).unwrap();
        let frames: Vec<(i64, usize)> = told
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| {
                let fields: Vec<&str> = line.split(',').map(str::trim).collect();
                (fields[2].parse().unwrap(), fields[4].parse().unwrap())
            })
            .collect();
        assert_eq!(frames, times.map(|pts| (pts, length)), "{format}\n{told}");
        let (pictures, reader) = read(&bytes, 777);
        assert!(reader.is_done() && reader.unit() == Some(unit));
        assert_eq!(pictures.iter().map(|p| p.pts).collect::<Vec<_>>(), times);
        let told = tool("ffprobe", "-f nut -show_entries stream=r_frame_rate -of csv=p=0 -", &bytes);
        assert_eq!(String::from_utf8(told).unwrap().trim(), "30000/1001", "whatever the times say");
    }
}

#[test]
fn garbage_is_told_as_that() {
    let (mut writer, mut bytes) = Writer::begin(*b"Y800", (8, 8), Rational::new(1, 25).unwrap(), None);
    bytes.extend(writer.frame(3, 64));
    bytes.extend([7; 64]);
    assert_eq!(read(&bytes, 5).0.len(), 1);
    // Each byte that is changed is found, or changes only the picture, or leaves it unfinished: nothing panics.
    for at in 0..bytes.len() {
        for change in [1, 0x80, 0xFF] {
            let mut bad = bytes.clone();
            bad[at] ^= change;
            let mut reader = Reader::new(1 << 12);
            let _ = reader.push(&bad);
        }
    }
    assert!(Reader::new(63).push(&bytes).is_err(), "a picture that is too great");
    assert!(Reader::new(64).push(b"RIFF0000AVI LIST00000000000").is_err());
}
