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
use crate::app::media::Asked;
use crate::{Hub, HubError, Result, now_ms};

/// Seconds that a token is good for when nobody says.
const TOKEN: u32 = 3600;
/// Longest life of a token, in seconds.
const LONGEST_TOKEN: u32 = 7 * 24 * 3600;
/// What a machine signs is good for so long, in milliseconds.
const CHALLENGE_MS: i64 = 60_000;
/// Signed challenges beyond which those are dropped whose time is over.
const MANY: usize = 10_000;
/// Longest id or name of a machine.
const LONGEST: usize = 64;

/// What machines have signed. Only they can fill it: what is given out is known again by its seal and needs no memory.
#[derive(Default)]
pub(super) struct Signed(Mutex<HashMap<String, i64>>);

impl Signed {
    /// Whether it was not there before.
    fn note(&self, nonce: &str, until_ms: i64, now_ms: i64) -> bool {
        let mut signed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if signed.len() >= MANY {
            signed.retain(|_, until| *until > now_ms);
        }
        signed.insert(nonce.to_owned(), until_ms).is_none()
    }
}

/// Whether a machine may be called that.
fn is_plain(node: &NodeId) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=LONGEST).contains(&node.as_str().len()) && node.as_str().bytes().all(plain)
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
        let authority = self.inner.settings.authority.as_ref();
        let authority = authority.map(|text| text.read().unwrap_or_else(PoisonError::into_inner).clone());
        let authority = authority.unwrap_or_default();
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
    ) -> Result<Asked<EnrollmentView>> {
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
    pub(crate) async fn enroll(&self, caller: &Caller, asked: Enroll) -> Result<Asked<Identity>> {
        if let Err(seconds) = self.access().enrollments.take(&caller.net()) {
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

    async fn enroll_unless(&self, asked: &Enroll) -> Result<Asked<Identity>> {
        let unknown = || refused("this is no token of this hub's: make one with `kinora tokens new --node`");
        let Some(token) = self.store().enrollment(asked.token).await? else { return Ok(Err(unknown())) };
        let node = asked.node.as_str();
        let own = self.inner.settings.own_node.as_ref() == Some(&asked.node);
        if own || !is_plain(&asked.node) {
            return Ok(Err(Failure::new(ErrorCode::BadInput, format!("{node:?} is no id for a machine"))));
        }
        let id = asked.token.to_string();
        let said = Statement::Enroll { token: &id, node, hub: &self.key_fingerprint() };
        if !is_signed(&asked.public_key, said, &asked.signature) {
            return Ok(Err(refused("the machine does not have the key that it says to have")));
        }
        // Who has the token shows that without showing it.
        if !Secret::is_proof(&token.hash, said, &asked.public_key, &asked.proof) {
            return Ok(Err(unknown()));
        }
        let key = NodeKeyRow {
            node: asked.node.clone(),
            public_key: asked.public_key.clone(),
            enrollment: asked.token,
            enrolled_ms: now_ms(),
            revoked_ms: None,
        };
        Ok(match self.store().enroll(&token.hash, &key).await? {
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
        let issuer = self.access().signing.issuer();
        let token = issuer.issue(Audience::Node, node, &session, now, u64::from(lifetime));
        let token = token.map_err(|e| HubError::Inconsistent(e.to_string()))?;
        Ok(Identity { token, expires_in: lifetime })
    }

    /// Something for a machine to sign, once: a time, chance, and a seal over both and the machine.
    ///
    /// # Errors
    /// When the system gives no random numbers; the inner error says that no machine is called that.
    pub(crate) fn challenge(&self, node: &NodeId) -> Result<Asked<Challenge>> {
        if !is_plain(node) {
            return Ok(Err(Failure::new(ErrorCode::BadInput, "this is no id for a machine")));
        }
        let chance = hex(&random::<16>().map_err(|e| HubError::Inconsistent(e.to_string()))?);
        let given = format!("{}.{chance}", now_ms());
        Ok(Ok(Challenge { nonce: format!("{given}.{}", self.seal_of(&given, node)) }))
    }

    fn seal_of(&self, given: &str, node: &NodeId) -> String {
        let text = format!("challenge {given} {node}");
        blake3::keyed_hash(&self.inner.secret, text.as_bytes()).to_hex().to_string()
    }

    /// Whether this was given to that machine, just now.
    fn is_challenge(&self, nonce: &str, node: &NodeId) -> bool {
        let Some((given, seal)) = nonce.rsplit_once('.') else { return false };
        let at_ms = given.split('.').next().and_then(|at| at.parse::<i64>().ok());
        let seal_is = |text: &str| blake3::hash(text.as_bytes());
        let fresh = at_ms.is_some_and(|at_ms| (0..CHALLENGE_MS).contains(&now_ms().saturating_sub(at_ms)));
        fresh && seal_is(seal) == seal_is(&self.seal_of(given, node))
    }

    /// The next identity of a machine that signs with its key.
    ///
    /// # Errors
    /// When the store cannot be read; the inner error says why not.
    pub(crate) async fn renew_identity(&self, caller: &Caller, asked: Renew) -> Result<Asked<Identity>> {
        let known = self.store().node_key(&asked.node).await?.filter(|key| key.revoked_ms.is_none());
        let said = Statement::Renew { nonce: &asked.nonce, node: asked.node.as_str() };
        let fresh = self.is_challenge(&asked.nonce, &asked.node);
        let once = || self.access().signed.note(&asked.nonce, now_ms() + CHALLENGE_MS, now_ms());
        match known {
            Some(key) if fresh && is_signed(&key.public_key, said, &asked.signature) && once() => {
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
        self.store().revoke_node(node, now_ms()).await?;
        // Once more does what the first time may not have come to.
        let known = self.store().node_key(node).await?.is_some();
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
    fn what_was_signed_is_known_again() {
        let signed = Signed::default();
        assert!(signed.note("a", 100, 0) && !signed.note("a", 100, 50) && signed.note("b", 100, 50));
    }

    #[test]
    fn machines_have_plain_names() {
        for (name, plain) in
            [("0190-ab", true), ("studio.lan", true), ("", false), ("a b", false), ("../x", false)]
        {
            assert_eq!(is_plain(&NodeId::from(name.to_owned())), plain, "{name}");
        }
        assert!(!is_plain(&NodeId::from("a".repeat(LONGEST + 1))));
    }
}
