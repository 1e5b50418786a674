//! `kinora jobs`: what a hub is at.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kinora_protocol::api::{JobView, TaskView};
use kinora_protocol::client::JobVerb;
use kinora_protocol::job::{JobPhase, Work};
use kinora_protocol::objects::{ObjectsView, TrackView};
use kinora_protocol::{Failure, JobId};

use super::print_json;
use super::progress::Out;
use super::remote::HubAddress;
use super::watch;
use crate::config::Config;

/// Jobs of a list, when nobody says.
const LISTED: u32 = 20;

/// Flags of `kinora jobs`.
#[derive(Debug, Args)]
pub struct JobsArgs {
    /// What to do
    #[command(subcommand)]
    pub command: JobsCommand,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// List jobs, newest first
    Ls {
        /// Which hub
        #[command(flatten)]
        hub: HubAddress,
        /// How many
        #[arg(long, value_name = "N", default_value_t = LISTED, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
    },
    /// Show a job with its tasks and all their attempts
    Show(OneJob),
    /// Follow a job until it has ended
    Watch(OneJob),
    /// List what happened to a job, one JSON object on each line
    Events {
        /// Which job
        #[command(flatten)]
        one: OneJob,
        /// Only what came after this position
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        after: i64,
    },
    /// End a job; running programs are stopped
    Cancel(OneJob),
    /// Start nothing more of a job
    Pause(OneJob),
    /// Let a paused job go on
    Resume(OneJob),
    /// Try a failed or cancelled job again from what is done
    Retry(OneJob),
    /// Forget a job that has ended; its result is deleted
    Rm(OneJob),
    /// Print the proof of a completed job
    Proof(OneJob),
    /// Show what was found in the film of a completed job that looked for things (detect)
    Objects(OneJob),
    /// Fetch the result of a completed job
    Fetch {
        /// Which job
        #[command(flatten)]
        one: OneJob,
        /// Where to write it
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
    },
}

/// A job and its hub.
#[derive(Debug, Args)]
pub struct OneJob {
    /// Id of the job
    pub job: JobId,
    /// Which hub
    #[command(flatten)]
    pub hub: HubAddress,
}

/// Runs it.
pub async fn run(args: &JobsArgs, config: &Config) -> Result<(), Failure> {
    let tell = |one: &OneJob, verb: JobVerb| {
        let (client, job, json) = (one.hub.client(), one.job, one.hub.json);
        async move {
            let view = client?.tell_job(job, verb).await?;
            if json {
                print_json(&view)
            } else {
                line(&view)
            }
            Ok(())
        }
    };
    match &args.command {
        JobsCommand::Ls { hub, limit } => list(hub, *limit).await,
        JobsCommand::Show(one) => show(one).await,
        JobsCommand::Watch(one) => {
            let ended = watch::follow(&one.hub.client()?, one.job, Out::of(config, one.hub.json)).await?;
            if one.hub.json {
                print_json(&ended);
            }
            Ok(())
        }
        JobsCommand::Events { one, after } => events(one, *after).await,
        JobsCommand::Cancel(one) => tell(one, JobVerb::Cancel).await,
        JobsCommand::Pause(one) => tell(one, JobVerb::Pause).await,
        JobsCommand::Resume(one) => tell(one, JobVerb::Resume).await,
        JobsCommand::Retry(one) => tell(one, JobVerb::Retry).await,
        JobsCommand::Rm(one) => one.hub.client()?.delete_job(one.job).await,
        JobsCommand::Proof(one) => {
            print_json(&one.hub.client()?.proof(one.job).await?);
            Ok(())
        }
        JobsCommand::Objects(one) => objects(one).await,
        JobsCommand::Fetch { one, output } => {
            let size = one.hub.client()?.fetch(one.job, output).await?;
            say!("{}: {:.2} MB", output.display(), size as f64 / 1e6);
            Ok(())
        }
    }
}

async fn objects(one: &OneJob) -> Result<(), Failure> {
    let view = one.hub.client()?.objects(one.job).await?;
    if one.hub.json {
        print_json(&view);
        return Ok(());
    }
    let ObjectsView { detector, objects, frames } = view;
    say!("{} things in {} frames, found by {detector}", objects.len(), frames.len());
    for TrackView { id, class, first_seconds, last_seconds, frames, score } in objects {
        let span = format!("{first_seconds:.2} to {last_seconds:.2} s");
        say!("{id:>5}  {class:<16} {span:<22} {frames:>6} frames  {score:.2}");
    }
    Ok(())
}

async fn list(hub: &HubAddress, limit: u32) -> Result<(), Failure> {
    let page = hub.client()?.jobs(None, limit).await?;
    if hub.json {
        print_json(&page);
    } else {
        page.items.iter().for_each(line);
    }
    Ok(())
}

async fn events(one: &OneJob, mut after: i64) -> Result<(), Failure> {
    let client = one.hub.client()?;
    loop {
        let page = client.events(one.job, after).await?;
        page.items.iter().for_each(print_json);
        match page.items.last() {
            Some(last) if page.next.is_some() => after = last.seq,
            _ => return Ok(()),
        }
    }
}

pub fn percent(view: &JobView) -> u64 {
    if view.phase == JobPhase::Completed {
        return 100;
    }
    (view.done * 100).checked_div(view.frames).unwrap_or(0)
}

fn line(view: &JobView) {
    let why = view.failure.as_ref().map(|f| &f.message).or(view.stuck.as_ref());
    let why = why.map(|why| format!("  {why}")).unwrap_or_default();
    let name = match &view.work {
        Work::Encode => view.name.clone(),
        Work::Describe(_) => format!("metadata of {}", view.name),
    };
    say!("{}  {:<15} {:>3}%  {name}{why}", view.id, view.phase.name(), percent(view));
}

async fn show(one: &OneJob) -> Result<(), Failure> {
    let client = one.hub.client()?;
    let (view, tasks) = tokio::try_join!(client.job(one.job), client.tasks(one.job))?;
    if one.hub.json {
        print_json(&serde_json::json!({ "job": view, "tasks": tasks.items }));
        return Ok(());
    }
    line(&view);
    for told in view.failure.iter().flat_map(|f| f.detail.lines()) {
        say!("  {told}");
    }
    for share in &view.shares {
        say!("  node {}: {} chunks, {} frames", share.node, share.chunks, share.frames);
    }
    tasks.items.iter().for_each(task_lines);
    Ok(())
}

fn task_lines(task: &TaskView) {
    let frames = task.frames.map(|(start, end)| format!("  frames {start}..{end}")).unwrap_or_default();
    say!("  {} {}: {}{frames}", task.kind.name(), task.ordinal, task.state);
    for attempt in &task.attempts {
        let outcome = attempt.outcome.as_deref().unwrap_or("running");
        let why = attempt.failure.as_ref().map(|f| format!(": {}", f.message)).unwrap_or_default();
        let seconds =
            attempt.ended_ms.map(|end| format!(", {:.1} s", (end - attempt.started_ms) as f64 / 1e3));
        let sandbox = attempt.sandbox.as_ref().filter(|state| *state != "full");
        let sandbox = sandbox.map(|state| format!(", sandbox {state}")).unwrap_or_default();
        say!(
            "    attempt {} on {}: {outcome}{}{sandbox}{why}",
            attempt.attempt,
            attempt.node,
            seconds.unwrap_or_default()
        );
    }
}
