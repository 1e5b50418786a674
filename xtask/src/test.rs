//! `cargo xtask test`: doctests, then every other test. The runner's own summary comes last, whatever it is.

use std::path::Path;

use anyhow::Result;

use crate::process;
use crate::setup::{self, Tool};
use crate::{clients, metadata, web};

/// How tests find a browser.
const BROWSER: &str = "KINORA_TEST_BROWSER";

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
    // Without them the tests that want them say so.
    let clients =
        clients::ensure().inspect_err(|error| eprintln!("test: no clients of others: {error:#}")).ok();
    if let Err(error) = web::build() {
        eprintln!("test: no programs in TypeScript: {error:#}");
    }
    // Some systems have it only as a package that does not work everywhere.
    if let Err(error) = setup::ensure(&[Tool::Browser]) {
        eprintln!("test: no browser: {error:#}");
    }
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
        return last(&words, &args.rest, clients.as_deref()).and(examples.map_err(process::already_told));
    }
    eprintln!(
        "test: using plain `cargo test`; `cargo xtask setup --dev` installs cargo-nextest, which is faster"
    );
    last(&[&["test", "--no-fail-fast"], scope].concat(), &args.rest, clients.as_deref())
}

/// The examples in the documentation, which nextest does not run.
pub fn doctests() -> Result<()> {
    let mut command = process::command("cargo", ["test", "--workspace", "--doc", "--quiet"]);
    process::run(command.current_dir(metadata::root()))
}

fn last(words: &[&str], rest: &[String], clients: Option<&Path>) -> Result<()> {
    let mut command = process::command("cargo", words);
    command.envs(clients.map(|folder| (clients::VARIABLE, folder)));
    command.envs(setup::browser().map(|program| (BROWSER, program)));
    // Where errors come from is said in their words; a panic still shows its stack.
    command.env("RUST_LIB_BACKTRACE", "0");
    process::run(command.args(rest).current_dir(metadata::root())).map_err(process::already_told)
}
