//! From how a camera moved to how it should have: its path through each scene is smoothed, as far as the picture can be moved without
//! showing what is beyond its edges, and the picture is enlarged by as much as that needs.

use kinora_protocol::survey::{Measured, Motion, Pose};

/// How far the picture may be moved, by its own width and height.
const MOST_SHIFT: f64 = 0.045;
/// How far it may be turned, in radians.
const MOST_TURN: f64 = 0.02;
/// How much larger or smaller it may become: natural logarithm.
const MOST_ZOOM: f64 = 0.01;
/// In so many rounds a path is smoothed, and held near the camera's own after each.
const ROUNDS: usize = 12;
/// Beyond so many times its width a bell is nothing.
const REACH: f64 = 3.0;
/// A little larger than it has to be, so that nothing between samples of the edge is missed.
const SPARE: f64 = 1.002;

/// A movement in widths of the picture and radians: to the right, down, turn, zoom.
type Move = [f64; 4];

/// Where the picture of each frame is taken from. `cuts` are first frames of scenes; `steady` is how many frames a movement has to take
/// for it to be meant; `height` is that of the picture in widths of it.
pub fn poses(frames: &[Measured], cuts: &[i64], steady: f64, height: f64) -> Vec<Pose> {
    let mut poses = Vec::with_capacity(frames.len());
    for scene in scenes(frames, cuts) {
        poses.extend(of_scene(scene, steady, height));
    }
    poses
}

/// Frames by scene.
pub fn scenes<'a>(frames: &'a [Measured], cuts: &[i64]) -> Vec<&'a [Measured]> {
    let mut places: Vec<usize> =
        cuts.iter().map(|cut| frames.partition_point(|frame| frame.at < *cut)).collect();
    places.insert(0, 0);
    places.push(frames.len());
    let parts = places.windows(2).filter_map(|pair| match pair {
        [from, to] => frames.get(*from..*to),
        _ => None,
    });
    parts.filter(|scene| !scene.is_empty()).collect()
}

fn of_scene(scene: &[Measured], steady: f64, height: f64) -> Vec<Pose> {
    let camera = travelled(scene);
    let smooth = smoothed(&camera, steady, height);
    let off: Vec<Move> = camera
        .iter()
        .zip(&smooth)
        .map(|(is, should)| std::array::from_fn(|n| value(is, n) - value(should, n)))
        .collect();
    let zoom = off.iter().map(|one| needed(*one, height)).fold(1.0, f64::max);
    let zoom = if zoom > 1.0 { zoom * SPARE } else { 1.0 };
    let millionths = |value: f64| (value * 1e6).round() as i32;
    scene
        .iter()
        .zip(off)
        .map(|(frame, [x, y, turn, larger])| Pose {
            at: frame.at,
            motion: Motion {
                x: millionths(x),
                y: millionths(y),
                turn: millionths(turn),
                zoom: millionths(larger - zoom.ln()),
            },
        })
        .collect()
}

fn value(of: &Move, n: usize) -> f64 {
    of.get(n).copied().unwrap_or(0.0)
}

/// Where the camera is at each frame. Where nothing could be seen it goes on as it was.
fn travelled(scene: &[Measured]) -> Vec<Move> {
    let mut at: Move = [0.0; 4];
    scene
        .iter()
        .enumerate()
        .map(|(n, frame)| {
            // The first movement is the one from the scene before.
            if let Some(motion) = frame.motion.filter(|_| n > 0) {
                let step = [motion.x, motion.y, motion.turn, motion.zoom];
                at.iter_mut().zip(step).for_each(|(sum, step)| *sum += f64::from(step) / 1e6);
            }
            at
        })
        .collect()
}

/// The path that it should have taken.
fn smoothed(camera: &[Move], steady: f64, height: f64) -> Vec<Move> {
    let most: Move = [MOST_SHIFT, MOST_SHIFT * height, MOST_TURN, MOST_ZOOM];
    // Bells add up by the squares of their widths.
    let bell = bell(steady / (ROUNDS as f64).sqrt());
    let mut path = camera.to_vec();
    for _ in 0..ROUNDS {
        path = blurred(&path, &bell);
        for (should, is) in path.iter_mut().zip(camera) {
            for (n, part) in should.iter_mut().enumerate() {
                *part = part.clamp(value(is, n) - value(&most, n), value(is, n) + value(&most, n));
            }
        }
    }
    path
}

/// Weights from the middle of a bell outwards.
fn bell(width: f64) -> Vec<f64> {
    let reach = (width * REACH).ceil().max(1.0) as usize;
    (0..=reach).map(|n| (-0.5 * (n as f64 / width.max(0.1)).powi(2)).exp()).collect()
}

/// Beyond its ends a path is mirrored in them, so that it does not come to a stop there.
fn blurred(path: &[Move], bell: &[f64]) -> Vec<Move> {
    let last = path.len() as i64 - 1;
    let at = |n: i64, part: usize| {
        let inside = |n: i64| path.get(n.clamp(0, last) as usize).map_or(0.0, |one| value(one, part));
        match n {
            n if n < 0 => 2.0 * inside(0) - inside(-n),
            n if n > last => 2.0 * inside(last) - inside(2 * last - n),
            n => inside(n),
        }
    };
    (0..=last)
        .map(|n| {
            std::array::from_fn(|part| {
                let (mut sum, mut weights) = (0.0, 0.0);
                for (away, weight) in (0..).zip(bell) {
                    let sides: &[i64] = if away == 0 { &[0] } else { &[-away, away] };
                    for side in sides {
                        sum += weight * at(n + side, part);
                        weights += weight;
                    }
                }
                sum / weights
            })
        })
        .collect()
}

/// By how much a picture has to be larger so that nothing beyond its edges is seen.
fn needed([x, y, turn, zoom]: Move, height: f64) -> f64 {
    let (sin, cos) = (turn.sin().abs(), turn.cos());
    let (across, down) = (0.5, height / 2.0);
    let grown = zoom.exp();
    let reach = |corner: f64, side: f64, moved: f64| grown * corner / (side - moved.abs()).max(side * 0.5);
    reach(cos * across + sin * down, across, x).max(reach(sin * across + cos * down, down, y))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(motions: impl Iterator<Item = (f64, f64, f64)>) -> Vec<Measured> {
        let millionths = |value: f64| (value * 1e6).round() as i32;
        (0..)
            .zip(motions)
            .map(|(at, (x, y, turn))| Measured {
                at,
                bright: 900,
                change: None,
                change_of_two: None,
                tones: None,
                motion: Some(Motion { x: millionths(x), y: millionths(y), turn: millionths(turn), zoom: 0 }),
                seen: None,
            })
            .collect()
    }

    /// Variance of the movement between frames, along the picture.
    fn unrest(path: &[f64]) -> f64 {
        let steps: Vec<f64> = path.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = steps.iter().sum::<f64>() / steps.len() as f64;
        steps.iter().map(|step| (step - mean).powi(2)).sum::<f64>() / steps.len() as f64
    }

    /// Steps of a hand that shakes, in a pan.
    fn shaken(n: usize) -> (f64, f64, f64) {
        let noise = |k: f64| (n as f64 * k).sin() * (n as f64 * k * 2.7 + 1.0).cos();
        (0.004 + 0.006 * noise(1.9), 0.004 * noise(2.3), 0.003 * noise(1.3))
    }

    #[test]
    fn a_shaken_pan_becomes_a_pan() {
        let frames = frames((0..200).map(shaken));
        let poses = poses(&frames, &[], 15.0, 9.0 / 16.0);
        let camera: Vec<f64> = travelled(&frames).iter().map(|at| at[0]).collect();
        let made: Vec<f64> =
            camera.iter().zip(&poses).map(|(at, pose)| at - f64::from(pose.motion.x) / 1e6).collect();
        assert!(unrest(&made) < 0.1 * unrest(&camera), "{} of {}", unrest(&made), unrest(&camera));
        // It still goes where it went.
        assert!((made[199] - made[0]) / (camera[199] - camera[0]) > 0.85);
    }

    #[test]
    fn nothing_beyond_the_edges_is_seen() {
        let height = 9.0 / 16.0;
        let frames = frames((0..300).map(|n| {
            let (x, y, turn) = shaken(n);
            (5.0 * x, 6.0 * y, 4.0 * turn)
        }));
        for pose in poses(&frames, &[100, 150], 20.0, height) {
            let [x, y, turn, zoom] = [pose.motion.x, pose.motion.y, pose.motion.turn, pose.motion.zoom]
                .map(|v| f64::from(v) / 1e6);
            let (sin, cos) = turn.sin_cos();
            for (u, v) in [(0.5, 0.5), (-0.5, 0.5), (0.5, -0.5), (-0.5, -0.5)] {
                let (u, v) = (u, v * height);
                let (p, q) = (zoom.exp() * (cos * u - sin * v) + x, zoom.exp() * (sin * u + cos * v) + y);
                assert!(p.abs() <= 0.5 && q.abs() <= height / 2.0, "{pose:?}");
            }
            assert!(zoom > -0.18, "not too much of it is lost: {pose:?}");
        }
    }

    #[test]
    fn scenes_have_nothing_to_do_with_each_other() {
        let all = frames((0..120).map(shaken));
        let both = poses(&all, &[60], 15.0, 0.5);
        assert_eq!(both[..60], poses(&all[..60], &[], 15.0, 0.5));
        assert_eq!(both[60..], poses(&all[60..], &[], 15.0, 0.5));
        let still = frames((0..10).map(|_| (0.0, 0.0, 0.0)));
        assert!(poses(&still, &[], 15.0, 0.5).iter().all(|pose| pose.motion == Motion::default()));
        assert!(poses(&[], &[], 15.0, 0.5).is_empty());
        assert_eq!(poses(&all[..1], &[], 15.0, 0.5).len(), 1);
    }
}
