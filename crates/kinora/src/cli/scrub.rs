//! `kinora scrub`: are the bytes that a hub stores what they were?

use std::time::Duration;

use clap::Args;
use kinora_protocol::api::ScrubView;
use kinora_protocol::{ErrorCode, Failure};

use super::print_json;
use super::remote::HubAddress;

/// How often it is asked how far it is.
const LOOK: Duration = Duration::from_millis(300);

/// Flags of `kinora scrub`.
#[derive(Debug, Args)]
pub struct ScrubArgs {
    /// Which hub
    #[command(flatten)]
    pub hub: HubAddress,
}

/// Runs it to its end; that something is lost is a failure.
pub async fn run(args: &ScrubArgs) -> Result<(), Failure> {
    let client = args.hub.client()?;
    let mut view = client.start_scrub().await?;
    while view.running {
        tokio::time::sleep(LOOK).await;
        view = client.scrub().await?;
    }
    if args.hub.json {
        print_json(&view);
    } else {
        show(&view);
    }
    match view.lost.len() {
        0 => Ok(()),
        lost => Err(Failure::new(ErrorCode::Disk, format!("{lost} of {} files are lost", view.files))),
    }
}

fn show(view: &ScrubView) {
    say!("{} files looked at, {:.2} MB", view.files, view.bytes as f64 / 1e6);
    view.repaired.iter().for_each(|what| say!("  repaired: {what}"));
    view.lost.iter().for_each(|what| say!("  lost: {what}"));
}
