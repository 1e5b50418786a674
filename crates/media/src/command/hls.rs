//! The tracks of an HLS package: one fragmented MP4 for each rendition and each sound, and WebVTT. How they are cut into files is
//! not known here.

use std::path::{Path, PathBuf};

use kinora_plan::time::{self, GUARD_SECONDS};
use kinora_protocol::task::PackageSpec;

use super::chunk::colr;
use super::{Args, Line, input, package};

/// A joined rendition with its times from the film's start, a fragment for each key frame.
pub fn video(spec: &PackageSpec, joined: &Path, out: &Path) -> Line {
    let mut args = shifted(joined, GUARD_SECONDS);
    args.option("-map", "0:v:0").option("-c:v", "copy").option("-bsf:v", package::MONOTONE);
    args.words(["-map_metadata", "-1", "-map_chapters", "-1", "-write_tmcd", "0"]);
    let color = spec.facts.video().map(|(_, v)| v.color.clone()).unwrap_or_default();
    // Later frames than the first are where they belong (tfdt); an edit list only hides what the order of B frames costs.
    let flags = "+frag_keyframe+delay_moov+default_base_moof+frag_discont";
    args.option("-movflags", format!("{flags}{}", colr(&color))).option("-use_editlist", "1");
    args.option("-video_track_timescale", package::out_hz(spec).to_string());
    args.option("-f", "mp4").writes(out);
    args.finish()
}

/// Where the sound begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// With the film or before: an edit list hides what is before, which is the encoder's priming.
    WithTheFilm,
    /// After the film's start.
    Later,
}

/// One stream of the encoded sound, in fragments of `segment_ms`.
pub fn audio(
    spec: &PackageSpec,
    sound: &Path,
    (stream, begins): (usize, Begins),
    segment_ms: u32,
    out: &Path,
) -> Line {
    let mut args = shifted(sound, spec.audio_guard);
    args.option("-map", format!("0:a:{stream}")).option("-c:a", "copy");
    args.words(["-map_metadata", "-1", "-map_chapters", "-1"]);
    let flags = match begins {
        Begins::WithTheFilm => "+delay_moov+default_base_moof",
        Begins::Later => "+delay_moov+default_base_moof+frag_discont",
    };
    args.option("-movflags", flags).option("-use_editlist", "1");
    args.option("-frag_duration", (u64::from(segment_ms) * 1000).to_string());
    args.option("-f", "mp4").writes(out);
    args.finish()
}

/// Streams of subtitles, each into a file of its own, in one look at the source.
pub fn subtitles(spec: &PackageSpec, source: &Path, files: &[(u32, PathBuf)]) -> Line {
    let mut args = input::prologue();
    // A cue that cannot be read is left out, as players leave it out.
    args.words(["-y", "-max_error_rate", "1", "-copyts"]);
    if spec.clock.generate {
        args.option("-fflags", "+genpts");
    }
    args.option("-itsoffset", time::us_text(-spec.clock.start_us));
    input::source(&mut args, source);
    for (stream, out) in files {
        args.option("-map", format!("0:{stream}"));
        args.words(["-map_metadata", "-1", "-map_chapters", "-1", "-c:s", "webvtt", "-f", "webvtt"])
            .writes(out);
    }
    args.finish()
}

/// A file whose times are `guard` seconds late, opened so that they are not.
fn shifted(path: &Path, guard: i64) -> Args {
    let mut args = input::prologue();
    args.words(["-y", "-copyts"]);
    args.option("-itsoffset", time::us_text(-guard * 1_000_000));
    input::source(&mut args, path);
    args
}
