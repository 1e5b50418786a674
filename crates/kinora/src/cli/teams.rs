//! `kinora teams`: users of a hub put together, to share with all of them at once.

use clap::{Args, Subcommand};
use kinora_protocol::Failure;
use kinora_protocol::access::TeamView;

use super::remote::HubAddress;

/// Flags of `kinora teams`.
#[derive(Debug, Args)]
pub struct TeamsArgs {
    /// What to do
    #[command(subcommand)]
    pub command: TeamsCommand,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum TeamsCommand {
    /// List the teams with their users
    Ls {
        /// Which hub
        #[command(flatten)]
        hub: HubAddress,
    },
    /// Make a team
    Add(OneTeam),
    /// Forget a team, with what was shared with it
    Rm(OneTeam),
    /// Take a user into a team
    Join(Member),
    /// Take a user out of a team
    Leave(Member),
}

/// One team.
#[derive(Debug, Args)]
pub struct OneTeam {
    /// Name of the team
    pub team: String,
    /// Which hub
    #[command(flatten)]
    pub hub: HubAddress,
}

/// A user in a team.
#[derive(Debug, Args)]
pub struct Member {
    /// Name of the team
    pub team: String,
    /// Name of the user
    pub user: String,
    /// Which hub
    #[command(flatten)]
    pub hub: HubAddress,
}

fn line(team: &TeamView) {
    say!("{:<24} {}", team.name, team.members.join(", "));
}

/// Does it.
pub async fn run(args: &TeamsArgs) -> Result<(), Failure> {
    match &args.command {
        TeamsCommand::Ls { hub } => {
            let page = hub.client()?.teams().await?;
            hub.show(&page, |page| page.items.iter().for_each(line));
            Ok(())
        }
        TeamsCommand::Add(one) => {
            let team = one.hub.client()?.new_team(&one.team).await?;
            one.hub.show(&team, line);
            Ok(())
        }
        TeamsCommand::Rm(one) => one.hub.client()?.delete_team(&one.team).await,
        TeamsCommand::Join(one) => one.hub.client()?.set_member(&one.team, &one.user, true).await,
        TeamsCommand::Leave(one) => one.hub.client()?.set_member(&one.team, &one.user, false).await,
    }
}
