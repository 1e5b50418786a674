//! The final container: joined video, sound, subtitles, chapters, attachments, tags, with the guard taken off again.

use std::fmt::Write as _;
use std::path::Path;

use kinora_plan::streams::subtitle_codec;
use kinora_plan::time::{self, GUARD_SECONDS};
use kinora_protocol::encode::VideoWork;
use kinora_protocol::media::{Stream, StreamKind, VideoFacts};
use kinora_protocol::recipe::{AudioCodec, Container};
use kinora_protocol::task::PackageSpec;

use super::chunk::colr;
use super::{Args, Line, input};

/// Where two chunks meet, decode times of B-frame streams may overlap by a few ticks.
pub const MONOTONE: &str = "setts=pts=PTS:dts=if(eq(N\\,0)\\,DTS\\,max(DTS\\,PREV_OUTDTS+1))";

/// Where the files are.
#[derive(Debug, Clone, Copy)]
pub struct PackagePaths<'a> {
    /// Joined video, if it was encoded.
    pub video: Option<&'a Path>,
    /// Encoded sound, if any.
    pub audio: Option<&'a Path>,
    /// The source.
    pub source: &'a Path,
    /// Chapters in ffmpeg's own format, where they are not the source's.
    pub chapters: Option<&'a Path>,
    /// The result.
    pub out: &'a Path,
}

/// Input numbers in the command line.
struct Inputs {
    video: usize,
    audio: usize,
    source: usize,
    chapters: usize,
}

/// The whole command.
pub fn mux(spec: &PackageSpec, paths: PackagePaths<'_>, version: (u32, u32)) -> Line {
    let mut args = input::prologue();
    args.words(["-y", "-copyts"]);
    let inputs = open(&mut args, spec, paths);
    let container = spec.settled.container;
    video(&mut args, spec, &inputs);
    audio(&mut args, spec, &inputs, version);
    let subtitles = subtitles(&mut args, spec, &inputs);
    if container == Container::Mkv {
        args.option("-map", format!("{}:t?", inputs.source)).option("-c:t", "copy");
    }
    metadata(&mut args, spec, &inputs, &subtitles);
    match container {
        Container::Mp4 | Container::Mov | Container::Hls | Container::M4a => {
            if paths.video.is_some() {
                args.option("-video_track_timescale", out_hz(spec).to_string());
            }
            let color = shown(spec).map(|(_, v)| v.color.clone()).unwrap_or_default();
            args.option("-movie_timescale", "90000");
            args.option("-movflags", format!("+faststart{}", colr(&color)));
            args.option("-write_tmcd", "0");
        }
        Container::Mkv | Container::Webm | Container::Mka | Container::Opus => {}
    }
    args.option("-f", muxer(container)).writes(paths.out);
    args.finish()
}

/// Ticks per second of the result's video.
pub fn out_hz(spec: &PackageSpec) -> i64 {
    spec.settled.video.encoded().and_then(|v| v.fps).map_or(spec.clock.hz, |rate| rate.num())
}

fn muxer(container: Container) -> &'static str {
    match container {
        // The tracks of a package are MP4.
        Container::Mp4 | Container::Hls => "mp4",
        Container::Mov => "mov",
        Container::Mkv | Container::Mka => "matroska",
        Container::Webm => "webm",
        // MP4 under the brand by which players know that it is sound.
        Container::M4a => "ipod",
        Container::Opus => "opus",
    }
}

fn open(args: &mut Args, spec: &PackageSpec, paths: PackagePaths<'_>) -> Inputs {
    let mut count = 0;
    let mut add = |args: &mut Args, path: Option<&Path>, guard: i64| {
        let Some(path) = path else { return usize::MAX };
        args.option("-itsoffset", time::us_text(-guard * 1_000_000));
        input::source(args, path);
        count += 1;
        count - 1
    };
    let video = add(args, paths.video, GUARD_SECONDS);
    let audio = add(args, paths.audio, spec.audio_guard);
    if spec.clock.generate {
        args.option("-fflags", "+genpts");
    }
    args.option("-itsoffset", time::us_text(-spec.clock.start_us));
    input::source(args, paths.source);
    let (source, mut chapters) = (count, count);
    if let Some(path) = paths.chapters {
        args.option("-protocol_whitelist", "file").words(["-f", "ffmetadata", "-i"]).reads(path);
        chapters += 1;
    }
    Inputs { video, audio, source, chapters }
}

/// The video stream of the source, where the result has one.
fn shown(spec: &PackageSpec) -> Option<(&Stream, &VideoFacts)> {
    match spec.settled.video {
        VideoWork::Encode(_) | VideoWork::Copy => spec.facts.video(),
        VideoWork::None => None,
    }
}

fn video(args: &mut Args, spec: &PackageSpec, inputs: &Inputs) {
    let Some((stream, _)) = shown(spec) else { return };
    match spec.settled.video {
        VideoWork::Encode(_) => {
            args.option("-map", format!("{}:v:0", inputs.video)).option("-c:v", "copy");
            args.option("-bsf:v", MONOTONE);
        }
        VideoWork::Copy | VideoWork::None => {
            args.option("-map", format!("{}:{}", inputs.source, stream.index)).option("-c:v", "copy");
        }
    }
}

/// Packets of encoded sound whose length is not known, which the last of a track may be: MP4 plays nothing of it then. Before
/// ffmpeg 5 nothing could say so.
fn lengths(spec: &PackageSpec, version: (u32, u32)) -> Option<String> {
    let seconds = match spec.settled.audio.codec {
        AudioCodec::Aac => "1024/SR",
        AudioCodec::Opus => "0.02",
        AudioCodec::Copy | AudioCodec::None => return None,
    };
    let needed = match spec.settled.container {
        Container::Mp4 | Container::Mov | Container::M4a => version >= (5, 0),
        Container::Mkv | Container::Webm | Container::Mka | Container::Opus | Container::Hls => false,
    };
    needed.then(|| format!("setts=duration=if(gt(DURATION\\,0)\\,DURATION\\,{seconds}/TB)"))
}

fn audio(args: &mut Args, spec: &PackageSpec, inputs: &Inputs, version: (u32, u32)) {
    match spec.settled.audio.codec {
        AudioCodec::None => {}
        AudioCodec::Copy => {
            args.option("-map", format!("{}:a?", inputs.source)).option("-c:a", "copy");
        }
        AudioCodec::Aac | AudioCodec::Opus if spec.audio.is_some() => {
            args.option("-map", format!("{}:a", inputs.audio)).option("-c:a", "copy");
            if let Some(lengths) = lengths(spec, version) {
                args.option("-bsf:a", lengths);
            }
        }
        AudioCodec::Aac | AudioCodec::Opus => {}
    }
}

/// Maps the subtitles that the container can hold; returns their streams in output order.
fn subtitles<'a>(args: &mut Args, spec: &'a PackageSpec, inputs: &Inputs) -> Vec<&'a Stream> {
    let mut kept = Vec::new();
    for stream in spec.facts.streams.iter().filter(|s| s.kind == StreamKind::Subtitle) {
        let Some(codec) = subtitle_codec(stream, spec.settled.container) else { continue };
        args.option("-map", format!("{}:{}", inputs.source, stream.index));
        args.option(&format!("-c:s:{}", kept.len()), codec);
        kept.push(stream);
    }
    kept
}

fn metadata(args: &mut Args, spec: &PackageSpec, inputs: &Inputs, subtitles: &[&Stream]) {
    let source = inputs.source;
    // Ogg has no tags of its own: those of the first sound are the file's.
    let tags = match spec.facts.audio().next().filter(|_| spec.facts.is_format("ogg")) {
        Some((stream, _)) => format!("{source}:s:{}", stream.index),
        None => source.to_string(),
    };
    // Where none of its own were found there are none: those of the source are not wanted.
    let chapters =
        if spec.settled.chapters && spec.chapters.is_empty() { -1 } else { inputs.chapters as i64 };
    args.option("-map_metadata", tags).option("-map_chapters", chapters.to_string());
    if let Some((stream, _)) = shown(spec) {
        args.option("-map_metadata:s:v:0", format!("{source}:s:{}", stream.index));
        args.option("-disposition:v:0", dispositions(stream));
    }
    if spec.settled.audio.codec != AudioCodec::None {
        for (n, (stream, _)) in spec.facts.audio().enumerate() {
            args.option(&format!("-map_metadata:s:a:{n}"), format!("{source}:s:{}", stream.index));
            args.option(&format!("-disposition:a:{n}"), dispositions(stream));
        }
    }
    for (n, stream) in subtitles.iter().enumerate() {
        args.option(&format!("-map_metadata:s:s:{n}"), format!("{source}:s:{}", stream.index));
        args.option(&format!("-disposition:s:{n}"), dispositions(stream));
    }
    if spec.settled.container == Container::Mkv {
        let attachments = spec.facts.streams.iter().filter(|s| s.kind == StreamKind::Attachment);
        for (n, stream) in attachments.enumerate() {
            args.option(&format!("-map_metadata:s:t:{n}"), format!("{source}:s:{}", stream.index));
        }
    }
}

/// Chapters in ffmpeg's own format.
pub fn chapters(starts_us: &[i64], end_us: i64) -> String {
    let mut text = ";FFMETADATA1\n".to_owned();
    let ends = starts_us.iter().skip(1).copied().chain([end_us]);
    for ((number, start), end) in (1..).zip(starts_us).zip(ends) {
        let (start, end) = ((*start).max(0), end.max(start + 1));
        let _ =
            writeln!(text, "[CHAPTER]\nTIMEBASE=1/1000000\nSTART={start}\nEND={end}\ntitle=Chapter {number}");
    }
    text
}

fn dispositions(stream: &Stream) -> String {
    // ffprobe's names, not a user's words; `attached_pic` would make a film a cover.
    let known: Vec<&str> = stream
        .dispositions
        .iter()
        .map(String::as_str)
        .filter(|d| *d != "attached_pic" && d.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        .collect();
    if known.is_empty() { "0".to_owned() } else { known.join("+") }
}
