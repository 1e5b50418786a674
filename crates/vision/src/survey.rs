//! What the measures of a whole film come to.

use kinora_protocol::survey::{Measured, Survey, Wanted};

use crate::{cuts, path, story, tones, tracks};

/// A path is smoothed over so many frames at the most: a file may say that thousands are shown in a second.
const MOST_STEADY: f64 = 600.0;

/// Of all frames in order; `hz` is ticks a second, `size` that of what was measured.
pub fn of(frames: &[Measured], hz: i64, (width, height): (u32, u32), wanted: Wanted) -> Survey {
    let cuts = cuts::find(frames);
    let mut survey = Survey { cuts, ..Survey::default() };
    if wanted.chapters {
        survey.chapters = story::chapters(frames, &survey.cuts, hz);
    }
    if wanted.tones {
        let scenes = path::scenes(frames, &survey.cuts);
        let of = |scene: &&[Measured]| scene.first().map(|first| tones::correction(first.at, scene));
        survey.corrections = scenes.iter().filter_map(of).collect();
    }
    if wanted.objects {
        survey.objects = tracks::follow(frames, &survey.cuts);
    }
    if let Some(smoothing_ms) = wanted.motion {
        let steady = (f64::from(smoothing_ms) / 1000.0 * rate(frames, hz)).min(MOST_STEADY);
        let height = f64::from(height) / f64::from(width.max(1));
        survey.poses = path::poses(frames, &survey.cuts, steady, height);
    }
    survey
}

/// Frames a second, on the whole.
fn rate(frames: &[Measured], hz: i64) -> f64 {
    let span = frames.last().zip(frames.first()).map_or(0, |(last, first)| last.at - first.at);
    (frames.len() as f64 - 1.0) * hz as f64 / span.max(1) as f64
}
