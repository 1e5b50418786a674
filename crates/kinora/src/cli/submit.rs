//! `kinora submit`: a file and a recipe to a hub, and the result back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use kinora_hub::app::objects::Told;
use kinora_protocol::api::{NewJob, Source};
use kinora_protocol::class::Tags;
use kinora_protocol::client::Client;
use kinora_protocol::{Digest, ErrorCode, Failure, JobId};

use super::encode::{RecipeArgs, recipe};
use super::print_json;
use super::progress::Out;
use super::remote::HubAddress;
use super::values::tags;
use super::watch;
use crate::config::Config;

/// How often an upload is drawn on a terminal.
const DRAW_EVERY: Duration = Duration::from_millis(200);
/// How often a line about it comes in a pipe.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Flags of `kinora submit`.
#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// The video
    pub input: PathBuf,
    /// Which hub
    #[command(flatten)]
    pub hub: HubAddress,
    /// What to do
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// Wait for the result and write it here; its extension names the container
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Wait until the job has ended
    #[arg(long)]
    pub wait: bool,
    /// The input is a file on the hub's machine, below a folder that it allows: nothing is uploaded
    #[arg(long)]
    pub on_hub: bool,
    /// Greater runs first
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub priority: i32,
    /// Start when so many workers are ready, not before; as the hub is set when absent
    #[arg(long, value_name = "N")]
    pub required_nodes: Option<u32>,
    /// Fail if it is not done after so many seconds; as the hub is set when absent
    #[arg(long, value_name = "S")]
    pub deadline: Option<u32>,
    /// Only workers that have all of these tags, separated by commas
    #[arg(long, value_name = "TAG,…", value_parser = tags)]
    pub tags: Option<Tags>,
    /// A second submission with the same key is the same job
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

impl SubmitArgs {
    /// A job like any other, whose result is fetched.
    pub fn fetched(input: PathBuf, hub: HubAddress, recipe: RecipeArgs, output: PathBuf) -> Self {
        Self {
            input,
            hub,
            recipe,
            output: Some(output),
            wait: true,
            on_hub: false,
            priority: 0,
            required_nodes: None,
            deadline: None,
            tags: None,
            idempotency_key: None,
        }
    }
}

/// Runs it.
pub async fn run(args: &SubmitArgs, config: &Config) -> Result<(), Failure> {
    let recipe = recipe::build(&args.recipe, args.output.as_deref())?;
    let client = args.hub.client()?;
    let source = if args.on_hub {
        Source::Path(args.input.clone())
    } else {
        Source::Media(upload(&client, &args.input, Out::of(config, args.hub.json)).await?)
    };
    let name = args.output.as_ref().and_then(|o| o.file_name()).map(|n| n.to_string_lossy().into_owned());
    let job = NewJob {
        recipe,
        name,
        priority: args.priority,
        required_nodes: args.required_nodes,
        deadline_seconds: args.deadline,
        tags: args.tags.clone().unwrap_or_default(),
        ..NewJob::of(source)
    };
    let view = client.submit(&job, args.idempotency_key.as_deref()).await?;
    if !(args.wait || args.output.is_some()) {
        if args.hub.json {
            print_json(&view);
        } else {
            say!("{}", view.id);
        }
        return Ok(());
    }
    let ended = watch::follow(&client, view.id, Out::of(config, args.hub.json)).await?;
    if let Some(output) = &args.output {
        let size = client.fetch(view.id, output).await?;
        if job.recipe.enhance.detect == Some(true) {
            objects(&client, view.id, output).await?;
        }
        if !args.hub.json {
            // Sound alone has none.
            let frames = if ended.frames > 0 { format!("{} frames, ", ended.frames) } else { String::new() };
            say!("{}: {frames}{:.2} MB", output.display(), size as f64 / 1e6);
        }
    }
    if args.hub.json {
        print_json(&ended);
    }
    Ok(())
}

/// What was found in the film, beside the result as a hub has it.
async fn objects(client: &Client, job: JobId, output: &Path) -> Result<(), Failure> {
    let view = client.objects(job).await?;
    let json = serde_json::to_string(&view).unwrap_or_default();
    for (told, text) in [(Told::Json, json), (Told::Vtt, kinora_jobs::objects::vtt(&view))] {
        let path = told.beside(output);
        let disk = |e| Failure::new(ErrorCode::Disk, format!("{}: {e}", path.display()));
        tokio::fs::write(&path, text).await.map_err(disk)?;
    }
    Ok(())
}

async fn upload(client: &Client, path: &Path, mut out: Out) -> Result<Digest, Failure> {
    let total = std::fs::metadata(path)
        .map_err(|e| Failure::new(ErrorCode::BadInput, format!("{}: {e}", path.display())))?
        .len();
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let media = client.upload(path, move |at| count.store(at, Ordering::Relaxed));
    tokio::pin!(media);
    let every = if matches!(out, Out::Bars(_)) { DRAW_EVERY } else { LINE_EVERY };
    let mut tick = tokio::time::interval(every);
    tick.tick().await;
    loop {
        tokio::select! {
            done = &mut media => return Ok(done?.id),
            _ = tick.tick() => {
                let sent = sent.load(Ordering::Relaxed);
                match &mut out {
                    Out::Bars(bars) => bars.bytes(sent, total, "uploading".to_owned()),
                    Out::Lines => {
                        let percent = sent.saturating_mul(100).checked_div(total).unwrap_or(100);
                        tell!("kinora: uploading {}: {percent}%", path.display());
                    }
                    Out::Nothing => {}
                }
            }
        }
    }
}
