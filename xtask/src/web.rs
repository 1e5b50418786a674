//! What is written in TypeScript below `web/`: its packages, its types, its programs. What it is for is not known here.

use std::path::PathBuf;

use anyhow::Result;

use crate::clients::once;
use crate::setup::{self, Tool};
use crate::{metadata, process};

fn folder() -> PathBuf {
    metadata::root().join("web")
}

fn npm(words: &[&str]) -> Result<()> {
    process::run(process::command("npm", words).current_dir(folder()))
}

/// Installs the packages unless they are there.
fn packages() -> Result<()> {
    setup::ensure(&[Tool::Node])?;
    let done = folder().join("node_modules").join("done");
    once(&folder().join("package-lock.json"), &done, || {
        npm(&["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
    })
}

/// The client is that of the OpenAPI document, and everything has the types that it says.
pub fn check() -> Result<()> {
    packages()?;
    npm(&["run", "--silent", "check"])
}

/// Makes programs of it, below `web/built`.
pub fn build() -> Result<()> {
    packages()?;
    npm(&["run", "--silent", "build"])
}
