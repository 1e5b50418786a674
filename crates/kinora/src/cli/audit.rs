//! `kinora audit`: who did what, and whether the record of it is whole. It is looked at here, not by the hub, which could say
//! anything.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use kinora_access::chain::Chain;
use kinora_protocol::access::AuditView;
use kinora_protocol::client::Client;
use kinora_protocol::{ErrorCode, Failure};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::print_json;
use super::remote::HubAddress;

/// Flags of `kinora audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// What to do
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Show what was done and tried, oldest first; with --json a line for each, to be kept elsewhere
    Ls {
        /// Only after this position
        #[arg(long, value_name = "N", default_value_t = 0)]
        after: i64,
        /// Which hub
        #[command(flatten)]
        hub: HubAddress,
    },
    /// Look whether anything was changed, left out or put in
    Verify {
        /// A record that was kept elsewhere (kinora audit ls --json), in place of the hub's
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
        /// A hash that was noted earlier: it has to be in the record
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
        /// Which hub
        #[command(flatten)]
        hub: HubAddress,
    },
}

fn line(entry: &AuditView) {
    let AuditView { seq, at_ms, actor, address, action, outcome, detail, .. } = entry;
    let at = OffsetDateTime::from_unix_timestamp(at_ms / 1000).ok().and_then(|at| at.format(&Rfc3339).ok());
    let at = at.unwrap_or_else(|| at_ms.to_string());
    say!("{seq:>6}  {at}  {outcome:<6} {actor:<24} {address:<15} {action}  {detail}");
}

/// Each entry of a hub's record from a position on.
async fn each(
    client: &Client,
    mut after: i64,
    mut take: impl FnMut(&AuditView) -> Result<(), Failure>,
) -> Result<(), Failure> {
    loop {
        let page = client.audit(after).await?;
        let Some(last) = page.items.last() else { return Ok(()) };
        after = last.seq;
        page.items.iter().try_for_each(&mut take)?;
    }
}

fn broken(why: String) -> Failure {
    Failure::new(ErrorCode::NotExact, format!("the record is not what was written: {why}"))
}

/// Does it.
pub async fn run(args: &AuditArgs) -> Result<(), Failure> {
    match &args.command {
        AuditCommand::Ls { after, hub } => {
            each(&hub.client()?, *after, |entry| {
                if hub.json {
                    print_json(entry)
                } else {
                    line(entry)
                }
                Ok(())
            })
            .await
        }
        AuditCommand::Verify { from, head, hub } => {
            let (mut chain, mut met) = (Chain::default(), head.is_none());
            let mut check = |entry: &AuditView| {
                chain.check(entry).map_err(broken)?;
                met |= head.as_ref() == Some(&entry.hash);
                Ok(())
            };
            match from {
                None => each(&hub.client()?, 0, &mut check).await?,
                Some(path) => kept(path, &mut check)?,
            }
            if !met {
                return Err(broken("no entry has the hash that was noted".to_owned()));
            }
            let found = serde_json::json!({ "entries": chain.len(), "head": chain.head() });
            hub.show(&found, |_| {
                say!("{} entries, whole; the last has the hash {}", chain.len(), chain.head())
            });
            Ok(())
        }
    }
}

fn kept(
    path: &std::path::Path,
    check: &mut impl FnMut(&AuditView) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let unreadable = |why: String| Failure::new(ErrorCode::BadInput, format!("{}: {why}", path.display()));
    let file = std::fs::File::open(path).map_err(|e| unreadable(e.to_string()))?;
    for line in BufReader::new(file).lines() {
        let line = line.map_err(|e| unreadable(e.to_string()))?;
        let entry: AuditView = serde_json::from_str(&line).map_err(|e| unreadable(e.to_string()))?;
        check(&entry)?;
    }
    Ok(())
}
