//! `kinora support-bundle`: one file with what somebody has to know who is to find out why something does not work.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use kinora_protocol::client::Client;
use kinora_protocol::job::JobPhase;
use kinora_protocol::{ErrorCode, Failure};
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
                  lines of its log; no media, no passwords, keys or tokens, and names of files only with --names. What only an admin gets to see is left \
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

/// Names without their end that are shorter are left where they are.
const SHORTEST_STEM: usize = 6;

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
    let mut redaction = Redaction::default();
    // Whoever can say that it is there is asked for the rest.
    let reached = stranger(&args.hub.hub)?.readiness().await;
    let is_reached = bundle.json("hub/health", reached).is_some();
    if is_reached {
        let names = gather(&mut bundle, &args.hub.client()?, args.jobs).await;
        if !args.names {
            redaction = names;
        }
    }
    let written = write(&args.output, bundle, &redaction)?;
    args.hub.show(&written, |written| {
        for why in &written.missing {
            tell!("kinora: left out: {why}");
        }
        say!("{}: look through it before you pass it on", written.file.display());
    });
    Ok(())
}

/// What this program is, and what it runs on.
fn program() -> String {
    format!("kinora {}\n{} {}\n", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH)
}

/// What the hub says. Gives what people called things in it.
async fn gather(bundle: &mut Bundle, client: &Client, jobs: u32) -> Redaction {
    let mut names = Vec::new();
    let mut folders = Vec::new();
    if let Some(system) = bundle.json("hub/system", client.system().await) {
        folders.extend(system.allowed_folders.iter().map(|folder| folder.display().to_string()));
    }
    bundle.json("hub/cluster", client.cluster().await);
    bundle.json("hub/nodes", client.nodes().await);
    bundle.json("hub/scrub", client.scrub().await);
    bundle.json("hub/log-filter", client.log().await);
    bundle.text("hub/log", client.log_lines().await);
    bundle.text("hub/metrics", client.metrics().await);
    // Their names have to be known so that they can be taken out; they are no part of it.
    match client.media().await {
        Ok(page) => names.extend(page.items.into_iter().map(|media| media.name)),
        Err(failure) => bundle.missing.push(format!("names of media: {failure}")),
    }
    if let Ok(page) = client.folders().await {
        folders.extend(page.items.iter().map(|folder| folder.folder.path.display().to_string()));
    }
    if let Some(page) = bundle.json("hub/jobs", client.jobs(None, jobs).await) {
        for job in page.items {
            if job.phase == JobPhase::Failed || job.stuck.is_some() {
                let place = format!("hub/jobs/{}", job.id);
                bundle.json(&format!("{place}-tasks"), client.tasks(job.id).await);
                bundle.json(&format!("{place}-events"), client.events(job.id, 0).await);
            }
            names.push(job.name);
        }
    }
    // A result has the name of its source with another end. Short ones are words of ours, too.
    let stems = names.iter().filter_map(|name| Some(name.rsplit_once('.')?.0.to_owned()));
    let stems: Vec<String> = stems.filter(|stem| stem.chars().count() >= SHORTEST_STEM).collect();
    Redaction::new(names.into_iter().chain(stems), folders)
}

/// Writes it, for this user alone.
fn write<'a>(path: &'a Path, bundle: Bundle, redaction: &Redaction) -> Result<Written<'a>, Failure> {
    let disk = |e: std::io::Error| Failure::new(ErrorCode::Disk, format!("{}: {e}", path.display()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path).map_err(disk)?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    let mut entries = Vec::new();
    let missing: Vec<String> = bundle.missing.iter().map(|why| redaction.text(why)).collect();
    let listed = Content::Text(missing.iter().fold(String::new(), |all, why| all + why + "\n"));
    for (name, content) in bundle.entries.into_iter().chain([("left-out.txt".to_owned(), listed)]) {
        let text = match content {
            Content::Text(text) => redaction.text(&text),
            Content::Json(value) => format!("{:#}\n", redaction.value(value)),
        };
        append(&mut archive, &name, text.as_bytes()).map_err(disk)?;
        entries.push(name);
    }
    let mut file = archive.into_inner().and_then(GzEncoder::finish).map_err(disk)?;
    file.flush().map_err(disk)?;
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
