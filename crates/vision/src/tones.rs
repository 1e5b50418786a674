//! Brightness and colour: of a frame, and what becomes better about a scene. A scene is corrected as a whole, so that nothing pumps.

use kinora_protocol::survey::{Correction, Measured, Tones};

/// How often each value is there.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: [u32; 256],
    total: u64,
}

impl Histogram {
    /// Of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut counts = [0; 256];
        for value in bytes {
            if let Some(count) = counts.get_mut(usize::from(*value)) {
                *count += 1;
            }
        }
        Self { counts, total: bytes.len() as u64 }
    }

    /// The value that this part is not above, in thousandths.
    pub fn part(&self, part: f64) -> u16 {
        let wanted = (self.total as f64 * part).ceil() as u64;
        let mut seen = 0;
        let value = self.counts.iter().position(|count| {
            seen += u64::from(*count);
            seen >= wanted
        });
        thousandths(value.unwrap_or(255) as f64 / 255.0)
    }
}

fn thousandths(value: f64) -> u16 {
    (value * 1000.0).round().clamp(0.0, 1000.0) as u16
}

/// Values of luma between which a colour can be told from gray.
const LIT: std::ops::RangeInclusive<u8> = 50..=225;
/// What is nearer to gray than this is taken for something gray in coloured light.
const NEARLY_GRAY: i32 = 26;
/// No colour.
const MIDDLE: i32 = 128;

/// Of a frame.
pub fn of(luma: &Histogram, planes: [&[u8]; 3]) -> Tones {
    let (mut blue, mut red, mut gray, mut distance) = (0_i64, 0_i64, 0_i64, 0.0_f64);
    let [lumas, blues, reds] = planes;
    for ((value, u), v) in lumas.iter().zip(blues).zip(reds) {
        let (u, v) = (i32::from(*u) - MIDDLE, i32::from(*v) - MIDDLE);
        distance += f64::from(u * u + v * v).sqrt();
        if LIT.contains(value) && u.abs().max(v.abs()) < NEARLY_GRAY {
            blue += i64::from(u);
            red += i64::from(v);
            gray += 1;
        }
    }
    let samples = lumas.len().max(1) as f64;
    let mean = |sum: i64| (sum as f64 / gray.max(1) as f64 / 255.0 * 1000.0).round() as i16;
    Tones {
        black: luma.part(0.01),
        middle: luma.part(0.5),
        white: luma.part(0.99),
        blue: mean(blue),
        red: mean(red),
        gray: thousandths(gray as f64 / samples),
        colourful: thousandths(distance / samples / 255.0),
    }
}

/// Nothing that is brighter becomes black, and nothing that is darker white.
const MOST_BLACK: f64 = 0.10;
const LEAST_WHITE: f64 = 0.72;
/// A picture that is darker than this everywhere is meant to be.
const NIGHT: f64 = 0.40;
/// So much of the way to the ends is gone.
const STRENGTH: f64 = 0.8;
/// Where the middle is drawn to, so far, and not further than this.
const GOOD_MIDDLE: f64 = 0.42;
const MIDDLE_STRENGTH: f64 = 0.35;
const GAMMA: (f64, f64) = (0.85, 1.12);
/// So much of the tint of what is nearly gray goes, and not more than this.
const TINT_STRENGTH: f64 = 0.6;
const MOST_TINT: f64 = 0.03;
/// So much of a picture has to be nearly gray to tell its light by.
const ENOUGH_GRAY: f64 = 0.08;
/// Colour that is more than this is enough.
const COLOURFUL: f64 = 0.16;
/// How much more colour there is where there is hardly any.
const VIBRANCE: f64 = 0.2;
/// No colour becomes more than this.
const MOST_SATURATION: f64 = 1.45;

/// The correction of a scene.
pub fn correction(from: i64, scene: &[Measured]) -> Correction {
    let tones: Vec<Tones> = scene.iter().filter_map(|frame| frame.tones).collect();
    if tones.is_empty() {
        return Correction::none(from);
    }
    // Of all frames, so that a fade does not make the whole scene brighter.
    let low = part(&tones, 0.1, |tones| tones.black);
    let high = part(&tones, 0.9, |tones| tones.white);
    let middle = part(&tones, 0.5, |tones| tones.middle);
    let colourful = part(&tones, 0.5, |tones| tones.colourful);
    if high < NIGHT {
        return Correction::none(from);
    }
    let black = (STRENGTH * low).min(MOST_BLACK);
    let white = (1.0 - STRENGTH * (1.0 - high)).max(LEAST_WHITE);
    let lifted = ((middle - black) / (white - black)).clamp(0.05, 0.95);
    let wanted = lifted + MIDDLE_STRENGTH * (GOOD_MIDDLE - lifted);
    let gamma = (wanted.ln() / lifted.ln()).clamp(GAMMA.0, GAMMA.1);
    let vibrance = 1.0 + VIBRANCE * (1.0 - colourful / COLOURFUL).max(0.0);
    // Brightness grew with this factor, and so does what it is the brightness of. Nothing gets colour that has none.
    let saturation = if colourful < 0.004 { 1.0 } else { (vibrance / (white - black)).min(MOST_SATURATION) };
    let sure = part(&tones, 0.5, |tones| tones.gray) >= ENOUGH_GRAY;
    let tint = |of: fn(&Tones) -> i16| {
        let mut values: Vec<i16> = tones.iter().map(of).collect();
        values.sort_unstable();
        let middle = values.get(values.len() / 2).copied().unwrap_or(0);
        // All colour is made stronger, and so is this.
        let away = -TINT_STRENGTH * saturation * f64::from(middle) / 1000.0;
        if sure { (away.clamp(-MOST_TINT, MOST_TINT) * 1000.0).round() as i16 } else { 0 }
    };
    Correction {
        from,
        black: thousandths(black),
        white: thousandths(white),
        gamma: (gamma * 1000.0).round() as u16,
        blue: tint(|tones| tones.blue),
        red: tint(|tones| tones.red),
        saturation: (saturation * 1000.0).round() as u16,
    }
}

/// The value that this part of all frames is not above, from 0 to 1.
fn part(tones: &[Tones], part: f64, of: fn(&Tones) -> u16) -> f64 {
    let mut values: Vec<u16> = tones.iter().map(of).collect();
    values.sort_unstable();
    let place = ((values.len() - 1) as f64 * part).round() as usize;
    f64::from(values.get(place).copied().unwrap_or(0)) / 1000.0
}

/// Values of a plane as they become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table(Vec<u16>);

impl Table {
    /// What a value becomes.
    pub fn of(&self, value: u16) -> u16 {
        self.0.get(usize::from(value)).copied().unwrap_or(value)
    }
}

/// Samples of one kind of picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coded {
    /// Bits.
    pub depth: u32,
    /// Whether all values are used.
    pub full: bool,
}

impl Coded {
    fn greatest(self) -> f64 {
        f64::from((1_u32 << self.depth.min(16)) - 1)
    }

    /// Black and white of luma; least and greatest colour.
    fn ends(self) -> ((f64, f64), (f64, f64)) {
        let unit = f64::from(1_u32 << (self.depth.min(16) - 8.min(self.depth)));
        match self.full {
            true => ((0.0, self.greatest()), (0.0, self.greatest())),
            false => ((16.0 * unit, 235.0 * unit), (16.0 * unit, 240.0 * unit)),
        }
    }

    fn values(self, of: impl Fn(f64) -> f64) -> Table {
        let greatest = self.greatest();
        let code = |value: u32| of(f64::from(value)).round().clamp(0.0, greatest) as u16;
        Table((0..=greatest as u32).map(code).collect())
    }

    /// What a correction makes of luma.
    pub fn luma(self, one: &Correction) -> Table {
        let ((low, high), _) = self.ends();
        let [black, white, gamma] = [one.black, one.white, one.gamma].map(|value| f64::from(value) / 1000.0);
        self.values(|value| {
            let at = ((value - low) / (high - low) - black) / (white - black).max(0.01);
            // Beyond both ends there is still something, which stays where it was.
            let made = if (0.0..=1.0).contains(&at) { at.powf(gamma) } else { at.clamp(0.0, 1.0) };
            if value < low || value > high { value } else { low + made * (high - low) }
        })
    }

    /// What it makes of blue and red difference.
    pub fn differences(self, one: &Correction) -> [Table; 2] {
        let (_, (low, high)) = self.ends();
        let middle = f64::from(1_u32 << (self.depth.clamp(1, 16) - 1));
        [one.blue, one.red].map(|added| {
            let (factor, added) = (f64::from(one.saturation) / 1000.0, f64::from(added) / 1000.0);
            self.values(|value| {
                (middle + (value - middle) * factor + added * (high - low))
                    .clamp(low.min(value), high.max(value))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(luma: impl Fn(usize) -> u8, blue: u8, red: u8) -> Vec<Measured> {
        let lumas: Vec<u8> = (0..10_000).map(luma).collect();
        let (blues, reds) = (vec![blue; 10_000], vec![red; 10_000]);
        let histogram = Histogram::of(&lumas);
        let tones = Some(of(&histogram, [&lumas, &blues, &reds]));
        let bright = histogram.part(0.99);
        (0..5)
            .map(|at| Measured {
                at,
                bright,
                change: None,
                change_of_two: None,
                tones,
                motion: None,
                seen: None,
            })
            .collect()
    }

    #[test]
    fn a_dull_scene_gets_its_range_and_its_gray() {
        // From 40 to 190 of 255, in yellow light.
        let dull = scene(|n| 40 + (n % 150) as u8, 118, 132);
        let made = correction(7, &dull);
        assert_eq!(made.from, 7);
        assert_eq!(made.black, 100, "not more than that");
        assert!((720..850).contains(&made.white), "{made:?}");
        assert!(made.blue > 15 && made.red < 0, "{made:?}");
        assert!(made.saturation > 1000, "{made:?}");
        let coded = Coded { depth: 8, full: false };
        let luma = coded.luma(&made);
        assert_eq!((luma.of(16), luma.of(235)), (16, 235));
        assert!(luma.of(180) > 195 && luma.of(40) < 30, "{} {}", luma.of(180), luma.of(40));
        assert!((16..235).all(|value| luma.of(value) <= luma.of(value + 1)), "never the other way round");
        assert_eq!((luma.of(3), luma.of(250)), (3, 250));
        let [blue, _] = coded.differences(&made);
        assert!((120..=128).contains(&blue.of(118)), "{}", blue.of(118));
    }

    #[test]
    fn what_is_good_or_meant_stays() {
        let good = correction(0, &scene(|n| (n % 256) as u8, 128, 128));
        assert!(good.black <= 10 && good.white >= 990, "{good:?}");
        assert_eq!((good.blue, good.red, good.saturation), (0, 0, 1000), "gray stays gray");
        assert!(correction(3, &scene(|n| (n % 60) as u8, 128, 128)).is_none(), "night");
        assert!(correction(3, &[]).is_none());
        for coded in [Coded { depth: 10, full: false }, Coded { depth: 8, full: true }] {
            let none = Correction::none(0);
            let luma = coded.luma(&none);
            let [blue, red] = coded.differences(&none);
            let all = 0..=coded.greatest() as u16;
            assert!(all.clone().all(|v| luma.of(v) == v && blue.of(v) == v && red.of(v) == v), "{coded:?}");
        }
    }
}
