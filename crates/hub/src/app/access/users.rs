//! Users: the first one, others, and what becomes of them.

use std::sync::atomic::Ordering;

use kinora_access::password::{self, PasswordError};
use kinora_access::{Actor, Secret, Via};
use kinora_protocol::access::{Me, NewUser, PasswordChange, Quota, Role, Setup, UserChange, UserView};
use kinora_protocol::{ErrorCode, Failure, UserId};
use kinora_store::{UserChanged, UserFacts, UserRow, UserUpdate};

use super::Caller;
use super::audit::Outcome;
use super::sessions::Entered;
use crate::app::media::{Asked, bad};
use crate::{Hub, HubError, Result, now_ms};

/// Longest name of a user or a team.
const LONGEST_NAME: usize = 64;

/// Whether somebody or something may be called that.
pub(super) fn check_name(name: &str) -> Asked<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-@".contains(&b);
    // Users are asked for by name or id.
    if name.parse::<uuid::Uuid>().is_ok() {
        return Err(bad(format!("{name:?} is an id, and no name")));
    }
    if (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(bad(format!("{name:?} is no name: 1 to {LONGEST_NAME} letters, digits and . _ - @")))
}

fn view(facts: UserFacts) -> UserView {
    let UserFacts { user, teams, used } = facts;
    let UserRow { id, name, role, disabled, created_ms, last_login_ms, quota, identity, .. } = user;
    // As the store has it, the provider comes first.
    let outside =
        identity.map(|all| all.split_once(' ').map_or(all.clone(), |(_, subject)| subject.to_owned()));
    UserView { id, name, role, teams, outside, disabled, created_ms, last_login_ms, quota, used }
}

/// One that has nothing yet.
fn new_view(user: UserRow) -> UserView {
    view(UserFacts { user, teams: Vec::new(), used: 0 })
}

fn of_change(changed: UserChanged) -> Option<Asked<()>> {
    match changed {
        UserChanged::Changed => Some(Ok(())),
        UserChanged::Unknown => None,
        UserChanged::LastAdmin => {
            let why = "nobody would be left who may do everything: make another admin first";
            Some(Err(Failure::new(ErrorCode::Busy, why)))
        }
    }
}

impl Hub {
    /// What is kept of a password; on a thread of its own, few at a time.
    async fn keep_password(&self, password: String) -> Result<Asked<String>> {
        let _turn = self.access().hashing.acquire().await;
        let work = tokio::task::spawn_blocking(move || password::keep(&password)).await;
        let kept = work.map_err(|e| HubError::Inconsistent(format!("a password could not be kept: {e}")))?;
        match kept {
            Err(PasswordError::Failed(why)) => Err(HubError::Inconsistent(why)),
            kept => Ok(kept.map_err(|e| bad(e.to_string()))),
        }
    }

    async fn row_of(&self, user: NewUser) -> Result<Asked<UserRow>> {
        let NewUser { name, role, password, outside } = user;
        if let Err(failure) = check_name(&name) {
            return Ok(Err(failure));
        }
        let identity = match (outside, self.oidc()) {
            (None, _) if password.is_none() => return Ok(Err(bad("a user needs a password"))),
            (None, _) => None,
            (Some(_), None) => {
                return Ok(Err(bad("this hub knows nobody from elsewhere: start it with --oidc-issuer")));
            }
            (Some(subject), Some(oidc)) => match oidc.identity(&subject) {
                Ok(identity) => Some(identity),
                Err(why) => return Ok(Err(bad(why))),
            },
        };
        let password = match password {
            None => None,
            Some(password) => match self.keep_password(password).await? {
                Ok(kept) => Some(kept),
                Err(failure) => return Ok(Err(failure)),
            },
        };
        Ok(Ok(UserRow {
            id: UserId::generate(),
            name,
            role,
            password,
            disabled: false,
            created_ms: now_ms(),
            last_login_ms: None,
            identity,
            quota: Quota::Usual,
        }))
    }

    /// Makes the first user, who may do everything and owns everything that is there, and lets it in.
    ///
    /// # Errors
    /// When the store fails; the inner error says why not.
    pub(crate) async fn set_up(&self, caller: &Caller, wanted: Setup) -> Result<Asked<Entered>> {
        let given = wanted.token.parse::<Secret>().ok();
        let good = match (&*self.access().setup(), given) {
            (Some(kept), Some(given)) => given.is(&kept.hash()),
            _ => false,
        };
        if !good {
            self.record(caller, "setup", Outcome::Denied, &wanted.name).await;
            let why = "this is not what the hub has printed at its last start, or there is a user already";
            return Ok(Err(Failure::new(ErrorCode::Unauthenticated, why)));
        }
        let user = NewUser::new(wanted.name, Role::Admin, wanted.password);
        let row = match self.row_of(user).await? {
            Ok(row) => row,
            Err(failure) => return Ok(Err(failure)),
        };
        let first = self.store().put_first_user(&row).await?;
        self.closed();
        if !first {
            return Ok(Err(Failure::new(ErrorCode::Busy, "there is a user already")));
        }
        self.record(caller, "setup", Outcome::Done, &row.name).await;
        self.enter(caller, &row, true).await
    }

    /// From now on whoever comes has to say who it is.
    fn closed(&self) {
        self.access().users.store(true, Ordering::Release);
        self.access().setup().take();
    }

    /// Makes a user. The first one owns everything that is there.
    ///
    /// # Errors
    /// When the store cannot keep it; the inner error says what is wrong with it.
    pub(crate) async fn new_user(&self, wanted: NewUser) -> Result<Asked<UserView>> {
        let row = match self.row_of(wanted).await? {
            Ok(row) => row,
            Err(failure) => return Ok(Err(failure)),
        };
        if !self.has_users() {
            if row.role != Role::Admin {
                return Ok(Err(bad("the first user has to be an admin: nobody else could make another")));
            }
            let first = self.store().put_first_user(&row).await?;
            self.closed();
            if first {
                return Ok(Ok(new_view(row)));
            }
        }
        if !self.store().put_user(&row).await? {
            return Ok(Err(Failure::new(
                ErrorCode::Busy,
                format!("there is a user {:?} already, or one that is the same elsewhere", row.name),
            )));
        }
        Ok(Ok(new_view(row)))
    }

    /// All users by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn user_views(&self) -> Result<Vec<UserView>> {
        Ok(self.store().users().await?.into_iter().map(view).collect())
    }

    /// One user.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn user_view(&self, user: &str) -> Result<Option<UserView>> {
        let mut views = self.user_views().await?;
        let place = views.iter().position(|view| view.id.to_string() == user);
        let place = place.or_else(|| views.iter().position(|view| view.name.eq_ignore_ascii_case(user)));
        Ok(place.map(|place| views.swap_remove(place)))
    }

    /// Changes a user; `None` when there is none.
    ///
    /// # Errors
    /// When the store cannot keep it; the inner error says why not.
    pub(crate) async fn change_user(&self, user: UserId, change: UserChange) -> Result<Option<Asked<()>>> {
        let password = match change.password {
            None => None,
            Some(password) => match self.keep_password(password).await? {
                Ok(kept) => Some(kept),
                Err(failure) => return Ok(Some(Err(failure))),
            },
        };
        let UserChange { role, disabled, quota, .. } = change;
        if let Some(Quota::Bytes(bytes)) = quota
            && i64::try_from(bytes).is_err()
        {
            return Ok(Some(Err(bad(format!(
                "a quota of {bytes} bytes is more than anybody has: write unlimited"
            )))));
        }
        let update = UserUpdate { role, password, disabled, quota, keep: None };
        Ok(of_change(self.store().update_user(user, update).await?))
    }

    /// Forgets a user; `None` when there is none.
    ///
    /// # Errors
    /// When the store cannot keep it; the inner error says why not.
    pub(crate) async fn delete_user(&self, user: UserId) -> Result<Option<Asked<()>>> {
        Ok(of_change(self.store().drop_user(user).await?))
    }

    /// Gives whoever asks another password. Its other logins end.
    ///
    /// # Errors
    /// When the store cannot keep it; the inner error says why not.
    pub(crate) async fn change_password(&self, caller: &Caller, change: PasswordChange) -> Result<Asked<()>> {
        let Actor::User(user) = &caller.actor else { return Ok(Err(bad("only users have passwords"))) };
        let Via::Session(session) = user.via else {
            return Ok(Err(Failure::new(ErrorCode::Forbidden, "sign in to do this: a key is not enough")));
        };
        // Whoever has found an open browser is not to try out passwords.
        if let Err(seconds) = self.may_try(caller, &user.name) {
            let why = format!("too many tries: wait {seconds} s");
            return Ok(Err(Failure::new(ErrorCode::TooMany, why)));
        }
        let kept = self.store().user_named(&user.name).await?.and_then(|row| row.password);
        if self.matches(change.old, kept).await? != Some(true) {
            self.record(caller, "password", Outcome::Denied, &user.name).await;
            return Ok(Err(Failure::new(ErrorCode::Forbidden, "the old password is wrong")));
        }
        let password = match self.keep_password(change.new).await? {
            Ok(kept) => kept,
            Err(failure) => return Ok(Err(failure)),
        };
        let update = UserUpdate { password: Some(password), keep: Some(session), ..UserUpdate::default() };
        self.store().update_user(user.id, update).await?;
        Ok(Ok(()))
    }

    /// Whom the hub takes whoever asks to be.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn me(&self, actor: &Actor) -> Result<Me> {
        Ok(match actor {
            Actor::Nobody => Me::Nobody,
            Actor::Local => Me::Local,
            Actor::Node(node) => Me::Node(node.clone()),
            Actor::User(user) => self.user_view(&user.id.to_string()).await?.map_or(Me::Nobody, Me::User),
        })
    }
}
