//! What the commands that talk to a hub have in common: its address.

use clap::Args;
use kinora_protocol::Failure;
use kinora_protocol::client::Client;

use super::print_json;
use crate::config::{authorities, credentials};

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

/// A client for the hub at an address that shows nothing, and believes the authority that was trusted for it.
pub fn stranger(hub: &str) -> Result<Client, Failure> {
    let client = Client::new(hub)?;
    if client.is_encrypted() {
        client.trust(authorities::find(hub)?.as_deref())?;
    }
    Ok(client)
}

/// A client for the hub at an address, which shows who this user is as far as that is known.
pub fn client(hub: &str) -> Result<Client, Failure> {
    Ok(stranger(hub)?.showing(credentials::find(hub)))
}

impl HubAddress {
    /// Prints an answer as JSON, or as `plain` does it.
    pub fn show<T: serde::Serialize>(&self, value: &T, plain: impl FnOnce(&T)) {
        if self.json {
            print_json(value);
        } else {
            plain(value);
        }
    }

    /// The client for it, which shows who this user is as far as that is known.
    pub fn client(&self) -> Result<Client, Failure> {
        client(&self.hub)
    }
}
