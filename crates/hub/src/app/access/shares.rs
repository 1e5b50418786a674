//! With whom things are shared.

use kinora_protocol::access::{Grant, Kind, Right, ShareView, Sharee, Subject};
use kinora_protocol::{ErrorCode, Failure};

use crate::{Hub, Result};

type Answer<T> = std::result::Result<T, Failure>;

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
        (kind, thing): (Kind, &str),
        with: Sharee,
        right: Option<Right>,
    ) -> Result<Answer<Vec<ShareView>>> {
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
        let grants = self.grants(kind, thing).await?;
        let owns = |grant: &&Grant| grant.right == Right::Own;
        let owned = grants.iter().filter(owns).any(|grant| grant.to == to);
        if owned && right != Some(Right::Own) && grants.iter().filter(owns).count() == 1 {
            let why = "nobody would own it: share it with another user as its owner first".to_owned();
            return Ok(Err(Failure::new(ErrorCode::Busy, why)));
        }
        self.store().share(kind, thing, to, right).await?;
        Ok(Ok(self.shares(kind, thing).await?))
    }
}
