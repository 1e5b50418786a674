//! `cargo xtask test`: doctests, then every other test. The runner's own summary comes last, whatever it is.

use anyhow::Result;

use crate::metadata;
use crate::process;
use crate::setup::{self, Tool};

/// Arguments of `test`.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Passed on to the runner, for example a part of a test's name.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Runs it.
pub fn run(args: &Args) -> Result<()> {
    setup::ensure(&[Tool::Ffmpeg, Tool::Compiler])?;
    // A package that was asked for would be lost among all of the workspace's.
    let scope: &[&str] = match args.rest.iter().any(|word| word == "-p" || word.starts_with("--package")) {
        true => &[],
        false => &["--workspace"],
    };
    if process::works("cargo", &["nextest", "--version"]) {
        let examples = if args.rest.is_empty() { doctests() } else { Ok(()) };
        if let Err(error) = &examples {
            eprintln!("test: doctests: {error:#}; going on with the other tests");
        }
        let words = [&["nextest", "run", "--profile", "ci"], scope].concat();
        return last(&words, &args.rest).and(examples.map_err(process::already_told));
    }
    eprintln!(
        "test: using plain `cargo test`; `cargo xtask setup --dev` installs cargo-nextest, which is faster"
    );
    last(&[&["test", "--no-fail-fast"], scope].concat(), &args.rest)
}

/// The examples in the documentation, which nextest does not run.
pub fn doctests() -> Result<()> {
    let mut command = process::command("cargo", ["test", "--workspace", "--doc", "--quiet"]);
    process::run(command.current_dir(metadata::root()))
}

fn last(words: &[&str], rest: &[String]) -> Result<()> {
    let mut command = process::command("cargo", words);
    process::run(command.args(rest).current_dir(metadata::root())).map_err(process::already_told)
}
