//! `kinora log`: what a hub or a worker says in its log, while it runs.

use clap::Args;
use kinora_protocol::api::LogView;
use kinora_protocol::{Failure, NodeId};

use super::print_json;
use super::remote::HubAddress;

/// Flags of `kinora log`.
#[derive(Debug, Args)]
#[command(
    after_help = "Levels are off, error, warn, info, debug and trace; info,kinora_hub=debug is info, and more of the hub's own."
)]
pub struct LogArgs {
    /// What it is to say from now on, until it is started again; without it, what it says is shown
    pub filter: Option<String>,
    /// Not the hub's log but that of this node, by its id (kinora nodes ls); it has to be connected
    #[arg(long, value_name = "NODE", requires = "filter")]
    pub node: Option<String>,
    /// Which hub
    #[command(flatten)]
    pub hub: HubAddress,
}

/// Runs it.
pub async fn run(args: &LogArgs) -> Result<(), Failure> {
    let client = args.hub.client()?;
    let view = match (args.filter.clone().map(|filter| LogView { filter }), &args.node) {
        (None, _) => client.log().await?,
        (Some(wanted), None) => client.change_log(&wanted).await?,
        (Some(wanted), Some(node)) => {
            return client.change_node_log(&NodeId::from(node.clone()), &wanted).await;
        }
    };
    if args.hub.json {
        print_json(&view);
    } else {
        say!("{}", view.filter);
    }
    Ok(())
}
