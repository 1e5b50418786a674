//! `cargo xtask check`: every check that a change must pass, each with its time. All of them run even when one fails.

use std::time::Instant;

use anyhow::{Result, bail};

use crate::setup::{self, Tool};
use crate::{licences, metadata, process, test, tidy, web};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run all tests as well.
    #[arg(long)]
    with_tests: bool,
    /// Build and install cargo-deny when it is absent, instead of using the smaller check that is built in.
    #[arg(long)]
    install_deny: bool,
}

type Step = (&'static str, Box<dyn Fn() -> Result<()>>);

/// Runs it.
pub fn run(args: &Args) -> Result<()> {
    setup::ensure(&[Tool::Compiler, Tool::Rustfmt, Tool::Clippy])?;
    let mut done = Vec::new();
    for (name, work) in steps(args) {
        eprintln!("\n== {name}");
        let start = Instant::now();
        let result = work();
        if let Err(error) = &result {
            eprintln!("{name}: {error:#}");
        }
        done.push((name, start.elapsed().as_secs_f64(), result.is_ok()));
    }
    eprintln!();
    for (name, seconds, good) in &done {
        eprintln!("{:<10} {seconds:>7.1} s  {}", name, if *good { "ok" } else { "FAILED" });
    }
    let failed: Vec<&str> = done.iter().filter(|(.., good)| !good).map(|(name, ..)| *name).collect();
    if failed.is_empty() { Ok(()) } else { bail!("check failed: {}", failed.join(", ")) }
}

fn steps(args: &Args) -> Vec<Step> {
    let install_deny = args.install_deny;
    // Cheap ones first: what they find is known while the others still compile.
    let mut steps: Vec<Step> = vec![
        ("fmt", Box::new(|| cargo(&["fmt", "--all", "--check"]))),
        ("tidy", Box::new(tidy::run)),
        ("web", Box::new(web::check)),
        ("licences", Box::new(move || licences::run(install_deny))),
        (
            "clippy",
            Box::new(|| {
                cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])
            }),
        ),
        ("doc", Box::new(documentation)),
        ("doctests", Box::new(test::doctests)),
    ];
    if args.with_tests {
        steps.push(("tests", Box::new(|| test::run(&test::Args::default()))));
    }
    steps
}

fn cargo(words: &[&str]) -> Result<()> {
    process::run(process::command("cargo", words).current_dir(metadata::root()))
}

fn documentation() -> Result<()> {
    let words = ["doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"];
    let mut command = process::command("cargo", words);
    process::run(command.env("RUSTDOCFLAGS", "-D warnings").current_dir(metadata::root()))
}
