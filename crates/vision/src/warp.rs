//! Pictures as another camera would have seen them: each sample from where it lies in the picture that there is, by cubic convolution
//! (Keys 1981).

use kinora_protocol::planes::Planar;
use kinora_protocol::survey::Motion;

use crate::samples;

/// Places between two samples that are told apart.
const BETWEEN: usize = 256;
/// Samples in a row that make one.
const TAPS: usize = 4;

/// Moves pictures of one kind.
#[derive(Debug, Clone)]
pub struct Warp {
    picture: Planar,
    weights: Vec<[f32; TAPS]>,
}

/// From a place in one plane to a place in the same plane before: `x' = a·x - b·y + x₀`, `y' = c·x + a·y + y₀`.
struct Map {
    a: f64,
    b: f64,
    c: f64,
    x: f64,
    y: f64,
}

impl Warp {
    /// For pictures of this kind.
    pub fn new(picture: &Planar) -> Self {
        let weights = (0..=BETWEEN).map(|n| cubic(n as f32 / BETWEEN as f32)).collect();
        Self { picture: picture.clone(), weights }
    }

    /// The picture with what is at a place taken from where `pose` says.
    pub fn make(&self, bytes: &[u8], pose: Motion) -> Vec<u8> {
        if pose == Motion::default() {
            return bytes.to_vec();
        }
        let mut out = Vec::with_capacity(bytes.len());
        let planes = samples::planes(&self.picture, bytes);
        for (n, (plane, size)) in planes.into_iter().zip(self.picture.planes()).enumerate() {
            let values: Vec<f32> = samples::values(&self.picture, plane).map(f32::from).collect();
            self.plane(&values, size, &self.map(n > 0, pose), &mut out);
        }
        out
    }

    /// How places of a plane move.
    fn map(&self, chroma: bool, pose: Motion) -> Map {
        let (width, height) = (f64::from(self.picture.width), f64::from(self.picture.height));
        let [x, y, turn, zoom] = [pose.x, pose.y, pose.turn, pose.zoom].map(|value| f64::from(value) / 1e6);
        let halved = self.picture.halved.filter(|_| chroma).unwrap_or_default();
        let sited = self.picture.sited();
        // Luma samples from one to the next of this plane, and where its first one lies.
        let [(across, left), (down, top)] = [0, 1].map(|side: usize| {
            let step = f64::from(1_u32 << halved.get(side).copied().unwrap_or(0).min(8));
            let first = sited.get(side).copied().unwrap_or(false);
            (step, if first { 0.0 } else { (step - 1.0) / 2.0 })
        });
        let middle = ((width - 1.0) / 2.0, (height - 1.0) / 2.0);
        let (sin, cos) = (turn.sin() * zoom.exp(), turn.cos() * zoom.exp());
        // The plane's first sample, from the middle.
        let (u, v) = (left - middle.0, top - middle.1);
        let from = |moved: f64, middle: f64, first: f64, step: f64| (moved + middle - first) / step;
        Map {
            a: cos,
            b: sin * down / across,
            c: sin * across / down,
            x: from(cos * u - sin * v + x * width, middle.0, left, across),
            y: from(sin * u + cos * v + y * width, middle.1, top, down),
        }
    }

    fn plane(&self, values: &[f32], (width, height): (usize, usize), map: &Map, out: &mut Vec<u8>) {
        let greatest = ((1_u32 << self.picture.depth.min(16)) - 1) as f32;
        for row in 0..height {
            let (begin_x, begin_y) = (map.x - map.b * row as f64, map.y + map.a * row as f64);
            for column in 0..width {
                let (x, y) = (begin_x + map.a * column as f64, begin_y + map.c * column as f64);
                let value = self.sample(values, (width, height), (x, y));
                samples::push(&self.picture, out, value.round().clamp(0.0, greatest) as u16);
            }
        }
    }

    /// The value at a place between samples; beyond the edge the last one goes on.
    fn sample(&self, values: &[f32], (width, height): (usize, usize), (x, y): (f64, f64)) -> f32 {
        let split = |at: f64| {
            let steps = (at * BETWEEN as f64).round() as i64;
            (steps.div_euclid(BETWEEN as i64), steps.rem_euclid(BETWEEN as i64) as usize)
        };
        let ((left, across), (top, down)) = (split(x), split(y));
        let weights = |between: usize| self.weights.get(between).copied().unwrap_or_default();
        let (across, down) = (weights(across), weights(down));
        let inside = |at: i64, length: usize| at >= 1 && at + 2 < length as i64;
        let sum = |row: &[f32]| row.iter().zip(across).map(|(value, weight)| value * weight).sum::<f32>();
        if inside(left, width) && inside(top, height) {
            let begin = (top as usize - 1) * width + left as usize - 1;
            let row = |n: usize| values.get(begin + n * width..begin + n * width + TAPS).unwrap_or_default();
            return (0..TAPS).zip(down).map(|(n, weight)| weight * sum(row(n))).sum();
        }
        let place = |at: i64, length: usize| at.clamp(0, length as i64 - 1) as usize;
        let value =
            |x: i64, y: i64| values.get(place(y, height) * width + place(x, width)).copied().unwrap_or(0.0);
        let row = |n: i64| [-1, 0, 1, 2].map(|m| value(left + m, top + n));
        [-1, 0, 1, 2].into_iter().zip(down).map(|(n, weight)| weight * sum(&row(n))).sum()
    }
}

/// Weights of the samples before and after a place: two on each side.
fn cubic(between: f32) -> [f32; TAPS] {
    let t = between;
    [
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    ]
}

#[cfg(test)]
mod tests {
    use kinora_protocol::media::Color;

    use super::*;

    fn picture(depth: u32) -> Planar {
        Planar {
            width: 64,
            height: 36,
            format: if depth > 8 { "yuv420p10le" } else { "yuv420p" }.to_owned(),
            halved: Some([1, 1]),
            depth,
            color: Color::default(),
            sample_aspect: None,
        }
    }

    /// A smooth scene, seen with a camera that is moved, in all planes at their places.
    fn seen(picture: &Planar, motion: Motion) -> Vec<u8> {
        let unit = f64::from(1_u32 << (picture.depth - 8));
        let [x0, y0, turn, zoom] = [motion.x, motion.y, motion.turn, motion.zoom].map(|v| f64::from(v) / 1e6);
        let mut out = Vec::new();
        for (n, (width, height)) in picture.planes().into_iter().enumerate() {
            for row in 0..height {
                for column in 0..width {
                    // Chroma lies on the left luma sample, and between two rows.
                    let (x, y) = match n {
                        0 => (column as f64, row as f64),
                        _ => (2.0 * column as f64, 2.0 * row as f64 + 0.5),
                    };
                    let (u, v) = (x - 31.5, y - 17.5);
                    let (sin, cos) = turn.sin_cos();
                    let grown = zoom.exp();
                    let (u, v) =
                        (grown * (cos * u - sin * v) + 64.0 * x0, grown * (sin * u + cos * v) + 64.0 * y0);
                    let value = 120.0 + 50.0 * (u / 8.0 + n as f64).sin() + 40.0 * (v / 9.0).cos();
                    samples::push(picture, &mut out, (value * unit).round() as u16);
                }
            }
        }
        out
    }

    #[test]
    fn as_the_other_camera_sees_it() {
        for depth in [8, 10] {
            let picture = picture(depth);
            let still = seen(&picture, Motion::default());
            for motion in [
                Motion { x: 31_250, y: -15_625, turn: 0, zoom: 0 },
                Motion { x: 10_000, y: 20_000, turn: 15_000, zoom: -50_000 },
            ] {
                let made = Warp::new(&picture).make(&still, motion);
                let should = seen(&picture, motion);
                assert_eq!(made.len(), should.len());
                let unit = 1_u16 << (depth - 8);
                for ((plane, want), (width, height)) in samples::planes(&picture, &made)
                    .into_iter()
                    .zip(samples::planes(&picture, &should))
                    .zip(picture.planes())
                {
                    let (made, want): (Vec<u16>, Vec<u16>) = (
                        samples::values(&picture, plane).collect(),
                        samples::values(&picture, want).collect(),
                    );
                    // Away from the edges, beyond which nothing is known.
                    for row in 4..height - 4 {
                        for column in 4..width - 4 {
                            let at = row * width + column;
                            assert!(made[at].abs_diff(want[at]) <= 2 * unit, "{motion:?}: {column} {row}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_picture_that_stays_is_the_same() {
        let picture = picture(8);
        let still = seen(&picture, Motion::default());
        let warp = Warp::new(&picture);
        assert_eq!(warp.make(&still, Motion::default()), still);
        // So small a movement that no sample changes by it.
        assert_eq!(warp.make(&still, Motion { x: 1, ..Motion::default() }), still);
        let gray = Planar { width: 1, height: 1, halved: None, format: "gray".to_owned(), ..picture };
        assert_eq!(Warp::new(&gray).make(&[77], Motion { x: 40_000, ..Motion::default() }), [77]);
    }
}
