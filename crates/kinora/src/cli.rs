//! The command line: one definition per flag feeds parser, help, man page and completions.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use kinora_media::command::Limits;
use kinora_media::sandbox::Mode;
use kinora_plan::presets;
use kinora_protocol::{ErrorCode, Failure};
use serde::Serialize;

use crate::config::Config;
use crate::config::log::Format;

/// A line on standard output, as `println!`.
macro_rules! say {
    ($($words:tt)*) => { $crate::cli::put(&mut std::io::stdout(), &$crate::cli::one_line(&format!($($words)*))) };
}

/// A line on standard error, as `eprintln!`.
macro_rules! tell {
    ($($words:tt)*) => { $crate::cli::put(&mut std::io::stderr(), &$crate::cli::one_line(&format!($($words)*))) };
}

mod audit;
mod backup;
mod doctor;
mod encode;
mod enhance;
mod folders;
mod health;
mod hub;
mod interrupt;
mod jobs;
mod keys;
mod log;
mod login;
mod media;
mod models;
mod nodes;
mod password;
mod probe;
mod progress;
mod remote;
mod scrub;
mod share;
mod size;
mod submit;
mod support;
mod teams;
mod tokens;
mod trust;
mod users;
pub mod values;
mod vault;
mod watch;
mod webhooks;
mod worker;

/// Frame-exact parallel video encoding, with proof.
#[derive(Debug, Parser)]
#[command(name = "kinora", version, max_term_width = 100)]
pub struct Arguments {
    /// Flags that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Arguments {
    /// A hub in the place of another system's server takes what is set for that, where its flags say nothing.
    pub fn take_environment(&mut self, config: &mut Config) -> Result<(), Failure> {
        let Command::Hub(args) = &mut self.command else { return Ok(()) };
        let other = config.environment_of(&self.global, &args.environment_of)?;
        args.fill(other);
        Ok(())
    }
}

/// Flags that every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// ffmpeg to use, a path or a name (also KINORA_FFMPEG); ffprobe is looked for beside it
    #[arg(long, global = true, value_name = "PATH")]
    pub ffmpeg: Option<PathBuf>,
    /// Say what is going on (also KINORA_LOG, a tracing filter)
    #[arg(long, short, global = true)]
    pub verbose: bool,
    /// How the log is written, on standard error: text, or json for programs
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t = Format::Text, hide_short_help = true)]
    pub log_format: Format,
    /// Show no progress
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// How ffmpeg is confined.
    #[command(flatten)]
    pub sandbox: SandboxFlags,
    /// What media may have.
    #[command(flatten)]
    pub limits: LimitFlags,
    /// Where models are.
    #[command(flatten)]
    pub models: ModelFlags,
}

/// Where models are, and what runs them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Models")]
pub struct ModelFlags {
    /// ONNX Runtime's library, which runs models (also KINORA_ONNXRUNTIME), or off [default: beside kinora, as `kinora models setup` put it, the system's]
    #[arg(long, global = true, value_name = "PATH", hide_short_help = true)]
    pub onnxruntime: Option<PathBuf>,
    /// Folder with models of your own (also KINORA_MODELS) [default: models in the user's data folder for kinora]
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true)]
    pub models: Option<PathBuf>,
    /// Memory for models that are loaded and wait for the next picture
    #[arg(long, global = true, value_name = "SIZE", value_parser = size::parse, default_value = "512M", hide_short_help = true)]
    pub model_cache: u64,
}

/// How the programs that open media are confined.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sandbox")]
pub struct SandboxFlags {
    /// Whether ffmpeg is confined to its own files, without a network (also KINORA_SANDBOX) [default: auto]
    #[arg(long, global = true, value_enum, value_name = "MODE")]
    pub sandbox: Option<SandboxMode>,
    /// Address space that one ffmpeg may use, for example 16G [default: the machine's memory, 8 GiB at least, and more for its cores]
    #[arg(long, global = true, value_name = "SIZE", value_parser = size::parse, hide_short_help = true)]
    pub sandbox_memory: Option<u64>,
    /// File or folder that ffmpeg may read besides its own, for example of libraries; may be repeated
    #[arg(long, global = true, value_name = "PATH", hide_short_help = true)]
    pub sandbox_read: Vec<PathBuf>,
    /// Seconds of processor time that one ffmpeg may use
    #[arg(long, global = true, value_name = "S", default_value_t = 2_000_000, hide_short_help = true)]
    pub sandbox_cpu: u64,
    /// Seconds that one ffmpeg may run, however much it moves
    #[arg(long, global = true, value_name = "S", default_value_t = 604_800, hide_short_help = true)]
    pub sandbox_wall: u64,
    /// Longest file that one ffmpeg may write
    #[arg(long, global = true, value_name = "SIZE", value_parser = size::parse, default_value = "4T", hide_short_help = true)]
    pub sandbox_output: u64,
}

/// `--sandbox`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SandboxMode {
    /// All of it, or ffmpeg is not run
    Required,
    /// As far as the system can
    Auto,
    /// Not at all
    Off,
}

/// What media may have that is opened on this machine.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits of media")]
pub struct LimitFlags {
    /// Greatest picture that is decoded, in samples
    #[arg(long, global = true, value_name = "N", default_value_t = Limits::default().pixels, hide_short_help = true)]
    pub max_pixels: u64,
    /// Streams of a file
    #[arg(long, global = true, value_name = "N", default_value_t = Limits::default().streams, hide_short_help = true)]
    pub max_streams: u64,
    /// Bytes that ffmpeg may ask for at once, for example 512M: very large pictures need more
    #[arg(long, global = true, value_name = "SIZE", value_parser = size::parse, default_value_t = Limits::default().allocation, hide_short_help = true)]
    pub max_alloc: u64,
}

impl From<&LimitFlags> for Limits {
    fn from(flags: &LimitFlags) -> Self {
        Self { pixels: flags.max_pixels, streams: flags.max_streams, allocation: flags.max_alloc }
    }
}

impl From<SandboxMode> for Mode {
    fn from(mode: SandboxMode) -> Self {
        match mode {
            SandboxMode::Required => Self::Required,
            SandboxMode::Auto => Self::Auto,
            SandboxMode::Off => Self::Off,
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Split, encode in parallel, join and prove
    Encode(Box<encode::EncodeArgs>),
    /// Make a video better: less noise, more detail, other dynamic ranges, smoother motion, clearer sound
    Enhance(Box<enhance::EnhanceArgs>),
    /// Serve jobs over HTTP, with a worker of its own
    Hub(Box<hub::HubArgs>),
    /// Let this machine work for a hub
    Worker(worker::WorkerArgs),
    /// Give a hub a file and a recipe
    Submit(Box<submit::SubmitArgs>),
    /// Look at the jobs of a hub and steer them
    Jobs(jobs::JobsArgs),
    /// Look at the media that a hub keeps, and at what is known about it
    Media(media::MediaArgs),
    /// Look at the nodes of a hub and steer them
    Nodes(nodes::NodesArgs),
    /// Let files that come into folders become jobs
    Folders(folders::FoldersArgs),
    /// Let programs be told what happens
    Webhooks(webhooks::WebhooksArgs),
    /// Let a hub look at all bytes that it stores, and show what was damaged
    Scrub(scrub::ScrubArgs),
    /// Sign in to a hub: this machine is given a key, which all commands show
    Login(login::LoginArgs),
    /// Sign out: the key of this machine is revoked
    Logout(login::LogoutArgs),
    /// Believe a hub that signs for itself, after a look at its fingerprint
    Trust(trust::TrustArgs),
    /// Show whom a hub takes you to be
    Whoami(login::WhoamiArgs),
    /// Make and change the users of a hub
    Users(users::UsersArgs),
    /// Put users of a hub together, to share with all of them at once
    Teams(teams::TeamsArgs),
    /// Make and revoke API keys, for programs
    Keys(keys::KeysArgs),
    /// Make tokens that let machines work for a hub
    Tokens(tokens::TokensArgs),
    /// Say who may see or change media or a job
    Share(share::ShareArgs),
    /// Look at who did what, and whether the record is whole
    Audit(audit::AuditArgs),
    /// Take a copy of all that a hub keeps, while it works
    Backup(backup::BackupArgs),
    /// Make the files of a hub from a copy
    Restore(backup::RestoreArgs),
    /// Gather what somebody has to know who is to find out why something does not work
    SupportBundle(support::SupportArgs),
    /// Whether a hub can do its work
    Health(health::HealthArgs),
    /// Show or change what a hub says in its log
    Log(log::LogArgs),
    /// Make master keys for a hub that encrypts what it keeps
    Vault(vault::VaultArgs),
    /// List the recipes that have a name
    Presets {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Look at the models of this machine, add your own, fetch what runs them
    Models(models::ModelsArgs),
    /// Show what is known of a media file
    Probe(probe::ProbeArgs),
    /// Show what works on this machine, what is missing and how to get it
    Doctor(doctor::DoctorArgs),
    /// Print the completion script of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff)
    Man,
    /// Print the OpenAPI document of what a hub serves
    Openapi,
}

impl Command {
    /// Whether nobody sits before it.
    pub fn runs_for_long(&self) -> bool {
        matches!(self, Self::Hub(_) | Self::Worker(_))
    }
}

/// Runs a command to its exit status: 0 done, 1 failed, 130 interrupted.
pub async fn run(command: Command, config: &Config) -> ExitCode {
    match command {
        Command::Encode(args) => encode::run(*args, config).await,
        Command::Enhance(args) => enhance::run(*args, config).await,
        Command::Hub(args) => report(hub::run(&args, config).await),
        Command::Worker(args) => report(worker::run(&args, config).await),
        Command::Submit(args) => answer(submit::run(&args, config).await, args.hub.json),
        Command::Jobs(args) => report(jobs::run(&args, config).await),
        Command::Media(args) => report(media::run(&args, config).await),
        Command::Nodes(args) => report(nodes::run(&args).await),
        Command::Folders(args) => report(folders::run(&args).await),
        Command::Webhooks(args) => report(webhooks::run(&args).await),
        Command::Scrub(args) => report(scrub::run(&args).await),
        Command::Login(args) => report(login::login(&args, config).await),
        Command::Logout(args) => report(login::logout(&args).await),
        Command::Trust(args) => answer(trust::run(&args).await, args.hub.json),
        Command::Whoami(args) => report(login::whoami(&args).await),
        Command::Users(args) => report(users::run(&args).await),
        Command::Teams(args) => report(teams::run(&args).await),
        Command::Keys(args) => report(keys::run(&args).await),
        Command::Tokens(args) => report(tokens::run(&args).await),
        Command::Share(args) => report(share::run(&args).await),
        Command::Audit(args) => report(audit::run(&args).await),
        Command::Backup(args) => report(backup::back_up(&args).await),
        Command::Restore(args) => report(backup::restore(&args).await),
        Command::SupportBundle(args) => report(support::run(&args, config).await),
        Command::Health(args) => report(health::run(&args).await),
        Command::Log(args) => report(log::run(&args).await),
        Command::Vault(args) => report(vault::run(&args).await),
        Command::Presets { json } => {
            presets(json);
            ExitCode::SUCCESS
        }
        Command::Models(args) => report(models::run(&args, config).await),
        Command::Probe(args) => report(probe::run(&args, config).await),
        Command::Doctor(args) => doctor::run(&args, config).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "kinora", &mut script);
            put(&mut std::io::stdout(), String::from_utf8_lossy(&script).trim_end());
            ExitCode::SUCCESS
        }
        Command::Man => report(man()),
        Command::Openapi => {
            print_json(&kinora_hub::http::document());
            ExitCode::SUCCESS
        }
    }
}

fn presets(json: bool) {
    for preset in presets::all() {
        if json {
            print_json(&preset);
        } else {
            say!("{:<12} {}", preset.name, preset.title);
        }
    }
}

fn man() -> Result<(), Failure> {
    let mut out = Vec::new();
    let write = |out: &mut Vec<u8>| -> std::io::Result<()> {
        let command = Arguments::command();
        clap_mangen::Man::new(command.clone()).render(out)?;
        for sub in command.get_subcommands() {
            let name = format!("kinora-{}", sub.get_name());
            clap_mangen::Man::new(sub.clone().name(name)).render(out)?;
        }
        Ok(())
    };
    write(&mut out)
        .map_err(|e| Failure::new(ErrorCode::Internal, format!("the manual cannot be written: {e}")))?;
    put(&mut std::io::stdout(), String::from_utf8_lossy(&out).trim_end());
    Ok(())
}

/// One line for an error on standard error.
pub fn complain(failure: &Failure) {
    tell!("kinora: {}", failure.message);
}

/// Prints a value as JSON on one line.
fn print_json(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => say!("{text}"),
        Err(error) => tell!("kinora: the answer cannot be written: {error}"),
    }
}

/// Text and a line break. A reader that went away is no failure of ours.
fn put(to: &mut impl std::io::Write, text: &str) {
    let _ = writeln!(to, "{text}");
}

/// Control characters in a file's name or tags must not reach the terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// As [`report`], with the failure as JSON where JSON was asked for.
fn answer(outcome: Result<(), Failure>, json: bool) -> ExitCode {
    if let (Err(failure), true) = (&outcome, json) {
        print_json(&serde_json::json!({ "error": failure }));
    }
    report(outcome)
}

fn report(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure);
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_sound() {
        super::Arguments::command().debug_assert();
    }
}
