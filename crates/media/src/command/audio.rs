//! All sound of a source, encoded in one go: no priming gap can fall into the middle, and the offset to the picture stays.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use kinora_plan::time;
use kinora_protocol::media::AudioFacts;
use kinora_protocol::recipe::AudioCodec;
use kinora_protocol::task::AudioSpec;

use super::{Args, Limit, Line, input};

/// The whole command.
pub fn encode(spec: &AudioSpec, source: &Path, out: &Path) -> Line {
    let mut args = input::prologue();
    args.words(["-y", "-max_error_rate", "1"]);
    if spec.generate {
        args.option("-fflags", "+genpts");
    }
    args.words(["-copyts"]);
    let offset = spec.guard_seconds * 1_000_000 - spec.start_us;
    args.option("-itsoffset", time::us_text(offset));
    input::decode_limits(&mut args);
    input::source(&mut args, source);
    args.words(["-map", "0:a"]);
    codec(&mut args, spec, |_| None);
    put(&mut args, out);
    args.finish()
}

fn put(args: &mut Args, out: &Path) {
    args.words(["-map_metadata", "-1", "-map_chapters", "-1"]);
    args.words(["-movflags", "+empty_moov+default_base_moof+frag_discont", "-frag_duration", "10000000"]);
    args.words(["-use_editlist", "0", "-avoid_negative_ts", "disabled", "-f", "mp4"]).writes(out);
}

/// The codec, with filters of each stream before it.
fn codec(args: &mut Args, spec: &AudioSpec, before: impl Fn(&AudioFacts) -> Option<String>) {
    match spec.settings.codec {
        AudioCodec::Aac => {
            args.option("-c:a", "aac");
        }
        AudioCodec::Opus => {
            args.option("-c:a", "libopus");
        }
        // These need no encoding; `jobs::expand` makes no audio task for them.
        AudioCodec::Copy | AudioCodec::None => {
            args.option("-c:a", "copy");
        }
    }
    for (n, stream) in spec.streams.iter().enumerate() {
        let channels = (spec.settings.codec == AudioCodec::Opus).then(|| opus_channels(stream)).flatten();
        let filters: Vec<String> = before(stream).into_iter().chain(channels).collect();
        if !filters.is_empty() {
            args.option(&format!("-filter:a:{n}"), filters.join(","));
        }
    }
    if let Some(bits) = spec.settings.bitrate {
        args.option("-b:a", bits.to_string());
    }
}

/// libopus takes surround only in the layouts that Vorbis names, with back and not side speakers.
fn opus_channels(stream: &AudioFacts) -> Option<String> {
    let layout = match stream.layout.as_deref() {
        Some("5.1(side)") => "5.1",
        Some("5.0(side)") => "5.0",
        Some("quad(side)") => "quad",
        Some("4.0" | "4.1") => "quad",
        Some("6.1" | "6.1(back)" | "6.1(front)") => "6.1",
        Some("7.1(wide)" | "7.1(wide-side)") => "7.1",
        _ => return None,
    };
    Some(format!("aformat=channel_layouts={layout}"))
}

/// What enhancements work at, in samples a second: the model that takes noise away was trained for it.
pub const WORK_RATE: u32 = 48_000;
/// Harmonics of mains hum that are taken out; above them speech hides it.
const HARMONICS: u32 = 8;

/// A stream from the start of the film to its end as interleaved floats on standard output, without hum. Where there is no sound,
/// there is silence: each sample has its place by its number alone.
pub fn samples(spec: &AudioSpec, n: usize, stream: &AudioFacts, source: &Path) -> Line {
    let mut args = input::silent();
    args.limit("-max_alloc", Limit::Allocation).words(["-max_error_rate", "1"]);
    if spec.generate {
        args.option("-fflags", "+genpts");
    }
    args.words(["-copyts"]);
    input::decode_limits(&mut args);
    input::source(&mut args, source);
    let first = i128::from(spec.start_us) * i128::from(WORK_RATE) / 1_000_000;
    let mut filters = format!("aresample={WORK_RATE}:async=1:first_pts={first}");
    if let Some(hum) = spec.settings.enhance.hum {
        for harmonic in (1..=HARMONICS).map(|k| k * hum) {
            // Narrow: what is not the mains stays.
            let _ = write!(filters, ",bandreject=f={harmonic}:width_type=h:w=4");
        }
    }
    args.option("-map", format!("0:a:{n}")).option("-af", filters);
    args.option("-ac", stream.channels.to_string());
    args.words(["-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"]);
    args.finish()
}

/// Such samples from standard input into a file, on demand with quiet speech as loud as loud speech.
pub fn keep(stream: &AudioFacts, speech: bool, out: &Path) -> Line {
    // Its progress shows that it is alive, where the system does not tell what a program reads.
    let mut args = input::prologue();
    args.words(["-y", "-protocol_whitelist", "pipe", "-f", "f32le"]);
    args.option("-ar", WORK_RATE.to_string()).option("-ac", stream.channels.to_string());
    args.words(["-i", "pipe:0"]);
    let mut filters: Vec<String> = Vec::new();
    filters.extend(
        stream.layout.as_deref().and_then(known_layout).map(|l| format!("aformat=channel_layouts={l}")),
    );
    if speech {
        filters.push("speechnorm=e=12.5:r=0.0001:l=1".to_owned());
    }
    if !filters.is_empty() {
        args.option("-af", filters.join(","));
    }
    // Without times of its own: samples count from the start.
    args.words(["-c:a", "pcm_f32le", "-rf64", "auto", "-f", "wav"]).writes(out);
    args.finish()
}

/// Layouts by ffmpeg's names; what it makes up for others depends on its version.
fn known_layout(name: &str) -> Option<&str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '(' | ')' | '-');
    (name.chars().all(plain) && !name.contains("channels")).then_some(name)
}

/// All streams, from files in which they begin with the film.
pub fn encode_prepared(spec: &AudioSpec, streams: &[PathBuf], out: &Path) -> Line {
    let mut args = input::prologue();
    args.words(["-y", "-copyts"]);
    for stream in streams {
        args.option("-itsoffset", time::us_text(spec.guard_seconds * 1_000_000));
        input::source(&mut args, stream);
    }
    for n in 0..streams.len() {
        args.option("-map", format!("{n}:a"));
    }
    codec(&mut args, spec, |stream| {
        let rate = (stream.sample_rate != WORK_RATE).then(|| format!("sample_rates={}", stream.sample_rate));
        // With speakers at the sides AAC describes the layout itself, which many players do not read.
        let layout = match stream.layout.as_deref() {
            Some("5.1(side)") => Some("channel_layouts=5.1".to_owned()),
            Some("5.0(side)") => Some("channel_layouts=5.0".to_owned()),
            _ => None,
        };
        let said: Vec<String> = rate.into_iter().chain(layout).collect();
        (!said.is_empty()).then(|| format!("aformat={}", said.join(":")))
    });
    put(&mut args, out);
    args.finish()
}
