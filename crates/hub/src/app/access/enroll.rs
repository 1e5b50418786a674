//! Machines that work: let in once by a token, known by their own key from then on, and shut out at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kinora_access::node::{SigningKey, Statement, fingerprint, hex, is_signed};
use kinora_access::{Actor, Audience, Prefix, Secret, random};
use kinora_protocol::access::{
    Challenge, Enroll, EnrollmentView, HubIdentity, Identity, NewEnrollment, Renew,
};
use kinora_protocol::{EnrollmentId, ErrorCode, Failure, NodeId};
use kinora_store::{Enrolled, EnrollmentRow, NodeKeyRow};
use uuid::Uuid;

use super::audit::Outcome;
use super::{Caller, secret};
use crate::{Hub, HubError, Result, now_ms};

/// Seconds that a token is good for when nobody says.
const TOKEN: u32 = 3600;
/// Longest life of a token, in seconds.
const LONGEST_TOKEN: u32 = 7 * 24 * 3600;
/// What a machine signs is good for so long, in milliseconds.
const CHALLENGE_MS: i64 = 60_000;
/// Challenges that nobody has answered, at the most.
const MOST: usize = 10_000;
/// Longest id or name of a machine.
const LONGEST: usize = 64;

type Answer<T> = std::result::Result<T, Failure>;

/// What was given out to be signed.
#[derive(Default)]
pub(super) struct Challenges(Mutex<HashMap<String, (NodeId, i64)>>);

impl Challenges {
    fn give(&self, nonce: &str, node: &NodeId, now_ms: i64) {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if given.len() >= MOST {
            given.retain(|_, (_, until)| *until > now_ms);
        }
        if given.len() >= MOST {
            given.clear();
        }
        given.insert(nonce.to_owned(), (node.clone(), now_ms + CHALLENGE_MS));
    }

    /// Whether this was given to that machine, just now and for the first time.
    fn take(&self, nonce: &str, node: &NodeId, now_ms: i64) -> bool {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        given.remove(nonce).is_some_and(|(whose, until)| whose == *node && until > now_ms)
    }
}

fn refused(why: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::Unauthenticated, why)
}

fn view(row: EnrollmentRow, token: Option<String>, hub: &str) -> EnrollmentView {
    let EnrollmentRow { id, name, made_by, created_ms, expires_ms, used_ms, node, .. } = row;
    let token = token.map(|token| format!("{token}_{hub}"));
    EnrollmentView { id, name, made_by, created_ms, expires_ms, used_ms, node, token }
}

impl Hub {
    /// What the hub itself is known by.
    fn key(&self) -> &SigningKey {
        &self.access().key
    }

    /// What tokens pin: whoever answers for the hub has to have this key.
    fn key_fingerprint(&self) -> String {
        fingerprint(&self.key().public())
    }

    /// Shows that this is the hub with its key.
    pub(crate) fn hub_identity(&self, nonce: &str) -> HubIdentity {
        let authority = self.inner.settings.authority.clone().unwrap_or_default();
        let signature = self.key().sign(Statement::Hub { nonce, authority: &authority });
        HubIdentity { public_key: self.key().public(), authority, signature }
    }

    /// Makes a token that lets one machine in.
    ///
    /// # Errors
    /// When the store cannot keep it; the inner error says what is wrong.
    pub(crate) async fn new_enrollment(
        &self,
        actor: &Actor,
        wanted: NewEnrollment,
    ) -> Result<Answer<EnrollmentView>> {
        let seconds = wanted.expires_in.unwrap_or(TOKEN);
        if !(1..=LONGEST_TOKEN).contains(&seconds) {
            let why = format!("a token is good for 1 to {LONGEST_TOKEN} s, not {seconds}");
            return Ok(Err(Failure::new(ErrorCode::BadInput, why)));
        }
        let name = wanted.name.unwrap_or_default();
        if name.len() > LONGEST || name.contains(char::is_control) {
            let why = format!("{name:?} is no name for a machine: up to {LONGEST} bytes");
            return Ok(Err(Failure::new(ErrorCode::BadInput, why)));
        }
        let (id, created_ms) = (Uuid::new_v4(), now_ms());
        let token = secret(Prefix::Enrollment, id)?;
        let row = EnrollmentRow {
            id: EnrollmentId::from(id),
            hash: token.hash(),
            name,
            made_by: actor.to_string(),
            created_ms,
            expires_ms: created_ms + i64::from(seconds) * 1000,
            used_ms: None,
            node: None,
        };
        self.store().put_enrollment(&row).await?;
        Ok(Ok(view(row, Some(token.to_string()), &self.key_fingerprint())))
    }

    /// Tokens, used and not, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn enrollment_views(&self) -> Result<Vec<EnrollmentView>> {
        Ok(self.store().enrollments().await?.into_iter().map(|row| view(row, None, "")).collect())
    }

    /// Forgets a token. Whether there was one.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub(crate) async fn drop_enrollment(&self, id: EnrollmentId) -> Result<bool> {
        Ok(self.store().drop_enrollment(id).await?)
    }

    /// Lets a machine in that has a token, and the key that it says to have.
    ///
    /// # Errors
    /// When the store fails; the inner error says why not.
    pub(crate) async fn enroll(&self, caller: &Caller, asked: Enroll) -> Result<Answer<Identity>> {
        if let Err(seconds) = self.access().logins.take(&format!("address {}", caller.address)) {
            return Ok(Err(Failure::new(ErrorCode::TooMany, format!("too many tries: wait {seconds} s"))));
        }
        let outcome = self.enroll_unless(&asked).await?;
        let detail = match &outcome {
            Ok(_) => format!("node {}", asked.node),
            Err(failure) => format!("node {}: {}", asked.node, failure.message),
        };
        let came = if outcome.is_ok() { Outcome::Done } else { Outcome::Denied };
        self.record(caller, "enroll", came, &detail).await;
        Ok(outcome)
    }

    async fn enroll_unless(&self, asked: &Enroll) -> Result<Answer<Identity>> {
        let unknown = || refused("this is no token of this hub's: make one with `kinora tokens new --node`");
        let Some(token) = asked.token.parse::<Secret>().ok().filter(|t| t.prefix == Prefix::Enrollment)
        else {
            return Ok(Err(unknown()));
        };
        let node = asked.node.as_str();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let own = self.inner.settings.own_node.as_ref() == Some(&asked.node);
        if own || !(1..=LONGEST).contains(&node.len()) || !node.bytes().all(plain) {
            return Ok(Err(Failure::new(ErrorCode::BadInput, format!("{node:?} is no id for a machine"))));
        }
        let id = token.id.to_string();
        let said = Statement::Enroll { token: &id, node, hub: &self.key_fingerprint() };
        if !is_signed(&asked.public_key, said, &asked.signature) {
            return Ok(Err(refused("the machine does not have the key that it says to have")));
        }
        let key = NodeKeyRow {
            node: asked.node.clone(),
            public_key: asked.public_key.clone(),
            enrollment: EnrollmentId::from(token.id),
            enrolled_ms: now_ms(),
            revoked_ms: None,
        };
        Ok(match self.store().enroll(&token.hash(), &key).await? {
            Enrolled::In => Ok(self.identity_of(&key)?),
            Enrolled::Unknown => Err(unknown()),
            Enrolled::Used => Err(refused("this token was used before: each lets one machine in, once")),
            Enrolled::Expired => Err(refused("the time of this token is over: make another")),
            Enrolled::Taken => Err(Failure::new(
                ErrorCode::Busy,
                format!(
                    "another machine is known as {node}: revoke it first, or give this one its own --work-dir"
                ),
            )),
        })
    }

    fn identity_of(&self, key: &NodeKeyRow) -> Result<Identity> {
        let lifetime = self.inner.settings.node_identity_seconds.max(1);
        let now = u64::try_from(now_ms() / 1000).unwrap_or(0);
        let (node, session) = (key.node.as_str(), key.enrollment.to_string());
        let issuer = &self.access().issuer;
        let token = issuer.issue(Audience::Node, node, &session, now, u64::from(lifetime));
        let token = token.map_err(|e| HubError::Inconsistent(e.to_string()))?;
        Ok(Identity { token, expires_in: lifetime })
    }

    /// Something for a machine to sign, once.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub(crate) fn challenge(&self, node: &NodeId) -> Result<Challenge> {
        let nonce = hex(&random::<32>().map_err(|e| HubError::Inconsistent(e.to_string()))?);
        self.access().challenges.give(&nonce, node, now_ms());
        Ok(Challenge { nonce })
    }

    /// The next identity of a machine that signs with its key.
    ///
    /// # Errors
    /// When the store cannot be read; the inner error says why not.
    pub(crate) async fn renew_identity(&self, caller: &Caller, asked: Renew) -> Result<Answer<Identity>> {
        let known = self.store().node_key(&asked.node).await?.filter(|key| key.revoked_ms.is_none());
        let said = Statement::Renew { nonce: &asked.nonce, node: asked.node.as_str() };
        let fresh = self.access().challenges.take(&asked.nonce, &asked.node, now_ms());
        match known {
            Some(key) if fresh && is_signed(&key.public_key, said, &asked.signature) => {
                Ok(Ok(self.identity_of(&key)?))
            }
            _ => {
                let detail = format!("node {}", asked.node);
                self.record(caller, "renew", Outcome::Denied, &detail).await;
                let why = "this hub does not know this machine, or shut it out: enroll it with a new token";
                Ok(Err(refused(why)))
            }
        }
    }

    /// Shuts a machine out, at once: its connection ends, and what it was at is given to others. Whether it was let in.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub(crate) async fn revoke_node(&self, node: &NodeId) -> Result<bool> {
        let known = self.store().revoke_node(node, now_ms()).await?;
        if known {
            self.disconnect_node(node);
            self.inner.nodes.expel(node);
            self.store().release_node(node, now_ms()).await?;
            self.ring();
        }
        Ok(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_signed_is_good_once_and_soon() {
        let (challenges, node) = (Challenges::default(), NodeId::from("n".to_owned()));
        challenges.give("a", &node, 0);
        assert!(!challenges.take("a", &NodeId::from("m".to_owned()), 1), "given to another");
        challenges.give("a", &node, 0);
        assert!(challenges.take("a", &node, 1) && !challenges.take("a", &node, 1));
        challenges.give("b", &node, 0);
        assert!(!challenges.take("b", &node, CHALLENGE_MS));
    }
}
