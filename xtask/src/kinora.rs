//! The program itself: built, started, and its JSON read.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{metadata, process};

/// Builds the release and says where it is.
pub fn build() -> Result<PathBuf> {
    let mut command = process::command("cargo", ["build", "--release", "--package", "kinora"]);
    process::run(command.current_dir(metadata::root()))?;
    let program = metadata::workspace()?.target.join("release").join("kinora");
    anyhow::ensure!(program.is_file(), "cargo has built no {}", program.display());
    Ok(program)
}

/// Where an encode writes.
pub struct Places {
    /// The result.
    pub output: PathBuf,
    /// The proof.
    pub proof: PathBuf,
    /// What an interrupted run would go on from.
    pub state: PathBuf,
}

impl Places {
    /// Inside a folder.
    pub fn inside(folder: &Path, name: &str) -> Self {
        Self { output: folder.join(name), proof: folder.join("proof.json"), state: folder.join("state") }
    }

    /// Removes what an earlier run left, so that nothing is reused and every time is a whole one.
    pub fn clear(&self) -> Result<()> {
        for path in [&self.output, &self.proof, &self.state] {
            let removed =
                if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
            match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// `kinora encode`, with a proof and a JSON summary.
pub fn encode(program: &Path, input: &Path, places: &Places) -> Command {
    let mut command = process::command(&program.to_string_lossy(), ["encode"]);
    command.arg(input).arg(&places.output).arg("--proof").arg(&places.proof);
    command.arg("--state-dir").arg(&places.state).arg("--json");
    command
}

/// The JSON object in what the program wrote to stdout.
pub fn summary(stdout: &str) -> Result<Value> {
    let whole = serde_json::from_str::<Value>(stdout.trim()).ok();
    let last = || stdout.lines().rev().find_map(|line| serde_json::from_str::<Value>(line.trim()).ok());
    whole.or_else(last).filter(Value::is_object).context("kinora wrote no JSON object")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_found() {
        for text in ["{\"frames\": 1}\n", "{\n  \"frames\": 1\n}", "{\"frames\": 0}\n{\"frames\": 1}\n"] {
            assert_eq!(summary(text).expect("an object")["frames"], 1, "{text}");
        }
        assert!(summary("").is_err());
        assert!(summary("1").is_err());
    }
}
