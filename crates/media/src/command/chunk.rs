//! One chunk: decode from a window, cut to exact timestamps, checksum, filter, encode. See docs/media.md for why each
//! option is there.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use kinora_protocol::encode::{EncodeSettings, Encoder, PictureFilters};
use kinora_protocol::media::Color;
use kinora_protocol::recipe::VideoCodec;
use kinora_protocol::task::{ChunkSpec, Clock};

use super::{Args, Line, encoder, enhance, input};
use kinora_plan::pixel::PixelFormat;
use kinora_plan::time;

mod stages;

use stages::Stages;
pub use stages::Through;

/// Transport stream times live modulo 2^33; they are moved to the middle of the number line before they are compared.
const WRAP: i64 = 1 << 33;
const MIDDLE: i64 = 1 << 32;

/// Where a chunk's files are.
#[derive(Debug, Clone, Copy)]
pub struct ChunkPaths<'a> {
    /// The source or its window.
    pub input: &'a Path,
    /// The encoded chunk.
    pub chunk: &'a Path,
    /// Its other renditions, in their order.
    pub others: &'a [PathBuf],
    /// One line per source frame.
    pub frames: &'a Path,
}

/// Programs in a row, with models between them.
#[derive(Debug)]
pub struct Programs {
    /// The one that decodes; with no others, it encodes, too.
    pub first: Line,
    /// What frames go through on their way to the next program, and that program.
    pub rest: Vec<(Vec<Through>, Line)>,
}

/// The whole command.
pub fn encode(spec: &ChunkSpec, passthrough: [&'static str; 2], paths: ChunkPaths<'_>) -> Programs {
    let from = spec.seen().0;
    let source = format!(";[y]{}[h]", cut(&spec.clock, spec.a, (from, spec.seam_end), 0));
    let mut stages = stages::of(spec);
    let count = |args: &mut Args| {
        args.words(["-map", "[h]"]).words(passthrough);
        args.option("-enc_time_base", format!("1/{}", spec.clock.hz))
            .option("-f", "framecrc")
            .writes(paths.frames);
    };
    let write = |args: &mut Args| renditions(args, spec, passthrough, paths);
    if stages.rest.is_empty() {
        let mut args = input::prologue();
        hardware(&mut args, spec.encode.encoder);
        let mut args = begin(spec, paths.input, args);
        branches(&mut stages.first, spec);
        args.option("-filter_complex", stages.first + &source);
        write(&mut args);
        count(&mut args);
        return Programs { first: args.finish(), rest: Vec::new() };
    }
    let mut first = begin(spec, paths.input, input::quiet());
    first.option("-filter_complex", format!("{}[v]{source}", stages.first));
    pictures(&mut first, &stages.rest, passthrough);
    count(&mut first);
    in_a_row(first, stages, passthrough, |args, mut graph| {
        hardware(args, spec.encode.encoder);
        branches(&mut graph, spec);
        args.option("-filter_complex", graph);
        write(args);
    })
}

/// The programs after one that gives pictures to models; `last` is told the graph of the last one so far.
fn in_a_row(
    first: Args,
    stages: Stages,
    passthrough: [&'static str; 2],
    last: impl FnOnce(&mut Args, String),
) -> Programs {
    let mut programs = Programs { first: first.finish(), rest: Vec::new() };
    let mut rest = stages.rest.as_slice();
    while let Some(((models, filters), others)) = rest.split_first() {
        let mut args = if others.is_empty() { input::prologue() } else { input::quiet() };
        args.words(["-y", "-copyts"]);
        args.words(["-protocol_whitelist", "pipe", "-f", "nut", "-i", "pipe:0"]);
        let described = models.last().map(|through| enhance::described(&through.pass)).unwrap_or_default();
        let graph = format!("[0:v]null{described}{filters}");
        if others.is_empty() {
            last(&mut args, graph);
            programs.rest.push((models.clone(), args.finish()));
            break;
        }
        args.option("-filter_complex", graph + "[v]");
        pictures(&mut args, others, passthrough);
        programs.rest.push((models.clone(), args.finish()));
        rest = others;
    }
    programs
}

/// A program that reads the source.
fn begin(spec: &ChunkSpec, path: &Path, mut args: Args) -> Args {
    args.words(["-y", "-max_error_rate", "1"]);
    open(&mut args, &spec.clock, spec.window.seek, path);
    args
}

/// Pictures of `[v]` to standard output, for the first of these models.
fn pictures(args: &mut Args, rest: &[(Vec<Through>, String)], passthrough: [&'static str; 2]) {
    let hz = rest.first().and_then(|(models, _)| models.first()).map_or(1, |through| through.hz);
    to_pipe(args, "[v]", passthrough, hz);
}

/// Raw pictures to standard output, timed in `1/hz`.
pub(super) fn to_pipe(args: &mut Args, label: &str, passthrough: [&'static str; 2], hz: i64) {
    args.words(["-map", label]).words(passthrough).option("-enc_time_base", format!("1/{hz}"));
    // Chapters would come along, with a unit of time of their own.
    args.words(["-map_metadata", "-1", "-map_chapters", "-1", "-c:v", "rawvideo", "-f", "nut", "pipe:1"]);
}

/// All outputs.
fn renditions(args: &mut Args, spec: &ChunkSpec, passthrough: [&'static str; 2], paths: ChunkPaths<'_>) {
    rendition(args, spec, passthrough, ("[v]", &spec.encode, paths.chunk));
    let others = spec.ladder.iter().flat_map(|ladder| &ladder.others);
    for (n, (other, path)) in (1..).zip(others.zip(paths.others)) {
        rendition(args, spec, passthrough, (&format!("[v{n}]"), &other.encode, path));
    }
}

/// One output: a size of the chunk's frames.
fn rendition(
    args: &mut Args,
    spec: &ChunkSpec,
    passthrough: [&'static str; 2],
    (label, encode, path): (&str, &EncodeSettings, &Path),
) {
    let (hz, stretch) = (out_hz(spec), stretch(spec));
    args.option("-map", label).words(passthrough).option("-enc_time_base", format!("{stretch}/{hz}"));
    args.append(encoder::options(encode, spec.threads, stretch));
    if let Some(ladder) = &spec.ladder {
        // By the frames' times alone: the same in all renditions, whatever their encoders think of them.
        let seconds = f64::from(ladder.segment_ms) / 1000.0 * stretch as f64;
        let expression = format!("expr:if(isnan(prev_forced_t),1,gte(t-prev_forced_t,{seconds}))");
        args.option("-force_key_frames", expression);
    }
    if stretch > 1 {
        // The first only changes the unit, the second undoes the stretching in the finer one.
        args.option(
            "-bsf:v",
            format!("setts=time_base=1/{hz},setts=ts=TS/{stretch}:duration=DURATION/{stretch}"),
        );
    }
    args.words(["-map_metadata", "-1", "-map_chapters", "-1", "-write_tmcd", "0"]);
    args.option(
        "-movflags",
        format!("+frag_keyframe+empty_moov+default_base_moof+frag_discont{}", colr(&encode.color)),
    );
    args.words(["-use_editlist", "0", "-avoid_negative_ts", "disabled"]);
    args.option("-video_track_timescale", hz.to_string());
    args.option("-f", format_of(encode.encoder.codec())).writes(path);
}

/// A `colr` box where there is something to say: an empty one would claim limited range.
pub fn colr(color: &Color) -> &'static str {
    let said = color.space.is_some() || color.transfer.is_some() || color.primaries.is_some();
    if said { "+write_colr" } else { "-write_colr" }
}

/// Ticks per second of the chunk's own timestamps.
pub fn out_hz(spec: &ChunkSpec) -> i64 {
    spec.resample.map_or(spec.clock.hz, |r| r.rate.num())
}

/// How many times slower than it is the encoder sees the video: 1 but for very fine clocks.
fn stretch(spec: &ChunkSpec) -> i64 {
    kinora_plan::encoder::stretch(spec.encode.encoder, out_hz(spec))
}

/// The fragmented container that carries this codec between machines.
fn format_of(codec: VideoCodec) -> &'static str {
    match codec {
        // The MP4 muxer refuses these two; QuickTime's has the same fragments.
        VideoCodec::Ffv1 | VideoCodec::Prores => "mov",
        VideoCodec::H264
        | VideoCodec::Hevc
        | VideoCodec::Av1
        | VideoCodec::Vp9
        | VideoCodec::Copy
        | VideoCodec::None => "mp4",
    }
}

fn hardware(args: &mut Args, encoder: Encoder) {
    if matches!(encoder, Encoder::H264Vaapi | Encoder::HevcVaapi) {
        args.option("-vaapi_device", "/dev/dri/renderD128");
    }
}

/// Opens the source so that its own timestamps come through.
pub fn open(args: &mut Args, clock: &Clock, seek: Option<i64>, path: &Path) {
    if clock.generate {
        args.option("-fflags", "+genpts");
    }
    args.words(["-copyts"]);
    if let Some(ticks) = seek {
        // Half a millisecond more: the demuxer compares in its own unit and must not land one key frame early.
        let us = time::ticks_to_us(ticks, clock.hz) + 500;
        // An accurate seek would also drop frames before this time plus the file's start, which is none of ours.
        args.words(["-noaccurate_seek"]).option("-seek_timestamp", "1").option("-ss", time::us_text(us));
    }
    if clock.wraps {
        // Where a broadcast is damaged, what is shown in place of a picture depends on the timing of decoder threads: a plain
        // ffmpeg gives other pictures each time. One thread always gives the same.
        args.option("-threads", "1");
    }
    input::decode_limits(args);
    input::source(args, path);
}

/// The stage that gives every frame its time in ticks of `1/hz`, comparable with the plan's.
pub fn clocked(clock: &Clock, a: i64) -> String {
    let mut stage = String::new();
    if clock.source.num() != 1 {
        let _ = write!(stage, "settb=1/{},", clock.hz);
    }
    if clock.wraps {
        let _ = write!(stage, "setpts=mod(PTS-({a})+{}\\,{WRAP}),", 2 * WRAP + MIDDLE);
    }
    stage
}

/// Cuts to `[from, end)` and gives the frames their true times again, plus `shift`. `a` is what [`clocked`] was told.
pub fn cut(clock: &Clock, a: i64, (from, end): (i64, i64), shift: i64) -> String {
    if clock.wraps {
        let (from, to) = (MIDDLE + (from - a), MIDDLE + (end - a));
        format!("trim=start_pts={from}:end_pts={to},setpts=PTS+({})", a + shift - MIDDLE)
    } else {
        format!("trim=start_pts={from}:end_pts={end},setpts=PTS+({shift})")
    }
}

/// What makes a preview.
#[derive(Debug)]
pub struct Preview {
    /// What has to run before, and to its end: it keeps the frame as it is, where models are between the programs.
    pub before: Option<Line>,
    /// What makes the picture.
    pub programs: Programs,
}

/// The first frame of a chunk as it is, and beside it as it becomes, both in the size that it comes out, as a PNG. `aside` is where
/// it is kept as it is while models work on it.
pub fn before_and_after(
    spec: &ChunkSpec,
    passthrough: [&'static str; 2],
    (width, height): (u32, u32),
    path: &Path,
    (aside, out): (&Path, &Path),
) -> Preview {
    let seen =
        format!("trim=end_frame=1,scale={width}:{height}:flags=bicubic,setsar=1,setpts=0,format=rgb24");
    let before = format!("[y]{},{seen}", cut(&spec.clock, spec.a, (spec.a, spec.b), 0));
    let after = format!("{},{seen}[after]", filters(spec, &spec.filters, &spec.encode));
    let stages = stages::of(spec);
    let png = |args: &mut Args, graph: String, out: &Path| {
        args.option("-filter_complex", graph);
        args.words(["-map", "[v]", "-frames:v", "1", "-c:v", "png", "-f", "image2pipe"]).writes(out);
    };
    let mut first = begin(spec, path, input::prologue());
    if stages.rest.is_empty() {
        let graph = stages.first;
        png(&mut first, format!("{graph}{after};{before}[before];[before][after]hstack[v]"), out);
        let programs = Programs { first: first.finish(), rest: Vec::new() };
        return Preview { before: None, programs };
    }
    let clocked = clocked(&spec.clock, spec.a);
    png(&mut first, format!("[0:{}]{clocked}null[y];{before}[v]", spec.stream), aside);
    let mut decode = begin(spec, path, input::quiet());
    decode.option("-filter_complex", format!("{}[v];[y]nullsink", stages.first));
    pictures(&mut decode, &stages.rest, passthrough);
    let programs = in_a_row(decode, stages, passthrough, |args, graph| {
        input::source(args, aside);
        png(args, format!("{graph}{after};[1:v]{seen}[before];[before][after]hstack[v]"), out);
    });
    Preview { before: Some(first.finish()), programs }
}

/// The frames of the chunk on their ways to the encoders of its renditions.
fn branches(graph: &mut String, spec: &ChunkSpec) {
    let others = spec.ladder.as_ref().map_or(&[][..], |ladder| &ladder.others);
    if others.is_empty() {
        let _ = write!(graph, "{}[v]", filters(spec, &spec.filters, &spec.encode));
        return;
    }
    let _ = write!(graph, ",split={}[p]", others.len() + 1);
    for n in 1..=others.len() {
        let _ = write!(graph, "[p{n}]");
    }
    // The filters of a branch begin with the comma that is between filters.
    let _ = write!(graph, ";[p]null{}[v]", filters(spec, &spec.filters, &spec.encode));
    for (n, other) in (1..).zip(others) {
        let _ = write!(graph, ";[p{n}]null{}[v{n}]", filters(spec, &other.filters, &other.encode));
    }
}

/// Contrast and sharpening, of pictures that are in the encoder's format.
fn strengths(chain: &mut String, picture: &PictureFilters, encode: &EncodeSettings) {
    if let Some(thousandths) = picture.contrast {
        // By a table of the luma: `eq` takes 8 bits only, and the table's own idea of the range is the limited one for all but `yuvj`.
        let depth = PixelFormat::parse(&encode.pix_fmt).depth;
        let full = encode.color.range.as_deref() == Some("pc") || encode.pix_fmt.starts_with("yuvj");
        let (least, most) = match full {
            true => (0, (1_u32 << depth) - 1),
            false => (16 << depth.saturating_sub(8), 235 << depth.saturating_sub(8)),
        };
        let (factor, middle) = (f64::from(thousandths) / 1000.0, f64::from(least + most) / 2.0);
        let _ = write!(chain, ",lutyuv=y=clip((val-{middle})*{factor}+{}\\,{least}\\,{most})", middle + 0.5);
    }
    if let Some(thousandths) = picture.sharpen {
        let _ = write!(chain, ",unsharp=5:5:{}:5:5:0", f64::from(thousandths) / 1000.0);
    }
}

fn filters(spec: &ChunkSpec, picture: &PictureFilters, encode: &EncodeSettings) -> String {
    let mut chain = String::new();
    if let Some((width, height)) = picture.scale {
        let interlaced = match encode.scan {
            kinora_protocol::encode::Scan::Progressive => "0",
            _ => "1",
        };
        let _ = write!(
            chain,
            ",scale={width}:{height}:interl={interlaced}:flags=bicubic+accurate_rnd+full_chroma_int"
        );
    }
    if let Some(aspect) = picture.sample_aspect {
        let _ = write!(chain, ",setsar={aspect}");
    }
    let _ = write!(chain, ",format={}", encode.pix_fmt);
    if !picture.keep_samples() {
        strengths(&mut chain, picture, encode);
        let _ = write!(chain, ",format={}", encode.pix_fmt);
    }
    let (hz, stretch) = (out_hz(spec), stretch(spec));
    if stretch > 1 {
        let _ = write!(chain, ",settb=1/{hz},setpts=PTS*{stretch},settb={stretch}/{hz}");
    }
    if matches!(encode.encoder, Encoder::H264Vaapi | Encoder::HevcVaapi) {
        chain.push_str(",hwupload");
    }
    chain
}
