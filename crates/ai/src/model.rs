//! What is to be known about a model besides its weights: what it does, what goes in and out, where it is from.

use kinora_protocol::inference::{ModelTask, Network, Precision};
use serde::{Deserialize, Serialize};

use crate::tile::Tiling;

/// Models as a manifest lists them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The models.
    #[serde(default, rename = "model")]
    pub models: Vec<Model>,
}

impl Manifest {
    /// The text of a manifest.
    ///
    /// # Errors
    /// In words; it does not fail for what was read.
    pub fn text(&self) -> Result<String, String> {
        toml::to_string(self).map_err(|e| e.to_string())
    }

    /// Reads a manifest (TOML).
    ///
    /// # Errors
    /// In words with the place.
    pub fn read(text: &str) -> Result<Self, String> {
        let manifest: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        for model in &manifest.models {
            model.check().map_err(|why| format!("model {:?}: {why}", model.name))?;
        }
        Ok(manifest)
    }
}

/// One file of weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Name, unique in a registry: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// What it is for.
    pub task: ModelTask,
    /// Which of several with this name.
    pub version: u32,
    /// File name, without folders.
    pub file: String,
    /// SHA-256 of the file, in hexadecimal digits.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
    /// Its licence (SPDX).
    pub licence: String,
    /// Where it can be fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How its weights are stored.
    pub precision: Precision,
    /// PSNR that it loses against the same model in f32 at the most, in dB, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_db: Option<f64>,
    /// Number of its weights.
    #[serde(default)]
    pub parameters: u64,
    /// So many times the width and height come out.
    #[serde(default = "one")]
    pub scale: u32,
    /// Frames that go in for one that comes out, which is the one in their middle.
    #[serde(default = "one")]
    pub frames: u32,
    /// What width and height must be multiples of.
    #[serde(default = "one")]
    pub multiple_of: u32,
    /// Side of tiles that large pictures are cut into, in samples.
    pub tile: u32,
    /// How far from a sample others change it, in samples.
    pub overlap: u32,
    /// Whether what it takes away is held to the noise: a denoiser that was trained for more noise than there is takes detail for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub limited: bool,
    /// Of a detector the names of its classes, in order; those of COCO where it has as many and none are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// What goes in, for who reads it: the file itself says it, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Port>,
    /// What comes out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Port>,
}

fn one() -> u32 {
    1
}

/// A tensor that goes in or comes out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Its name in the graph.
    pub name: String,
    /// Type of its elements, in NumPy's words.
    #[serde(rename = "type")]
    pub element: String,
    /// Its sides: numbers, or names for those that are as the picture is.
    pub shape: Vec<Side>,
    /// The least and the greatest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
}

/// A side of a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Side {
    /// Always so long.
    Fixed(u64),
    /// As the picture.
    Named(String),
}

/// Frames that a model may look at, and times that it may make sides longer.
const MOST: u32 = 8;
/// Tiles that make no sense.
const TILES: std::ops::RangeInclusive<u32> = 32..=8192;

impl Model {
    /// What a plan needs to know of it.
    pub fn network(&self, usual: bool) -> Network {
        Network {
            name: self.name.clone(),
            version: self.version,
            sha256: self.sha256.to_ascii_lowercase(),
            task: self.task,
            frames: self.frames,
            scale: self.scale,
            limited: self.limited,
            usual,
        }
    }

    /// How its pictures are cut.
    pub fn tiling(&self) -> Tiling {
        Tiling {
            tile: self.tile as usize,
            overlap: self.overlap as usize,
            multiple_of: self.multiple_of as usize,
            scale: self.scale as usize,
        }
    }

    /// Whether what it says of itself makes sense.
    ///
    /// # Errors
    /// What does not, in words.
    pub fn check(&self) -> Result<(), String> {
        let plain = |text: &str| {
            !text.is_empty()
                && text.len() <= 100
                && !text.starts_with('.')
                && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        if !plain(&self.name) {
            return Err("a name is made of letters, digits, '-', '_' and '.'".to_owned());
        }
        if !plain(&self.file) {
            return Err(format!("{:?} is no plain file name", self.file));
        }
        if self.sha256.len() != 64 || !self.sha256.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err("its SHA-256 is not 64 hexadecimal digits".to_owned());
        }
        let known = |what: &str, value: u32| match (1..=MOST).contains(&value) {
            true => Ok(()),
            false => Err(format!("{what} of {value} is out of range: 1 to {MOST}")),
        };
        known("scale", self.scale)?;
        known("frames", self.frames)?;
        if self.frames.is_multiple_of(2) {
            return Err(format!("of {} frames none is in the middle", self.frames));
        }
        if !TILES.contains(&self.tile) || self.overlap.saturating_mul(4) > self.tile {
            return Err(format!("tiles of {} with an overlap of {} cannot be", self.tile, self.overlap));
        }
        let scales = self.task == ModelTask::Upscale;
        if scales != (self.scale > 1) {
            return Err(format!("a scale of {} does not fit the task {}", self.scale, self.task.name()));
        }
        if self.task == ModelTask::Detect && self.frames > 1 {
            return Err("a detector gets one frame at a time here".to_owned());
        }
        if let Some(odd) =
            self.labels.iter().find(|label| label.len() > 60 || label.chars().any(char::is_control))
        {
            return Err(format!("{odd:?} is no name of a class"));
        }
        if scales && self.frames > 1 {
            return Err("a model that makes pictures larger gets one frame at a time here".to_owned());
        }
        if self.limited && self.task != ModelTask::Denoise {
            return Err("only what a denoiser takes away can be limited to the noise".to_owned());
        }
        if !(1..=64).contains(&self.multiple_of) {
            return Err(format!("sides that are multiples of {} cannot be", self.multiple_of));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = include_str!("../../../models/manifest.toml");

    #[test]
    fn ours_make_sense() {
        let manifest = Manifest::read(OURS).unwrap();
        assert_eq!(manifest.models.len(), 4);
        let sum: u64 = manifest.models.iter().map(|model| model.bytes).sum();
        assert!(sum < 2_000_000, "{sum} bytes are too much to ship");
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (from, to, told) in [
            ("scale = 2", "scale = 9", "1 to 8"),
            ("frames = 1", "frames = 2", "middle"),
            ("file = \"kinora-upscale2.onnx\"", "file = \"../x.onnx\"", "plain file name"),
            ("tile = 512", "tile = 8", "cannot be"),
            ("name = \"kinora-upscale2\"", "name = \"a b\"", "letters"),
            ("task = \"upscale\"", "task = \"magic\"", "magic"),
            ("version = 1", "version = 1\ncolour = 2", "colour"),
        ] {
            let text = OURS.replacen(from, to, 1);
            assert_ne!(text, OURS, "{from}");
            let why = Manifest::read(&text).unwrap_err();
            assert!(why.contains(told), "{why}");
        }
    }
}
