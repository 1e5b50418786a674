//! Pictures in shades of gray as numbers, each with smaller ones of itself.

/// Halvings at the most.
const MOST_LEVELS: usize = 4;
/// No side becomes shorter than this.
const SHORTEST: usize = 24;

/// A picture of gray values.
#[derive(Debug, Clone, PartialEq)]
pub struct Gray {
    /// Samples in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Row after row.
    pub values: Vec<f32>,
}

impl Gray {
    /// Of bytes, row after row; those that lack are black.
    pub fn of(bytes: &[u8], width: usize, height: usize) -> Self {
        let mut values: Vec<f32> = bytes.iter().take(width * height).map(|value| f32::from(*value)).collect();
        values.resize(width * height, 0.0);
        Self { width, height, values }
    }

    /// In half the width and height.
    fn halved(&self) -> Self {
        let (width, height) = (self.width / 2, self.height / 2);
        let mut values = Vec::with_capacity(width * height);
        for rows in self.values.chunks_exact(2 * self.width).take(height) {
            let (upper, lower) = rows.split_at(self.width);
            let pairs = upper.chunks_exact(2).zip(lower.chunks_exact(2)).take(width);
            values.extend(pairs.map(|(a, b)| (a.iter().sum::<f32>() + b.iter().sum::<f32>()) / 4.0));
        }
        Self { width, height, values }
    }

    /// The value at a place; outside, that of the nearest inside.
    pub fn at(&self, x: i64, y: i64) -> f32 {
        let inside = |at: i64, length: usize| at.clamp(0, length as i64 - 1) as usize;
        let place = inside(y, self.height) * self.width + inside(x, self.width);
        self.values.get(place).copied().unwrap_or(0.0)
    }

    /// A square of `side` values whose first lies at a place between samples.
    pub fn patch(&self, (x, y): (f32, f32), side: usize, out: &mut Vec<f32>) {
        out.clear();
        let (left, top) = (x.floor(), y.floor());
        let (across, down) = (x - left, y - top);
        let (left, top) = (left as i64, top as i64);
        let weights =
            [(1.0 - across) * (1.0 - down), across * (1.0 - down), (1.0 - across) * down, across * down];
        let fits = |at: i64, length: usize| at >= 0 && at as usize + side < length;
        if fits(left, self.width) && fits(top, self.height) {
            for row in 0..side {
                let begin = (top as usize + row) * self.width + left as usize;
                let upper = self.values.get(begin..begin + side + 1).unwrap_or_default();
                let below = begin + self.width;
                let lower = self.values.get(below..below + side + 1).unwrap_or_default();
                out.extend(upper.windows(2).zip(lower.windows(2)).map(|(a, b)| match (a, b) {
                    ([a, b], [c, d]) => a * weights[0] + b * weights[1] + c * weights[2] + d * weights[3],
                    _ => 0.0,
                }));
            }
            return;
        }
        for row in 0..side as i64 {
            for column in 0..side as i64 {
                let (x, y) = (left + column, top + row);
                let corners = [self.at(x, y), self.at(x + 1, y), self.at(x, y + 1), self.at(x + 1, y + 1)];
                out.push(corners.iter().zip(weights).map(|(value, weight)| value * weight).sum());
            }
        }
    }
}

/// A picture in its own size and in halves of it, the largest first.
#[derive(Debug, Clone)]
pub struct Pyramid {
    /// At least one.
    pub levels: Vec<Gray>,
}

impl Pyramid {
    /// Of a picture.
    pub fn of(picture: Gray) -> Self {
        let mut levels = vec![picture];
        while let Some(last) = levels.last()
            && levels.len() < MOST_LEVELS
            && last.width.min(last.height) >= 2 * SHORTEST
        {
            let next = last.halved();
            levels.push(next);
        }
        Self { levels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: usize, height: usize) -> Gray {
        let values = (0..width * height).map(|n| (n % width) as f32 + 2.0 * (n / width) as f32).collect();
        Gray { width, height, values }
    }

    #[test]
    fn patches_between_samples() {
        let picture = ramp(20, 20);
        let mut patch = Vec::new();
        picture.patch((3.25, 4.5), 3, &mut patch);
        assert_eq!(patch[0], 3.25 + 9.0);
        assert_eq!(patch[8], 5.25 + 13.0);
        // Beyond the edge the last value goes on.
        picture.patch((18.5, 4.0), 3, &mut patch);
        assert_eq!(&patch[..3], [18.5 + 8.0, 19.0 + 8.0, 19.0 + 8.0]);
    }

    #[test]
    fn halves() {
        let pyramid = Pyramid::of(ramp(101, 99));
        let sizes: Vec<_> = pyramid.levels.iter().map(|level| (level.width, level.height)).collect();
        assert_eq!(sizes, [(101, 99), (50, 49), (25, 24)]);
        assert_eq!(pyramid.levels[1].at(0, 0), (0.0 + 1.0 + 2.0 + 3.0) / 4.0);
        assert_eq!(Pyramid::of(Gray::of(&[1], 1, 1)).levels.len(), 1);
    }
}
