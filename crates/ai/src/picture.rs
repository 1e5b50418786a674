//! Pictures through a model: luma as numbers from 0 to 1, chroma brought along. It must not know where pictures come from or go to.

use kinora_protocol::inference::ModelTask;
use kinora_protocol::planes::Planar;

use crate::lanczos;
use crate::limit;
use crate::model::Model;
use crate::session::{InferError, Session, Tensor};
use crate::tile::Tiling;

/// A model with pictures of one kind.
#[derive(Debug, Clone)]
pub struct Enhancer {
    name: String,
    task: ModelTask,
    frames: usize,
    tiling: Tiling,
    limited: bool,
    picture: Planar,
}

impl Enhancer {
    /// For pictures of this kind.
    pub fn new(model: &Model, picture: &Planar) -> Self {
        Self {
            name: model.name.clone(),
            task: model.task,
            frames: model.frames as usize,
            tiling: model.tiling(),
            limited: model.limited,
            picture: picture.clone(),
        }
    }

    /// Bytes that one picture takes at the most while it is worked on: it and those beside it, and what comes out.
    pub fn memory(&self) -> u64 {
        let scale = self.tiling.scale as u64;
        let bytes = self.picture.bytes() as u64;
        let samples = u64::from(self.picture.width) * u64::from(self.picture.height);
        // Numbers of four bytes for the luma that goes in and comes out; of a tile the model holds some dozens of planes, twice.
        let side = (self.tiling.tile + 3 * self.tiling.overlap) as u64 * 3 / 2;
        let tile = samples.min(side * side) * 4 * PLANES;
        // One that is made waits for those before it while the next one is.
        bytes * (self.frames as u64 + 2 * scale * scale)
            + samples * 4 * (self.frames as u64 + scale * scale)
            + tile
    }

    /// What becomes of the picture in the middle of these.
    ///
    /// # Errors
    /// [`InferError`] of the model, or for pictures of another size.
    pub fn make(&self, session: &mut dyn Session, seen: &[&[u8]]) -> Result<Vec<u8>, InferError> {
        let failed = |reason: String| InferError::Run { name: self.name.clone(), reason };
        let length = self.picture.bytes();
        if seen.len() != self.frames || seen.iter().any(|bytes| bytes.len() != length) {
            return Err(failed(format!("{} pictures of {length} bytes were wanted", self.frames)));
        }
        let scale = self.tiling.scale;
        let mut made = Vec::with_capacity(length * scale * scale);
        let mut from = 0;
        for (n, (width, height)) in self.picture.planes().into_iter().enumerate() {
            let to = from + width * height * self.picture.sample();
            let planes: Vec<&[u8]> =
                seen.iter().map(|bytes| bytes.get(from..to).unwrap_or_default()).collect();
            from = to;
            match (n, self.task) {
                (0, _) | (_, ModelTask::Denoise | ModelTask::Detect) => {
                    let out = self.through(session, &planes, (width, height))?;
                    self.samples(&out, &mut made);
                }
                (_, ModelTask::Upscale) => {
                    let middle = planes.get(self.frames / 2).copied().unwrap_or_default();
                    self.samples(&self.chroma(middle, (width, height)), &mut made);
                }
            }
        }
        Ok(made)
    }

    /// One plane of each picture through the model.
    fn through(
        &self,
        session: &mut dyn Session,
        planes: &[&[u8]],
        (width, height): (usize, usize),
    ) -> Result<Vec<f32>, InferError> {
        let mut data = Vec::with_capacity(planes.len() * width * height);
        planes.iter().for_each(|plane| self.numbers(plane, &mut data));
        let input = Tensor { shape: [1, planes.len(), height, width], data };
        let mut out = self.tiling.run(session, &self.name, &input)?;
        if out.shape[1] != 1 {
            let reason = format!("{:?} came out, and one plane is wanted", out.shape);
            return Err(InferError::Run { name: self.name.clone(), reason });
        }
        if self.limited {
            let middle = planes.len() / 2 * width * height;
            let given = input.data.get(middle..middle + width * height).unwrap_or_default();
            limit::to_the_noise(given, &mut out.data, width);
        }
        Ok(out.data)
    }

    /// A plane of chroma in the new size.
    fn chroma(&self, plane: &[u8], size: (usize, usize)) -> Vec<f32> {
        let mut data = Vec::with_capacity(size.0 * size.1);
        self.numbers(plane, &mut data);
        let out = self.picture.scaled(u32::try_from(self.tiling.scale).unwrap_or(1));
        let to = out.planes().get(1).copied().unwrap_or(size);
        let halved = self.picture.halved.unwrap_or_default();
        let sited = self.picture.sited();
        let [across, down] = [0, 1].map(|side: usize| lanczos::Siting {
            halved: halved.get(side).copied().unwrap_or(0),
            first: sited.get(side).copied().unwrap_or(false),
        });
        lanczos::enlarge(&data, (size, to), self.tiling.scale, (across, down))
    }

    fn greatest(&self) -> f32 {
        ((1_u32 << self.picture.depth.min(16)) - 1) as f32
    }

    /// Samples to numbers from 0 to 1.
    fn numbers(&self, plane: &[u8], out: &mut Vec<f32>) {
        let factor = self.greatest().recip();
        match self.picture.sample() {
            1 => out.extend(plane.iter().map(|value| f32::from(*value) * factor)),
            _ => out.extend(
                plane.as_chunks::<2>().0.iter().map(|pair| f32::from(u16::from_le_bytes(*pair)) * factor),
            ),
        }
    }

    /// Numbers to samples.
    fn samples(&self, numbers: &[f32], out: &mut Vec<u8>) {
        let greatest = self.greatest();
        let value = |number: &f32| number.clamp(0.0, 1.0) * greatest + 0.5;
        match self.picture.sample() {
            1 => out.extend(numbers.iter().map(|number| value(number) as u8)),
            _ => out.extend(numbers.iter().flat_map(|number| (value(number) as u16).to_le_bytes())),
        }
    }
}

/// Planes of a tile that a model of usual size holds at once.
const PLANES: u64 = 96;

#[cfg(test)]
mod tests {
    use kinora_protocol::media::Color;

    use super::*;
    use crate::model::Manifest;

    /// Each sample as often as the scale says, of the picture in the middle.
    struct Repeat(usize);

    impl Session for Repeat {
        fn run(&mut self, input: &Tensor) -> Result<Tensor, InferError> {
            let [_, channels, height, width] = input.shape;
            let middle = &input.data[channels / 2 * height * width..][..height * width];
            let mut data = Vec::new();
            for y in 0..height * self.0 {
                data.extend((0..width * self.0).map(|x| middle[y / self.0 * width + x / self.0]));
            }
            Ok(Tensor { shape: [1, 1, height * self.0, width * self.0], data })
        }
    }

    fn picture(width: u32, height: u32, depth: u32) -> Planar {
        Planar {
            width,
            height,
            format: "yuv420p".to_owned(),
            halved: Some([1, 1]),
            depth,
            color: Color::default(),
            sample_aspect: None,
        }
    }

    fn model(name: &str) -> Model {
        let ours = Manifest::read(include_str!("../../../models/manifest.toml")).unwrap();
        ours.models.into_iter().find(|model| model.name == name).unwrap()
    }

    #[test]
    fn all_values_survive() {
        for depth in [8, 10, 16] {
            let picture = picture(33, 31, depth);
            let enhancer = Enhancer::new(&model("kinora-denoise3"), &picture);
            let mask = (1_u32 << depth) - 1;
            let values = (0..picture.bytes() / picture.sample()).map(|n| (n as u32 * 40_503) & mask);
            let bytes: Vec<u8> = match depth {
                8 => values.map(|value| value as u8).collect(),
                _ => values.flat_map(|value| (value as u16).to_le_bytes()).collect(),
            };
            let others = vec![0; bytes.len()];
            let made = enhancer.make(&mut Repeat(1), &[&others, &bytes, &others]).unwrap();
            assert!(made == bytes, "{depth}");
        }
    }

    #[test]
    fn a_flat_picture_stays_flat_in_any_size() {
        for (width, height) in [(1, 1), (3, 2), (64, 50), (641, 37)] {
            let picture = picture(width, height, 8);
            let enhancer = Enhancer::new(&model("kinora-upscale2"), &picture);
            let planes = picture.planes();
            let luma = planes[0].0 * planes[0].1;
            let mut bytes = vec![77; picture.bytes()];
            bytes[..luma].fill(200);
            let made = enhancer.make(&mut Repeat(2), &[&bytes]).unwrap();
            assert_eq!(made.len(), picture.scaled(2).bytes());
            assert!(made[..4 * luma].iter().all(|v| *v == 200) && made[4 * luma..].iter().all(|v| *v == 77));
        }
    }

    #[test]
    fn pictures_of_another_size_are_refused() {
        let enhancer = Enhancer::new(&model("kinora-upscale2"), &picture(8, 8, 8));
        assert!(enhancer.make(&mut Repeat(2), &[&[0; 95]]).is_err());
        assert!(enhancer.make(&mut Repeat(2), &[&[0; 96], &[0; 96]]).is_err());
        assert!(enhancer.make(&mut Repeat(3), &[&[0; 96]]).is_err(), "a model that says 2 and makes 3");
    }
}
