//! What ffmpeg is asked for to describe media: pictures, sampled frames, scenes with small pictures, sound. Times are those of
//! a player: from the start of the media.

use std::path::Path;

use kinora_protocol::describe::{Sampling, Size};

use super::input::{decode_limits, prologue, quiet, source as open};
use super::{Line, chunk, measure};

/// Frames of which the poster is the most ordinary one.
const POSTER_AMONG: u32 = 60;

fn seconds(us: i64) -> String {
    format!("{}.{:06}", us / 1_000_000, us.rem_euclid(1_000_000))
}

fn scaled(size: Size) -> String {
    // As readers of JPEGs take it: full range, and the matrix of BT.601.
    let Size { width, height } = size;
    format!("scale={width}:{height}:flags=bicubic:out_range=pc:out_color_matrix=bt601,setsar=1")
}

/// One JPEG of the frame at a time, or of the most ordinary one of the next frames.
pub fn thumbnail(source: &Path, stream: u32, at_us: i64, size: Size, poster: bool, out: &Path) -> Line {
    let mut args = prologue();
    decode_limits(&mut args);
    args.option("-ss", seconds(at_us));
    open(&mut args, source);
    // After scaling: all of them are kept until one is chosen.
    let pick = if poster { format!(",thumbnail={POSTER_AMONG}") } else { String::new() };
    args.option("-filter_complex", format!("[0:{stream}]{}{pick},format=yuvj420p[v]", scaled(size)));
    args.words(["-map", "[v]", "-frames:v", "1", "-c:v", "mjpeg", "-q:v", "3", "-f", "mjpeg", "-y"]);
    args.writes(out);
    args.finish()
}

/// Sampled frames as packed 8-bit RGB on standard output, one after the other.
pub fn samples(
    source: &Path,
    stream: u32,
    size: Size,
    sampling: Sampling,
    passthrough: [&'static str; 2],
) -> Line {
    let mut args = quiet();
    decode_limits(&mut args);
    let every = match sampling {
        Sampling::KeyFrames { every } => {
            args.option("-skip_frame", "nokey");
            every
        }
        Sampling::Frames { every } => every,
    };
    args.words(["-noautorotate"]);
    open(&mut args, source);
    let Size { width, height } = size;
    let graph = format!("[0:{stream}]select=not(mod(n\\,{every})),scale={width}:{height},format=rgb24[v]");
    args.option("-filter_complex", graph).words(["-map", "[v]"]).words(passthrough);
    args.words(["-f", "rawvideo", "pipe:1"]);
    args.finish()
}

/// All frames, small, to be measured, on standard output, timed in µs; those of them that are kept in sheets, JPEG after JPEG, in a
/// file, and their times in a `framecrc` report in another.
pub fn scenes(
    source: &Path,
    stream: u32,
    every_us: i64,
    (tile, grid): (Size, Size),
    passthrough: [&'static str; 2],
    (sheets, kept): (&Path, &Path),
) -> Line {
    let mut args = quiet();
    decode_limits(&mut args);
    args.words(["-max_error_rate", "1"]);
    open(&mut args, source);
    let every = seconds(every_us);
    let bucket = |time: &str| format!("floor({time}/{every})");
    let graph = format!(
        "[0:{stream}]split=2[whole][small];[whole]{}[all];\
         [small]select=isnan(prev_selected_t)+gt({}\\,{}),{},split=2[times][tiles];\
         [tiles]tile={}x{},format=yuvj420p[sheets]",
        measure::scaled((tile.width, tile.height), None),
        bucket("t"),
        bucket("prev_selected_t"),
        scaled(tile),
        grid.width,
        grid.height,
    );
    args.option("-filter_complex", graph).words(["-y"]);
    chunk::to_pipe(&mut args, "[all]", passthrough, 1_000_000);
    args.words(["-map", "[times]"]).words(passthrough).words(["-enc_time_base", "1/1000000"]);
    args.words(["-f", "framecrc"]).writes(kept);
    args.words(["-map", "[sheets]"]).words(passthrough).words(["-enc_time_base", "1/1000000"]);
    args.words(["-c:v", "mjpeg", "-q:v", "4", "-f", "mjpeg"]);
    args.writes(sheets);
    args.finish()
}

/// Interleaved 32-bit floats, in the byte order of most machines, on standard output.
pub fn sound(source: &Path, stream: u32, sample_rate: u32) -> Line {
    let mut args = quiet();
    args.words(["-max_error_rate", "1"]);
    decode_limits(&mut args);
    open(&mut args, source);
    args.option("-map", format!("0:{stream}")).option("-ar", sample_rate.to_string());
    args.words(["-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"]);
    args.finish()
}
