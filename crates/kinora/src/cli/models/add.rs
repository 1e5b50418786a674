//! Models of one's own: looked at, tried, and put into the folder with a manifest.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use kinora_ai::check;
use kinora_ai::model::{Manifest, Model};
use kinora_ai::registry::{self, Entry, Place};
use kinora_protocol::inference::Precision;
use kinora_protocol::{ErrorCode, Failure};
use kinora_worker::models::Models;

use super::{TaskArg, folder, unknown};
use crate::config::Config;
use crate::{fetch, models};

/// The largest file of weights that is fetched.
const LARGEST: u64 = 1 << 31;

/// `kinora models add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// The model, in one ONNX file
    pub file: PathBuf,
    /// What it is for: it takes luma from 0 to 1 as (1, frames, h, w), and gives (1, 1, h times scale, w times scale); to detect, it
    /// takes blue, green and red as (1, 3, tile, tile), and gives (1, 5 and its classes, rows, columns) as FastestDet does
    #[arg(long, value_enum)]
    pub task: TaskArg,
    /// Name [default: that of the file]
    #[arg(long)]
    pub name: Option<String>,
    /// So many times the width and height come out [default: 2 to upscale, 1 else]
    #[arg(long, value_name = "N")]
    pub scale: Option<u32>,
    /// Frames that go in for one that comes out
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub frames: u32,
    /// What width and height must be multiples of
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub multiple_of: u32,
    /// Side of the tiles that large pictures are cut into, in samples; of a detector that of its picture [default: 512, 352 to detect]
    #[arg(long, value_name = "N")]
    pub tile: Option<u32>,
    /// Names of a detector's classes, one on each line of a file [default: those of COCO, where it has as many]
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// How far from a sample others change it, in samples
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub overlap: u32,
    /// How its weights are stored
    #[arg(long, value_enum, default_value_t = PrecisionArg::F32)]
    pub precision: PrecisionArg,
    /// Hold what a denoiser takes away to the noise that the flat parts of a picture have
    #[arg(long)]
    pub limited: bool,
    /// Its licence (SPDX)
    #[arg(long, default_value = "unknown")]
    pub licence: String,
}

/// `--precision`.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[allow(missing_docs)]
pub enum PrecisionArg {
    F32,
    F16,
    Int8,
}

impl From<PrecisionArg> for Precision {
    fn from(arg: PrecisionArg) -> Self {
        match arg {
            PrecisionArg::F32 => Self::F32,
            PrecisionArg::F16 => Self::F16,
            PrecisionArg::Int8 => Self::Int8,
        }
    }
}

/// `kinora models pull`.
#[derive(Debug, Args)]
pub struct PullArgs {
    /// Manifest (TOML) that names models with their `url` and `sha256`: a file, or an address
    pub manifest: String,
}

fn bad(reason: String) -> Failure {
    Failure::new(ErrorCode::BadInput, reason)
}

pub(super) fn add(args: &AddArgs, config: &Config) -> Result<(), Failure> {
    let path = &args.file;
    let weights = std::fs::read(path).map_err(|e| bad(format!("{}: {e}", path.display())))?;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = args.name.clone().or(stem).unwrap_or_default();
    let (upscales, detects) = (matches!(args.task, TaskArg::Upscale), matches!(args.task, TaskArg::Detect));
    let model = Model {
        file: format!("{name}.onnx"),
        name,
        task: args.task.into(),
        version: 1,
        sha256: registry::sha256(&weights),
        bytes: weights.len() as u64,
        licence: args.licence.clone(),
        url: None,
        precision: args.precision.into(),
        loss_db: None,
        parameters: 0,
        scale: args.scale.unwrap_or(if upscales { 2 } else { 1 }),
        frames: args.frames,
        multiple_of: args.multiple_of,
        tile: args.tile.unwrap_or(if detects { 352 } else { 512 }),
        overlap: if detects { 0 } else { args.overlap },
        limited: args.limited,
        labels: labels(args)?,
        inputs: Vec::new(),
        outputs: Vec::new(),
    };
    take(&model, path, &models::find(config), config)
}

/// Names of classes, one on each line.
fn labels(args: &AddArgs) -> Result<Vec<String>, Failure> {
    let Some(path) = &args.labels else { return Ok(Vec::new()) };
    let text = std::fs::read_to_string(path).map_err(|e| bad(format!("{}: {e}", path.display())))?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

pub(super) async fn pull(args: &PullArgs, config: &Config) -> Result<(), Failure> {
    let said = &args.manifest;
    let text = match said.contains("://") {
        true => fetch::page(said, "*/*").await?.0,
        false => std::fs::read_to_string(said).map_err(|e| bad(format!("{said}: {e}")))?,
    };
    let manifest = Manifest::read(&text).map_err(|why| bad(format!("{said}: {why}")))?;
    if manifest.models.is_empty() {
        return Err(bad(format!("{said}: it names no model")));
    }
    let found = models::find(config);
    let disk = |e: std::io::Error| Failure::new(ErrorCode::Disk, format!("a folder to fetch into: {e}"));
    let aside = tempfile::tempdir().map_err(disk)?;
    for model in &manifest.models {
        if found.registry().get(&model.name).is_some_and(|known| known.model.sha256 == model.sha256) {
            say!("{}: it is there", model.name);
            continue;
        }
        let Some(url) = &model.url else {
            return Err(bad(format!("{said}: model {:?} has no url", model.name)));
        };
        // Whatever its file is called there: here it has the name of the model.
        let model = Model { file: format!("{}.onnx", model.name), ..model.clone() };
        let path = aside.path().join(&model.file);
        fetch::file(url, &model.sha256, model.bytes.min(LARGEST), &path, config.draw).await?;
        take(&model, &path, &found, config)?;
    }
    Ok(())
}

/// Puts a model into the folder when it is what its manifest says.
fn take(model: &Model, path: &Path, found: &Models, config: &Config) -> Result<(), Failure> {
    let refused = |why: String| bad(format!("{}: {why}", path.display()));
    model.check().map_err(refused)?;
    if found.registry().get(&model.name).is_some() {
        return Err(refused(format!(
            "there is a model {:?} already: choose another with --name",
            model.name
        )));
    }
    let weights = std::fs::read(path).map_err(|e| refused(e.to_string()))?;
    check::model(&weights).map_err(|bad| refused(bad.to_string()))?;
    let entry = Entry { model: model.clone(), place: Place::File(path.to_owned()), usual: false };
    entry.weights().map_err(refused)?;
    match found.pool() {
        Some(pool) => pool.try_out(&entry).map_err(|error| refused(error.to_string()))?,
        None => tell!("kinora: {} was looked at and not tried: no ONNX Runtime is there", model.name),
    }
    let folder = folder(config)?;
    registry::put(&folder, model, &weights).map_err(|why| Failure::new(ErrorCode::Disk, why))?;
    say!("{}: {} in {}", model.name, model.task.name(), folder.display());
    Ok(())
}

pub(super) fn remove(name: &str, config: &Config) -> Result<(), Failure> {
    let folder = folder(config)?;
    let known = registry::Registry::read(Some(&folder));
    let entry = known.get(name).ok_or_else(|| unknown(name))?;
    registry::remove(&folder, entry).map_err(|why| bad(format!("model {name:?}: {why}")))?;
    say!("{name}: forgotten");
    Ok(())
}
