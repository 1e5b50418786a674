//! Clients of other projects that tests let loose on a hub, from PyPI and npm into the target folder. What they are tested for
//! is not known here.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::setup::{self, Tool};
use crate::{metadata, process};

/// How tests find them.
pub const VARIABLE: &str = "KINORA_TEST_CLIENTS";

/// Installs them unless they are there; says where.
pub fn ensure() -> Result<PathBuf> {
    setup::ensure(&[Tool::Python, Tool::Node])?;
    let wanted = metadata::root().join("crates/kinora/tests/clients");
    let folder = metadata::workspace()?.target.join("clients");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    once(&wanted.join("requirements.txt"), &folder.join("python.done"), || python(&wanted, &folder))?;
    // It is built for some versions of Python only, and the others do without.
    let scanner = once(&wanted.join("scanner.txt"), &folder.join("scanner.done"), || {
        pip(&folder, &wanted.join("scanner.txt"))
    });
    if let Err(error) = scanner {
        eprintln!("test: no scanner of TLS: {error:#}");
    }
    once(&wanted.join("package-lock.json"), &folder.join("node.done"), || node(&wanted, &folder))?;
    // A script finds its modules beside itself.
    for name in ["tus.mjs", "oidc.mjs"] {
        std::fs::copy(wanted.join(name), folder.join(name))?;
    }
    Ok(folder)
}

/// Does something again only when what it goes by has changed.
pub fn once(by: &Path, done: &Path, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let now = std::fs::read_to_string(by).with_context(|| format!("cannot read {}", by.display()))?;
    if std::fs::read_to_string(done).is_ok_and(|before| before == now) {
        return Ok(());
    }
    work()?;
    std::fs::write(done, now).with_context(|| format!("cannot write {}", done.display()))
}

fn python(wanted: &Path, folder: &Path) -> Result<()> {
    let place = folder.join("venv");
    process::run(process::command("python3", ["-m", "venv", "--clear"]).arg(&place))?;
    // What was there before is gone with it.
    let _ = std::fs::remove_file(folder.join("scanner.done"));
    pip(folder, &wanted.join("requirements.txt"))
}

fn pip(folder: &Path, requirements: &Path) -> Result<()> {
    let python = folder.join("venv/bin/python").to_string_lossy().into_owned();
    let words = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    process::run(process::command(&python, words).arg(requirements))
}

fn node(wanted: &Path, folder: &Path) -> Result<()> {
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(wanted.join(name), folder.join(name))?;
    }
    let mut command = process::command("npm", ["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
    process::run(command.current_dir(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_installed_twice() {
        let folder = std::env::temp_dir().join(format!("kinora-clients-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let (by, done) = (folder.join("by"), folder.join("done"));
        let mut runs = 0;
        for text in ["one", "one", "two"] {
            std::fs::write(&by, text).expect("written");
            once(&by, &done, || {
                runs += 1;
                Ok(())
            })
            .expect("done");
        }
        assert_eq!(runs, 2);
        assert!(once(&folder.join("nothing"), &done, || Ok(())).is_err());
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
