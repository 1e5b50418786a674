//! A plane in so many times its size, by Lanczos' windowed sinc with three lobes, with regard to where samples of chroma lie between
//! those of luma. Each sample that comes out depends on those around it alone.

use std::f64::consts::PI;

/// Lobes on each side.
const LOBES: i64 = 3;

/// Where samples of chroma lie along one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Siting {
    /// How often the side is halved.
    pub halved: u32,
    /// Whether they lie on the first of the luma samples that they stand for, else in the middle of them.
    pub first: bool,
}

impl Siting {
    /// Where the sample `at` of the larger plane lies in the smaller one.
    fn position(self, at: usize, scale: usize) -> f64 {
        let step = f64::from(1_u32 << self.halved.min(8));
        let offset = if self.first { 0.5 } else { step / 2.0 };
        ((step * at as f64 + offset) / scale as f64 - offset) / step
    }
}

/// A plane from one size to another, which is about `scale` times as large: sides of halved chroma are rounded.
pub fn enlarge(
    plane: &[f32],
    ((width, height), (to_width, to_height)): ((usize, usize), (usize, usize)),
    scale: usize,
    (across, down): (Siting, Siting),
) -> Vec<f32> {
    let columns = taps(width, to_width, scale, across);
    let rows = taps(height, to_height, scale, down);
    let mut wide = Vec::with_capacity(to_width * height);
    for row in plane.chunks_exact(width.max(1)) {
        wide.extend(columns.iter().map(|tap| tap.of(row)));
    }
    let mut out = Vec::with_capacity(to_width * to_height);
    for tap in &rows {
        let begin = out.len();
        out.resize(begin + to_width, 0.0);
        let line = out.get_mut(begin..).unwrap_or_default();
        for (at, weight) in tap.places() {
            let from = wide.get(at * to_width..(at + 1) * to_width).unwrap_or_default();
            line.iter_mut().zip(from).for_each(|(sum, value)| *sum += value * weight);
        }
    }
    out
}

/// Which samples make one, and with which weights.
struct Tap {
    first: i64,
    /// The last sample that there is.
    last: i64,
    weights: [f32; 2 * LOBES as usize],
}

impl Tap {
    fn places(&self) -> impl Iterator<Item = (usize, f32)> {
        let place = |n: i64| usize::try_from((self.first + n).clamp(0, self.last)).unwrap_or(0);
        (0..).zip(self.weights).map(move |(n, weight)| (place(n), weight))
    }

    fn of(&self, row: &[f32]) -> f32 {
        let from =
            usize::try_from(self.first).ok().and_then(|first| row.get(first..first + self.weights.len()));
        match from {
            // In the same order as at the ends, so that a flat row stays flat.
            Some(inside) => inside.iter().zip(self.weights).map(|(value, weight)| value * weight).sum(),
            None => self.places().filter_map(|(at, weight)| Some(row.get(at)? * weight)).sum(),
        }
    }
}

fn taps(length: usize, to: usize, scale: usize, siting: Siting) -> Vec<Tap> {
    let last = i64::try_from(length).unwrap_or(1).max(1) - 1;
    (0..to)
        .map(|at| {
            let position = siting.position(at, scale);
            let first = position.floor() as i64 - LOBES + 1;
            let mut weights = [0.0; 2 * LOBES as usize];
            for (n, weight) in (0..).zip(&mut weights) {
                *weight = kernel(position - (first + n) as f64);
            }
            let sum: f64 = weights.iter().sum();
            Tap { first, last, weights: weights.map(|weight| (weight / sum) as f32) }
        })
        .collect()
}

fn kernel(x: f64) -> f64 {
    let lobes = LOBES as f64;
    if x.abs() < 1e-9 {
        1.0
    } else if x.abs() < lobes {
        lobes * (PI * x).sin() * (PI * x / lobes).sin() / (PI * x).powi(2)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_lies_where_it_was() {
        // A ramp over the luma's places: whatever the siting, the larger chroma has the ramp's value at its own places.
        for (halved, first, scale) in [(1, true, 2), (1, false, 2), (0, false, 3), (2, true, 2), (1, true, 4)]
        {
            let siting = Siting { halved, first };
            let step = f64::from(1 << halved);
            let offset = if first { 0.5 } else { step / 2.0 };
            let small: Vec<f32> = (0..64).map(|c| (step * f64::from(c) + offset) as f32).collect();
            let to = 64 * scale;
            let large =
                enlarge(&small, ((64, 1), (to, 1)), scale, (siting, Siting { halved: 0, first: false }));
            for (c, value) in large.iter().enumerate().skip(8 * scale).take(48 * scale) {
                let wanted = (step * c as f64 + offset) / scale as f64;
                assert!(
                    (f64::from(*value) - wanted).abs() < 0.02 * step,
                    "{siting:?} x{scale}: {c}: {value} {wanted}"
                );
            }
        }
    }

    #[test]
    fn both_sides_are_alike() {
        let plane: Vec<f32> = (0..35).map(|n| (n * 7 % 11) as f32).collect();
        let siting = |first| Siting { halved: 1, first };
        let made = enlarge(&plane, ((7, 5), (14, 10)), 2, (siting(true), siting(false)));
        let turned: Vec<f32> = (0..35).map(|n| plane[n % 5 * 7 + n / 5]).collect();
        let other = enlarge(&turned, ((5, 7), (10, 14)), 2, (siting(false), siting(true)));
        for y in 0..10 {
            for x in 0..14 {
                assert!((made[y * 14 + x] - other[x * 10 + y]).abs() < 1e-4);
            }
        }
    }
}
