//! `kinora models`: the models of this machine, and the library that runs them.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use kinora_ai::registry::{Entry, Place};
use kinora_protocol::inference::{Inference, ModelTask, ModelView};
use kinora_protocol::{ErrorCode, Failure};
use serde_json::json;

use super::print_json;
use super::remote::HubAddress;
use crate::config::Config;
use crate::models;

mod add;
mod bench;
mod setup;

/// Flags of `kinora models`.
#[derive(Debug, Args)]
pub struct ModelsArgs {
    /// What to do
    #[command(subcommand)]
    pub command: ModelsCommand,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List the models of this machine, and what runs them
    Ls {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what is known of a model
    Info {
        /// Its name
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a model of your own in, after a look at it and a try
    Add(add::AddArgs),
    /// Fetch the models of a manifest that says where they are
    Pull(add::PullArgs),
    /// Forget a model of your own
    Rm {
        /// Its name
        name: String,
    },
    /// Measure how many pictures a second models make here
    Bench(bench::BenchArgs),
    /// Show what the models of a hub's nodes did
    Stats {
        /// Which hub
        #[command(flatten)]
        hub: HubAddress,
    },
    /// Fetch ONNX Runtime, which runs models, for this user
    Setup(setup::SetupArgs),
}

/// Runs the command.
pub async fn run(args: &ModelsArgs, config: &Config) -> Result<(), Failure> {
    match &args.command {
        ModelsCommand::Ls { json } => list(*json, config),
        ModelsCommand::Info { name, json } => info(name, *json, config),
        ModelsCommand::Add(args) => add::add(args, config),
        ModelsCommand::Pull(args) => add::pull(args, config).await,
        ModelsCommand::Rm { name } => add::remove(name, config),
        ModelsCommand::Bench(args) => bench::run(args, config),
        ModelsCommand::Stats { hub } => stats(hub).await,
        ModelsCommand::Setup(args) => setup::run(args, config).await,
    }
}

/// A task, as it is said on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[allow(missing_docs)]
pub enum TaskArg {
    Upscale,
    Denoise,
    Detect,
}

impl From<TaskArg> for ModelTask {
    fn from(arg: TaskArg) -> Self {
        match arg {
            TaskArg::Upscale => Self::Upscale,
            TaskArg::Denoise => Self::Denoise,
            TaskArg::Detect => Self::Detect,
        }
    }
}

/// The folder of the user's own models.
fn folder(config: &Config) -> Result<PathBuf, Failure> {
    config.models.folder.clone().ok_or_else(|| {
        Failure::new(ErrorCode::BadInput, "there is no home folder for models: name one with --models DIR")
    })
}

fn unknown(name: &str) -> Failure {
    Failure::new(
        ErrorCode::BadInput,
        format!("there is no model {name:?}; `kinora models ls` lists those that there are"),
    )
}

fn view(entry: &Entry) -> serde_json::Value {
    let mut told = serde_json::to_value(&entry.model).unwrap_or_default();
    if let Some(object) = told.as_object_mut() {
        object.insert("usual".to_owned(), json!(entry.usual));
        object.insert(
            "place".to_owned(),
            match &entry.place {
                Place::Own => json!("built in"),
                Place::File(path) => json!(path),
            },
        );
    }
    told
}

fn list(as_json: bool, config: &Config) -> Result<(), Failure> {
    let found = models::find(config);
    let registry = found.registry();
    if as_json {
        let refused: Vec<_> =
            registry.refused.iter().map(|one| json!({ "what": one.what, "why": one.why })).collect();
        print_json(&json!({
            "inference": found.state(),
            "models": registry.entries.iter().map(view).collect::<Vec<_>>(),
            "refused": refused,
            "folder": config.models.folder,
        }));
        return Ok(());
    }
    match found.state() {
        Inference::Ready { runtime, .. } => say!("runs by {runtime}"),
        Inference::Missing { reason } => say!("runs no models: {reason}"),
    }
    say!("{:<24} {:<8} {:<5} {:>5} {:>7} {:>9}  WHERE", "NAME", "TASK", "TYPE", "SCALE", "FRAMES", "BYTES");
    for entry in &registry.entries {
        let model = &entry.model;
        let place = match &entry.place {
            Place::Own if entry.usual => "built in, taken when none is named".to_owned(),
            Place::Own => "built in".to_owned(),
            Place::File(path) => path.display().to_string(),
        };
        say!(
            "{:<24} {:<8} {:<5} {:>5} {:>7} {:>9}  {place}",
            model.name,
            model.task.name(),
            model.precision.name(),
            model.scale,
            model.frames,
            model.bytes
        );
    }
    for refused in &registry.refused {
        say!("left out: {}: {}", refused.what, refused.why);
    }
    Ok(())
}

fn info(name: &str, as_json: bool, config: &Config) -> Result<(), Failure> {
    let found = models::find(config);
    let entry = found.registry().get(name).ok_or_else(|| {
        let refused = found.registry().refused.iter().find(|one| one.what == format!("model {name:?}"));
        match refused {
            Some(one) => Failure::new(ErrorCode::BadInput, format!("{}: {}", one.what, one.why)),
            None => unknown(name),
        }
    })?;
    let told = view(entry);
    if as_json {
        print_json(&told);
        return Ok(());
    }
    for (key, value) in told.as_object().into_iter().flatten() {
        match value {
            serde_json::Value::Null => {}
            serde_json::Value::String(text) => say!("{key:<12} {text}"),
            other => say!("{key:<12} {other}"),
        }
    }
    Ok(())
}

async fn stats(hub: &HubAddress) -> Result<(), Failure> {
    let models = hub.client()?.models().await?.items;
    if hub.json {
        print_json(&models);
        return Ok(());
    }
    say!(
        "{:<24} {:<8} {:>5} {:>9} {:>9} {:>8} {:>10} {:>6}",
        "NAME",
        "TASK",
        "NODES",
        "PICTURES",
        "MS EACH",
        "FAILED",
        "FROM CACHE",
        "LOADED"
    );
    for ModelView { network, nodes, count } in &models {
        let each = match count.pictures {
            0 => "-".to_owned(),
            pictures => format!("{:.1}", count.took_us as f64 / 1e3 / pictures as f64),
        };
        say!(
            "{:<24} {:<8} {nodes:>5} {:>9} {each:>9} {:>8} {:>10} {:>6}",
            network.name,
            network.task.name(),
            count.pictures,
            count.failures,
            count.hits,
            count.loads
        );
    }
    Ok(())
}
