//! API keys: a part of what their user may do, for programs.

use kinora_access::{Actor, Prefix, User, Via};
use kinora_protocol::access::{KeyView, NewKey, Role, Scope};
use kinora_protocol::{ErrorCode, Failure, KeyId, UserId};
use kinora_store::KeyRow;
use uuid::Uuid;

use super::secret;
use crate::app::media::{Asked, bad};
use crate::{Hub, Result, now_ms};

/// Keys of a user at the most.
const MOST: usize = 100;
/// Longest name.
const LONGEST_NAME: usize = 100;

fn forbidden(why: &str) -> Failure {
    Failure::new(ErrorCode::Forbidden, why)
}

fn view((row, user): (KeyRow, String), key: Option<String>) -> KeyView {
    let KeyRow { id, name, scopes, created_ms, expires_ms, used_ms, .. } = row;
    KeyView { id, name, user, scopes, created_ms, expires_ms, used_ms, key }
}

/// The earlier of two ends.
fn earlier(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    one.into_iter().chain(other).min()
}

/// Whether a key may do no more than the one that makes it.
fn within(wanted: Option<&[Scope]>, having: Option<&[Scope]>) -> bool {
    let Some(having) = having else { return true };
    let covered = |scope: &Scope| {
        having.iter().any(|own| (own.area.is_none() || own.area == scope.area) && (own.write || !scope.write))
    };
    wanted.is_some_and(|wanted| wanted.iter().all(covered))
}

impl Hub {
    /// Makes a key. Only this answer has it.
    ///
    /// # Errors
    /// When the store cannot keep it; the inner error says why not.
    pub(crate) async fn new_key(&self, actor: &Actor, wanted: NewKey) -> Result<Asked<KeyView>> {
        let NewKey { name, scopes, expires_in, user, login } = wanted;
        let (owner, having) = match actor {
            Actor::User(own) => (Some((own.id, own.name.clone())), own.scopes()),
            Actor::Local | Actor::Nobody | Actor::Node(_) => (None, None),
        };
        let for_others = match actor {
            Actor::Local => true,
            Actor::User(own) => own.role == Role::Admin,
            Actor::Nobody | Actor::Node(_) => false,
        };
        let owner = match (user, owner) {
            (Some(named), Some(own)) if own.1.eq_ignore_ascii_case(&named) => own,
            (Some(named), _) if for_others => match self.user_view(&named).await? {
                Some(user) => (user.id, user.name),
                None => return Ok(Err(bad(format!("there is no user {named:?}")))),
            },
            (Some(_), _) => return Ok(Err(forbidden("only admins make keys for others"))),
            (None, Some(own)) => own,
            (None, None) => return Ok(Err(bad("name the user whose key it is to be"))),
        };
        if !within(scopes.as_deref(), having) {
            return Ok(Err(forbidden("a key makes no key that may do more than itself")));
        }
        if name.is_empty() || name.len() > LONGEST_NAME || name.contains(char::is_control) {
            return Ok(Err(bad(format!("{name:?} is no name for a key: 1 to {LONGEST_NAME} bytes"))));
        }
        if scopes.as_ref().is_some_and(Vec::is_empty) || expires_in == Some(0) {
            return Ok(Err(bad("a key without scopes, or for no time, is good for nothing")));
        }
        if self.store().keys(Some(owner.0)).await?.len() >= MOST {
            return Ok(Err(bad(format!("{} has {MOST} keys already", owner.1))));
        }
        // A key makes none that outlasts itself.
        let outlasted = match actor {
            Actor::User(User { via: Via::Key { id, .. }, .. }) => {
                self.store().key(*id).await?.and_then(|carried| carried.what.expires_ms)
            }
            _ => None,
        };
        let (id, created_ms) = (Uuid::new_v4(), now_ms());
        let key = secret(Prefix::Key, id)?;
        let row = KeyRow {
            id: KeyId::from(id),
            user: owner.0,
            name,
            hash: key.hash(),
            scopes,
            created_ms,
            expires_ms: earlier(expires_in.map(|s| created_ms + i64::from(s) * 1000), outlasted),
            used_ms: None,
            login,
        };
        self.store().put_key(&row).await?;
        Ok(Ok(view((row, owner.1), Some(key.to_string()))))
    }

    /// Keys: of one user, or all.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn key_views(&self, user: Option<UserId>) -> Result<Vec<KeyView>> {
        Ok(self.store().keys(user).await?.into_iter().map(|key| view(key, None)).collect())
    }

    /// Revokes a key of a user's. Whether there was one.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub(crate) async fn revoke_key(&self, user: UserId, key: KeyId) -> Result<bool> {
        Ok(self.store().drop_key(user, key).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_makes_no_greater_one() {
        let scopes = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<Scope>>();
        let jobs = scopes(&["jobs:write", "media:read"]);
        for (wanted, may) in [
            (Some(scopes(&["jobs:read"])), true),
            (Some(scopes(&["jobs:write", "media:read"])), true),
            (Some(scopes(&["media:write"])), false),
            (Some(scopes(&["all:read"])), false),
            (None, false),
        ] {
            assert_eq!(within(wanted.as_deref(), Some(&jobs)), may, "{wanted:?}");
        }
        assert!(within(None, None) && within(Some(&jobs), Some(&scopes(&["all:write"]))));
    }
}
