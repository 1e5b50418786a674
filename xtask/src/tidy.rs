//! `cargo xtask tidy`: the rules of this repository that no other tool knows. Each rule is a pure function of a path and
//! a text and lives in a file of its own; here they are gathered and their findings printed.

use std::collections::BTreeSet;
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::{metadata, process};

mod edges;
mod functions;
mod length;
mod links;
mod mask;
mod names;
mod places;
mod source;
mod words;

use source::Source;

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// File, from the root, with `/`.
    pub path: String,
    /// Line from 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl Violation {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// Runs it.
pub fn run() -> Result<()> {
    let workspace = metadata::workspace()?;
    let files = files(&workspace.root)?;
    let mut found = edges::check(&workspace.packages);
    for path in &files {
        found.extend(names::check_path(path));
        let bytes = match std::fs::read(workspace.root.join(path)) {
            Ok(bytes) => bytes,
            // Listed by git, but deleted and not yet committed; or a link to a folder.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot read {path}")),
        };
        if let Ok(text) = String::from_utf8(bytes) {
            found.extend(check_file(path, &text, &files));
        }
    }
    found.sort();
    for violation in &found {
        println!("{violation}");
    }
    match found.len() {
        0 => {
            eprintln!("tidy: {} files are fine", files.len());
            Ok(())
        }
        1 => bail!("tidy found 1 broken rule"),
        count => bail!("tidy found {count} broken rules"),
    }
}

fn check_file(path: &str, text: &str, files: &BTreeSet<String>) -> Vec<Violation> {
    let mut found = words::check(path, text);
    if path.ends_with(".md") {
        found.extend(links::check(path, text, files));
    }
    if path.ends_with(".rs") {
        let source = Source::new(path, text);
        found.extend(length::check(&source));
        found.extend(names::check_modules(&source));
        found.extend(places::check(&source));
    }
    found
}

/// What git tracks or would add, or every file when there is no git here.
fn files(root: &Path) -> Result<BTreeSet<String>> {
    let list = ["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    if let Ok(text) = process::stdout_of(process::command("git", list).current_dir(root)) {
        return Ok(text.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect());
    }
    eprintln!("tidy: git does not list the files here; looking at all of them");
    let mut found = BTreeSet::new();
    walk(root, "", &mut found)?;
    Ok(found)
}

fn walk(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            if ![".git", "target", "demo"].contains(&path.as_str()) && name != "node_modules" {
                walk(&entry.path(), &format!("{path}/"), found)?;
            }
        } else {
            found.insert(path);
        }
    }
    Ok(())
}
