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
    /// Show what a node can do and what it is at
    Show(OneNode),
    /// Let a node finish what it has and take nothing more
    Drain(OneNode),
    /// Give a draining or quarantined node work again
    Undrain(OneNode),
    /// Send a node away; what it was at is given to others
    Disconnect(OneNode),
    /// Shut a node out: its connection ends at once, and only a new token lets it in again
    Revoke(OneNode),
    /// Forget a node that is not connected; only a new token lets it in again
    Forget(OneNode),
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
        NodesCommand::Disconnect(one) => tell(one, NodeVerb::Disconnect).await,
        NodesCommand::Revoke(one) => tell(one, NodeVerb::Revoke).await,
        NodesCommand::Forget(one) => one.hub.client()?.forget_node(&one.id()).await,
        NodesCommand::Show(one) => {
            let node = one.hub.client()?.node(&one.id()).await?;
            if one.hub.json {
                print_json(&node);
            } else {
                line(&node);
                details(&node);
            }
            Ok(())
        }
    }
}

async fn tell(one: &OneNode, verb: NodeVerb) -> Result<(), Failure> {
    one.hub.client()?.tell_node(&one.id(), verb).await
}

impl OneNode {
    fn id(&self) -> NodeId {
        NodeId::from(self.node.clone())
    }
}

fn details(node: &NodeView) {
    say!("    {}", node.capabilities.ffmpeg.lines().next().unwrap_or_default());
    if let (Some(machine), Some(tier)) = (&node.capabilities.machine, node.tier) {
        let cpu = machine.cpu.as_deref().unwrap_or(&machine.architecture);
        let memory = machine.memory as f64 / (1u64 << 30) as f64;
        say!("    {} machine: {}, {cpu}, {memory:.1} GiB of memory", tier.name(), machine.os);
        for gpu in &machine.gpus {
            say!("    graphics processor: {gpu}");
        }
    }
    say!("    sandbox: {}", node.capabilities.sandbox.words());
    if let Some(reason) = &node.capabilities.without_control_groups {
        say!("    no control group for each ffmpeg: {reason}");
    }
    if !node.tags.is_empty() {
        say!("    tags: {}", node.tags);
    }
    say!("    at most {} chunks and {} light tasks at once", node.slots.chunks, node.slots.other);
    for encoder in &node.capabilities.encoders {
        let speed = node.capabilities.speeds.iter().find(|s| s.encoder == *encoder);
        let speed = speed.map(|s| format!("  {:.1} fps", f64::from(s.frames_per_minute) / 60.0));
        say!("    {}{}", encoder.name(), speed.unwrap_or_default());
    }
    for running in &node.running {
        let (kind, frames) = (running.kind.name(), running.progress.frames);
        say!("    at {kind} {} of job {}: {frames} frames", running.ordinal, running.job);
    }
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
    if node.drained {
        say!("    gets no work: it was told to drain");
    }
    if let Some(why) = &node.quarantined {
        say!("    gets no work: {why}");
    }
}
