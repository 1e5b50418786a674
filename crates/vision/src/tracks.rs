//! Things that are the same in frame after frame: each is expected where it was going (a Kalman filter for each side, Kalman 1960), and
//! what is seen there is it (as SORT has it, Bewley and others 2016). It is done over the whole film, one frame after the other, so that
//! a thing has one number from its first frame to its last, wherever the film was split to be looked at.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use kinora_protocol::survey::{Area, Measured, Object, Objects, Seen};

use crate::path::scenes;

/// What is expected and what is seen have to share so much.
const LEAST_SHARED: f64 = 0.2;
/// What is taken for something else than before has to share more.
const OTHER_SHARED: f64 = 0.5;
/// A thing that was not seen for so many frames that were looked at is gone.
const PATIENCE: usize = 12;
/// What was seen less often than this was nothing.
const LEAST_SEEN: usize = 4;

/// What is in each frame. Where a thing was not seen for a moment, it is where it must have been.
pub fn follow(frames: &[Measured], cuts: &[i64]) -> Vec<Objects> {
    let mut tracks: Vec<Track> = Vec::new();
    for scene in scenes(frames, cuts) {
        // Nothing goes on from one scene to the next.
        let mut going: Vec<Track> = Vec::new();
        for frame in scene {
            if let Some(seen) = &frame.seen {
                step(&mut going, frame.at, seen);
                let (there, gone) = going.into_iter().partition(|track| track.missed <= PATIENCE);
                going = there;
                keep(&mut tracks, gone);
            }
        }
        keep(&mut tracks, going);
    }
    // Those that begin together, from the left.
    tracks.sort_by_key(|track| track.seen.first().map(|(at, seen)| (*at, seen.area)));
    spread(frames, &tracks)
}

/// A thing, as far as it was followed.
struct Track {
    sides: [Side; 4],
    seen: Vec<(i64, Seen)>,
    /// Frames since it was seen.
    missed: usize,
}

/// One of middle across, middle down, width and height, and how it changes from frame to frame.
#[derive(Clone, Copy)]
struct Side {
    value: f64,
    change: f64,
    /// Covariance.
    p: [f64; 3],
}

/// How much a detector errs, and how much things change their ways from frame to frame, in ten-thousandths of the picture.
const ERROR: f64 = 60.0;
const WAYWARD: f64 = 12.0;

impl Side {
    fn at(value: f64) -> Self {
        Self { value, change: 0.0, p: [ERROR * ERROR, 0.0, 100.0 * WAYWARD * WAYWARD] }
    }

    fn expect(&mut self) {
        let [a, b, c] = self.p;
        self.value += self.change;
        let q = WAYWARD * WAYWARD;
        self.p = [a + 2.0 * b + c + q / 4.0, b + c + q / 2.0, c + q];
    }

    fn see(&mut self, value: f64) {
        let [a, b, c] = self.p;
        let (gain, turn) = (a / (a + ERROR * ERROR), b / (a + ERROR * ERROR));
        let off = value - self.value;
        self.value += gain * off;
        self.change += turn * off;
        self.p = [(1.0 - gain) * a, (1.0 - gain) * b, c - turn * b];
    }
}

fn sides(area: &Area) -> [f64; 4] {
    let (width, height) = (f64::from(area.width), f64::from(area.height));
    [f64::from(area.x) + width / 2.0, f64::from(area.y) + height / 2.0, width, height]
}

impl Track {
    fn begin(at: i64, seen: &Seen) -> Self {
        Self { sides: sides(&seen.area).map(Side::at), seen: vec![(at, seen.clone())], missed: 0 }
    }

    fn expected(&self) -> Area {
        let [x, y, width, height] = self.sides.map(|side| side.value);
        let [x, y, width, height] =
            [x - width / 2.0, y - height / 2.0, width, height].map(|v| v.round() as i32);
        Area { x, y, width: width.max(1), height: height.max(1) }
    }

    /// What it was taken for last.
    fn class(&self) -> &str {
        self.seen.last().map_or("", |(_, seen)| &seen.class)
    }

    /// What it was taken for most, and most surely.
    fn known_as(&self) -> String {
        let mut votes: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, seen) in &self.seen {
            *votes.entry(&seen.class).or_default() += u64::from(seen.score);
        }
        let most = votes.into_iter().max_by_key(|(class, votes)| (*votes, Reverse(*class)));
        most.map_or_else(String::new, |(class, _)| class.to_owned())
    }

    fn see(&mut self, at: i64, seen: &Seen) {
        self.sides.iter_mut().zip(sides(&seen.area)).for_each(|(side, value)| side.see(value));
        self.seen.push((at, seen.clone()));
        self.missed = 0;
    }
}

/// Keeps those that were seen often enough.
fn keep(tracks: &mut Vec<Track>, gone: Vec<Track>) {
    tracks.extend(gone.into_iter().filter(|track| track.seen.len() >= LEAST_SEEN));
}

/// Takes in what is seen in the next frame.
fn step(tracks: &mut Vec<Track>, at: i64, seen: &[Seen]) {
    let mut pairs: Vec<(f64, usize, usize)> = Vec::new();
    for (n, track) in tracks.iter_mut().enumerate() {
        track.sides.iter_mut().for_each(Side::expect);
        track.missed += 1;
        let expected = track.expected();
        for (m, one) in seen.iter().enumerate() {
            let shared = expected.shared(&one.area);
            let (least, worth) =
                if one.class == track.class() { (LEAST_SHARED, 1.0) } else { (OTHER_SHARED, 0.0) };
            if shared >= least {
                // One of the same kind first.
                pairs.push((shared + worth, n, m));
            }
        }
    }
    // Those that share most first; each once.
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let (mut found, mut taken) = (Vec::new(), Vec::new());
    for (_, n, m) in pairs {
        if let (false, false, Some(track), Some(one)) =
            (found.contains(&n), taken.contains(&m), tracks.get_mut(n), seen.get(m))
        {
            track.see(at, one);
            found.push(n);
            taken.push(m);
        }
    }
    let fresh = seen.iter().enumerate().filter(|(m, _)| !taken.contains(m));
    tracks.extend(fresh.map(|(_, one)| Track::begin(at, one)));
}

/// Tracks by frame.
fn spread(frames: &[Measured], tracks: &[Track]) -> Vec<Objects> {
    let mut by_frame: Vec<Vec<Object>> = vec![Vec::new(); frames.len()];
    for (number, track) in (1..).zip(tracks) {
        let class = track.known_as();
        for pair in track.seen.windows(2) {
            let [(from, before), (to, after)] = pair else { continue };
            let place = |at: i64| frames.partition_point(|frame| frame.at < at);
            for n in place(*from)..place(*to) {
                let at = frames.get(n).map_or(*from, |frame| frame.at);
                let part = (at - from) as f64 / (to - from).max(1) as f64;
                put(&mut by_frame, n, object((number, &class), before, after, part));
            }
        }
        if let Some((at, last)) = track.seen.last() {
            let n = frames.partition_point(|frame| frame.at < *at);
            put(&mut by_frame, n, object((number, &class), last, last, 0.0));
        }
    }
    let full = frames.iter().zip(by_frame).filter(|(_, objects)| !objects.is_empty());
    full.map(|(frame, objects)| Objects { at: frame.at, objects }).collect()
}

fn put(by_frame: &mut [Vec<Object>], n: usize, object: Object) {
    if let Some(objects) = by_frame.get_mut(n) {
        objects.push(object);
    }
}

/// Between where it was seen before and after.
fn object((track, class): (u32, &str), before: &Seen, after: &Seen, part: f64) -> Object {
    let between = |a: i32, b: i32| (f64::from(a) + part * f64::from(b - a)).round() as i32;
    let (a, b) = (before.area, after.area);
    let area = Area {
        x: between(a.x, b.x),
        y: between(a.y, b.y),
        width: between(a.width, b.width),
        height: between(a.height, b.height),
    };
    let score = between(i32::from(before.score), i32::from(after.score)) as u16;
    Object { track, class: class.to_owned(), score, area }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(class: &str, x: i32, y: i32) -> Seen {
        Seen { class: class.to_owned(), score: 800, area: Area { x, y, width: 900, height: 1800 } }
    }

    fn film(frames: Vec<Option<Vec<Seen>>>) -> Vec<Measured> {
        let frame = |(at, seen)| Measured {
            at,
            bright: 900,
            change: None,
            change_of_two: None,
            tones: None,
            motion: None,
            seen,
        };
        (0..).zip(frames).map(frame).collect()
    }

    fn tracks(found: &[Objects], frame: i64) -> Vec<(u32, i32)> {
        let objects = found.iter().find(|objects| objects.at == frame).map_or(&[][..], |o| &o.objects);
        objects.iter().map(|object| (object.track, object.area.x)).collect()
    }

    #[test]
    fn two_that_walk_past_each_other_stay_who_they_are() {
        let walk =
            |n: i32| Some(vec![seen("person", 500 + 120 * n, 3000), seen("person", 7000 - 130 * n, 3600)]);
        let found = follow(&film((0..50).map(walk).collect()), &[]);
        assert_eq!(found.len(), 50);
        for n in 0..50 {
            assert_eq!(tracks(&found, n), [(1, 500 + 120 * n as i32), (2, 7000 - 130 * n as i32)], "{n}");
        }
    }

    #[test]
    fn hidden_for_a_moment_it_is_the_same_and_where_it_must_have_been() {
        let frames = (0..40).map(|n| match n {
            // Looked at in every other frame, and hidden for a while.
            n if n % 2 == 1 => None,
            12..=18 => Some(vec![]),
            // Once something that is nothing.
            30 => Some(vec![seen("dog", 1000 + 80 * n, 2000), seen("cat", 8000, 100)]),
            n => Some(vec![seen("dog", 1000 + 80 * n, 2000)]),
        });
        let found = follow(&film(frames.collect()), &[]);
        assert_eq!(found.len(), 39, "up to the last frame that was looked at");
        assert!(found.iter().all(|frame| frame.objects.len() == 1 && frame.objects[0].track == 1));
        assert_eq!(tracks(&found, 15), [(1, 2200)]);
    }

    #[test]
    fn what_it_is_taken_for_most_it_is() {
        let frames =
            (0..20).map(|n| Some(vec![seen(if n % 4 == 1 { "truck" } else { "car" }, 100 * n, 2000)]));
        let found = follow(&film(frames.collect()), &[]);
        let all: Vec<&Object> = found.iter().flat_map(|frame| &frame.objects).collect();
        assert!(all.len() == 20 && all.iter().all(|one| one.track == 1 && one.class == "car"), "{all:?}");
    }

    #[test]
    fn another_scene_has_other_things() {
        let frames: Vec<_> = (0..20).map(|_| Some(vec![seen("person", 4000, 4000)])).collect();
        let found = follow(&film(frames.clone()), &[10]);
        assert_eq!((tracks(&found, 9), tracks(&found, 10)), (vec![(1, 4000)], vec![(2, 4000)]));
        assert_eq!(tracks(&follow(&film(frames), &[]), 10), [(1, 4000)]);
        assert!(follow(&film(vec![None, Some(vec![])]), &[]).is_empty());
    }
}
