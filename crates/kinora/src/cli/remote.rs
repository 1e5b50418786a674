//! What the commands that talk to a hub have in common: its address.

use clap::Args;
use kinora_protocol::Failure;
use kinora_protocol::client::Client;

/// Which hub.
#[derive(Debug, Args)]
pub struct HubAddress {
    /// The hub
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000")]
    pub hub: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl HubAddress {
    /// The client for it.
    pub fn client(&self) -> Result<Client, Failure> {
        Client::new(&self.hub)
    }
}
