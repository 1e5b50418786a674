//! Things in pictures, with a frame around each and what it is: drawn into the samples.

use font8x8::UnicodeFonts as _;
use kinora_protocol::planes::Planar;
use kinora_protocol::survey::{Area, Object, WHOLE};

use crate::samples;

/// Luma, blue and red difference of frames, in limited range with eight bits, one after the other by the things' numbers.
const COLOURS: [[u16; 3]; 6] =
    [[145, 54, 34], [170, 166, 16], [106, 202, 222], [210, 16, 146], [81, 90, 240], [150, 44, 21]];
/// Of letters.
const INK: [u16; 3] = [16, 128, 128];
/// Samples of a letter's side.
const LETTER: usize = 8;

/// Draws on pictures of one kind.
#[derive(Debug, Clone)]
pub struct Pen {
    picture: Planar,
    full: bool,
    /// Thickness of lines, and samples for each of a letter.
    line: usize,
    scale: usize,
}

impl Pen {
    /// For pictures of this kind.
    pub fn new(picture: &Planar) -> Self {
        let shorter = picture.width.min(picture.height) as usize;
        Self {
            picture: picture.clone(),
            full: picture.full_range(),
            line: (shorter / 240).max(2),
            scale: (shorter / 360).max(1),
        }
    }

    /// The picture with frames around things.
    pub fn draw(&self, bytes: &[u8], objects: &[Object]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        for object in objects {
            let colour = COLOURS.get(object.track as usize % COLOURS.len()).copied().unwrap_or(INK);
            let [left, top, right, bottom] = self.corners(&object.area);
            let line = self.line;
            for [x, y, to_x, to_y] in [
                [left, top, right, top + line],
                [left, bottom.saturating_sub(line), right, bottom],
                [left, top, left + line, bottom],
                [right.saturating_sub(line), top, right, bottom],
            ] {
                self.fill(&mut out, [x, y, to_x.min(right), to_y.min(bottom)], colour);
            }
            self.label(&mut out, (left, top), &format!("{} {}", object.class, object.track), colour);
        }
        out
    }

    /// Left, top, right and bottom in samples.
    fn corners(&self, area: &Area) -> [usize; 4] {
        let at = |part: i32, side: u32| {
            let place = i64::from(part.clamp(0, WHOLE)) * i64::from(side) / i64::from(WHOLE);
            usize::try_from(place).unwrap_or(0)
        };
        let (width, height) = (self.picture.width, self.picture.height);
        [
            at(area.x, width),
            at(area.y, height),
            at(area.x.saturating_add(area.width), width),
            at(area.y.saturating_add(area.height), height),
        ]
    }

    /// Above the frame, or inside where there is no place.
    fn label(&self, out: &mut [u8], (left, top): (usize, usize), text: &str, colour: [u16; 3]) {
        let side = LETTER * self.scale;
        let top = top.checked_sub(side + self.scale).unwrap_or(top + self.line);
        let letters: Vec<[u8; 8]> =
            text.chars().filter_map(|letter| font8x8::BASIC_FONTS.get(letter)).collect();
        let end = left + letters.len() * side + self.scale;
        self.fill(out, [left, top, end, top + side + self.scale], colour);
        for (n, letter) in letters.into_iter().enumerate() {
            for (row, bits) in letter.into_iter().enumerate() {
                for column in (0..LETTER).filter(|column| bits >> column & 1 == 1) {
                    let (x, y) = (left + n * side + column * self.scale, top + row * self.scale);
                    self.fill(out, [x + 1, y + 1, x + 1 + self.scale, y + 1 + self.scale], INK);
                }
            }
        }
    }

    /// Fills what lies inside the picture.
    fn fill(&self, out: &mut [u8], [left, top, right, bottom]: [usize; 4], colour: [u16; 3]) {
        let size = self.picture.sample();
        let mut from = 0;
        for (n, ((width, height), value)) in self.picture.planes().into_iter().zip(colour).enumerate() {
            let [across, down] = self.picture.halved.filter(|_| n > 0).unwrap_or_default();
            let (left, right) = ((left >> across).min(width), right.div_ceil(1 << across).min(width));
            let (top, bottom) = ((top >> down).min(height), bottom.div_ceil(1 << down).min(height));
            let mut written = Vec::with_capacity(2);
            samples::push(&self.picture, &mut written, self.coded(value, n > 0));
            for row in top..bottom {
                let begin = from + (row * width + left) * size;
                let end = from + (row * width + right.max(left)) * size;
                for sample in out.get_mut(begin..end).unwrap_or_default().chunks_exact_mut(size) {
                    sample.copy_from_slice(&written);
                }
            }
            from += width * height * size;
        }
    }

    /// A value in the picture's own depth and range.
    fn coded(&self, value: u16, chroma: bool) -> u16 {
        let value = f64::from(value);
        let eight = match (self.full, chroma) {
            (false, _) => value,
            (true, false) => (value - 16.0) * 255.0 / 219.0,
            (true, true) => (value - 128.0) * 255.0 / 224.0 + 128.0,
        };
        let unit = f64::from(1_u32 << self.picture.depth.clamp(8, 16) >> 8);
        (eight.clamp(0.0, 255.0) * unit).round() as u16
    }
}

#[cfg(test)]
mod tests {
    use kinora_protocol::media::Color;

    use super::*;

    #[test]
    fn frames_and_letters() {
        for depth in [8, 10] {
            let picture = Planar {
                width: 160,
                height: 90,
                format: "yuv420p".to_owned(),
                halved: Some([1, 1]),
                depth,
                color: Color::default(),
                sample_aspect: None,
            };
            let blank = vec![0; picture.bytes()];
            let area = Area { x: 2500, y: 4000, width: 5000, height: 4000 };
            let object = Object { track: 3, class: "dog".to_owned(), score: 900, area };
            let pen = Pen::new(&picture);
            let drawn = pen.draw(&blank, std::slice::from_ref(&object));
            let planes = samples::planes(&picture, &drawn);
            let luma: Vec<u16> = samples::values(&picture, planes[0]).collect();
            let unit = 1 << (depth - 8);
            let is = |x: usize, y: usize| luma[y * 160 + x] / unit;
            assert_eq!((is(40, 60), is(119, 60), is(80, 36), is(80, 71)), (210, 210, 210, 210));
            assert_eq!((is(60, 55), is(20, 60), is(130, 60)), (0, 0, 0), "nothing inside or outside");
            assert!(luma[27 * 160..36 * 160].contains(&(16 * unit)), "letters above it");
            let blue: Vec<u16> = samples::values(&picture, planes[1]).collect();
            assert_eq!(blue[30 * 80 + 20] / unit, 16);
            assert_eq!(pen.draw(&blank, &[]), blank);
            // At the edges, and beyond them.
            let beyond = Area { x: 9000, y: -50, width: 5000, height: 20_000 };
            assert_eq!(pen.draw(&blank, &[Object { area: beyond, ..object }]).len(), blank.len());
        }
    }
}
