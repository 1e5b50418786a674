//! Keeps one generated set per version of the recipes and of ffmpeg in a folder that test processes share.
//!
//! It must not know how any clip is made.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, anyhow};

use super::recipe::{Bench, Recipe};
use super::{Clip, recipe};
use crate::{ffmpeg, notice};

/// Raise it when a recipe changes: the old set is then not taken for the new one.
const VERSION: u32 = 2;
/// Names of the clips that were left out, and why. Written last.
const STAMP: &str = "left-out.json";
/// How the folder of an unfinished set begins.
const MAKING: &str = "making-";
/// Recipes at work at once; each ffmpeg has threads of its own.
const AT_ONCE: usize = 3;

/// Why clips are absent, by their names.
type LeftOut = BTreeMap<String, String>;

pub(super) fn generated(dir: &Path) -> Result<Vec<Clip>> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let set = dir.join(format!("clips-{VERSION}-{}", tag(&ffmpeg::version()?)));
    let recipes = recipe::all();
    let lock = File::create(dir.join("clips.lock"))?;
    lock.lock().context("cannot lock the folder of generated clips")?;
    if !set.join(STAMP).is_file() {
        make_set(&recipes, dir, &set)?;
    }
    drop(lock);
    let left_out: LeftOut = serde_json::from_slice(&fs::read(set.join(STAMP))?)?;
    for (name, why) in &left_out {
        notice::loud(&format!("CLIP {name} IS LEFT OUT: {why}"));
    }
    Ok(recipes
        .iter()
        .filter(|recipe| !left_out.contains_key(recipe.name))
        .map(|recipe| Clip {
            name: recipe.name.to_owned(),
            path: set.join(recipe.file()),
            container: recipe.container,
            trap: recipe.trap,
            expect: recipe.expect,
        })
        .collect())
}

/// Builds beside the final place and renames, so that a set is whole or absent even when the process is killed.
fn make_set(recipes: &[&'static Recipe], dir: &Path, set: &Path) -> Result<()> {
    // Under the lock, a folder like this can only be from a process that was killed.
    for entry in fs::read_dir(dir)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(MAKING) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    let temp = tempfile::Builder::new().prefix(MAKING).tempdir_in(dir)?;
    let encoders = ffmpeg::encoders()?;
    let missing = |recipe: &Recipe| {
        let absent: Vec<_> =
            recipe.needs.iter().filter(|name| !encoders.iter().any(|had| had == *name)).copied().collect();
        (!absent.is_empty()).then(|| format!("this ffmpeg has no encoder {}", absent.join(", ")))
    };
    let left_out: LeftOut = recipes
        .iter()
        .filter_map(|recipe| missing(recipe).map(|why| (recipe.name.to_owned(), why)))
        .collect();
    let wanted: Vec<_> =
        recipes.iter().filter(|recipe| !left_out.contains_key(recipe.name)).copied().collect();
    make_all(&wanted, temp.path())?;
    fs::write(temp.path().join(STAMP), serde_json::to_vec_pretty(&left_out)?)?;
    if set.exists() {
        fs::remove_dir_all(set)?;
    }
    fs::rename(temp.keep(), set).with_context(|| format!("cannot put the clips at {}", set.display()))
}

fn make_all(wanted: &[&'static Recipe], folder: &Path) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(recipe) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = make_one(recipe, folder) {
                        let failure = format!("{}: {error:#}", recipe.name);
                        failures.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    if failures.is_empty() { Ok(()) } else { Err(anyhow!("clips were not made:\n{}", failures.join("\n"))) }
}

fn make_one(recipe: &Recipe, folder: &Path) -> Result<()> {
    let scratch = folder.join(format!("{}.scratch", recipe.name));
    fs::create_dir(&scratch)?;
    let bench = Bench::new(&scratch, recipe.file());
    (recipe.make)(&bench)?;
    fs::rename(bench.out(), folder.join(recipe.file()))?;
    fs::remove_dir_all(&scratch)?;
    Ok(())
}

/// The version out of `ffmpeg version X Copyright …`, fit for a folder name.
fn tag(version: &str) -> String {
    let word = version.split_whitespace().nth(2).unwrap_or("unknown");
    word.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
}
