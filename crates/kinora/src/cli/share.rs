//! `kinora share`: who may see or change media or a job.

use clap::{Args, Subcommand};
use kinora_protocol::access::{Right, ShareView, Sharee};
use kinora_protocol::client::Shared;
use kinora_protocol::{Digest, ErrorCode, Failure, JobId};

use super::remote::HubAddress;

/// Flags of `kinora share`.
#[derive(Debug, Args)]
#[command(after_help = "Without --with it is shown who may do what.")]
pub struct ShareArgs {
    /// What
    #[command(subcommand)]
    pub what: What,
}

/// What can be shared.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Media
    Media {
        /// Id of the media
        media: String,
        /// With whom
        #[command(flatten)]
        share: With,
    },
    /// A job with its result
    Job {
        /// Id of the job
        job: JobId,
        /// With whom
        #[command(flatten)]
        share: With,
    },
}

/// With whom, and how.
#[derive(Debug, Args)]
pub struct With {
    /// With whom: user:NAME, team:NAME or everyone
    #[arg(long, value_name = "WHOM")]
    pub with: Option<Sharee>,
    /// What they may do: view, edit or own
    #[arg(long, value_name = "RIGHT", default_value = "view", requires = "with")]
    pub right: Right,
    /// Share it with them no more
    #[arg(long, requires = "with", conflicts_with = "right")]
    pub end: bool,
    /// Which hub
    #[command(flatten)]
    pub hub: HubAddress,
}

/// Does it.
pub async fn run(args: &ShareArgs) -> Result<(), Failure> {
    let (thing, share) = match &args.what {
        What::Job { job, share } => (Shared::Job(*job), share),
        What::Media { media, share } => {
            let bad = |e: kinora_protocol::id::BadDigest| Failure::new(ErrorCode::BadInput, e.to_string());
            (Shared::Media(Digest::try_from(media.clone()).map_err(bad)?), share)
        }
    };
    let client = share.hub.client()?;
    let page = match &share.with {
        None => client.shares(&thing).await?,
        Some(with) if share.end => client.unshare(&thing, with).await?,
        Some(with) => client.share(&thing, &ShareView { with: with.clone(), right: share.right }).await?,
    };
    share.hub.show(&page, |page| {
        for ShareView { with, right } in &page.items {
            say!("{:<28} {}", with.to_string(), right.name());
        }
    });
    Ok(())
}
