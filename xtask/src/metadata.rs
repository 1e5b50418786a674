//! What `cargo metadata` says about the workspace, reduced to what the tasks need.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::process;

/// Where things are.
pub struct Workspace {
    /// The repository's root.
    pub root: PathBuf,
    /// Cargo's target folder, wherever the user has put it.
    pub target: PathBuf,
    /// Packages: the workspace's own, or all that are resolved.
    pub packages: Vec<Package>,
}

/// One package.
#[derive(Debug, Clone, PartialEq)]
pub struct Package {
    /// Name on crates.io.
    pub name: String,
    /// Version.
    pub version: String,
    /// Where it comes from; `None` for the workspace's own.
    pub source: Option<String>,
    /// SPDX expression.
    pub licence: Option<String>,
    /// What its manifest asks for.
    pub dependencies: Vec<Dependency>,
}

/// One line of a manifest's dependency tables.
#[derive(Debug, Clone, PartialEq)]
pub struct Dependency {
    /// Name of the package, not of its alias.
    pub name: String,
    /// From which table.
    pub kind: Kind,
}

/// Which dependency table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `[dependencies]`
    Normal,
    /// `[dev-dependencies]`
    Dev,
    /// `[build-dependencies]`
    Build,
}

/// The root of the checkout this program was built in.
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// The workspace's own packages; needs no network.
pub fn workspace() -> Result<Workspace> {
    read(&["--no-deps"])
}

/// The workspace's packages and all that they resolve to, for every platform.
pub fn resolved() -> Result<Workspace> {
    read(&[])
}

fn read(extra: &[&str]) -> Result<Workspace> {
    let mut command = process::command("cargo", ["metadata", "--format-version", "1", "--quiet"]);
    command.args(extra).current_dir(root());
    let text = process::stdout_of(&mut command)?;
    let value: Value = serde_json::from_str(&text).context("cargo metadata did not write JSON")?;
    parse(&value).context("cargo metadata wrote JSON of another shape than expected")
}

fn parse(value: &Value) -> Option<Workspace> {
    let path = |key: &str| value[key].as_str().map(PathBuf::from);
    let packages = value["packages"].as_array()?.iter().map(package).collect::<Option<Vec<_>>>()?;
    Some(Workspace { root: path("workspace_root")?, target: path("target_directory")?, packages })
}

fn package(value: &Value) -> Option<Package> {
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    Some(Package {
        name: text("name")?,
        version: text("version")?,
        source: text("source"),
        licence: text("license"),
        dependencies: value["dependencies"].as_array()?.iter().map(dependency).collect::<Option<Vec<_>>>()?,
    })
}

fn dependency(value: &Value) -> Option<Dependency> {
    let kind = match value["kind"].as_str() {
        Some("dev") => Kind::Dev,
        Some("build") => Kind::Build,
        _ => Kind::Normal,
    };
    Some(Dependency { name: value["name"].as_str()?.to_owned(), kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_read() {
        let value = serde_json::json!({
            "name": "kinora-plan", "version": "0.1.0", "source": null, "license": "MIT",
            "dependencies": [{"name": "serde", "kind": null}, {"name": "proptest", "kind": "dev"}],
        });
        let package = package(&value).expect("a package");
        assert_eq!(package.source, None);
        let kinds: Vec<_> = package.dependencies.iter().map(|d| (d.name.as_str(), d.kind)).collect();
        assert_eq!(kinds, [("serde", Kind::Normal), ("proptest", Kind::Dev)]);
    }
}
