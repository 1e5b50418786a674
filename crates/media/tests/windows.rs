//! The heart of splitting: every chunk decoded from its window has the frames and times of an unsplit decode, for real
//! clips with traps and for generated ones. It has its own small indexer and command lines, so that a mistake in the
//! product's cannot hide here.

#![expect(clippy::unwrap_used, reason = "a test says best by panicking where it went wrong")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use kinora_media::{layout, window};
use kinora_plan::index::{Packet, PacketIndex};
use kinora_plan::layout::Layout;
use kinora_plan::window::Planner;
use kinora_protocol::Rational;
use kinora_protocol::task::{Clock, Preroll, Window};

/// Frames past a chunk's end that are compared with the next chunk's first.
const SEAM: usize = 6;
const WRAP: i64 = 1 << 33;

/// Time in ticks and checksum of a decoded frame.
type Frame = (i64, String);

struct Clip {
    name: String,
    path: PathBuf,
    index: PacketIndex,
    /// All frames of one unsplit decode.
    reference: Vec<Frame>,
}

#[derive(Default)]
struct Tally {
    chunks: usize,
    moved: u64,
    /// Chunks that were wrong at first; all were flagged, and right from the whole file.
    repaired: usize,
    problems: Vec<String>,
}

fn run(program: &str, args: &[&OsStr]) -> String {
    let output = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// ffmpeg with the arguments as words; `@` stands for the path.
fn words<'a>(text: &'a str, path: &'a Path) -> Vec<&'a OsStr> {
    text.split_whitespace()
        .map(|word| if word == "@" { path.as_os_str() } else { OsStr::new(word) })
        .collect()
}

fn probe(path: &Path, generate: bool) -> serde_json::Value {
    let flags = if generate { "-fflags +genpts" } else { "" };
    let entries = "packet=pts,dts,flags,pos,size:stream=time_base:format=format_name";
    let text = format!("-v error {flags} -select_streams v:0 -show_entries {entries} -of json @");
    let json = run("ffprobe", &words(&text, path));
    serde_json::from_str(&json).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn indexed(path: &Path) -> PacketIndex {
    let missing = |facts: &serde_json::Value| {
        facts["packets"].as_array().is_some_and(|packets| packets.iter().any(|p| p["pts"].is_null()))
    };
    let mut facts = probe(path, false);
    let generate = missing(&facts);
    if generate {
        facts = probe(path, true);
    }
    let base: Rational = facts["streams"][0]["time_base"].as_str().unwrap().parse().unwrap();
    let number = |value: &serde_json::Value| value.as_str().and_then(|text| text.parse::<u64>().ok());
    let ticks = |value: &serde_json::Value| Some(value.as_i64()? * base.num());
    let packets: Vec<Packet> = facts["packets"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|p| !p["flags"].as_str().unwrap_or("").contains('D'))
        .map(|p| {
            let pts = ticks(&p["pts"]).or(ticks(&p["dts"])).unwrap();
            let size = number(&p["size"]).unwrap_or(0) as u32;
            let key = p["flags"].as_str().unwrap_or("").contains('K');
            Packet::new(pts, number(&p["pos"]), size, key)
        })
        .collect();
    let format = facts["format"]["format_name"].as_str().unwrap();
    let mut file = File::open(path).unwrap();
    let layout = match layout::read(&mut file, format).unwrap() {
        Layout::Avi { head, .. } => Layout::Avi { head, seekable: layout::seekable(&packets, generate) },
        other => other,
    };
    let wraps = format == "mpegts";
    PacketIndex {
        clock: Clock { source: base, hz: base.den(), start_us: 0, wraps, generate },
        size: file.metadata().unwrap().len(),
        packets,
        gops: vec![],
        config: [0; 16],
        layout,
    }
}

/// Frames by ffmpeg's framecrc, in ticks.
fn decoded(path: &Path, clock: &Clock, seek: Option<i64>, output: &str) -> Vec<Frame> {
    let generate = if clock.generate { "-fflags +genpts" } else { "" };
    let seek = seek.map_or(String::new(), |pts| {
        // Exact enough: ffmpeg takes microseconds.
        format!("-seek_timestamp 1 -ss {:.6}", pts as f64 / clock.hz as f64 + 0.0005)
    });
    let text = format!(
        "-v error -nostdin -max_error_rate 1 {generate} -copyts {seek} -i @ {output} -fps_mode passthrough \
         -enc_time_base {} -f framecrc -",
        clock.source
    );
    let out = run("ffmpeg", &words(&text, path));
    out.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            (fields[2].parse::<i64>().unwrap() * clock.source.num(), fields[5].to_owned())
        })
        .collect()
}

/// The hash branch of the worker's command line, for the frames in `[a, end)`.
fn branch(clock: &Clock, a: i64, end: i64) -> String {
    let (a, end) = (a / clock.source.num(), end.div_euclid(clock.source.num()));
    let graph = if clock.wraps {
        let half = WRAP / 2;
        let to = half + end - a;
        format!(
            "setpts=mod(PTS-({a})+{}\\,{WRAP}),trim=start_pts={half}:end_pts={to},setpts=PTS+({})",
            half * 5,
            a - half
        )
    } else {
        format!("trim=start_pts={a}:end_pts={end}")
    };
    format!("-filter_complex [0:v:0]{graph}[h] -map [h]")
}

fn opened(path: &Path) -> Clip {
    let index = indexed(path);
    let reference = decoded(path, &index.clock, None, "-map 0:v:0");
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    Clip { name, path: path.to_owned(), index, reference }
}

/// First times of chunks of about two seconds, and the end of the last.
fn cuts(index: &PacketIndex) -> Vec<i64> {
    let times = index.times();
    let after_key = index.packets.iter().find(|p| p.is_key()).map_or(i64::MIN, |p| p.pts);
    let mut cuts = vec![times[0]];
    for time in times.iter().copied().filter(|&time| time > after_key) {
        if time - cuts[cuts.len() - 1] >= 2 * index.clock.hz {
            cuts.push(time);
        }
    }
    cuts.push(times[times.len() - 1] + index.clock.source.num());
    cuts
}

impl Clip {
    /// Decodes `[a, end)` from a window that holds nothing but the planned bytes.
    fn through(&self, window: &Window, a: i64, end: i64) -> Vec<Frame> {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("window");
        window::build(&self.path, window, &out).unwrap();
        decoded(&out, &self.index.clock, window.seek, &branch(&self.index.clock, a, end))
    }

    /// What the unsplit decode has in `[a, end)`.
    fn expected(&self, a: i64, end: i64) -> Vec<Frame> {
        let near = |pts: i64| {
            if self.index.clock.wraps { a + (pts - a + WRAP / 2).rem_euclid(WRAP) - WRAP / 2 } else { pts }
        };
        let frames = self.reference.iter().map(|(pts, sum)| (near(*pts), sum.clone()));
        frames.filter(|(pts, _)| (a..end).contains(pts)).collect()
    }

    fn check(&self) -> Tally {
        let planner = Planner::new(&self.index);
        let times = self.index.times();
        let cuts = cuts(&self.index);
        let mut tally = Tally::default();
        let mut tail_before: Vec<String> = vec![];
        for pair in cuts.windows(2) {
            let &[a, b] = pair else { unreachable!() };
            let after = times.partition_point(|&time| time < b) + SEAM;
            let end = times.get(after).copied().unwrap_or(cuts[cuts.len() - 1]).max(b);
            let window = planner.window(a, b, Preroll::Normal);
            tally.chunks += 1;
            tally.moved += window.bytes();
            let expected = self.expected(a, end);
            let got = self.through(&window, a, end);
            let inside: Vec<&Frame> = got.iter().filter(|(pts, _)| *pts < b).collect();
            let planned: Vec<i64> = times.iter().copied().filter(|time| (a..b).contains(time)).collect();
            let counted = inside.iter().map(|(pts, _)| *pts).eq(planned.iter().copied());
            let seam = inside.iter().zip(&tail_before).all(|((_, sum), before)| sum == before);
            if got != expected {
                let whole = planner.window(a, b, Preroll::FromStart);
                let again = self.through(&whole, a, end);
                let flagged = !counted || !seam;
                if flagged && again == expected {
                    tally.repaired += 1;
                } else {
                    let differ = expected.iter().filter(|frame| !got.contains(frame)).count();
                    tally.problems.push(format!(
                        "{}: [{a}, {b}) has {} frames for {}, {differ} differ; flagged {flagged}, whole file right {}",
                        self.name,
                        got.len(),
                        expected.len(),
                        again == expected,
                    ));
                }
            }
            // What this chunk itself decoded, not the truth: two chunks can be wrong in the same way.
            tail_before = got.into_iter().filter(|(pts, _)| *pts >= b).map(|(_, sum)| sum).collect();
        }
        tally
    }
}

fn check_all(clips: &[PathBuf]) {
    let mut problems = vec![];
    let mut exact = 0;
    for path in clips {
        let clip = opened(path);
        assert!(!clip.reference.is_empty(), "{}: nothing decoded", clip.name);
        let tally = clip.check();
        let size = clip.index.size as f64;
        let kind = format!("{:?}", clip.index.layout);
        eprintln!(
            "{:34} {:11} {:2} chunks, {:5} frames, moved {:5.1} % of the file per chunk, {:5.1} % in all{}{}",
            clip.name,
            kind.split([' ', '{']).next().unwrap_or(""),
            tally.chunks,
            clip.reference.len(),
            100.0 * tally.moved as f64 / size / tally.chunks as f64,
            100.0 * tally.moved as f64 / size,
            if tally.repaired > 0 {
                format!(", {} flagged and repaired", tally.repaired)
            } else {
                String::new()
            },
            if tally.problems.is_empty() { "" } else { ", WRONG" },
        );
        exact += usize::from(tally.problems.is_empty());
        problems.extend(tally.problems);
        let damaged = ["truncated", "corrupt"].iter().any(|word| clip.name.contains(word));
        if tally.repaired > 0 && !damaged {
            problems
                .push(format!("{}: {} chunks of a sound clip had to be repaired", clip.name, tally.repaired));
        }
    }
    eprintln!("{exact} of {} clips exact", clips.len());
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn real_clips_are_exact() {
    let folder = std::env::var_os("KINORA_SHARED_MEDIA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/media"), PathBuf::from);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("SKIPPED: no clips at {}; set KINORA_SHARED_MEDIA to their folder", folder.display());
        return;
    };
    let mut clips: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('d')))
        .collect();
    clips.sort();
    check_all(&clips);
}

/// Name and arguments of clips made from ten seconds of a test picture with a tone.
fn recipes() -> Vec<(&'static str, &'static str)> {
    vec![
        ("plain.mp4", "-c:v libx264 -preset veryfast -g 30 -bf 3 -c:a aac"),
        ("open_gop.mov", "-c:v libx264 -preset veryfast -g 30 -bf 3 -x264-params open-gop=1 -c:a pcm_s16le"),
        ("long_gop.mkv", "-c:v libx264 -preset veryfast -g 70 -bf 3 -x264-params open-gop=1 -c:a aac"),
        ("short_clusters.mkv", "-c:v libx264 -preset veryfast -g 20 -bf 2 -c:a aac -cluster_time_limit 200"),
        (
            "fragments.mp4",
            "-c:v libx264 -preset veryfast -g 20 -bf 3 -c:a aac -movflags +frag_keyframe+empty_moov",
        ),
        (
            "segment_index.mp4",
            "-c:v libx264 -preset veryfast -g 20 -bf 3 -c:a aac \
             -movflags +frag_keyframe+empty_moov+default_base_moof+global_sidx",
        ),
        (
            "segment_indexes.mp4",
            "-c:v libx264 -preset veryfast -g 20 -bf 3 -c:a aac -movflags +frag_keyframe+dash",
        ),
        ("vp9.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 40 -c:a libopus"),
        ("live.webm", "-c:v libvpx -deadline realtime -cpu-used 8 -g 40 -an -live 1 -seekable 0"),
        ("interlaced.ts", "-c:v mpeg2video -g 12 -bf 2 -flags +ildct+ilme -b:v 2M -c:a mp2"),
        ("wrap.ts", "-c:v libx264 -preset veryfast -g 25 -bf 2 -c:a aac -output_ts_offset 95438"),
        ("asp.avi", "-c:v mpeg4 -g 20 -b:v 1M -c:a mp3"),
        ("ntsc.avi", "-r 30000/1001 -c:v mpeg4 -g 20 -b:v 1M -an"),
        ("program.mpg", "-c:v mpeg2video -g 12 -bf 2 -b:v 2M -c:a mp2"),
    ]
}

fn made(folder: &Path) -> Vec<PathBuf> {
    let input = "-v error -nostdin -f lavfi -i testsrc2=size=320x180:rate=25:duration=10 \
                 -f lavfi -i sine=frequency=440:sample_rate=48000:duration=10 -shortest -pix_fmt yuv420p";
    let mut clips = vec![];
    for (name, args) in recipes() {
        let path = folder.join(name);
        run("ffmpeg", &words(&format!("{input} {args} @"), &path));
        clips.push(path);
    }
    // Copied from the middle of a group of pictures: an edit list hides packets that the decoder needs.
    let source = folder.join("plain.mp4");
    for (name, start) in [("edit_list.mp4", "1.3"), ("edit_list_late.mp4", "3.1")] {
        let path = folder.join(name);
        let mut args = words("-v error -nostdin -ss", &path);
        args.extend([OsStr::new(start), OsStr::new("-i"), source.as_os_str()]);
        args.extend(words("-c copy @", &path));
        run("ffmpeg", &args);
        clips.push(path);
    }
    clips
}

#[test]
fn generated_clips_are_exact() {
    let folder = tempfile::tempdir().unwrap();
    let clips = made(folder.path());
    let kinds: BTreeMap<String, String> = clips
        .iter()
        .map(|path| {
            let kind = format!("{:?}", indexed(path).layout);
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, kind.split([' ', '{']).next().unwrap_or("").to_owned())
        })
        .collect();
    for (name, kind) in [
        ("plain.mp4", "Mp4"),
        ("open_gop.mov", "Mp4"),
        ("edit_list.mp4", "Mp4"),
        ("long_gop.mkv", "Matroska"),
        ("live.webm", "Matroska"),
        ("fragments.mp4", "Fragmented"),
        ("segment_index.mp4", "Fragmented"),
        ("interlaced.ts", "Transport"),
        ("asp.avi", "Avi"),
        ("program.mpg", "Opaque"),
    ] {
        assert_eq!(kinds.get(name).map(String::as_str), Some(kind), "{name}");
    }
    check_all(&clips);
}
