//! With whom things are shared.

use kinora_access::Actor;
use kinora_protocol::access::{Grant, Kind, Right, ShareView, Sharee, Sight, Subject};
use kinora_protocol::{ErrorCode, Failure};

use crate::app::media::Asked;
use crate::{Hub, Result};

/// An actor as somebody with whom things are shared.
fn own_subject(actor: &Actor) -> Option<Subject> {
    actor.owner().map(Subject::User)
}

impl Hub {
    /// Who may do what with a thing, its owners included.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn shares(&self, kind: Kind, thing: &str) -> Result<Vec<ShareView>> {
        let (users, teams) = (self.user_views().await?, self.team_views().await?);
        let named = |Grant { to, right }: Grant| {
            let with = match to {
                Subject::User(id) => Sharee::User(users.iter().find(|user| user.id == id)?.name.clone()),
                Subject::Team(id) => Sharee::Team(teams.iter().find(|team| team.id == id)?.name.clone()),
                Subject::Everyone => Sharee::Everyone,
            };
            Some(ShareView { with, right })
        };
        Ok(self.grants(kind, thing).await?.into_iter().filter_map(named).collect())
    }

    /// Shares a thing, or ends that. Whoever owns a thing alone stays its owner.
    ///
    /// # Errors
    /// When the store cannot keep it; the inner error says why not.
    pub(crate) async fn share(
        &self,
        actor: &Actor,
        (kind, thing): (Kind, &str),
        with: Sharee,
        right: Option<Right>,
    ) -> Result<Asked<Vec<ShareView>>> {
        let bad = |why: String| Ok(Err(Failure::new(ErrorCode::BadInput, why)));
        let to = match &with {
            Sharee::Everyone => Subject::Everyone,
            Sharee::User(name) => match self.user_view(name).await? {
                Some(user) => Subject::User(user.id),
                None => return bad(format!("there is no user {name:?}")),
            },
            Sharee::Team(name) => match self.team_view(name).await? {
                Some(team) => Subject::Team(team.id),
                None => return bad(format!("there is no team {name:?}")),
            },
        };
        if right == Some(Right::Own) && !matches!(to, Subject::User(_)) {
            return bad("only a user owns a thing; a team or everyone may view or edit it".to_owned());
        }
        let others =
            |grant: &Grant| grant.to == to && grant.right == Right::Own && Some(to) != own_subject(actor);
        let taken = right != Some(Right::Own) && self.grants(kind, thing).await?.iter().any(others);
        if taken && actor.sight() != Sight::All {
            let why = format!("{with} owns it, too: only an owner itself or an admin ends that");
            return Ok(Err(Failure::new(ErrorCode::Forbidden, why)));
        }
        // What somebody owns counts for it, also what it is given.
        let _one_by_one = self.inner.library.lock().await;
        if let (Kind::Media, Some(Right::Own), Subject::User(user)) = (kind, right, to)
            && let Err(failure) = self.may_be_given(user, thing).await?
        {
            return Ok(Err(failure));
        }
        if !self.store().share(kind, thing, to, right).await? {
            let why = "nobody would own it: share it with another user as its owner first".to_owned();
            return Ok(Err(Failure::new(ErrorCode::Busy, why)));
        }
        Ok(Ok(self.shares(kind, thing).await?))
    }
}
