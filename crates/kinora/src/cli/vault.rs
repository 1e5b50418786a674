//! `kinora vault`: what is needed to keep files encrypted.

use clap::{Args, Subcommand};
use kinora_protocol::{ErrorCode, Failure};
use kinora_vault::Masters;

use super::print_json;
use super::remote::HubAddress;

/// Flags of `kinora vault`.
#[derive(Debug, Args)]
pub struct VaultArgs {
    #[command(subcommand)]
    command: VaultCommand,
}

#[derive(Debug, Subcommand)]
enum VaultCommand {
    /// Print a new master key for kinora hub --encrypt-at-rest
    #[command(
        after_help = "For another one in place of one that is in use, put the new one on the first line and leave the old one below; \
                      when the hub says that it is settled (kinora vault status), the old one may go."
    )]
    NewKey,
    /// Show whether what a hub keeps is encrypted, and whether older master keys may go
    Status {
        /// Which hub
        #[command(flatten)]
        hub: HubAddress,
    },
}

/// Runs it.
pub async fn run(args: &VaultArgs) -> Result<(), Failure> {
    match &args.command {
        VaultCommand::NewKey => {
            let key = Masters::generate();
            let key =
                key.map_err(|e| Failure::new(ErrorCode::Internal, format!("no key can be made: {e}")))?;
            say!("{key}");
            Ok(())
        }
        VaultCommand::Status { hub } => {
            let found = hub.client()?.system().await?.encryption;
            if hub.json {
                print_json(&found);
                return Ok(());
            }
            match found {
                None => say!("what the hub keeps is not encrypted"),
                Some(found) if found.unreadable > 0 => {
                    say!(
                        "encrypted; no master key opens {} files: the hub's log names them",
                        found.unreadable
                    );
                }
                Some(found) if found.settled => say!("encrypted; older master keys may go"),
                Some(_) => say!("encrypted; older master keys are needed until all is looked at"),
            }
            Ok(())
        }
    }
}
