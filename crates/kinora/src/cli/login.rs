//! `kinora login`, `logout` and `whoami`: a login leaves an API key of this machine's own, so that no password is kept and nothing
//! has to be renewed.

use clap::Args;
use kinora_protocol::access::{Me, NewKey};
use kinora_protocol::{ErrorCode, Failure};

use super::password::PasswordSource;
use super::print_json;
use super::remote::{HubAddress, stranger};
use crate::config::Config;
use crate::config::credentials::{self, Kept};

/// Seconds that the key of a machine is good for.
const LIFETIME: u32 = 90 * 24 * 3600;

/// Flags of `kinora login`.
#[derive(Debug, Args)]
#[command(
    after_help = "The key is good for 90 days; `kinora logout` revokes it. Scripts set KINORA_KEY instead (see kinora keys new)."
)]
pub struct LoginArgs {
    /// Name of the user
    pub name: String,
    /// Which hub
    #[command(flatten)]
    pub hub: HubAddress,
    /// Where the password comes from
    #[command(flatten)]
    pub password: PasswordSource,
}

/// Flags of `kinora logout`.
#[derive(Debug, Args)]
pub struct LogoutArgs {
    /// Which hub
    #[command(flatten)]
    pub hub: HubAddress,
}

/// Flags of `kinora whoami`.
#[derive(Debug, Args)]
pub struct WhoamiArgs {
    /// Which hub
    #[command(flatten)]
    pub hub: HubAddress,
}

/// Signs in, and keeps a key.
pub async fn login(args: &LoginArgs, config: &Config) -> Result<(), Failure> {
    let password = args.password.ask(&format!("Password of {}", args.name))?;
    let client = stranger(&args.hub.hub)?;
    let tokens = client.login(&args.name, &password).await?;
    client.show(Some(tokens.access_token));
    let wanted = NewKey {
        name: format!("login on {}", config.host),
        scopes: None,
        expires_in: Some(LIFETIME),
        user: None,
        login: true,
    };
    let made = client.new_key(None, &wanted).await;
    let made = match made {
        Ok(made) => made,
        Err(failure) => {
            let _ = client.logout().await;
            return Err(failure);
        }
    };
    let key = made.key.clone();
    let key =
        key.ok_or_else(|| Failure::new(ErrorCode::Internal, "the hub made a key and did not give it"))?;
    let former = credentials::keep(&args.hub.hub, Some(Kept { user: made.user.clone(), key: key.clone() }))?;
    // The key is what stays.
    client.logout().await?;
    if let Some(former) = former {
        revoke(&args.hub.hub, &former.key).await;
    }
    args.hub.show(&made.user, |user| say!("signed in to {} as {user}", args.hub.hub));
    Ok(())
}

/// Revokes a key by itself. One that is good for nothing any more needs none of that.
async fn revoke(hub: &str, key: &str) {
    let id = key.split('_').nth(1).and_then(|id| id.parse().ok());
    let (Ok(client), Some(id)) = (stranger(hub), id) else { return };
    if let Err(error) = client.showing(Some(key.to_owned())).revoke_key(None, id).await {
        tracing::debug!("the former key was not revoked: {error}");
    }
}

/// Signs out.
pub async fn logout(args: &LogoutArgs) -> Result<(), Failure> {
    let Some(former) = credentials::keep(&args.hub.hub, None)? else {
        return Err(Failure::new(ErrorCode::BadInput, format!("you are not signed in to {}", args.hub.hub)));
    };
    revoke(&args.hub.hub, &former.key).await;
    args.hub.show(&former.user, |user| say!("signed out of {}, where you were {user}", args.hub.hub));
    Ok(())
}

/// Whom the hub takes this user to be.
pub async fn whoami(args: &WhoamiArgs) -> Result<(), Failure> {
    let me = args.hub.client()?.me().await?;
    if args.hub.json {
        print_json(&me);
        return Ok(());
    }
    match me {
        Me::Local => say!("whoever sits at the hub's machine: you may do everything"),
        Me::User(user) => say!("{}, {}", user.name, user.role.name()),
        Me::Node(node) => say!("node {node}"),
        Me::Nobody => say!("nobody that {} knows: sign in with kinora login NAME", args.hub.hub),
    }
    Ok(())
}
