//! From what a request shows to whom it is from. What is shown and good for nothing is refused, not passed over.

use std::net::IpAddr;

use kinora_access::{Action, Actor, Audience, Prefix, Resource, Secret, TokenError, User, Via, authorize};
use kinora_protocol::{ErrorCode, Failure, KeyId, NodeId, SessionId};
use kinora_store::{Carried, KeyRow, SessionRow};

use super::Caller;
use crate::{Hub, Result, now_ms};

/// What a request shows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Presented {
    /// Nothing.
    Nothing,
    /// A signed token.
    Token(String),
    /// An API key, or the one that lies with the hub's files.
    Key(Secret),
    /// A session that a browser sends by itself.
    Cookie(Secret),
    /// The right to open one WebSocket.
    Ticket(Secret),
    /// Something that is none of these.
    Garbage,
}

type Known = std::result::Result<Actor, Failure>;

fn unknown(why: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::Unauthenticated, why)
}

impl Hub {
    /// Whom a request is from. `near` says that it comes from the hub's own machine, and through nobody else.
    ///
    /// # Errors
    /// When the store cannot be read; the inner error says why nobody is known by it.
    pub(crate) async fn identify(&self, shown: &Presented, near: bool) -> Result<Known> {
        match shown {
            Presented::Nothing if near && self.is_open() => Ok(Ok(Actor::Local)),
            Presented::Nothing => Ok(Ok(Actor::Nobody)),
            Presented::Garbage => {
                Ok(Err(unknown("what this request says who it is from is no key and no token")))
            }
            Presented::Token(token) => self.by_token(token).await,
            Presented::Key(secret) if secret.prefix == Prefix::Local && !near => {
                Ok(Err(unknown("the key that lies with the hub's files is good on its own machine alone")))
            }
            Presented::Key(secret) if secret.prefix == Prefix::Local => Ok(self.by_local_key(secret)),
            Presented::Key(secret) => self.by_key(secret).await,
            // A browser sends it by itself, also what another hub at the same address has set: one that is over says nothing.
            Presented::Cookie(secret) => match self.by_cookie(secret).await? {
                Ok(actor) => Ok(Ok(actor)),
                Err(_) if near && self.is_open() => Ok(Ok(Actor::Local)),
                Err(_) => Ok(Ok(Actor::Nobody)),
            },
            Presented::Ticket(secret) => match self.access().tickets.redeem(secret, now_ms()) {
                Some(actor) => self.as_it_is_now(&actor).await,
                None => Ok(Err(unknown("the ticket was used before, or its time is over: ask for another"))),
            },
        }
    }

    /// The same one as it is now, with the rights of now.
    ///
    /// # Errors
    /// When the store cannot be read; the inner error says why it is nobody any more.
    pub(crate) async fn as_it_is_now(&self, actor: &Actor) -> Result<Known> {
        match actor {
            Actor::User(User { via: Via::Session(session), .. }) => {
                let carried = self.store().session(*session).await?;
                Ok(carried.ok_or_else(ended).and_then(of_session))
            }
            Actor::User(User { via: Via::Key { id, .. }, .. }) => {
                let carried = self.store().key(*id).await?;
                Ok(carried.ok_or_else(revoked).and_then(of_key))
            }
            Actor::Node(node) => {
                let known = self.store().node_key(node).await?;
                let known = known.filter(|key| key.revoked_ms.is_none());
                Ok(known.map(|_| actor.clone()).ok_or_else(shut_out))
            }
            Actor::Nobody | Actor::Local => Ok(Ok(actor.clone())),
        }
    }

    /// Whether a connection that stays open is still from somebody: asked again and again while it lasts.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn still(&self, caller: &Caller) -> Result<Known> {
        match &caller.actor {
            // The hub was open when it came. With the first user it no longer is.
            Actor::Local if !caller.by_key && !self.is_open() => {
                Ok(Err(unknown("this hub has users now: sign in")))
            }
            actor => self.as_it_is_now(actor).await,
        }
    }

    async fn by_token(&self, token: &str) -> Result<Known> {
        let seconds = u64::try_from(now_ms() / 1000).unwrap_or(0);
        let issuer = self.access().signing.issuer();
        let claims = match issuer.check(Audience::Api, token, seconds) {
            Ok(claims) => claims,
            Err(TokenError::Expired) => {
                return Ok(Err(unknown("the access token has expired: use the refresh token for the next")));
            }
            Err(error) => {
                return match issuer.check(Audience::Node, token, seconds) {
                    Ok(claims) => self.by_identity(&claims.sub, &claims.sid).await,
                    Err(_) => Ok(Err(unknown(error.to_string()))),
                };
            }
        };
        let Ok(session) = claims.sid.parse::<SessionId>() else { return Ok(Err(ended())) };
        let carried = self.store().session(session).await?;
        let carried = carried.filter(|c| !c.what.cookie && c.user.id.to_string() == claims.sub);
        Ok(carried.ok_or_else(ended).and_then(of_session))
    }

    /// A machine, as long as it is known by what its identity was made for.
    async fn by_identity(&self, node: &str, enrollment: &str) -> Result<Known> {
        let node = NodeId::from(node.to_owned());
        let known = self.store().node_key(&node).await?;
        let known = known.filter(|k| k.revoked_ms.is_none() && k.enrollment.to_string() == enrollment);
        Ok(known.map(|_| Actor::Node(node)).ok_or_else(shut_out))
    }

    fn by_local_key(&self, secret: &Secret) -> Known {
        match &*self.access().local() {
            Some(kept) if secret.is(kept) => Ok(Actor::Local),
            _ => Err(unknown("this is not the key that lies with this hub's files")),
        }
    }

    async fn by_key(&self, secret: &Secret) -> Result<Known> {
        let key = KeyId::from(secret.id);
        let Some(carried) = self.store().key(key).await?.filter(|c| secret.is(&c.what.hash)) else {
            return Ok(Err(revoked()));
        };
        let (used_ms, now) = (carried.what.used_ms.unwrap_or(0), now_ms());
        let known = of_key(carried);
        if known.is_ok() && self.access().is_due(secret.id, used_ms, now) {
            self.store().touch_key(key, now).await?;
        }
        Ok(known)
    }

    async fn by_cookie(&self, secret: &Secret) -> Result<Known> {
        let session = SessionId::from(secret.id);
        let carried = self.store().session(session).await?;
        let Some(carried) = carried.filter(|c| c.what.cookie && secret.is(&c.what.hash)) else {
            return Ok(Err(ended()));
        };
        let (row, now) = (carried.what.clone(), now_ms());
        let known = of_session(carried);
        if known.is_ok() && self.access().is_due(secret.id, row.used_ms, now) {
            self.store().touch_session(session, now, super::sessions::expiry(row.created_ms, now)).await?;
        }
        Ok(known)
    }
}

fn shut_out() -> Failure {
    unknown("this machine was shut out: enroll it with a new token")
}

fn ended() -> Failure {
    unknown("this login has ended: sign in again")
}

fn revoked() -> Failure {
    unknown("there is no such API key, or it was revoked")
}

fn of_session(carried: Carried<SessionRow>) -> Known {
    let Carried { what, user, teams } = carried;
    if user.disabled || what.expires_ms <= now_ms() {
        return Err(ended());
    }
    Ok(Actor::User(User { id: user.id, name: user.name, role: user.role, teams, via: Via::Session(what.id) }))
}

fn of_key(carried: Carried<KeyRow>) -> Known {
    let Carried { what, user, teams } = carried;
    if user.disabled {
        return Err(revoked());
    }
    if what.expires_ms.is_some_and(|end| end <= now_ms()) {
        return Err(unknown(format!("the API key {:?} has expired", what.name)));
    }
    let via = Via::Key { id: what.id, name: what.name, scopes: what.scopes };
    Ok(Actor::User(User { id: user.id, name: user.name, role: user.role, teams, via }))
}

impl Caller {
    /// Where it is, as far as somebody can have many addresses by himself: of IPv6, the network of 64 bits.
    pub(crate) fn net(&self) -> String {
        match self.address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
        }
    }

    /// Whether it may speak for a machine: each only for itself, and whoever sits at the hub's machine for any.
    pub(crate) fn is_node(&self, node: &NodeId) -> bool {
        authorize(&self.actor, Action::Work, Resource::Node(node)).is_ok()
    }

    /// Somebody that nothing is known of but where it is.
    pub(crate) fn nobody(address: IpAddr, agent: String) -> Self {
        Self { actor: Actor::Nobody, address, agent, by_cookie: false, by_key: false, secure: false }
    }
}
