//! Enhancements without loss, in chunks and as an unsplit run, with models or without them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use kinora_testkit::ffmpeg;
use serde_json::Value;

use super::{Place, clip, kinora, loud, run, same_frames};

/// Three scenes that begin nowhere near whole seconds, with something moving in each.
pub fn with_cuts() -> Result<PathBuf> {
    clip(
        "with_cuts.mp4",
        "-f lavfi -i testsrc2=size=128x72:rate=25:duration=1.84 \
         -f lavfi -i mandelbrot=size=128x72:rate=25:start_scale=0.5:end_pts=3 \
         -f lavfi -i life=size=128x72:rate=25:mold=10:ratio=0.1:seed=7:life_color=white:death_color=blue \
         -filter_complex [1:v]trim=duration=1.92[b];[2:v]trim=duration=1.64[c];[0:v][b][c]concat=n=3,format=yuv420p,noise=c0s=8:c0f=t:all_seed=5 \
         -c:v libx264 -preset ultrafast -crf 12 -bf 2 -g 37 -pix_fmt yuv420p",
    )
}

/// One shot.
pub fn without_cuts() -> Result<PathBuf> {
    clip(
        "without_cuts.mp4",
        "-f lavfi -i testsrc2=size=128x72:rate=25:duration=5 \
         -vf noise=c0s=8:c0f=t:all_seed=5 -c:v libx264 -preset ultrafast -crf 12 -bf 2 -g 50 -pix_fmt yuv420p",
    )
}

/// What enhances.
#[derive(Debug, Clone, Default)]
pub struct Enhancer {
    /// The library that runs models.
    library: Option<PathBuf>,
    /// Models of one's own.
    folder: Option<PathBuf>,
}

impl Enhancer {
    /// With the library that runs models, where it is there.
    pub fn with_models() -> Option<Self> {
        let library = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
        if library.is_none() {
            loud("ONNX Runtime is not there (ORT_DYLIB_PATH): no model is run");
        }
        Some(Self { library: Some(library?), folder: None })
    }

    /// The library that runs models.
    pub fn library(&self) -> Result<String> {
        Ok(self.library.as_ref().context("no library")?.display().to_string())
    }

    /// With models of one's own, too.
    pub fn and_folder(self, folder: PathBuf) -> Self {
        Self { folder: Some(folder), ..self }
    }

    /// The binary, as it is to be started.
    pub fn kinora(&self) -> Command {
        let mut command = kinora();
        if let Some(library) = &self.library {
            command.env("KINORA_ONNXRUNTIME", library);
        }
        if let Some(folder) = &self.folder {
            command.env("KINORA_MODELS", folder);
        }
        command
    }

    /// Without loss, in chunks of so many seconds; gives what is told of it, too.
    pub fn told(
        &self,
        place: &Place,
        source: &Path,
        name: &str,
        seconds: &str,
        flags: &[&str],
    ) -> Result<(PathBuf, Value)> {
        let output = place.at(name);
        let said = run(self
            .kinora()
            .arg("enhance")
            .arg(source)
            .arg(&output)
            .args(["--json", "--codec", "ffv1", "--audio", "none", "--chunk-seconds", seconds])
            .args(flags))?
        .done()?;
        let chunks = said["chunks"].as_u64().context("no chunks")?;
        ensure!((chunks > 1) == (seconds == "2"), "{chunks} chunks");
        Ok((output, said))
    }

    /// The unsplit run.
    pub fn whole(&self, place: &Place, source: &Path, flags: &[&str]) -> Result<PathBuf> {
        Ok(self.told(place, source, "whole.mkv", "1000", &[flags, &["-j", "1"]].concat())?.0)
    }

    /// Chunks of two seconds are the unsplit run; gives them.
    pub fn fits_together(&self, place: &Place, source: &Path, flags: &[&str]) -> Result<PathBuf> {
        let whole = self.whole(place, source, flags)?;
        let (chunked, _) = self.told(place, source, "chunked.mkv", "2", flags)?;
        same_frames(&whole, &chunked).with_context(|| format!("{} {flags:?}", source.display()))?;
        Ok(chunked)
    }
}

/// Peak signal-to-noise ratio of the luma of two films, in dB.
pub fn psnr(place: &Place, a: &Path, b: &Path, before: &str) -> Result<f64> {
    let stats = place.at("psnr");
    let graph = format!("[0:v]{before}[a];[1:v]format=yuv420p[b];[a][b]psnr=stats_file={}", stats.display());
    let mut command = ffmpeg::ffmpeg();
    command.arg("-i").arg(a).arg("-i").arg(b).args(["-filter_complex", &graph, "-f", "null", "-"]);
    ffmpeg::output(&mut command)?;
    let lines = std::fs::read_to_string(&stats)?;
    let errors: Vec<f64> = lines
        .lines()
        .filter_map(|line| line.split_whitespace().find_map(|word| word.strip_prefix("mse_y:")?.parse().ok()))
        .collect();
    ensure!(errors.len() > 10, "{} frames were compared", errors.len());
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    Ok(10.0 * (255.0 * 255.0 / mean.max(1e-9)).log10())
}

/// Colours and lines as a camera could see them.
pub fn smooth() -> Result<PathBuf> {
    clip(
        "smooth.mkv",
        "-f lavfi -i mandelbrot=size=320x180:rate=25:start_scale=0.4:end_pts=9 -t 3 -c:v ffv1 -pix_fmt yuv420p",
    )
}
