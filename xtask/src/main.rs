//! `cargo xtask`: everything that is done around the code, from installing tools to measuring. It knows the workspace
//! by its files and by `cargo metadata` only, never by linking its crates, so that it builds fast and builds first.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod baseline;
mod bench;
mod check;
mod clients;
mod demo;
mod kinora;
mod library;
mod licences;
mod metadata;
mod process;
mod proof;
mod setup;
mod test;
mod tidy;
mod web;

/// Tasks around the code.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing: ffmpeg, a C compiler, rustfmt and clippy.
    Setup(setup::Args),
    /// Encode a clip (or FILE) with Kinora and with plain ffmpeg, and compare.
    Demo(demo::Args),
    /// Run all tests.
    Test(test::Args),
    /// Run every check that a change must pass; continuous integration runs the same.
    Check(check::Args),
    /// Check the rules of this repository that no other tool knows.
    Tidy,
    /// Measure.
    Bench(bench::Args),
}

fn main() -> ExitCode {
    match carry_out(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref::<process::Failed>() {
            Some(failed) if failed.told => ExitCode::from(failed.code),
            _ => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

fn carry_out(task: Task) -> Result<()> {
    match task {
        Task::Setup(args) => setup::run(&args),
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Check(args) => check::run(&args),
        Task::Tidy => tidy::run(),
        Task::Bench(args) => bench::run(&args),
    }
}
