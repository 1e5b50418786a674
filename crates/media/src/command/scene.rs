//! Scene changes in one stretch of a source.

use std::path::Path;

use kinora_protocol::task::{Clock, Stretch};

use super::input::silent;
use super::{Line, chunk};

/// Score from which a change counts as a cut (ffmpeg's documentation suggests 0.3 to 0.5).
const THRESHOLD: &str = "0.3";

/// Writes one `framecrc` line per first frame of a new scene to standard output, at its source time.
pub fn detect(
    clock: &Clock,
    stretch: &Stretch,
    stream: u32,
    passthrough: [&'static str; 2],
    source: &Path,
) -> Line {
    let mut args = silent();
    args.words(["-max_error_rate", "1"]);
    chunk::open(&mut args, clock, stretch.window.seek, source);
    let graph = format!(
        "[0:{stream}]{}{},scale=320:-2:flags=fast_bilinear,select=gt(scene\\,{THRESHOLD})[s]",
        chunk::clocked(clock, stretch.a),
        chunk::cut(clock, stretch.a, (stretch.a, stretch.b), 0),
    );
    args.option("-filter_complex", graph);
    args.words(["-map", "[s]"]).words(passthrough);
    args.option("-enc_time_base", format!("1/{}", clock.hz)).words(["-f", "framecrc", "pipe:1"]);
    args.finish()
}
