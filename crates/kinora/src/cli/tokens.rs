//! `kinora tokens`: what lets a machine work for a hub.

use std::time::Duration;

use clap::{Args, Subcommand};
use kinora_protocol::access::{EnrollmentView, NewEnrollment};
use kinora_protocol::{EnrollmentId, ErrorCode, Failure};

use super::remote::HubAddress;
use super::values::span;

/// Flags of `kinora tokens`.
#[derive(Debug, Args)]
pub struct TokensArgs {
    /// What to do
    #[command(subcommand)]
    pub command: TokensCommand,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum TokensCommand {
    /// Make a token, and print the command that is run with it on the new machine
    New {
        /// For a machine that is to work
        #[arg(long, required = true)]
        node: bool,
        /// Which machine it is for, for people
        #[arg(long)]
        name: Option<String>,
        /// How long it is good for, up to 7d
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = span)]
        expires: Duration,
        /// Address by which the new machine reaches the hub, where that is another than the one of --hub
        #[arg(long, value_name = "URL")]
        address: Option<String>,
        /// Which hub
        #[command(flatten)]
        hub: HubAddress,
    },
    /// List tokens, used and not
    Ls {
        /// Which hub
        #[command(flatten)]
        hub: HubAddress,
    },
    /// Forget a token; a machine that it has let in stays in (see kinora nodes revoke)
    Rm {
        /// Id of the token
        token: EnrollmentId,
        /// Which hub
        #[command(flatten)]
        hub: HubAddress,
    },
}

fn line(token: &EnrollmentView) {
    let state = match (&token.node, token.used_ms) {
        (Some(node), _) => format!("used by {node}"),
        (None, Some(_)) => "used".to_owned(),
        (None, None) => "not used".to_owned(),
    };
    say!("{}  {:<20} by {:<16} {state}", token.id, token.name, token.made_by);
}

/// Does it.
pub async fn run(args: &TokensArgs) -> Result<(), Failure> {
    match &args.command {
        TokensCommand::New { name, expires, address, hub, .. } => {
            let seconds = u32::try_from(expires.as_secs())
                .map_err(|_| Failure::new(ErrorCode::BadInput, "--expires: a token lasts 7d at the most"))?;
            let wanted = NewEnrollment { name: name.clone(), expires_in: Some(seconds) };
            let made = hub.client()?.new_enrollment(&wanted).await?;
            hub.show(&made, |made| {
                let token = made.token.as_deref().unwrap_or_default();
                let address = address.as_deref().unwrap_or(&hub.hub);
                say!("kinora worker --hub {address} --token {token}");
            });
            let near = ["http://127.0.0.1", "http://localhost", "http://[::1]"];
            if address.is_none() && near.iter().any(|near| hub.hub.starts_with(near)) {
                tell!(
                    "kinora tokens: {} leads here only on this machine: name the hub's own address by --address",
                    hub.hub
                );
            }
            Ok(())
        }
        TokensCommand::Ls { hub } => {
            let page = hub.client()?.enrollments().await?;
            hub.show(&page, |page| page.items.iter().for_each(line));
            Ok(())
        }
        TokensCommand::Rm { token, hub } => hub.client()?.delete_enrollment(*token).await,
    }
}
