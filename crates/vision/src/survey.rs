//! What the measures of a whole film come to.

use kinora_protocol::survey::{Measured, Survey, Wanted};

use crate::{cuts, path, story, tones, tracks};

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
        let steady = f64::from(smoothing_ms) / 1000.0 * hz as f64 / usual_gap(frames) as f64;
        let height = f64::from(height) / f64::from(width.max(1));
        survey.poses = path::poses(frames, &survey.cuts, steady, height);
    }
    survey
}

/// Ticks from a frame to the next, as most have it.
fn usual_gap(frames: &[Measured]) -> i64 {
    let mut gaps: Vec<i64> = frames
        .windows(2)
        .filter_map(|pair| match pair {
            [one, two] => Some(two.at - one.at),
            _ => None,
        })
        .collect();
    gaps.sort_unstable();
    gaps.get(gaps.len() / 2).copied().unwrap_or(1).max(1)
}
