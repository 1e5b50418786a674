//! Large pictures in tiles: a model that needs too much memory for all of a picture gets parts of it, which overlap, and what comes
//! out is blended where they do. It must not know what the model does.

use crate::session::{InferError, Session, Tensor};

/// How a model wants its pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiling {
    /// Side of a tile, in samples that go in.
    pub tile: usize,
    /// How far from a sample others change it.
    pub overlap: usize,
    /// What sides must be multiples of.
    pub multiple_of: usize,
    /// So many times the sides come out.
    pub scale: usize,
}

/// A part of one side: what goes in, and the weight of each sample that comes out, before it is scaled.
#[derive(Debug, Clone, PartialEq)]
struct Part {
    from: usize,
    to: usize,
    weights: Vec<f32>,
}

impl Tiling {
    /// Runs a model on a picture, in tiles where it is larger than one and a half.
    ///
    /// # Errors
    /// [`InferError`] of the model, or when what comes out has another size than it should.
    pub fn run(&self, session: &mut dyn Session, name: &str, input: &Tensor) -> Result<Tensor, InferError> {
        let [batch, channels, height, width] = input.shape;
        if batch != 1 || height == 0 || width == 0 {
            let reason = format!("a picture of {width}x{height} in batches of {batch} is none");
            return Err(InferError::Run { name: name.to_owned(), reason });
        }
        let (rows, columns) = (self.parts(height), self.parts(width));
        let whole = |length: usize| length.is_multiple_of(self.multiple_of.max(1));
        if rows.len() == 1 && columns.len() == 1 && whole(height) && whole(width) {
            return self.one(session, name, input);
        }
        let mut out = Tensor::zeros([0, 0, 0, 0]);
        for row in &rows {
            for column in &columns {
                let made = self.one(session, name, &self.cut(input, channels, row, column))?;
                let [_, planes, ..] = made.shape;
                if out.data.is_empty() {
                    out = Tensor::zeros([1, planes, height * self.scale, width * self.scale]);
                }
                self.put(&mut out, &made, row, column);
            }
        }
        Ok(out)
    }

    /// Runs a model on what it can take at once.
    fn one(&self, session: &mut dyn Session, name: &str, tile: &Tensor) -> Result<Tensor, InferError> {
        let made = session.run(tile)?;
        let [_, planes, ..] = made.shape;
        let wanted = [1, planes, tile.shape[2] * self.scale, tile.shape[3] * self.scale];
        if made.shape == wanted && planes > 0 {
            return Ok(made);
        }
        let reason = format!(
            "{:?} came out of {:?}: with a scale of {} it should be {wanted:?}",
            made.shape, tile.shape, self.scale
        );
        Err(InferError::Run { name: name.to_owned(), reason })
    }

    /// A side in parts that cover it, each with its overlap on both sides.
    fn parts(&self, length: usize) -> Vec<Part> {
        // Blended over half the overlap on each side of a border, and all of that is made with all that changes it.
        let half = (self.overlap / 2).max(1);
        let around = self.overlap + half;
        let core = self.tile.saturating_sub(2 * around).max(1);
        if length * 2 <= self.tile * 3 || length <= core {
            return vec![Part { from: 0, to: length, weights: vec![1.0; length] }];
        }
        let count = length.div_ceil(core);
        let border = |n: usize| n * length / count;
        (0..count)
            .map(|n| {
                let (start, end) = (border(n), border(n + 1));
                // Models that put samples into blocks have to find the same blocks.
                let block = self.multiple_of.max(1);
                let from = start.saturating_sub(around) / block * block;
                let to = (end + around).min(length);
                let rises = |x: f32| ((x / half as f32 + 1.0) / 2.0).clamp(0.0, 1.0);
                let weight = |at: usize| {
                    let middle = at as f32 + 0.5;
                    let left = if n == 0 { 1.0 } else { rises(middle - start as f32) };
                    let right = if n + 1 == count { 1.0 } else { rises(end as f32 - middle) };
                    left.min(right)
                };
                Part { from, to, weights: (from..to).map(weight).collect() }
            })
            .collect()
    }

    /// A tile; where its sides are no multiple, the last samples are repeated.
    fn cut(&self, input: &Tensor, channels: usize, row: &Part, column: &Part) -> Tensor {
        let [_, _, height, width] = input.shape;
        let whole = |length: usize| length.next_multiple_of(self.multiple_of.max(1));
        let (high, wide) = (whole(row.to - row.from), whole(column.to - column.from));
        let mut data = Vec::with_capacity(channels * high * wide);
        for channel in 0..channels {
            for y in 0..high {
                let at = (channel * height + (row.from + y).min(height - 1)) * width;
                let line = input.data.get(at..at + width).unwrap_or_default();
                let inside = line.get(column.from..column.to).unwrap_or_default();
                data.extend_from_slice(inside);
                let last = line.get((column.to).min(width) - 1).copied().unwrap_or(0.0);
                data.resize(data.len() + wide - inside.len(), last);
            }
        }
        Tensor { shape: [1, channels, high, wide], data }
    }

    /// Adds what came out of a tile, by its weights.
    fn put(&self, out: &mut Tensor, made: &Tensor, row: &Part, column: &Part) {
        let [_, planes, height, width] = out.shape;
        let [_, _, high, wide] = made.shape;
        let scale = self.scale;
        let across: Vec<f32> =
            column.weights.iter().flat_map(|weight| std::iter::repeat_n(*weight, scale)).collect();
        for plane in 0..planes {
            for y in 0..(row.to - row.from) * scale {
                let down = row.weights.get(y / scale).copied().unwrap_or(0.0);
                let to = (plane * height + row.from * scale + y) * width + column.from * scale;
                let from = (plane * high + y) * wide;
                let Some(line) = out.data.get_mut(to..to + across.len()) else { continue };
                let made = made.data.get(from..from + across.len()).unwrap_or_default();
                for ((sum, value), weight) in line.iter_mut().zip(made).zip(&across) {
                    *sum += value * weight * down;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each sample becomes the mean of those around it, out to a distance, in `scale` times the size.
    struct Blur {
        radius: usize,
        scale: usize,
        calls: usize,
        largest: usize,
    }

    impl Session for Blur {
        fn run(&mut self, input: &Tensor) -> Result<Tensor, InferError> {
            let [_, _, height, width] = input.shape;
            assert!(height.is_multiple_of(2) && width.is_multiple_of(2));
            (self.calls, self.largest) = (self.calls + 1, self.largest.max(height.max(width)));
            let at = |y: isize, x: isize| {
                let y = y.clamp(0, height as isize - 1) as usize;
                let x = x.clamp(0, width as isize - 1) as usize;
                input.data[y * width + x]
            };
            let r = self.radius as isize;
            let mut data = Vec::new();
            for y in 0..height * self.scale {
                for x in 0..width * self.scale {
                    let (y, x) = ((y / self.scale) as isize, (x / self.scale) as isize);
                    let around = (-r..=r).flat_map(|dy| (-r..=r).map(move |dx| (dy, dx)));
                    let sum: f32 = around.map(|(dy, dx)| at(y + dy, x + dx)).sum();
                    data.push(sum / (2 * r + 1).pow(2) as f32);
                }
            }
            Ok(Tensor { shape: [1, 1, height * self.scale, width * self.scale], data })
        }
    }

    fn picture(height: usize, width: usize) -> Tensor {
        let data = (0..height * width).map(|n| (n * 7919 % 256) as f32 / 255.0).collect();
        Tensor { shape: [1, 1, height, width], data }
    }

    #[test]
    fn tiles_are_what_the_whole_is() {
        for (height, width, scale) in [(100, 131, 2), (49, 300, 1), (200, 50, 3), (1, 1, 2), (48, 48, 2)] {
            let blur = || Blur { radius: 3, scale, calls: 0, largest: 0 };
            let tiling = |tile| Tiling { tile, overlap: 6, multiple_of: 2, scale };
            let (mut whole, mut tiled) = (blur(), blur());
            let input = picture(height, width);
            let a = tiling(10_000).run(&mut whole, "blur", &input).unwrap();
            let b = tiling(48).run(&mut tiled, "blur", &input).unwrap();
            assert_eq!((a.shape, whole.calls), ([1, 1, height * scale, width * scale], 1));
            assert_eq!(b.shape, a.shape);
            assert!(tiled.largest <= 72 && (tiled.calls > 1) == (height.max(width) > 72));
            let worst = a.data.iter().zip(&b.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            // Less than half a value of eight bits.
            assert!(worst < 0.5 / 255.0, "{height}x{width}: {worst}");
        }
    }

    #[test]
    fn weights_sum_to_one() {
        let tiling = Tiling { tile: 64, overlap: 8, multiple_of: 1, scale: 1 };
        for length in [1, 64, 96, 97, 500, 1001] {
            let mut sums = vec![0.0_f32; length];
            for part in tiling.parts(length) {
                for (sum, weight) in sums[part.from..part.to].iter_mut().zip(&part.weights) {
                    *sum += weight;
                }
            }
            assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5), "{length}: {sums:?}");
        }
    }

    #[test]
    fn what_comes_out_wrong_is_told() {
        let mut blur = Blur { radius: 1, scale: 2, calls: 0, largest: 0 };
        let tiling = Tiling { tile: 64, overlap: 4, multiple_of: 2, scale: 3 };
        let why = tiling.run(&mut blur, "blur", &picture(8, 8)).unwrap_err().to_string();
        assert!(why.contains("with a scale of 3 it should be [1, 1, 24, 24]"), "{why}");
        assert!(tiling.run(&mut blur, "blur", &Tensor::zeros([1, 1, 0, 8])).is_err());
    }
}
