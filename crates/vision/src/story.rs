//! What a film is told in: chapters, and the parts of it that are worth to be seen first. Both begin and end with scenes.

use kinora_protocol::survey::{Highlight, Measured};

use crate::path::scenes;

/// A film has about so many chapters, where it has so many scenes.
const CHAPTERS: i64 = 12;
/// No chapter is shorter, and none has to be longer before the next may begin, in seconds.
const SHORTEST_CHAPTER: i64 = 5;
const LONGEST_WAIT: i64 = 300;
/// A fade through black tells more of a new chapter than any cut.
const FADED: u16 = 1000;
/// Brightness of such a scene's first frames, in thousandths.
const DARK: u16 = 150;

/// Highlights take up this part of a film at the most, and no more seconds than this.
const PART: i64 = 5;
const MOST_SECONDS: i64 = 60;
/// Nor is one longer or shorter.
const LONGEST: i64 = 6;
const SHORTEST: i64 = 1;

/// Times of the first frames of chapters in ticks, the film's first among them; nothing where it is too short for more than one.
/// `cuts` are the first frames of scenes.
pub fn chapters(frames: &[Measured], cuts: &[i64], hz: i64) -> Vec<i64> {
    let (Some(first), Some(last)) = (frames.first(), frames.last()) else { return Vec::new() };
    let apart = ((last.at - first.at) / CHAPTERS).clamp(SHORTEST_CHAPTER * hz, LONGEST_WAIT * hz);
    let mut by_weight: Vec<(u16, i64)> = cuts.iter().map(|cut| (weight(frames, *cut), *cut)).collect();
    by_weight.sort_by_key(|(weight, at)| (std::cmp::Reverse(*weight), *at));
    let mut found = vec![first.at];
    for (_, cut) in by_weight {
        if found.iter().all(|other| (cut - other).abs() >= apart) && last.at - cut >= apart / 2 {
            found.push(cut);
        }
    }
    found.sort_unstable();
    if found.len() > 1 { found } else { Vec::new() }
}

/// How much of a break a cut is.
fn weight(frames: &[Measured], cut: i64) -> u16 {
    let place = frames.partition_point(|frame| frame.at < cut);
    match frames.get(place) {
        Some(frame) if frame.bright < DARK => FADED,
        frame => frame.and_then(|frame| frame.change).unwrap_or(0),
    }
}

/// The parts in which most happens, in the order of the film: of each scene the one in which most moves. What is bright and colourful
/// counts, too.
pub fn highlights(frames: &[Measured], cuts: &[i64], hz: i64) -> Vec<Highlight> {
    let (Some(first), Some(last)) = (frames.first(), frames.last()) else { return Vec::new() };
    let gap = (last.at - first.at) / (frames.len() as i64 - 1).max(1);
    let mut parts: Vec<Highlight> =
        scenes(frames, cuts).into_iter().filter_map(|scene| liveliest(scene, hz, gap)).collect();
    parts.sort_by_key(|part| (std::cmp::Reverse(part.score), part.from));
    let mut left = ((last.at - first.at) / PART).min(MOST_SECONDS * hz);
    parts.retain(|part| {
        let fits = part.to - part.from <= left;
        left -= if fits { part.to - part.from } else { 0 };
        fits
    });
    parts.sort_by_key(|part| part.from);
    parts
}

/// The part of a scene in which most moves.
fn liveliest(scene: &[Measured], hz: i64, gap: i64) -> Option<Highlight> {
    let end = scene.last()?.at + gap;
    // What changes at a scene's first frames is the scene.
    let moves = |n: usize| scene.get(n).filter(|_| n > 1).and_then(|frame| frame.change).unwrap_or(0);
    let sums: Vec<u64> = (0..scene.len())
        .scan(0, |sum, n| {
            *sum += u64::from(moves(n));
            Some(*sum)
        })
        .collect();
    let until = |n: usize| n.checked_sub(1).and_then(|n| sums.get(n)).copied().unwrap_or(0);
    let mut best: Option<(u64, usize, usize)> = None;
    for (n, frame) in scene.iter().enumerate() {
        let past = scene.partition_point(|other| other.at < frame.at + LONGEST * hz);
        let whole = past < scene.len() || n == 0;
        let moved = until(past) - until(n);
        if whole && best.is_none_or(|(most, ..)| moved > most) {
            best = Some((moved, n, past));
        }
    }
    let (moved, n, past) = best?;
    let (from, to) = (scene.get(n)?.at, scene.get(past).map_or(end, |frame| frame.at));
    let mean = moved as f64 / (past - n).max(1) as f64;
    let of = |value: fn(&Measured) -> f64| {
        let part = scene.get(n..past).unwrap_or_default();
        part.iter().map(value).sum::<f64>() / part.len().max(1) as f64
    };
    let range =
        of(|frame| frame.tones.map_or(0.0, |tones| f64::from(tones.white - tones.black.min(tones.white))));
    let colour = of(|frame| frame.tones.map_or(0.0, |tones| f64::from(tones.colourful)));
    // Thirty thousandths a frame is a lot.
    let score = 600.0 * mean / (mean + 30.0) + 0.25 * range + 0.15 * (colour * 4.0).min(1000.0);
    (to - from >= SHORTEST * hz).then(|| Highlight { from, to, score: score.round() as u16 })
}

#[cfg(test)]
mod tests {
    use kinora_protocol::survey::Tones;

    use super::*;

    /// Ten frames a second; each scene with so many seconds and so much movement.
    fn film(scenes: &[(usize, u16)]) -> (Vec<Measured>, Vec<i64>) {
        let (mut frames, mut cuts) = (Vec::new(), Vec::new());
        for (seconds, moves) in scenes {
            if !frames.is_empty() {
                cuts.push(frames.len() as i64);
            }
            for n in 0..seconds * 10 {
                let change = if n == 0 { 300 + moves } else { *moves };
                let tones =
                    Tones { black: 100, middle: 400, white: 900, blue: 0, red: 0, gray: 0, colourful: 50 };
                frames.push(Measured {
                    at: frames.len() as i64,
                    bright: 900,
                    change: Some(change),
                    change_of_two: Some(change),
                    tones: Some(tones),
                    motion: None,
                    seen: None,
                });
            }
        }
        (frames, cuts)
    }

    #[test]
    fn chapters_begin_where_most_changes() {
        let (mut frames, cuts) = film(&[(20, 5), (2, 9), (25, 5), (1, 5), (30, 5)]);
        assert_eq!(chapters(&frames, &cuts, 10), [0, 200, 470]);
        // The fade is the stronger break.
        frames[480].bright = 40;
        assert_eq!(chapters(&frames, &cuts, 10), [0, 200, 480]);
        let (short, cuts) = film(&[(2, 1), (2, 1)]);
        assert!(chapters(&short, &cuts, 10).is_empty());
        assert!(chapters(&[], &[], 10).is_empty());
    }

    #[test]
    fn highlights_are_where_most_happens() {
        let (mut frames, cuts) = film(&[(20, 3), (10, 40), (30, 3), (4, 30), (20, 2)]);
        // In a long quiet scene, something happens.
        frames[400..440].iter_mut().for_each(|frame| frame.change = Some(90));
        let found = highlights(&frames, &cuts, 10);
        let spans: Vec<(i64, i64)> = found.iter().map(|part| (part.from, part.to)).collect();
        assert_eq!(spans.len(), 3, "{found:?}");
        assert!(spans.iter().any(|(from, to)| (200..=240).contains(from) && *to <= 300), "{spans:?}");
        assert!(spans.iter().any(|(from, to)| *from <= 400 && *to >= 440), "{spans:?}");
        assert!(spans.iter().map(|(from, to)| to - from).sum::<i64>() <= 840 / 5);
        assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "in the order of the film");
        assert!(highlights(&[], &[], 10).is_empty());
        assert!(highlights(&frames[..1], &[], 10).is_empty());
    }
}
