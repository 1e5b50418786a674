//! Flags that say where users are known besides.

use std::path::PathBuf;

use clap::Args;
use kinora_hub::Oidc;
use kinora_protocol::access::Role;
use kinora_protocol::{ErrorCode, Failure};

use crate::config::credentials;

/// Users that sign in elsewhere.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Users that sign in elsewhere (OpenID Connect)")]
pub struct OidcFlags {
    #[arg(
        long,
        value_name = "URL",
        value_parser = provider,
        requires = "oidc_client",
        requires = "public_url",
        help = "The provider, exactly as it calls itself, for example https://id.example.org/realms/studio"
    )]
    pub oidc_issuer: Option<String>,
    /// What this hub is called there
    #[arg(long, value_name = "ID", requires = "oidc_issuer")]
    pub oidc_client: Option<String>,
    /// File with the secret by which the provider knows this hub (also KINORA_OIDC_SECRET); without one it is a public client
    #[arg(long, value_name = "FILE", requires = "oidc_issuer")]
    pub oidc_secret_file: Option<PathBuf>,
    /// What people call the provider
    #[arg(long, value_name = "NAME", default_value = "single sign-on", requires = "oidc_issuer")]
    pub oidc_name: String,
    /// Whom the provider knows comes in as a viewer or editor; without it only users that an admin has made come in (kinora users
    /// add --oidc-subject)
    #[arg(long, value_name = "viewer|editor", value_parser = new_users, requires = "oidc_issuer")]
    pub oidc_new_users: Option<Role>,
    #[arg(
        long,
        value_name = "URL",
        value_parser = provider,
        help = "Where browsers find this hub, for example https://video.example.org: the provider sends them back there"
    )]
    pub public_url: Option<String>,
}

fn provider(text: &str) -> Result<String, String> {
    if kinora_access::oidc::is_safe(text) {
        Ok(text.to_owned())
    } else {
        Err("write https://HOST (http is for this machine only)".to_owned())
    }
}

fn new_users(text: &str) -> Result<Role, String> {
    match text.parse() {
        Ok(role @ (Role::Viewer | Role::Editor)) => Ok(role),
        _ => Err("write viewer or editor: admins are made by admins".to_owned()),
    }
}

impl OidcFlags {
    /// Where users are known besides, if they are.
    pub fn oidc(&self) -> Result<Option<Oidc>, Failure> {
        let (Some(issuer), Some(client), Some(hub)) =
            (&self.oidc_issuer, &self.oidc_client, &self.public_url)
        else {
            return Ok(None);
        };
        let secret = match &self.oidc_secret_file {
            None => credentials::oidc_secret(),
            Some(path) => {
                let unreadable = |e| Failure::new(ErrorCode::BadInput, format!("{}: {e}", path.display()));
                let text = std::fs::read_to_string(path).map_err(unreadable)?;
                Some(text.trim_end_matches(['\n', '\r']).to_owned()).filter(|secret| !secret.is_empty())
            }
        };
        Ok(Some(Oidc {
            issuer: issuer.clone(),
            name: self.oidc_name.clone(),
            client: client.clone(),
            secret,
            hub: hub.clone(),
            new_users: self.oidc_new_users,
        }))
    }
}
