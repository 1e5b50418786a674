//! Logins: a password for a session, a session for tokens, and their end.

use kinora_access::{Actor, Audience, Prefix, Secret, Via, password};
use kinora_protocol::access::{Login, SessionView, Tokens};
use kinora_protocol::{ErrorCode, Failure, SessionId};
use kinora_store::{Rotated, SessionRow, StoreError, UserRow};
use uuid::Uuid;

use super::audit::Outcome;
use super::users::check_name;
use super::{Caller, secret};
use crate::app::media::Asked;
use crate::{Hub, HubError, Result, now_ms};

/// Seconds that an access token is good for.
pub(super) const ACCESS: u32 = 600;
/// A login that is not used for so long has ended, in milliseconds.
const IDLE_MS: i64 = 14 * 24 * 3600 * 1000;
/// A login ends after this in any case, in milliseconds.
const LONGEST_MS: i64 = 90 * 24 * 3600 * 1000;

/// When a login ends that is used now.
pub(super) fn expiry(created_ms: i64, now_ms: i64) -> i64 {
    (now_ms + IDLE_MS).min(created_ms + LONGEST_MS)
}

/// What a login comes to.
pub(crate) enum Entered {
    /// Tokens, for programs.
    Tokens(Tokens),
    /// A session for a cookie, for browsers.
    Cookie(Secret),
}

fn refused(why: &str) -> Failure {
    Failure::new(ErrorCode::Unauthenticated, why)
}

impl Hub {
    /// Lets somebody in who knows a user's password.
    ///
    /// # Errors
    /// When the store fails; the inner error says why not, and the same for a wrong name as for a wrong password.
    pub(crate) async fn login(&self, caller: &Caller, login: Login) -> Result<Asked<Entered>> {
        // What is no name is nobody's, and is not remembered.
        if check_name(&login.name).is_err() {
            return Ok(Err(refused("the name or the password is wrong")));
        }
        if let Err(seconds) = self.may_try(caller, &login.name) {
            self.record(caller, "login", Outcome::Denied, &format!("{}: too many tries", login.name)).await;
            let why = format!("too many tries to sign in: wait {seconds} s");
            return Ok(Err(Failure::new(ErrorCode::TooMany, why)));
        }
        let user = self.store().user_named(&login.name).await?;
        let kept = user.as_ref().and_then(|user| user.password.clone());
        let Some(good) = self.matches(login.password, kept).await? else {
            return Ok(Err(Failure::new(ErrorCode::TooMany, "too many sign in at once: try again")));
        };
        let Some(user) = user.filter(|user| good && !user.disabled) else {
            self.record(caller, "login", Outcome::Denied, &login.name).await;
            return Ok(Err(refused("the name or the password is wrong")));
        };
        self.enter(caller, &user, login.cookie).await
    }

    /// Whether an address may try another password for a name: ten a minute; for any name sixty; and a hundred from all addresses, so
    /// that nobody shuts a user out by guessing.
    pub(super) fn may_try(&self, caller: &Caller, name: &str) -> std::result::Result<(), u64> {
        let (name, net, access) = (name.to_lowercase(), caller.net(), self.access());
        access.logins.take(&format!("{net} {name}"))?;
        access.addresses.take(&net)?;
        access.names.take(&name)
    }

    /// Whether a password is the one that this was kept of; on a thread of its own, few at a time. `None` when too many wait.
    pub(super) async fn matches(&self, password: String, kept: Option<String>) -> Result<Option<bool>> {
        let Ok(_place) = self.access().queue.try_acquire() else { return Ok(None) };
        let _turn = self.access().hashing.acquire().await;
        let work = tokio::task::spawn_blocking(move || password::matches(&password, kept.as_deref()));
        let matches = work.await;
        matches
            .map(Some)
            .map_err(|e| HubError::Inconsistent(format!("a password could not be looked at: {e}")))
    }

    /// Begins a session of a user that has shown who it is.
    pub(super) async fn enter(
        &self,
        caller: &Caller,
        user: &UserRow,
        cookie: bool,
    ) -> Result<Asked<Entered>> {
        let (id, now) = (Uuid::new_v4(), now_ms());
        let secret = secret(if cookie { Prefix::Cookie } else { Prefix::Refresh }, id)?;
        let row = SessionRow {
            id: SessionId::from(id),
            user: user.id,
            cookie,
            hash: secret.hash(),
            address: caller.address.to_string(),
            agent: caller.agent.clone(),
            created_ms: now,
            used_ms: now,
            expires_ms: expiry(now, now),
        };
        match self.store().put_session(&row, user.password.as_deref()).await {
            Err(StoreError::NotFound { .. }) => {
                return Ok(Err(refused("the user was changed just now: sign in again")));
            }
            kept => kept?,
        }
        self.record(caller, "login", Outcome::Done, &user.name).await;
        Ok(Ok(match cookie {
            true => Entered::Cookie(secret),
            false => Entered::Tokens(self.tokens(&user.id.to_string(), row.id, &secret)?),
        }))
    }

    fn tokens(&self, user: &str, session: SessionId, refresh: &Secret) -> Result<Tokens> {
        let now = u64::try_from(now_ms() / 1000).unwrap_or(0);
        let issuer = self.access().signing.issuer();
        let access = issuer.issue(Audience::Api, user, &session.to_string(), now, u64::from(ACCESS));
        Ok(Tokens {
            access_token: access.map_err(|e| HubError::Inconsistent(e.to_string()))?,
            token_type: "Bearer".to_owned(),
            expires_in: ACCESS,
            refresh_token: refresh.to_string(),
        })
    }

    /// The next pair of tokens. A refresh token that comes a second time ends the login: one of the two has stolen it.
    ///
    /// # Errors
    /// When the store fails; the inner error says why not.
    pub(crate) async fn refresh(&self, caller: &Caller, token: &str) -> Result<Asked<Tokens>> {
        let unknown = || refused("this refresh token is good for nothing: sign in again");
        let Ok(spent) = token.parse::<Secret>() else { return Ok(Err(unknown())) };
        if spent.prefix != Prefix::Refresh {
            return Ok(Err(unknown()));
        }
        let session = SessionId::from(spent.id);
        let Some(carried) = self.store().session(session).await? else {
            self.record(caller, "refresh", Outcome::Denied, "a login that has ended").await;
            return Ok(Err(unknown()));
        };
        if carried.user.disabled {
            return Ok(Err(unknown()));
        }
        let (next, now) = (secret(Prefix::Refresh, spent.id)?, now_ms());
        let expires_ms = expiry(carried.what.created_ms, now);
        let rotated = self.store().rotate(session, &spent.hash(), &next.hash(), now, expires_ms).await?;
        match rotated {
            Rotated::Next => Ok(Ok(self.tokens(&carried.user.id.to_string(), session, &next)?)),
            Rotated::Reused => {
                let detail = format!("{}: a refresh token came twice, its login is over", carried.user.name);
                self.record(caller, "refresh", Outcome::Denied, &detail).await;
                Ok(Err(refused("this refresh token was used before: its login is over, sign in again")))
            }
            Rotated::Unknown => {
                self.record(caller, "refresh", Outcome::Denied, &carried.user.name).await;
                Ok(Err(unknown()))
            }
        }
    }

    /// The logins of whoever asks.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn session_views(&self, caller: &Caller) -> Result<Vec<SessionView>> {
        let Actor::User(user) = &caller.actor else { return Ok(Vec::new()) };
        let rows = self.store().sessions_of(user.id).await?.into_iter();
        let view = |row: SessionRow| SessionView {
            current: user.via == Via::Session(row.id),
            id: row.id,
            cookie: row.cookie,
            address: row.address,
            agent: row.agent,
            created_ms: row.created_ms,
            used_ms: row.used_ms,
        };
        Ok(rows.filter(|row| row.expires_ms > now_ms()).map(view).collect())
    }

    /// Ends a login of whoever asks: this one when none is named. Whether there was one.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub(crate) async fn logout(&self, caller: &Caller, session: Option<SessionId>) -> Result<bool> {
        let Actor::User(user) = &caller.actor else { return Ok(false) };
        let own = match &user.via {
            Via::Session(own) => Some(*own),
            Via::Key { .. } => None,
        };
        let Some(session) = session.or(own) else { return Ok(false) };
        let theirs = self.store().session(session).await?.is_some_and(|c| c.user.id == user.id);
        Ok(theirs && self.store().drop_session(session).await?)
    }
}
