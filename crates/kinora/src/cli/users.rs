//! `kinora users`: the users of a hub.

use clap::{Args, Subcommand};
use kinora_protocol::Failure;
use kinora_protocol::access::{NewUser, PasswordChange, Quota, Role, UserChange, UserView};

use super::password::PasswordSource;
use super::remote::{HubAddress, stranger};
use super::size;

/// Flags of `kinora users`.
#[derive(Debug, Args)]
#[command(
    after_help = "The first user has to be an admin. On the hub's machine, in the folder that it was started in, no login is needed."
)]
pub struct UsersArgs {
    /// What to do
    #[command(subcommand)]
    pub command: UsersCommand,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum UsersCommand {
    /// List the users
    Ls {
        /// Which hub
        #[command(flatten)]
        hub: HubAddress,
    },
    /// Make a user
    Add {
        /// Which
        #[command(flatten)]
        one: OneUser,
        /// viewer looks at what is shared; editor brings media and makes jobs; admin does everything
        #[arg(long, value_name = "viewer|editor|admin")]
        role: Role,
        /// It signs in elsewhere (see kinora hub --oidc-issuer), where this is its subject, and has no password here
        #[arg(long, value_name = "SUBJECT", conflicts_with = "password_stdin")]
        oidc_subject: Option<String>,
        /// Where the password comes from
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Give a user another password; its logins end
    Password {
        /// Which
        #[command(flatten)]
        one: OneUser,
        /// Where the password comes from
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Give a user another role
    Role {
        /// Which
        #[command(flatten)]
        one: OneUser,
        /// viewer, editor or admin
        role: Role,
    },
    /// Say how much media is kept for a user
    Quota {
        /// Which
        #[command(flatten)]
        one: OneUser,
        /// A size such as 500G, usual (as the hub has it for all) or unlimited
        #[arg(value_name = "SIZE|usual|unlimited", value_parser = quota)]
        quota: Quota,
    },
    /// Shut a user out; its logins end and its keys are good for nothing
    Disable(OneUser),
    /// Let a user in again
    Enable(OneUser),
    /// Forget a user with its logins and keys; what only it owned is for admins then
    Rm(OneUser),
    /// Give yourself another password, with the old one; needs a login, not a key
    ChangePassword {
        /// Your name
        name: String,
        /// Which hub
        #[command(flatten)]
        hub: HubAddress,
    },
}

/// One user.
#[derive(Debug, Args)]
pub struct OneUser {
    /// Name of the user
    pub name: String,
    /// Which hub
    #[command(flatten)]
    pub hub: HubAddress,
}

impl OneUser {
    async fn change(&self, change: UserChange) -> Result<(), Failure> {
        let view = self.hub.client()?.change_user(&self.name, &change).await?;
        self.hub.show(&view, line);
        Ok(())
    }
}

fn quota(text: &str) -> Result<Quota, String> {
    match text {
        "usual" => Ok(Quota::Usual),
        "unlimited" => Ok(Quota::Unlimited),
        size => size::parse(size).map(Quota::Bytes),
    }
}

fn line(user: &UserView) {
    let off = if user.disabled { "  disabled" } else { "" };
    let teams = if user.teams.is_empty() { String::new() } else { format!("  in {}", user.teams.join(", ")) };
    let of = match user.quota {
        Quota::Usual => String::new(),
        Quota::Unlimited => " of any".to_owned(),
        Quota::Bytes(bytes) => format!(" of {}", size::shown(bytes)),
    };
    say!("{:<24} {:<7} {:>9}{of}{teams}{off}", user.name, user.role.name(), size::shown(user.used));
}

/// Does it.
pub async fn run(args: &UsersArgs) -> Result<(), Failure> {
    match &args.command {
        UsersCommand::Ls { hub } => {
            let page = hub.client()?.users().await?;
            hub.show(&page, |page| page.items.iter().for_each(line));
            Ok(())
        }
        UsersCommand::Add { one, role, oidc_subject, password } => {
            let client = one.hub.client()?;
            let password = match oidc_subject {
                Some(_) => None,
                None => Some(password.ask_new(&format!("Password for {}", one.name))?),
            };
            let user =
                NewUser { name: one.name.clone(), role: *role, password, outside: oidc_subject.clone() };
            let view = client.new_user(&user).await?;
            one.hub.show(&view, line);
            Ok(())
        }
        UsersCommand::Password { one, password } => {
            let password = Some(password.ask_new(&format!("New password for {}", one.name))?);
            one.change(UserChange { password, ..UserChange::default() }).await
        }
        UsersCommand::Role { one, role } => {
            one.change(UserChange { role: Some(*role), ..UserChange::default() }).await
        }
        UsersCommand::Quota { one, quota } => {
            one.change(UserChange { quota: Some(*quota), ..UserChange::default() }).await
        }
        UsersCommand::Disable(one) => {
            one.change(UserChange { disabled: Some(true), ..UserChange::default() }).await
        }
        UsersCommand::Enable(one) => {
            one.change(UserChange { disabled: Some(false), ..UserChange::default() }).await
        }
        UsersCommand::Rm(one) => one.hub.client()?.delete_user(&one.name).await,
        UsersCommand::ChangePassword { name, hub } => change_password(name, hub).await,
    }
}

/// A login of its own, as no key may do it.
async fn change_password(name: &str, hub: &HubAddress) -> Result<(), Failure> {
    let source = PasswordSource { password_stdin: false };
    let (old, new) = (source.ask("Old password")?, source.ask_new("New password")?);
    let client = stranger(&hub.hub)?;
    let tokens = client.login(name, &old).await?;
    client.show(Some(tokens.access_token));
    let changed = client.change_password(&PasswordChange { old, new }).await;
    client.logout().await?;
    changed
}
