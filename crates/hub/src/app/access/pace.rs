//! How many requests somebody may make. Whoever sits at the hub's machine may make any number.

use std::num::NonZeroU32;

use kinora_access::{Actor, Via};

use super::Caller;
use super::limit::Limiter;

/// A user may make so many times as many requests as one of its keys or logins: a script that asks too much keeps nobody else of it out.
const USER: u32 = 4;
/// The same of an address: there are several people at some.
const ADDRESS: u32 = 10;
/// Whoever is nobody may make this part of what a key may.
const NOBODY: u32 = 5;

/// The buckets; none where there is no limit.
pub(crate) struct Paces {
    addresses: Limiter,
    users: Limiter,
    /// Of each key and login.
    keys: Limiter,
    nobody: Limiter,
}

impl Paces {
    /// With so many requests in a second for each key and login.
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        let part = NonZeroU32::new(per_second.get() / NOBODY).unwrap_or(NonZeroU32::MIN);
        let more = |times| per_second.saturating_mul(NonZeroU32::new(times).unwrap_or(NonZeroU32::MIN));
        Self {
            addresses: Limiter::per_second(more(ADDRESS)),
            users: Limiter::per_second(more(USER)),
            keys: Limiter::per_second(per_second),
            nobody: Limiter::per_second(part),
        }
    }

    /// Whether a request from an address is looked at; else how many seconds it takes until one is.
    pub(crate) fn from(&self, caller: &Caller) -> Result<(), u64> {
        self.addresses.take(&caller.net())
    }

    /// Whether a request of somebody is answered; else how many seconds it takes until one is.
    pub(crate) fn by(&self, caller: &Caller) -> Result<(), u64> {
        match &caller.actor {
            Actor::Local => Ok(()),
            // Its connection says what it may do, and each transfer is one that it was told to make.
            Actor::Node(_) => Ok(()),
            Actor::User(user) => {
                self.keys.take(&match &user.via {
                    Via::Session(id) => id.to_string(),
                    Via::Key { id, .. } => id.to_string(),
                })?;
                self.users.take(&user.id.to_string())
            }
            Actor::Nobody => self.nobody.take(&caller.net()),
        }
    }
}
