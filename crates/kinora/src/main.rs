//! The binary: reads what the user typed, runs one command, turns its outcome into an exit status. Nothing is decided here.

mod archive;
mod cli;
mod config;
mod fetch;
mod local;
mod models;
mod program;
mod redact;
mod scanner;
mod tools;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    if let Some(arguments) = config::confined() {
        return ExitCode::from(kinora_sandbox::run(arguments));
    }
    let mut arguments = cli::Arguments::parse();
    let read = config::Config::read(&arguments.global)
        .and_then(|mut config| arguments.take_environment(&mut config).map(|()| config));
    let config = match read {
        Ok(config) => config,
        Err(failure) => {
            cli::complain(&failure);
            return ExitCode::FAILURE;
        }
    };
    config.start_log(arguments.command.runs_for_long());
    config::Config::set_faults();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("kinora: the system gives no threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(cli::run(arguments.command, &config));
    // Reader threads of a stopped ffprobe may still wait for a disk: nothing of theirs is wanted.
    runtime.shutdown_background();
    code
}
