//! The models that are shipped, in the library that runs them, where it is there.

use std::path::{Path, PathBuf};

use kinora_ai::model::Manifest;
use kinora_ai::onnx::Onnx;
use kinora_ai::session::{Backend as _, Tensor};
use kinora_ai::tile::Tiling;
use kinora_protocol::inference::ModelTask as Task;

/// The library that `cargo xtask setup` has put there.
fn library() -> Option<Onnx> {
    let named = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    let Some(path) = named else {
        eprintln!("ONNX Runtime is not there (ORT_DYLIB_PATH): no model is run");
        return None;
    };
    match Onnx::open(&path) {
        Ok(onnx) => Some(onnx),
        Err(error) => panic!("{error}"),
    }
}

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models")
}

#[test]
fn each_model_makes_what_its_manifest_says() {
    let Some(onnx) = library() else { return };
    let manifest = Manifest::read(&std::fs::read_to_string(models().join("manifest.toml")).unwrap()).unwrap();
    for model in &manifest.models {
        let bytes = std::fs::read(models().join(&model.file)).unwrap();
        let mut session = onnx.load(&model.name, &bytes).unwrap();
        let tiling = |tile: u32| Tiling {
            tile: tile as usize,
            overlap: model.overlap as usize,
            multiple_of: model.multiple_of as usize,
            scale: model.scale as usize,
        };
        let (height, width) = (150, 231);
        let one: Vec<f32> = (0..height * width)
            .map(|n| {
                let (x, y) = ((n % width) as f32, (n / width) as f32);
                0.5 + 0.3 * (x * 0.11).sin() * (y * 0.07).cos() + 0.1 * f32::from(u8::from((n / 16) % 2 == 0))
            })
            .collect();
        let frames = model.frames as usize;
        let input = Tensor { shape: [1, frames, height, width], data: one.repeat(frames) };
        let whole = tiling(8192).run(session.as_mut(), &model.name, &input).unwrap();
        let scale = model.scale as usize;
        assert_eq!(whole.shape, [1, 1, height * scale, width * scale], "{}", model.name);
        let tiled = tiling(128).run(session.as_mut(), &model.name, &input).unwrap();
        let worst = whole.data.iter().zip(&tiled.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= 1.0 / 255.0, "{}: tiles differ by {worst}", model.name);
        // The middle of what comes out is about what went in.
        let mean = |data: &[f32]| data.iter().sum::<f32>() / data.len() as f32;
        assert!((mean(&whole.data) - mean(&one)).abs() < 0.01, "{}", model.name);
        let kept = model.task == Task::Denoise;
        assert!(!kept || whole.data.iter().zip(&one).all(|(a, b)| (a - b).abs() < 0.2), "{}", model.name);
        let again = tiling(8192).run(session.as_mut(), &model.name, &input).unwrap();
        assert_eq!(again, whole, "{}: the same goes in, something else comes out", model.name);
    }
}

#[test]
fn what_is_no_model_is_told() {
    let Some(onnx) = library() else { return };
    let good = std::fs::read(models().join("kinora-upscale2.onnx")).unwrap();
    let mut corrupt = good.clone();
    let half = corrupt.len() / 2;
    corrupt[100..half].fill(0x55);
    for bytes in [&b""[..], &good[..half], &corrupt, b"GIF89a"] {
        let why = onnx.load("odd", bytes).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(why.contains("model odd"), "{why}");
    }
    let mut session = onnx.load("kinora-upscale2", &good).unwrap();
    let wrong = Tensor::zeros([1, 3, 8, 8]);
    let why = session.run(&wrong).unwrap_err().to_string();
    assert!(why.contains("kinora-upscale2 failed"), "{why}");
    assert!(Onnx::open(Path::new("/nonexistent/libonnxruntime.so")).is_ok(), "the first one stays");
}
