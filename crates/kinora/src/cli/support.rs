//! `kinora support-bundle`: one file with what somebody has to know who is to find out why something does not work.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use kinora_access::private;
use kinora_protocol::api::{EventView, JobView, Page, SystemView};
use kinora_protocol::client::Client;
use kinora_protocol::job::JobPhase;
use kinora_protocol::{ErrorCode, Failure, JobId};
use serde::Serialize;
use serde_json::Value;

use super::doctor;
use super::remote::{HubAddress, stranger};
use crate::config::Config;
use crate::redact::Redaction;

/// Flags of `kinora support-bundle`.
#[derive(Debug, Args)]
#[command(
    after_help = "It holds what this machine can do, and of the hub its version, health, numbers, machines, last jobs, why those failed that did, and the last \
                  lines of its log; no media, no passwords, keys or tokens, and names of files, as far as they are known, only with --names. What only an admin gets to see is left \
                  out for others. It is plain text in a .tar.gz: look through it before you pass it on."
)]
pub struct SupportArgs {
    /// File that it is written into
    #[arg(long, short, value_name = "FILE", default_value = "kinora-support.tar.gz")]
    pub output: PathBuf,
    /// Also names of media and jobs, and paths of files
    #[arg(long)]
    pub names: bool,
    /// How many of the last jobs are listed, and how many of the failed among them with all their attempts
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub jobs: u32,
    /// Which hub
    #[command(flatten)]
    pub hub: HubAddress,
}

/// A hub has to answer within this.
const PATIENCE: Duration = Duration::from_secs(20);
/// Events of a job that are kept.
const MOST_EVENTS: usize = 5000;
/// The numbers.
const METRICS: &str = "hub/metrics.txt";
/// The jobs.
const JOBS: &str = "hub/jobs.json";

/// What is gathered.
#[derive(Default)]
struct Bundle {
    /// Names and texts.
    entries: Vec<(String, Content)>,
    /// What could not be had, and why.
    missing: Vec<String>,
}

enum Content {
    Text(String),
    Json(Value),
}

impl Bundle {
    fn json<T: Serialize>(&mut self, name: &str, outcome: Result<T, Failure>) -> Option<T> {
        match outcome {
            Ok(value) => {
                let json = serde_json::to_value(&value).unwrap_or_default();
                self.entries.push((format!("{name}.json"), Content::Json(json)));
                Some(value)
            }
            Err(failure) => {
                self.missing.push(format!("{name}: {failure}"));
                None
            }
        }
    }

    fn text(&mut self, name: &str, outcome: Result<String, Failure>) {
        match outcome {
            Ok(text) => self.entries.push((format!("{name}.txt"), Content::Text(text))),
            Err(failure) => self.missing.push(format!("{name}: {failure}")),
        }
    }
}

/// What is printed of it.
#[derive(Serialize)]
struct Written<'a> {
    file: &'a Path,
    entries: Vec<String>,
    missing: Vec<String>,
}

/// Makes one.
pub async fn run(args: &SupportArgs, config: &Config) -> Result<(), Failure> {
    let mut bundle = Bundle::default();
    bundle.json("machine/doctor", Ok(doctor::examine(config).await));
    bundle.text("machine/program", Ok(program()));
    let mut redaction = Redaction::of_secrets();
    // Whoever can say that it is there is asked for the rest.
    let reached = in_time(stranger(&args.hub.hub)?.readiness()).await;
    if bundle.json("hub/health", reached).is_some() {
        let client = args.hub.client()?;
        let system = in_time(client.system()).await;
        let jobs = in_time(client.jobs(None, args.jobs)).await;
        // Their names have to be known so that they can be taken out.
        let known = if args.names { Ok(redaction) } else { names(&client, &system, &jobs).await };
        gather_numbers(&mut bundle, &client, system).await;
        redaction = match known {
            Ok(known) => {
                gather_texts(&mut bundle, &client, jobs).await;
                known
            }
            Err(failure) => {
                bundle.missing.push(format!(
                    "jobs and log: the names in them are not known ({failure}); --names leaves them in"
                ));
                Redaction::of_secrets()
            }
        };
    }
    let written = write(&args.output, bundle, (&redaction, !args.names))?;
    args.hub.show(&written, |written| {
        for why in &written.missing {
            tell!("kinora: left out: {why}");
        }
        say!("{}: look through it before you pass it on", written.file.display());
    });
    Ok(())
}

/// A hub that does not answer is what many of these are about.
async fn in_time<T>(asked: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let late = || Failure::new(ErrorCode::Unreachable, format!("no answer within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(late()))
}

/// What this program is, and what it runs on.
fn program() -> String {
    format!("kinora {}\n{} {}\n", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH)
}

/// What the hub is and does, in which nobody's files are named.
async fn gather_numbers(bundle: &mut Bundle, client: &Client, system: Result<SystemView, Failure>) {
    bundle.text("hub/metrics", in_time(client.metrics()).await);
    bundle.json("hub/system", system);
    bundle.json("hub/cluster", in_time(client.cluster()).await);
    bundle.json("hub/nodes", in_time(client.nodes()).await);
    bundle.json("hub/scrub", in_time(client.scrub()).await);
    bundle.json("hub/log-filter", in_time(client.log()).await);
}

/// What it says of jobs.
async fn gather_texts(bundle: &mut Bundle, client: &Client, jobs: Result<Page<JobView>, Failure>) {
    bundle.text("hub/log", in_time(client.log_lines()).await);
    let Some(page) = bundle.json("hub/jobs", jobs) else { return };
    let wrong = page.items.iter().filter(|job| job.phase == JobPhase::Failed || job.stuck.is_some());
    for job in wrong {
        let place = format!("hub/jobs/{}", job.id);
        bundle.json(&format!("{place}-tasks"), in_time(client.tasks(job.id)).await);
        bundle.json(&format!("{place}-events"), in_time(events(client, job.id)).await);
    }
}

/// What happened to a job, as far as it is kept; the last of it where that is very much.
async fn events(client: &Client, job: JobId) -> Result<Vec<EventView>, Failure> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page = client.events(job, after).await?;
        let Some(last) = page.items.last() else { return Ok(all) };
        after = last.seq;
        all.extend(page.items);
        let over = all.len().saturating_sub(MOST_EVENTS);
        all.drain(..over);
        if page.next.is_none() {
            return Ok(all);
        }
    }
}

/// What people called things in the hub.
async fn names(
    client: &Client,
    system: &Result<SystemView, Failure>,
    jobs: &Result<Page<JobView>, Failure>,
) -> Result<Redaction, Failure> {
    let (system, jobs) = (system.as_ref().map_err(Clone::clone)?, jobs.as_ref().map_err(Clone::clone)?);
    let mut names: Vec<String> =
        in_time(client.media()).await?.items.into_iter().map(|media| media.name).collect();
    names.extend(jobs.items.iter().map(|job| job.name.clone()));
    let mut folders: Vec<String> =
        system.allowed_folders.iter().map(|folder| folder.display().to_string()).collect();
    match in_time(client.folders()).await {
        Ok(watched) => {
            for one in watched.items {
                folders.push(one.folder.path.display().to_string());
                let files = in_time(client.folder_files(one.id)).await?;
                names.extend(files.items.into_iter().map(|file| file.name));
            }
        }
        // Who may not see them does not see the log, either.
        Err(failure) if failure.code == ErrorCode::Forbidden => {}
        Err(failure) => return Err(failure),
    }
    Redaction::new(names, folders)
}

/// Writes it, for this user alone.
fn write<'a>(
    path: &'a Path,
    bundle: Bundle,
    (redaction, hides): (&Redaction, bool),
) -> Result<Written<'a>, Failure> {
    let disk = |e: std::io::Error| Failure::new(ErrorCode::Disk, format!("{}: {e}", path.display()));
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    let mut entries = Vec::new();
    let missing: Vec<String> = bundle.missing.iter().map(|why| redaction.text(why)).collect();
    let listed = Content::Text(missing.iter().fold(String::new(), |all, why| all + why + "\n"));
    for (name, content) in bundle.entries.into_iter().chain([("left-out.txt".to_owned(), listed)]) {
        let text = match content {
            // In numbers nobody's files are named, and ours look like many names.
            Content::Text(text) if name == METRICS => Redaction::of_secrets().text(&text),
            Content::Text(text) => redaction.log(&text),
            Content::Json(value) => {
                let named: &[&str] = if hides && name == JOBS { &["name"] } else { &[] };
                format!("{:#}\n", redaction.value(value, named))
            }
        };
        append(&mut archive, &name, text.as_bytes()).map_err(disk)?;
        entries.push(name);
    }
    let bytes = archive.into_inner().and_then(GzEncoder::finish).map_err(disk)?;
    private::write(path, bytes).map_err(disk)?;
    Ok(Written { file: path, entries, missing })
}

fn append(archive: &mut tar::Builder<impl std::io::Write>, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o600);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    header.set_mtime(now.as_secs());
    archive.append_data(&mut header, Path::new("kinora-support").join(name), bytes)
}
