//! Who may do what: whom a request is from is found out here, and what that one may do asked of the crate that decides it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kinora_access::node::{SigningKey, hex, unhex};
use kinora_access::{Action, Actor, Denial, Prefix, Resource, Secret, authorize};
use kinora_protocol::access::{Grant, Kind, Right, Subject};
use kinora_protocol::{ErrorCode, Failure, UserId};
use kinora_store::Store;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{Hub, HubError, Result, Settings, now_ms};
use limit::Limiter;
use pace::Paces;
use signing::Signing;

pub mod audit;
mod enroll;
mod identify;
pub mod keys;
mod limit;
pub mod oidc;
mod pace;
pub mod sessions;
pub mod shares;
mod signing;
pub mod teams;
mod tickets;
pub mod users;

pub(crate) use identify::Presented;

/// Passwords that are looked at at once: each takes 19 MiB and a processor for tens of milliseconds.
const HASHING: usize = 2;
/// Passwords that wait for that; more are refused.
const QUEUE: usize = 64;
/// That something was used is not written more often than this, in milliseconds.
const TOUCH_EVERY_MS: i64 = 60_000;

/// Whom a request is from.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Who.
    pub(crate) actor: Actor,
    /// From where.
    pub(crate) address: IpAddr,
    /// With what, in its own words.
    pub(crate) agent: String,
    /// A browser sends what shows who it is by itself, for whichever page asks.
    pub(crate) by_cookie: bool,
    /// It has shown a key or a token.
    pub(crate) by_key: bool,
    /// What it sends and gets is encrypted on the way.
    pub(crate) secure: bool,
}

/// What is known in memory about who may do what.
pub(crate) struct Access {
    signing: Signing,
    /// Whether there are users: then whoever comes has to say who it is.
    users: AtomicBool,
    /// What the first user is made with, while there is none.
    setup: Mutex<Option<Secret>>,
    /// What is kept of the key that lies with the hub's files.
    local: Mutex<Option<String>>,
    hashing: Semaphore,
    /// Places in the queue before that.
    queue: Semaphore,
    /// Of one address to one name, of one address, to one name.
    logins: Limiter,
    addresses: Limiter,
    /// Logins elsewhere that are begun.
    outside: Limiter,
    names: Limiter,
    enrollments: Limiter,
    oidc: oidc::Logins,
    /// How many requests somebody may make; any number when absent.
    paces: Option<Paces>,
    /// What was denied and not written down, by address.
    suppressed: Mutex<HashMap<String, u64>>,
    refused: Limiter,
    tickets: tickets::Tickets,
    signed: enroll::Signed,
    /// What the hub itself is known by.
    key: SigningKey,
    /// When it was last written that something was used.
    touched: Mutex<HashMap<Uuid, i64>>,
}

impl Access {
    pub(crate) async fn open(store: &Store, settings: &Settings) -> Result<Self> {
        // What may be good longest of what is signed.
        let good_ms = 1000 * i64::from(settings.node_identity_seconds.max(sessions::ACCESS));
        Ok(Self {
            signing: Signing::open(store, good_ms).await?,
            users: AtomicBool::new(store.count_users().await? > 0),
            setup: Mutex::default(),
            local: Mutex::default(),
            hashing: Semaphore::new(HASHING),
            queue: Semaphore::new(QUEUE),
            logins: Limiter::per_minute(10),
            addresses: Limiter::per_minute(60),
            outside: Limiter::per_minute(60),
            names: Limiter::per_minute(100),
            enrollments: Limiter::per_minute(30),
            oidc: oidc::Logins::default(),
            paces: settings.requests_per_second.map(Paces::new),
            suppressed: Mutex::default(),
            refused: Limiter::per_minute(30),
            tickets: tickets::Tickets::default(),
            signed: enroll::Signed::default(),
            key: SigningKey::read(&kept_key(store, "hub_key").await?).map_err(broken)?,
            touched: Mutex::default(),
        })
    }

    fn setup(&self) -> MutexGuard<'_, Option<Secret>> {
        self.setup.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn local(&self) -> MutexGuard<'_, Option<String>> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time to write that something was used.
    fn is_due(&self, id: Uuid, written_ms: i64, now_ms: i64) -> bool {
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        let last = touched.get(&id).copied().unwrap_or(0).max(written_ms);
        let due = now_ms - last >= TOUCH_EVERY_MS;
        if due {
            touched.retain(|_, at| now_ms - *at < TOUCH_EVERY_MS);
            touched.insert(id, now_ms);
        }
        due
    }
}

impl Hub {
    /// How many requests somebody may make; any number when absent.
    pub(crate) fn paces(&self) -> Option<&Paces> {
        self.access().paces.as_ref()
    }
}

fn broken(error: kinora_access::TokenError) -> HubError {
    HubError::Inconsistent(error.to_string())
}

/// A key that signs, made when it is first asked for.
async fn kept_key(store: &Store, name: &str) -> Result<Vec<u8>> {
    if let Some(key) = store.meta(name).await?.and_then(|text| unhex(&text)) {
        return Ok(key);
    }
    let key = SigningKey::generate().map_err(broken)?;
    store.put_meta(name, &hex(&key)).await?;
    Ok(key)
}

/// A new secret.
fn secret(prefix: Prefix, id: Uuid) -> Result<Secret> {
    Secret::generate(prefix, id).map_err(|e| HubError::Inconsistent(e.to_string()))
}

/// How a denial is answered: of what somebody may not see it is not said that it is there.
pub(crate) fn denied(denial: Denial, what: &str) -> Failure {
    match denial {
        Denial::Unauthenticated => Failure::new(
            ErrorCode::Unauthenticated,
            "sign in, or send an API key: `kinora login`, `kinora keys new`, KINORA_KEY",
        ),
        Denial::Forbidden(why) => Failure::new(ErrorCode::Forbidden, why),
        Denial::Hidden => Failure::new(ErrorCode::BadInput, format!("there is no {what}")),
    }
}

impl Hub {
    pub(crate) fn access(&self) -> &Access {
        &self.inner.access
    }

    /// Whether whoever reaches the hub from its own machine may do everything.
    pub(crate) fn is_open(&self) -> bool {
        self.inner.settings.open && !self.has_users()
    }

    /// Whether anybody is known who could sign in.
    pub fn has_users(&self) -> bool {
        self.access().users.load(Ordering::Acquire)
    }

    /// The rights to a thing.
    pub(crate) async fn grants(&self, kind: Kind, thing: &str) -> Result<Vec<Grant>> {
        Ok(self.store().grants(kind, thing).await?)
    }

    /// The user who owns a thing, or one of them.
    pub(crate) async fn owner(&self, kind: Kind, thing: &str) -> Result<Option<UserId>> {
        let grants = self.grants(kind, thing).await?;
        Ok(grants.into_iter().find_map(|grant| match grant.to {
            Subject::User(user) if grant.right == Right::Own => Some(user),
            Subject::User(_) | Subject::Team(_) | Subject::Everyone => None,
        }))
    }

    /// Whether somebody may do something with one thing.
    pub(crate) async fn may(
        &self,
        actor: &Actor,
        action: Action,
        (kind, thing): (Kind, &str),
    ) -> Result<std::result::Result<(), Failure>> {
        // Most often it is the same for all things.
        let grants = match actor {
            Actor::User(_) => self.grants(kind, thing).await?,
            Actor::Nobody | Actor::Local | Actor::Node(_) => Vec::new(),
        };
        let verdict = authorize(actor, action, Resource::Thing(kind, &grants));
        Ok(verdict.map_err(|denial| denied(denial, &format!("{} {thing}", kind.name()))))
    }

    /// Makes what the first user is made with, if there is none: `None` when there is a user.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn offer_setup(&self) -> Result<Option<String>> {
        if self.has_users() {
            return Ok(None);
        }
        let token = secret(Prefix::Setup, Uuid::new_v4())?;
        let text = token.to_string();
        *self.access().setup() = Some(token);
        Ok(Some(text))
    }

    /// The key for whoever may read the hub's files, who could read its secrets as well. It stays the same, so that who works with
    /// it does not see that the hub was started again. Before this is called there is none.
    pub fn local_key(&self) -> String {
        let key = Secret::derived(Prefix::Local, &self.inner.secret);
        *self.access().local() = Some(key.hash());
        key.to_string()
    }

    /// Forgets what has ended by itself, and takes the next key to sign with when it is time.
    pub(crate) async fn drop_expired_access(&self) -> Result<usize> {
        self.access().signing.turn(self.store()).await?;
        Ok(self.store().drop_expired(now_ms()).await?)
    }
}
