//! ONNX Runtime, for tests that run models: into the target folder, by the command that users have.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::{metadata, process};

/// How tests find it, and others do.
pub const VARIABLE: &str = "ORT_DYLIB_PATH";

/// Fetches it unless it is there; says where.
pub fn ensure() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(VARIABLE).map(PathBuf::from).filter(|path| path.is_file()) {
        return Ok(named);
    }
    let target = metadata::workspace()?.target;
    // All at once, as the tests are built then: by itself it would be another build.
    process::run(
        process::command("cargo", ["build", "--workspace", "--bins"]).current_dir(metadata::root()),
    )?;
    let folder = target.join("onnxruntime");
    let program = target.join("debug").join(format!("kinora{}", std::env::consts::EXE_SUFFIX));
    let mut command = process::command(&program.to_string_lossy(), ["models", "setup"]);
    command.env_remove(VARIABLE).env_remove("KINORA_ONNXRUNTIME");
    process::run(command.env("XDG_DATA_HOME", &folder).env("LOCALAPPDATA", &folder))?;
    let files = std::fs::read_dir(folder.join("kinora"))?;
    let library = |path: &PathBuf| path.to_string_lossy().contains("onnxruntime.");
    files.flatten().map(|file| file.path()).find(library).context("nothing was fetched")
}
