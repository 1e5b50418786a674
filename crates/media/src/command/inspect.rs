//! ffprobe's argument lists, and ffmpeg's for looking at finished files.

use std::path::Path;

use super::{Args, Line, input};

fn ffprobe(path: &Path, words: &[&str]) -> Line {
    let mut args = Args::default();
    args.words(["-hide_banner", "-v", "error"]).words(words.iter().copied());
    input::guard(&mut args).words(["-i"]);
    args.reads(path);
    args.finish()
}

/// Container, streams, chapters.
pub fn facts(path: &Path) -> Line {
    ffprobe(path, &["-of", "json", "-show_format", "-show_streams", "-show_chapters"])
}

/// Side data of the first picture of a stream.
pub fn first_frame(path: &Path, stream: u32) -> Line {
    let stream = stream.to_string();
    ffprobe(
        path,
        &[
            "-of",
            "json",
            "-select_streams",
            &stream,
            "-read_intervals",
            "%+#1",
            "-show_frames",
            "-show_entries",
            "frame=side_data_list",
        ],
    )
}

/// Every packet of the first video stream that is no cover, with a checksum of its payload, and the stream's decoder
/// configuration.
pub fn packets(path: &Path, generate_times: bool) -> Line {
    let mut words = vec![
        "-of",
        "compact=print_section=1:nokey=0",
        "-select_streams",
        "V:0",
        "-show_data_hash",
        "murmur3",
        "-show_entries",
        "packet=pts,dts,flags,pos,size,data_hash:stream=index,extradata_hash",
    ];
    if generate_times {
        words.extend(["-fflags", "+genpts"]);
    }
    ffprobe(path, &words)
}

/// Times and flags of a finished video stream's packets.
pub fn written_packets(path: &Path) -> Line {
    ffprobe(
        path,
        &[
            "-of",
            "compact=print_section=1:nokey=0",
            "-select_streams",
            "v:0",
            "-show_entries",
            "packet=pts,flags:stream=time_base",
        ],
    )
}

/// Times and lengths of the packets of all sound streams, then what the streams are.
pub fn sound_packets(path: &Path) -> Line {
    ffprobe(
        path,
        &[
            "-of",
            "compact=print_section=1:nokey=0",
            "-select_streams",
            "a",
            "-show_entries",
            "packet=stream_index,pts_time,duration_time:stream=index,time_base",
        ],
    )
}

/// Decodes all sound streams and writes one `framecrc` line per frame to `out`.
pub fn decode_sound(path: &Path, out: &Path) -> Line {
    let mut args = input::prologue();
    args.words(["-y", "-max_error_rate", "1"]);
    input::decode_limits(&mut args);
    input::source(&mut args, path);
    args.words(["-map", "0:a", "-c:a", "pcm_s16le", "-f", "framecrc"]).writes(out);
    args.finish()
}

/// Decodes the first video stream and writes one `framecrc` line per frame to `out`.
pub fn decode(path: &Path, passthrough: [&'static str; 2], out: &Path) -> Line {
    let mut args = input::prologue();
    args.words(["-y", "-copyts"]);
    input::decode_limits(&mut args);
    input::source(&mut args, path);
    args.words(["-map", "0:v:0"]).words(passthrough).words(["-f", "framecrc"]).writes(out);
    args.finish()
}
