//! `cargo xtask test`: doctests, then every other test. The runner's own summary comes last, whatever it is.

use std::path::Path;

use anyhow::Result;

use crate::process;
use crate::setup::{self, Tool};
use crate::{clients, library, metadata, web};

/// How tests find a browser.
const BROWSER: &str = "KINORA_TEST_BROWSER";

/// Arguments of `test`.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Files of tests (the `tls` of `tests/tls.rs`); all else is passed on to the runner, for example a part of a test's name.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Runs it.
pub fn run(args: &Args) -> Result<()> {
    setup::ensure(&[Tool::Ffmpeg, Tool::Compiler])?;
    // Without them the tests that want them say so.
    let clients =
        clients::ensure().inspect_err(|error| eprintln!("test: no clients of others: {error:#}")).ok();
    if let Err(error) = web::build() {
        eprintln!("test: no programs in TypeScript: {error:#}");
    }
    let library = library::ensure().inspect_err(|e| eprintln!("test: models are not run: {e:#}")).ok();
    // Some systems have it only as a package that does not work everywhere.
    if let Err(error) = setup::ensure(&[Tool::Browser]) {
        eprintln!("test: no browser: {error:#}");
    }
    let found = Found { clients: clients.as_deref(), library: library.as_deref() };
    let rest = targets(&args.rest, is_file);
    // A package that was asked for would be lost among all of the workspace's.
    let scope: &[&str] = match rest.iter().any(|word| word == "-p" || word.starts_with("--package")) {
        true => &[],
        false => &["--workspace"],
    };
    if process::works("cargo", &["nextest", "--version"]) {
        let examples = if rest.is_empty() { doctests() } else { Ok(()) };
        if let Err(error) = &examples {
            eprintln!("test: doctests: {error:#}; going on with the other tests");
        }
        let words = [&["nextest", "run", "--profile", "ci"], scope].concat();
        return last(&words, &rest, found).and(examples.map_err(process::already_told));
    }
    eprintln!(
        "test: using plain `cargo test`; `cargo xtask setup --dev` installs cargo-nextest, which is faster"
    );
    last(&[&["test", "--no-fail-fast"], scope].concat(), &rest, found)
}

/// Words for the runner: it takes a bare word for a part of a test's name, also where that is the name of a file.
fn targets(rest: &[String], is_file: impl Fn(&str) -> bool) -> Vec<String> {
    let word = |word: &String| match is_file(word) {
        true => vec!["--test".to_owned(), word.clone()],
        false => vec![word.clone()],
    };
    // What follows an option may be its value.
    let bare = rest.iter().take_while(|word| !word.starts_with('-')).count();
    rest[..bare].iter().flat_map(word).chain(rest[bare..].iter().cloned()).collect()
}

/// Whether a crate has a file of tests that is called that.
fn is_file(name: &str) -> bool {
    let Ok(crates) = std::fs::read_dir(metadata::root().join("crates")) else { return false };
    crates.flatten().any(|one| one.path().join("tests").join(format!("{name}.rs")).is_file())
}

/// The examples in the documentation, which nextest does not run.
pub fn doctests() -> Result<()> {
    let mut command = process::command("cargo", ["test", "--workspace", "--doc", "--quiet"]);
    process::run(command.current_dir(metadata::root()))
}

/// What tests use where it is there.
#[derive(Clone, Copy)]
struct Found<'a> {
    clients: Option<&'a Path>,
    library: Option<&'a Path>,
}

fn last(words: &[&str], rest: &[String], found: Found<'_>) -> Result<()> {
    let mut command = process::command("cargo", words);
    command.envs(found.clients.map(|folder| (clients::VARIABLE, folder)));
    command.envs(found.library.map(|path| (library::VARIABLE, path)));
    command.envs(setup::browser().map(|program| (BROWSER, program)));
    // Where errors come from is said in their words; a panic still shows its stack.
    command.env("RUST_LIB_BACKTRACE", "0");
    process::run(command.args(rest).current_dir(metadata::root())).map_err(process::already_told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_told_from_names_of_tests() {
        let words = |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
        let told = |text: &str| targets(&words(text), |name| ["tls", "access"].contains(&name)).join(" ");
        assert_eq!(told("tls access"), "--test tls --test access");
        assert_eq!(told("tls browsers"), "--test tls browsers");
        assert_eq!(told("-E tls"), "-E tls");
        assert_eq!(told(""), "");
        assert!(is_file("tls") && !is_file("nothing"));
    }
}
