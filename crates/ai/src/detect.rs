//! Things in pictures, by a model that looks at a small square picture and gives, for each field of a grid, whether something is there,
//! where its middle and how large it is, and what it could be. Source of the arithmetic: FastestDet (dog-qiuqiu, BSD-3-Clause).

use kinora_protocol::survey::{Area, Seen, WHOLE};

use crate::model::Model;
use crate::session::{InferError, Session, Tensor};

/// Numbers of a field before those of the classes: whether something is there, its middle across and down, its width and height.
const PLACE: usize = 5;
/// Of two that cover each other by more than this, whatever they are, one is left.
const SAME: f64 = 0.45;
/// What is less sure than this is not told, in thousandths.
const LEAST: u16 = 550;
/// Things in one picture at the most.
const MOST: usize = 100;

/// What the classes of models are that were trained with COCO (Lin and others 2014).
const COCO: [&str; 80] = [
    "person",
    "bicycle",
    "car",
    "motorbike",
    "aeroplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "skis",
    "snowboard",
    "sports ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "sofa",
    "pottedplant",
    "bed",
    "diningtable",
    "toilet",
    "tvmonitor",
    "laptop",
    "mouse",
    "remote",
    "keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
];

/// A model that finds things.
#[derive(Debug, Clone)]
pub struct Detector {
    name: String,
    side: usize,
    labels: Vec<String>,
}

impl Detector {
    /// By what its manifest says.
    pub fn new(model: &Model) -> Self {
        Self { name: model.name.clone(), side: model.tile as usize, labels: model.labels.clone() }
    }

    /// A gray picture: what comes out of it must have the right shape.
    ///
    /// # Errors
    /// [`InferError`].
    pub fn try_out(&self, session: &mut dyn Session) -> Result<(), InferError> {
        let mut input = Tensor::zeros([1, 3, self.side, self.side]);
        input.data.fill(0.5);
        self.read(&session.run(&input)?).map(drop)
    }

    /// What is in a picture of luma, blue and red difference, each of this size and with all values; the surest first.
    ///
    /// # Errors
    /// [`InferError`] of the model.
    pub fn find(
        &self,
        session: &mut dyn Session,
        planes: [&[u8]; 3],
        size: (usize, usize),
    ) -> Result<Vec<Seen>, InferError> {
        let out = session.run(&self.square(planes, size))?;
        self.read(&out)
    }

    /// Blue, green and red from 0 to 1, in the square that the model takes: each value lies between four of the picture.
    fn square(&self, planes: [&[u8]; 3], (width, height): (usize, usize)) -> Tensor {
        let side = self.side;
        let mut tensor = Tensor::zeros([1, 3, side, side]);
        let place = |at: usize, length: usize| {
            let at = ((at as f32 + 0.5) * length as f32 / side as f32 - 0.5)
                .clamp(0.0, (length.max(1) - 1) as f32);
            (at as usize, (at as usize + 1).min(length.max(1) - 1), at.fract())
        };
        let across: Vec<_> = (0..side).map(|at| place(at, width)).collect();
        let (blue, rest) = tensor.data.split_at_mut(side * side);
        let (green, red) = rest.split_at_mut(side * side);
        let mut out = blue.iter_mut().zip(green.iter_mut().zip(red.iter_mut()));
        for y in 0..side {
            let (top, bottom, down) = place(y, height);
            for (left, right, beside) in &across {
                let [luma, u, v] = planes.map(|plane| {
                    let at = |x: usize, y: usize| plane.get(y * width + x).copied().map_or(0.0, f32::from);
                    let upper = at(*left, top) * (1.0 - beside) + at(*right, top) * beside;
                    let lower = at(*left, bottom) * (1.0 - beside) + at(*right, bottom) * beside;
                    upper * (1.0 - down) + lower * down
                });
                let (u, v) = (u - 128.0, v - 128.0);
                // ITU-R BT.709.
                let values = [luma + 1.8556 * u, luma - 0.1873 * u - 0.4681 * v, luma + 1.5748 * v];
                let [b, g, r] = values.map(|value| (value / 255.0).clamp(0.0, 1.0));
                if let Some((to_b, (to_g, to_r))) = out.next() {
                    (*to_b, *to_g, *to_r) = (b, g, r);
                }
            }
        }
        tensor
    }

    /// What the numbers say.
    fn read(&self, out: &Tensor) -> Result<Vec<Seen>, InferError> {
        let [batch, numbers, rows, columns] = out.shape;
        if batch != 1 || numbers <= PLACE || rows * columns == 0 {
            let reason = format!(
                "{:?} comes out of it; known here is (1, {PLACE} and the number of classes, rows, columns)",
                out.shape
            );
            return Err(InferError::Model { name: self.name.clone(), reason });
        }
        let fields = rows * columns;
        let number = |n: usize, field: usize| out.data.get(n * fields + field).copied().unwrap_or(0.0);
        let mut found = Vec::new();
        for field in 0..fields {
            let classes = (PLACE..numbers).map(|n| (number(n, field), n - PLACE));
            let Some((sure, class)) = classes.max_by(|a, b| a.0.total_cmp(&b.0)) else { continue };
            let score = number(0, field).clamp(0.0, 1.0).powf(0.6) * sure.clamp(0.0, 1.0).powf(0.4);
            let score = (score * 1000.0).round() as u16;
            if score < LEAST {
                continue;
            }
            let middle =
                |n: usize, at: usize, of: usize| (f64::from(number(n, field).tanh()) + at as f64) / of as f64;
            let length = |n: usize| 1.0 / (1.0 + (-f64::from(number(n, field))).exp());
            let (x, y) = (middle(1, field % columns, columns), middle(2, field / columns, rows));
            let (width, height) = (length(3), length(4));
            let [left, top, right, bottom] =
                [x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0]
                    .map(|side| (side.clamp(0.0, 1.0) * f64::from(WHOLE)).round() as i32);
            let area = Area { x: left, y: top, width: right - left, height: bottom - top };
            found.push(Seen { class: self.label(class, numbers - PLACE), score, area });
        }
        Ok(best(found))
    }

    fn label(&self, class: usize, of: usize) -> String {
        let coco = || COCO.get(class).filter(|_| of == COCO.len()).map(|name| (*name).to_owned());
        self.labels.get(class).cloned().or_else(coco).unwrap_or_else(|| format!("class {class}"))
    }
}

/// Of those that stand for the same thing, the surest.
fn best(mut found: Vec<Seen>) -> Vec<Seen> {
    found.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.area.cmp(&b.area)));
    let mut kept: Vec<Seen> = Vec::new();
    for one in found {
        let same = |other: &Seen| other.area.shared(&one.area) > SAME;
        if kept.len() < MOST && !kept.iter().any(same) {
            kept.push(one);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Says(Tensor);

    impl Session for Says {
        fn run(&mut self, input: &Tensor) -> Result<Tensor, InferError> {
            assert_eq!(input.shape, [1, 3, 32, 32]);
            Ok(self.0.clone())
        }
    }

    fn detector(labels: &[&str]) -> Detector {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        Detector { name: "d".to_owned(), side: 32, labels }
    }

    /// Two fields in a row say that the same thing is there, and one that is not sure something else.
    fn grid(classes: usize) -> Tensor {
        let mut out = Tensor::zeros([1, PLACE + classes, 4, 4]);
        for (field, there, shift) in [(5, 0.9, 0.9), (6, 0.8, -0.1), (12, 0.2, 0.0)] {
            let mut set = |n: usize, value: f32| out.data[n * 16 + field] = value;
            set(0, there);
            set(1, f32::atanh(shift));
            set(2, f32::atanh(0.5));
            set(3, 0.0);
            set(4, -1.0);
            set(PLACE + 1, 0.9);
        }
        out
    }

    #[test]
    fn fields_become_things() {
        let planes = [&[100_u8; 12][..], &[128; 12], &[128; 12]];
        let found = detector(&["cat", "dog"]).find(&mut Says(grid(2)), planes, (4, 3)).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].class.as_str(), found[0].score), ("dog", 900));
        // The middle is at (1 + 0.9) / 4 across and (1 + 0.5) / 4 down; half of the picture wide.
        assert_eq!((found[0].area.x, found[0].area.width), (2250, 5000));
        assert!((found[0].area.y + found[0].area.height / 2 - 3750).abs() <= 1, "{found:?}");
        let coco = detector(&[]).find(&mut Says(grid(80)), planes, (4, 3)).unwrap();
        assert_eq!(coco[0].class, "bicycle");
        assert_eq!(detector(&[]).find(&mut Says(grid(3)), planes, (4, 3)).unwrap()[0].class, "class 1");
        let odd = Says(Tensor::zeros([1, 5, 4, 4])).run(&Tensor::zeros([1, 3, 32, 32])).unwrap();
        assert!(detector(&[]).try_out(&mut Says(odd)).unwrap_err().to_string().contains("number of classes"));
    }

    #[test]
    fn pictures_become_squares() {
        // Pure red on the left half, white on the right.
        let luma: Vec<u8> = (0..64).map(|n| if n % 8 < 4 { 54 } else { 255 }).collect();
        let blue: Vec<u8> = (0..64).map(|n| if n % 8 < 4 { 99 } else { 128 }).collect();
        let red: Vec<u8> = (0..64).map(|n| if n % 8 < 4 { 255 } else { 128 }).collect();
        let tensor = detector(&[]).square([&luma, &blue, &red], (8, 8));
        let at = |plane: usize, x: usize| tensor.data[plane * 1024 + 16 * 32 + x];
        assert!(at(0, 2) < 0.02 && at(1, 2) < 0.02 && at(2, 2) > 0.98);
        assert!((0..3).all(|plane| at(plane, 30) > 0.99));
    }
}
