//! Teams: some users together, with whom something is shared at once.

use kinora_protocol::access::{NewTeam, TeamView};
use kinora_protocol::{ErrorCode, Failure, TeamId};
use kinora_store::TeamRow;

use super::users::check_name;
use crate::app::media::Asked;
use crate::{Hub, Result};

fn view(row: TeamRow) -> TeamView {
    let TeamRow { id, name, members } = row;
    TeamView { id, name, members }
}

impl Hub {
    /// Makes a team.
    ///
    /// # Errors
    /// When the store cannot keep it; the inner error says what is wrong with it.
    pub(crate) async fn new_team(&self, wanted: NewTeam) -> Result<Asked<TeamView>> {
        let name = wanted.name;
        if let Err(failure) = check_name(&name) {
            return Ok(Err(failure));
        }
        let id = TeamId::generate();
        if !self.store().put_team(id, &name).await? {
            return Ok(Err(Failure::new(ErrorCode::Busy, format!("there is a team {name:?} already"))));
        }
        Ok(Ok(TeamView { id, name, members: Vec::new() }))
    }

    /// All teams by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn team_views(&self) -> Result<Vec<TeamView>> {
        Ok(self.store().teams().await?.into_iter().map(view).collect())
    }

    /// One team, by its name or id.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn team_view(&self, team: &str) -> Result<Option<TeamView>> {
        let same = |view: &TeamView| view.name.eq_ignore_ascii_case(team) || view.id.to_string() == team;
        Ok(self.team_views().await?.into_iter().find(same))
    }

    /// Takes a user into a team, or out of it; `None` when there is no such team or user.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub(crate) async fn set_member(&self, team: &str, user: &str, member: bool) -> Result<Option<()>> {
        let (Some(team), Some(user)) = (self.team_view(team).await?, self.user_view(user).await?) else {
            return Ok(None);
        };
        self.store().set_member(team.id, user.id, member).await?;
        Ok(Some(()))
    }

    /// Forgets a team, with what was shared with it. Whether there was one.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub(crate) async fn delete_team(&self, team: &str) -> Result<bool> {
        match self.team_view(team).await? {
            Some(team) => Ok(self.store().drop_team(team.id).await?),
            None => Ok(false),
        }
    }
}
