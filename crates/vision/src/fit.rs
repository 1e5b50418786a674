//! The movement that most of many places agree on (RANSAC, Fischler and Bolles 1981), by the least squares of those that do. The
//! attempts are the same each time.

/// A place that was seen twice, counted from the middle of the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// Where it was.
    pub from: (f64, f64),
    /// Where it is.
    pub to: (f64, f64),
}

/// A movement of the whole picture: turned and made larger around the middle, then moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Similarity {
    /// To the right, in samples.
    pub x: f64,
    /// Down, in samples.
    pub y: f64,
    /// Clockwise, in radians.
    pub turn: f64,
    /// Natural logarithm of the factor.
    pub zoom: f64,
}

/// Attempts with two places each.
const ATTEMPTS: usize = 120;
/// As far as this from where it should be, a place still agrees, in samples.
const NEAR: f64 = 1.0;
/// So many have to agree at least.
const LEAST: usize = 8;
/// And so much of all of them.
const LEAST_PART: f64 = 0.3;

/// Coefficients: `x' = a·x - b·y + x₀`, `y' = b·x + a·y + y₀`.
#[derive(Clone, Copy)]
struct Linear {
    a: f64,
    b: f64,
    x: f64,
    y: f64,
}

impl Linear {
    fn misses(&self, pair: &Pair) -> f64 {
        let (x, y) = pair.from;
        let (dx, dy) =
            (self.a * x - self.b * y + self.x - pair.to.0, self.b * x + self.a * y + self.y - pair.to.1);
        dx.hypot(dy)
    }

    /// Least squares.
    fn of<'a>(pairs: impl Iterator<Item = &'a Pair> + Clone) -> Option<Self> {
        let count = pairs.clone().count() as f64;
        let mean = |of: fn(&Pair) -> f64| pairs.clone().map(of).sum::<f64>() / count;
        let (fx, fy) = (mean(|pair| pair.from.0), mean(|pair| pair.from.1));
        let (tx, ty) = (mean(|pair| pair.to.0), mean(|pair| pair.to.1));
        let (mut dot, mut cross, mut spread) = (0.0, 0.0, 0.0);
        for pair in pairs {
            let (x, y) = (pair.from.0 - fx, pair.from.1 - fy);
            let (u, v) = (pair.to.0 - tx, pair.to.1 - ty);
            dot += x * u + y * v;
            cross += x * v - y * u;
            spread += x * x + y * y;
        }
        // Places on one spot say nothing of turning.
        (spread > 1.0).then(|| {
            let (a, b) = (dot / spread, cross / spread);
            Self { a, b, x: tx - a * fx + b * fy, y: ty - b * fx - a * fy }
        })
    }
}

/// What most pairs agree on; nothing where too few do.
pub fn similarity(pairs: &[Pair]) -> Option<Similarity> {
    let least = LEAST.max((pairs.len() as f64 * LEAST_PART).ceil() as usize);
    if pairs.len() < least {
        return None;
    }
    let agree = |model: &Linear, near: f64| pairs.iter().filter(|pair| model.misses(pair) < near).count();
    let mut best: Option<(usize, Linear)> = None;
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut any = || {
        // Marsaglia's xorshift.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        pairs.get((seed % pairs.len() as u64) as usize)
    };
    for _ in 0..ATTEMPTS {
        let (Some(one), Some(two)) = (any(), any()) else { continue };
        let Some(model) = Linear::of([one, two].into_iter()) else { continue };
        let count = agree(&model, NEAR);
        if best.is_none_or(|(most, _)| count > most) {
            best = Some((count, model));
        }
    }
    let (_, mut model) = best?;
    for near in [NEAR, NEAR, NEAR / 2.0] {
        let agreeing = pairs.iter().filter(|pair| model.misses(pair) < near);
        if agreeing.clone().count() < least {
            break;
        }
        model = Linear::of(agreeing)?;
    }
    if agree(&model, NEAR) < least {
        return None;
    }
    let factor = model.a.hypot(model.b);
    let sane = (0.8..1.25).contains(&factor);
    sane.then(|| Similarity { x: model.x, y: model.y, turn: model.b.atan2(model.a), zoom: factor.ln() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_agree_though_some_go_their_own_way() {
        let (turn, factor, x, y) = (0.02_f64, 1.01, 3.0, -2.0);
        let pairs: Vec<Pair> = (0..100)
            .map(|n| {
                let from = (f64::from(n % 10) * 30.0 - 150.0, f64::from(n / 10) * 17.0 - 80.0);
                let (sin, cos) = turn.sin_cos();
                let to =
                    (factor * (cos * from.0 - sin * from.1) + x, factor * (sin * from.0 + cos * from.1) + y);
                // Two fifths follow something that walks through the picture.
                if n % 5 < 2 { Pair { from, to: (from.0 + 11.0, from.1) } } else { Pair { from, to } }
            })
            .collect();
        let found = similarity(&pairs).expect("most agree");
        let near = |is: f64, should: f64| (is - should).abs() < 1e-9;
        assert!(near(found.x, x) && near(found.y, y), "{found:?}");
        assert!(near(found.turn, turn) && near(found.zoom, factor.ln()), "{found:?}");
    }

    #[test]
    fn nobody_agrees() {
        let pairs: Vec<Pair> = (0..40)
            .map(|n| {
                let from = (f64::from(n) * 5.0, f64::from(n * n % 37));
                Pair { from, to: (f64::from(n * 31 % 97) * 9.0, f64::from(n * 17 % 53) * 7.0) }
            })
            .collect();
        assert_eq!(similarity(&pairs), None);
        assert_eq!(similarity(&pairs[..5]), None);
        let still: Vec<Pair> = vec![Pair { from: (1.0, 1.0), to: (1.0, 1.0) }; 20];
        assert_eq!(similarity(&still), None, "one place says nothing");
    }
}
