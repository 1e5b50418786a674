//! `kinora keys`: API keys, for programs.

use clap::{Args, Subcommand};
use kinora_protocol::access::{KeyView, NewKey, Scope};
use kinora_protocol::{ErrorCode, Failure, KeyId};

use super::remote::HubAddress;
use super::values::{Span, span_or_never};

/// Flags of `kinora keys`.
#[derive(Debug, Args)]
#[command(
    after_help = "Programs show a key as `Authorization: Bearer …` or `X-API-Key: …`; this command shows the one in KINORA_KEY."
)]
pub struct KeysArgs {
    /// What to do
    #[command(subcommand)]
    pub command: KeysCommand,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// List keys
    Ls {
        /// Those of this user, in place of your own
        #[arg(long, value_name = "USER")]
        user: Option<String>,
        /// Which hub
        #[command(flatten)]
        hub: HubAddress,
    },
    /// Make a key; it is shown once
    New {
        /// What it is for
        name: String,
        /// What it may do of what its user may: all, media, jobs, folders, webhooks, nodes, system, users or keys, with :read or
        /// :write; separated by commas; everything when absent
        #[arg(long, value_name = "AREA:ACCESS,…", value_delimiter = ',')]
        scopes: Option<Vec<Scope>>,
        /// How long it is good for: 90d, 12h, never
        #[arg(long, value_name = "TIME", default_value = "90d", value_parser = span_or_never)]
        expires: Span,
        /// For this user, in place of yourself
        #[arg(long, value_name = "USER")]
        user: Option<String>,
        /// Which hub
        #[command(flatten)]
        hub: HubAddress,
    },
    /// Revoke a key; it is good for nothing from then on
    Rm {
        /// Id of the key
        key: KeyId,
        /// Of this user, in place of yourself
        #[arg(long, value_name = "USER")]
        user: Option<String>,
        /// Which hub
        #[command(flatten)]
        hub: HubAddress,
    },
}

fn line(key: &KeyView) {
    let scopes = key.scopes.as_ref().map_or_else(
        || "everything".to_owned(),
        |scopes| scopes.iter().map(Scope::to_string).collect::<Vec<_>>().join(","),
    );
    say!("{}  {:<12} {:<24} {scopes}", key.id, key.user, key.name);
    if let Some(key) = &key.key {
        say!("{key}");
    }
}

/// Does it.
pub async fn run(args: &KeysArgs) -> Result<(), Failure> {
    match &args.command {
        KeysCommand::Ls { user, hub } => {
            let page = hub.client()?.keys(user.as_deref()).await?;
            hub.show(&page, |page| page.items.iter().for_each(line));
            Ok(())
        }
        KeysCommand::New { name, scopes, expires, user, hub } => {
            let lifetime: Option<std::time::Duration> = (*expires).into();
            let seconds = lifetime.map(|lifetime| u32::try_from(lifetime.as_secs()));
            let expires_in = seconds.transpose().map_err(|_| {
                Failure::new(
                    ErrorCode::BadInput,
                    "--expires: write never for a key that is to last that long",
                )
            })?;
            let wanted =
                NewKey { name: name.clone(), scopes: scopes.clone(), expires_in, user: None, login: false };
            let made = hub.client()?.new_key(user.as_deref(), &wanted).await?;
            hub.show(&made, line);
            Ok(())
        }
        KeysCommand::Rm { key, user, hub } => hub.client()?.revoke_key(user.as_deref(), *key).await,
    }
}
