//! `kinora health`: whether a hub can do its work, for people and for what starts hubs.

use clap::Args;
use kinora_protocol::api::{Health, ReadyView};
use kinora_protocol::{ErrorCode, Failure};

use super::remote::{HubAddress, stranger};

/// Flags of `kinora health`.
#[derive(Debug, Args)]
#[command(
    after_help = "Everybody may ask. It ends with 0 when the hub can take jobs and bytes, and with 1 when it cannot."
)]
pub struct HealthArgs {
    /// Which hub
    #[command(flatten)]
    pub hub: HubAddress,
}

/// Runs it.
pub async fn run(args: &HealthArgs) -> Result<(), Failure> {
    let view = stranger(&args.hub.hub)?.readiness().await?;
    args.hub.show(&view, |view| {
        for (part, health) in parts(view) {
            say!("{part}: {}", words(health));
        }
        say!("machines: {}", view.nodes);
    });
    if view.ready {
        return Ok(());
    }
    let failing = parts(&view).into_iter().filter(|(_, health)| **health != Health::Ok);
    let failing: Vec<String> = failing.map(|(part, health)| format!("{part}: {}", words(health))).collect();
    Err(Failure::new(ErrorCode::Unreachable, format!("the hub is not ready: {}", failing.join("; "))))
}

fn parts(view: &ReadyView) -> [(&'static str, &Health); 3] {
    [("store", &view.store), ("results", &view.blobs), ("disk", &view.disk)]
}

fn words(health: &Health) -> &str {
    match health {
        Health::Ok => "well",
        Health::Failing(why) => why,
    }
}
