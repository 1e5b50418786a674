//! All sound of a source, encoded in one go: no priming gap can fall into the middle, and the offset to the picture stays.

use std::path::Path;

use kinora_plan::time;
use kinora_protocol::media::AudioFacts;
use kinora_protocol::recipe::AudioCodec;
use kinora_protocol::task::AudioSpec;

use super::{Args, Line, input};

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
    codec(&mut args, spec);
    args.words(["-map_metadata", "-1", "-map_chapters", "-1"]);
    args.words(["-movflags", "+empty_moov+default_base_moof+frag_discont", "-frag_duration", "10000000"]);
    args.words(["-use_editlist", "0", "-avoid_negative_ts", "disabled", "-f", "mp4"]).writes(out);
    args.finish()
}

fn codec(args: &mut Args, spec: &AudioSpec) {
    match spec.settings.codec {
        AudioCodec::Aac => {
            args.option("-c:a", "aac");
        }
        AudioCodec::Opus => {
            args.option("-c:a", "libopus");
            for (n, stream) in spec.streams.iter().enumerate() {
                opus_channels(args, n, stream);
            }
        }
        // These need no encoding; `jobs::expand` makes no audio task for them.
        AudioCodec::Copy | AudioCodec::None => {
            args.option("-c:a", "copy");
        }
    }
    if let Some(bits) = spec.settings.bitrate {
        args.option("-b:a", bits.to_string());
    }
}

/// libopus takes surround only in the layouts that Vorbis names, with back and not side speakers.
fn opus_channels(args: &mut Args, n: usize, stream: &AudioFacts) {
    let layout = match stream.layout.as_deref() {
        Some("5.1(side)") => Some("5.1"),
        Some("5.0(side)") => Some("5.0"),
        Some("quad(side)") => Some("quad"),
        Some("4.0" | "4.1") => Some("quad"),
        Some("6.1" | "6.1(back)" | "6.1(front)") => Some("6.1"),
        Some("7.1(wide)" | "7.1(wide-side)") => Some("7.1"),
        _ => None,
    };
    if let Some(layout) = layout {
        args.option(&format!("-filter:a:{n}"), format!("aformat=channel_layouts={layout}"));
    }
}
