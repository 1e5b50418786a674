//! Frames of a film, measured one after the other. What is said of a frame depends on it and the two before it, and on nothing else, so
//! that a film may be measured in stretches.

use kinora_protocol::survey::{Measured, Seen, Wanted};

use crate::gray::{Gray, Pyramid};
use crate::motion;
use crate::tones::{self, Histogram};

/// Frames before one that it is compared with.
pub const BEFORE: usize = 2;

/// Fields of the small picture that frames are compared by.
const COLUMNS: usize = 32;
const ROWS: usize = 18;

/// A frame as small as it needs to be to tell another scene.
#[derive(Debug, Clone)]
struct Glance {
    /// Mean luma, blue difference and red difference of fields.
    fields: Vec<[f32; 3]>,
    /// Parts of the picture.
    shades: [f32; SHADES],
}

/// Shades that are told apart: of luma, and of each difference.
const SHADES: usize = 48;

impl Glance {
    fn of([luma, blue, red]: [&[u8]; 3], width: usize, height: usize) -> Self {
        let mut sums = vec![([0_u64; 3], 0_u64); COLUMNS * ROWS];
        let mut shades = [0.0; SHADES];
        let rows = luma.chunks_exact(width.max(1)).zip(blue.chunks_exact(width.max(1)));
        for (y, ((luma, blue), red)) in rows.zip(red.chunks_exact(width.max(1))).enumerate() {
            let row = y * ROWS / height.max(1) * COLUMNS;
            for (x, ((luma, blue), red)) in luma.iter().zip(blue).zip(red).enumerate() {
                let values = [*luma, *blue, *red];
                if let Some((sum, count)) = sums.get_mut(row + x * COLUMNS / width.max(1)) {
                    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += u64::from(value));
                    *count += 1;
                }
                for (plane, value) in values.into_iter().enumerate() {
                    if let Some(shade) = shades.get_mut(16 * plane + usize::from(value >> 4)) {
                        *shade += 1.0;
                    }
                }
            }
        }
        let samples = (width * height).max(1) as f32;
        shades.iter_mut().for_each(|shade| *shade /= samples);
        let mean = |(sum, count): ([u64; 3], u64)| sum.map(|sum| sum as f32 / count.max(1) as f32);
        Self { fields: sums.into_iter().map(mean).collect(), shades }
    }

    /// How much another differs, in thousandths. Movement changes places and not how often values are there, light the other way
    /// round; another scene changes both.
    fn change(&self, other: &Self) -> u16 {
        let distance = |(a, b): (&[f32; 3], &[f32; 3])| {
            let [luma, blue, red] = [0, 1, 2].map(|n: usize| match (a.get(n), b.get(n)) {
                (Some(a), Some(b)) => (a - b).abs(),
                _ => 0.0,
            });
            luma + blue + red
        };
        let places = self.fields.iter().zip(&other.fields).map(distance).sum::<f32>();
        let places = places / (self.fields.len().max(1) as f32 * 255.0);
        let shades = self.shades.iter().zip(&other.shades).map(|(a, b)| (a - b).abs()).sum::<f32>() / 6.0;
        ((places * shades).sqrt() * 1000.0).round().clamp(0.0, 1000.0) as u16
    }
}

/// What looks for things in a frame: luma, blue and red difference, each of the size that frames have.
pub type Finds = Box<dyn FnMut([&[u8]; 3]) -> Vec<Seen> + Send>;

/// Measures frames of one size.
pub struct Measurer {
    size: (usize, usize),
    wanted: Wanted,
    last: Option<(Glance, Option<Pyramid>)>,
    before_last: Option<Glance>,
    finds: Option<Finds>,
}

impl Measurer {
    /// For frames of this width and height.
    pub fn new(size: (usize, usize), wanted: Wanted) -> Self {
        Self { size, wanted, last: None, before_last: None, finds: None }
    }

    /// The same that looks for things, too.
    pub fn finding(self, finds: Option<Finds>) -> Self {
        Self { finds, ..self }
    }

    /// Bytes of a frame: luma, blue difference, red difference, all in full size and with all values.
    pub fn bytes(&self) -> usize {
        3 * self.size.0 * self.size.1
    }

    /// Measures the next frame, which is shown at a time in ticks.
    pub fn next(&mut self, at: i64, bytes: &[u8]) -> Measured {
        let (width, height) = self.size;
        let samples = width * height;
        let planes = [0, 1, 2].map(|n| bytes.get(n * samples..(n + 1) * samples).unwrap_or_default());
        let histogram = Histogram::of(planes[0]);
        let glance = Glance::of(planes, width, height);
        let pyramid = self.wanted.motion.map(|_| Pyramid::of(Gray::of(planes[0], width, height)));
        let before = self.last.as_ref();
        let motion = before
            .and_then(|(_, before)| before.as_ref())
            .zip(pyramid.as_ref())
            .and_then(|(before, after)| motion::between(before, after));
        let measured = Measured {
            at,
            bright: Histogram::of(&lit(planes)).part(0.99),
            change: before.map(|(before, _)| before.change(&glance)),
            change_of_two: self.before_last.as_ref().map(|before| before.change(&glance)),
            tones: self.wanted.tones.then(|| tones::of(&histogram, planes)),
            motion,
            seen: self.finds.as_mut().map(|finds| finds(planes)),
        };
        self.before_last = self.last.take().map(|(glance, _)| glance);
        self.last = Some((glance, pyramid));
        measured
    }
}

/// How far samples are from black: deep blue has little luma, and is not dark.
fn lit([luma, blue, red]: [&[u8]; 3]) -> Vec<u8> {
    let samples = luma.iter().zip(blue).zip(red);
    samples
        .map(|((luma, blue), red)| luma.saturating_add(blue.abs_diff(128).max(red.abs_diff(128))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(n: usize, shift: usize) -> Vec<u8> {
        let (width, height) = (96, 54);
        let plane = |k: usize| {
            (0..width * height).map(move |i| {
                let (x, y) = ((i % width + shift) as f64, (i / width) as f64);
                let value = match n {
                    0 => 110.0 + 60.0 * (x / 2.5).sin() * (y / 3.0).cos() + 30.0 * ((x + y) / 4.0).sin(),
                    _ => 200.0 - 50.0 * (x * y / 300.0).cos(),
                };
                if k == 0 { value as u8 } else { (128 + 20 * n) as u8 }
            })
        };
        (0..3).flat_map(plane).collect()
    }

    #[test]
    fn what_is_said_of_a_frame_depends_on_two_before_it() {
        let frames: Vec<Vec<u8>> = (0..12).map(|n| frame(n / 6, n % 6)).collect();
        let wanted = Wanted { tones: true, motion: Some(700), ..Wanted::default() };
        let measure = |from: usize| {
            let mut measurer = Measurer::new((96, 54), wanted);
            assert_eq!(measurer.bytes(), frames[0].len());
            (from..12).map(|n| measurer.next(n as i64, &frames[n])).collect::<Vec<_>>()
        };
        let (all, late) = (measure(0), measure(3));
        assert_eq!(all[3 + BEFORE..], late[BEFORE..]);
        assert_eq!((all[0].change, all[1].change_of_two), (None, None));
        let change = |n: usize| all[n].change.unwrap();
        assert!(change(6) > 5 * change(5), "{all:?}");
        assert!(all[6].change_of_two.unwrap() > 100 && all[7].change_of_two.unwrap() > 100);
        assert!(all[2].motion.is_some_and(|motion| motion.x < 0), "{:?}", all[2]);
    }
}
