//! What ffmpeg is asked for to measure frames: all of a stretch, small, with luma and chroma in all values.

use std::path::Path;

use kinora_plan::time;
use kinora_protocol::task::{Levels, MeasureSpec};

use super::{Line, chunk, enhance, input};

/// What is added to the source's times, so that none is before 0.
pub fn zero(spec: &MeasureSpec) -> i64 {
    time::shift(spec.clock.start_us, spec.clock.hz)
}

/// Pictures of three planes of the same size to standard output.
pub fn pictures(spec: &MeasureSpec, passthrough: [&'static str; 2], source: &Path) -> Line {
    let mut args = input::quiet();
    args.words(["-max_error_rate", "1"]);
    chunk::open(&mut args, &spec.clock, spec.window.seek, source);
    let filters: String = spec.through.iter().map(|one| enhance::filters(one, spec.clock.hz)).collect();
    let graph = format!(
        "[0:{}]{}{}{filters},{}[all]",
        spec.stream,
        chunk::clocked(&spec.clock, spec.a),
        chunk::cut(&spec.clock, spec.a, spec.seen, zero(spec)),
        scaled(spec.size, Some(spec.levels)),
    );
    args.option("-filter_complex", graph);
    chunk::to_pipe(&mut args, "[all]", passthrough, spec.clock.hz);
    args.finish()
}

/// Filters to the three planes in which frames are measured; the filter's own idea of their levels where nobody says.
pub(super) fn scaled((width, height): (u32, u32), levels: Option<Levels>) -> String {
    let (from, after) = match levels {
        Some(Levels::Rgb) => (":out_color_matrix=bt709", ""),
        Some(Levels::Full) => (":in_range=full", ""),
        Some(Levels::Limited) => (":in_range=limited", ""),
        // Shades of gray are taken for all values, whatever is said.
        Some(Levels::LimitedGray) => ("", ",lutyuv=y=clip((val-16)*255/219\\,0\\,255)"),
        None => ("", ""),
    };
    format!("scale={width}:{height}:flags=area{from}:out_range=full,format=yuv444p{after}")
}
