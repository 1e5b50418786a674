//! `kinora nodes`: the machines that work for a hub.

use clap::{Args, Subcommand};
use kinora_protocol::api::NodeView;
use kinora_protocol::client::NodeVerb;
use kinora_protocol::{Failure, NodeId};

use super::print_json;
use super::remote::HubAddress;

/// Flags of `kinora nodes`.
#[derive(Debug, Args)]
pub struct NodesArgs {
    /// What to do
    #[command(subcommand)]
    pub command: NodesCommand,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum NodesCommand {
    /// List all nodes that were ever here
    Ls {
        /// Which hub
        #[command(flatten)]
        hub: HubAddress,
    },
    /// Let a node finish what it has and take nothing more
    Drain(OneNode),
    /// Give a draining node work again
    Undrain(OneNode),
}

/// A node and its hub.
#[derive(Debug, Args)]
pub struct OneNode {
    /// Id of the node
    pub node: String,
    /// Which hub
    #[command(flatten)]
    pub hub: HubAddress,
}

/// Runs it.
pub async fn run(args: &NodesArgs) -> Result<(), Failure> {
    match &args.command {
        NodesCommand::Ls { hub } => {
            let page = hub.client()?.nodes().await?;
            if hub.json {
                print_json(&page);
            } else {
                page.items.iter().for_each(line);
            }
            Ok(())
        }
        NodesCommand::Drain(one) => tell(one, NodeVerb::Drain).await,
        NodesCommand::Undrain(one) => tell(one, NodeVerb::Undrain).await,
    }
}

async fn tell(one: &OneNode, verb: NodeVerb) -> Result<(), Failure> {
    one.hub.client()?.tell_node(&NodeId::from(one.node.clone()), verb).await
}

fn line(node: &NodeView) {
    let fps = node.running.iter().fold(0.0, |sum, r| sum + r.progress.fps);
    say!(
        "{}  {:?}  {} cores, {} running, {fps:.0} fps, {}",
        node.id,
        node.state,
        node.capabilities.cores,
        node.running.len(),
        node.name
    );
}
