//! What becomes of pictures without a model: colour that is corrected, and a camera that is steady, by what a survey found.

use std::sync::Arc;

use kinora_protocol::planes::Planar;
use kinora_protocol::survey::{Correction, Motion, Objects, Pose};
use kinora_vision::boxes::Pen;
use kinora_vision::samples;
use kinora_vision::tones::{Coded, Table};
use kinora_vision::warp::Warp;

use super::Makes;

/// What pictures that are worked on side by side may take together, in bytes.
const MOST: usize = 512 << 20;
/// How often a picture is in memory: as it came, as it goes, and as numbers.
const COPIES: usize = 6;

/// Pictures that are worked on side by side: as many as there are processors, and as there is room for.
fn at_once(picture: &Planar) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (MOST / (COPIES * picture.bytes()).max(1)).clamp(1, processors)
}

fn alone(seen: &[Arc<Vec<u8>>]) -> Result<&[u8], String> {
    seen.first().map(|bytes| bytes.as_slice()).ok_or_else(|| "no picture came".to_owned())
}

/// Brightness and colour of scenes.
pub(super) struct Graded {
    picture: Planar,
    scenes: Vec<Scene>,
}

struct Scene {
    from: i64,
    /// For luma and both differences; nothing where all stays.
    tables: Option<[Table; 3]>,
}

impl Graded {
    pub(super) fn new(picture: &Planar, corrections: &[Correction]) -> Self {
        let coded = Coded { depth: picture.depth, full: picture.full_range() };
        let scene = |one: &Correction| {
            let tables = (!one.is_none()).then(|| {
                let [blue, red] = coded.differences(one);
                [coded.luma(one), blue, red]
            });
            Scene { from: one.from, tables }
        };
        Self { picture: picture.clone(), scenes: corrections.iter().map(scene).collect() }
    }
}

impl Makes for Graded {
    fn at_once(&self) -> usize {
        at_once(&self.picture)
    }

    fn make(&self, at: i64, seen: &[Arc<Vec<u8>>]) -> Result<Vec<u8>, String> {
        let bytes = alone(seen)?;
        let place = self.scenes.partition_point(|scene| scene.from <= at).saturating_sub(1);
        let Some(tables) = self.scenes.get(place).and_then(|scene| scene.tables.as_ref()) else {
            return Ok(bytes.to_vec());
        };
        let mut out = Vec::with_capacity(bytes.len());
        for (plane, table) in samples::planes(&self.picture, bytes).into_iter().zip(tables) {
            for value in samples::values(&self.picture, plane) {
                samples::push(&self.picture, &mut out, table.of(value));
            }
        }
        Ok(out)
    }
}

/// A steady camera.
pub(super) struct Steadied {
    picture: Planar,
    warp: Warp,
    poses: Vec<Pose>,
}

impl Steadied {
    pub(super) fn new(picture: &Planar, poses: &[Pose]) -> Self {
        Self { picture: picture.clone(), warp: Warp::new(picture), poses: poses.to_vec() }
    }
}

impl Makes for Steadied {
    fn at_once(&self) -> usize {
        at_once(&self.picture)
    }

    fn make(&self, at: i64, seen: &[Arc<Vec<u8>>]) -> Result<Vec<u8>, String> {
        // A frame that was not seen when it was measured is where the one before it was.
        let place = self.poses.partition_point(|pose| pose.at <= at).saturating_sub(1);
        let motion = self.poses.get(place).map_or(Motion::default(), |pose| pose.motion);
        Ok(self.warp.make(alone(seen)?, motion))
    }
}

/// Frames around things.
pub(super) struct Boxed {
    picture: Planar,
    pen: Pen,
    frames: Vec<Objects>,
}

impl Boxed {
    pub(super) fn new(picture: &Planar, frames: &[Objects]) -> Self {
        Self { picture: picture.clone(), pen: Pen::new(picture), frames: frames.to_vec() }
    }
}

impl Makes for Boxed {
    fn at_once(&self) -> usize {
        at_once(&self.picture)
    }

    fn make(&self, at: i64, seen: &[Arc<Vec<u8>>]) -> Result<Vec<u8>, String> {
        let place = self.frames.partition_point(|frame| frame.at < at);
        let here = self.frames.get(place).filter(|frame| frame.at == at);
        Ok(self.pen.draw(alone(seen)?, here.map_or(&[][..], |frame| &frame.objects)))
    }
}
