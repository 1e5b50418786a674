//! How the camera moved from a frame to the next: corners are followed through pyramids (Lucas and Kanade 1981, Bouguet 2000), and what
//! most of them agree on is the movement. It depends on the two frames alone.

use kinora_protocol::survey::Motion;

use crate::fit::{self, Pair};
use crate::gray::{Gray, Pyramid};

/// Corners are looked for in so many columns and rows, one in each field.
const FIELDS: (usize, usize) = (16, 10);
/// Around a corner so many samples on each side are compared.
const RADIUS: usize = 6;
const SIDE: usize = 2 * RADIUS + 1;
/// Steps towards the place of a corner.
const MOST_STEPS: usize = 12;
/// A smaller step is the last.
const SMALL_STEP: f32 = 0.005;
/// The lesser curvature, a sample, from which something is a corner.
const LEAST_CORNER: f32 = 12.0;
/// Mean difference of values from which a corner is not the same any more.
const MOST_DIFFERENCE: f32 = 14.0;

/// The movement between two frames of the same size; nothing where there is not enough to follow.
pub fn between(before: &Pyramid, after: &Pyramid) -> Option<Motion> {
    let first = before.levels.first()?;
    let width = first.width as f64;
    let middle = ((first.width as f64 - 1.0) / 2.0, (first.height as f64 - 1.0) / 2.0);
    let pairs: Vec<Pair> = corners(first)
        .into_iter()
        .filter_map(|(x, y)| {
            let (to_x, to_y) = follow(before, after, (x, y))?;
            let from = (f64::from(x) - middle.0, f64::from(y) - middle.1);
            Some(Pair { from, to: (f64::from(to_x) - middle.0, f64::from(to_y) - middle.1) })
        })
        .collect();
    let found = fit::similarity(&pairs)?;
    let millionths = |value: f64| (value * 1e6).round() as i32;
    Some(Motion {
        x: millionths(found.x / width),
        y: millionths(found.y / width),
        turn: millionths(found.turn),
        zoom: millionths(found.zoom),
    })
}

/// The best corner of each field (Shi and Tomasi 1994).
fn corners(picture: &Gray) -> Vec<(f32, f32)> {
    let margin = RADIUS + 2;
    let inner = |length: usize| length.saturating_sub(2 * margin);
    let (columns, rows) = FIELDS;
    let mut found = Vec::with_capacity(columns * rows);
    for field in 0..columns * rows {
        let part = |n: usize, of: usize, length: usize| {
            margin + inner(length) * n / of..margin + inner(length) * (n + 1) / of
        };
        let (across, down) =
            (part(field % columns, columns, picture.width), part(field / columns, rows, picture.height));
        let mut best = (LEAST_CORNER, None);
        for y in down.step_by(3) {
            for x in across.clone().step_by(3) {
                let strength = curvature(picture, (x as i64, y as i64));
                if strength > best.0 {
                    best = (strength, Some((x as f32, y as f32)));
                }
            }
        }
        found.extend(best.1);
    }
    found
}

/// The lesser eigenvalue of the gradients around a place, a sample.
fn curvature(picture: &Gray, (x, y): (i64, i64)) -> f32 {
    const AROUND: i64 = 3;
    let (mut xx, mut xy, mut yy) = (0.0_f32, 0.0_f32, 0.0_f32);
    for v in -AROUND..=AROUND {
        for u in -AROUND..=AROUND {
            let across = (picture.at(x + u + 1, y + v) - picture.at(x + u - 1, y + v)) / 2.0;
            let down = (picture.at(x + u, y + v + 1) - picture.at(x + u, y + v - 1)) / 2.0;
            xx += across * across;
            xy += across * down;
            yy += down * down;
        }
    }
    let count = ((2 * AROUND + 1) * (2 * AROUND + 1)) as f32;
    lesser(xx, xy, yy) / count
}

fn lesser(xx: f32, xy: f32, yy: f32) -> f32 {
    (xx + yy) / 2.0 - (((xx - yy) / 2.0).powi(2) + xy * xy).sqrt()
}

/// Where a corner went.
fn follow(before: &Pyramid, after: &Pyramid, (x, y): (f32, f32)) -> Option<(f32, f32)> {
    let mut moved = (0.0_f32, 0.0_f32);
    let mut difference = f32::MAX;
    let levels = before.levels.iter().zip(&after.levels).enumerate().rev();
    for (level, (from, to)) in levels {
        let scale = (1 << level) as f32;
        // Samples of smaller pictures lie between those that they are made of.
        let place = |at: f32| (at + 0.5) / scale - 0.5;
        let corner = Corner::at(from, (place(x), place(y)))?;
        moved = (moved.0 / scale, moved.1 / scale);
        (moved, difference) = corner.seek(to, moved);
        moved = (moved.0 * scale, moved.1 * scale);
    }
    let far = moved.0.is_finite() && moved.1.is_finite() && difference < MOST_DIFFERENCE;
    far.then_some((x + moved.0, y + moved.1))
}

/// What is around a place, and how it changes from there.
struct Corner {
    place: (f32, f32),
    values: Vec<f32>,
    across: Vec<f32>,
    down: Vec<f32>,
    /// Inverse of the sums of products of the gradients.
    inverse: [f32; 3],
}

impl Corner {
    fn at(picture: &Gray, place: (f32, f32)) -> Option<Self> {
        const WIDER: usize = SIDE + 2;
        let mut wide = Vec::with_capacity(WIDER * WIDER);
        let reach = RADIUS as f32 + 1.0;
        picture.patch((place.0 - reach, place.1 - reach), WIDER, &mut wide);
        let value = |x: usize, y: usize| wide.get(y * WIDER + x).copied().unwrap_or(0.0);
        let (mut values, mut across, mut down) = (Vec::new(), Vec::new(), Vec::new());
        let (mut xx, mut xy, mut yy) = (0.0_f32, 0.0_f32, 0.0_f32);
        for y in 1..=SIDE {
            for x in 1..=SIDE {
                let (dx, dy) =
                    ((value(x + 1, y) - value(x - 1, y)) / 2.0, (value(x, y + 1) - value(x, y - 1)) / 2.0);
                values.push(value(x, y));
                across.push(dx);
                down.push(dy);
                xx += dx * dx;
                xy += dx * dy;
                yy += dy * dy;
            }
        }
        let determinant = xx * yy - xy * xy;
        let clear = lesser(xx, xy, yy) > (SIDE * SIDE) as f32 * 0.05 && determinant > 0.0;
        clear.then(|| Self {
            place,
            values,
            across,
            down,
            inverse: [yy / determinant, -xy / determinant, xx / determinant],
        })
    }

    /// Where it is in another picture, looked for from a movement on, and how much it differs there.
    fn seek(&self, picture: &Gray, mut moved: (f32, f32)) -> ((f32, f32), f32) {
        let reach = RADIUS as f32;
        let mut there = Vec::with_capacity(SIDE * SIDE);
        let mut difference = f32::MAX;
        for _ in 0..MOST_STEPS {
            let from = (self.place.0 + moved.0 - reach, self.place.1 + moved.1 - reach);
            if !from.0.is_finite() || !from.1.is_finite() {
                return (moved, f32::MAX);
            }
            picture.patch(from, SIDE, &mut there);
            let (mut bx, mut by, mut sum) = (0.0_f32, 0.0_f32, 0.0_f32);
            let gradients = self.across.iter().zip(&self.down);
            for ((was, is), (dx, dy)) in self.values.iter().zip(&there).zip(gradients) {
                let less = was - is;
                sum += less.abs();
                bx += less * dx;
                by += less * dy;
            }
            difference = sum / (SIDE * SIDE) as f32;
            let [a, b, c] = self.inverse;
            let step = (a * bx + b * by, b * bx + c * by);
            moved = (moved.0 + step.0, moved.1 + step.1);
            if step.0.abs().max(step.1.abs()) < SMALL_STEP {
                break;
            }
        }
        (moved, difference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture with something everywhere, seen by a camera that was moved.
    fn seen(width: usize, height: usize, motion: (f64, f64, f64, f64)) -> Pyramid {
        let (x, y, turn, zoom) = motion;
        let (sin, cos) = turn.sin_cos();
        let (cx, cy) = ((width as f64 - 1.0) / 2.0, (height as f64 - 1.0) / 2.0);
        let mut values = Vec::new();
        for row in 0..height {
            for column in 0..width {
                let (u, v) = (column as f64 - cx - x, row as f64 - cy - y);
                let (u, v) = ((cos * u + sin * v) / zoom.exp(), (cos * v - sin * u) / zoom.exp());
                let value = 120.0
                    + 40.0 * (u / 9.0).sin() * (v / 7.0).cos()
                    + 30.0 * ((u + 0.5 * v) / 4.0).sin()
                    + 25.0 * ((u * v) / 900.0).sin();
                values.push(value as f32);
            }
        }
        Pyramid::of(Gray { width, height, values })
    }

    #[test]
    fn the_camera_is_followed() {
        let still = seen(320, 180, (0.0, 0.0, 0.0, 0.0));
        for (x, y, turn, zoom) in [
            (0.0, 0.0, 0.0, 0.0),
            (3.3, -2.6, 0.0, 0.0),
            (-14.0, 9.5, 0.0, 0.0),
            (2.0, 1.0, 0.012, 0.0),
            (1.0, 0.5, -0.006, 0.01),
        ] {
            let found =
                between(&still, &seen(320, 180, (x, y, turn, zoom))).expect("there is a lot to follow");
            let is = |found: i32, value: f64, unit: f64| (f64::from(found) / 1e6 * unit - value).abs();
            assert!(is(found.x, x, 320.0) < 0.05, "{found:?} for {x}");
            assert!(is(found.y, y, 320.0) < 0.05, "{found:?} for {y}");
            assert!(is(found.turn, turn, 1.0) < 0.0004, "{found:?} for {turn}");
            assert!(is(found.zoom, zoom, 1.0) < 0.0006, "{found:?} for {zoom}");
        }
    }

    #[test]
    fn nothing_to_follow() {
        let flat = Pyramid::of(Gray::of(&[128; 320 * 180], 320, 180));
        assert_eq!(between(&flat, &flat), None);
        let tiny = Pyramid::of(Gray::of(&[1, 2, 3, 4], 2, 2));
        assert_eq!(between(&tiny, &tiny), None);
        assert_eq!(between(&seen(320, 180, (0.0, 0.0, 0.0, 0.0)), &flat), None);
    }
}
