//! The keys that sign tokens: another one each month, and those before for as long as what they signed may be good.

use std::sync::{Arc, PoisonError, RwLock};

use kinora_access::Issuer;
use kinora_access::node::{SigningKey, hex, unhex};
use kinora_store::Store;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::broken;
use crate::{HubError, Result, now_ms};

/// How long a key signs, in milliseconds.
const SIGNS_MS: i64 = 30 * 24 * 3600 * 1000;
/// How far clocks may be from one another, in milliseconds.
const SKEW_MS: i64 = 10 * 60 * 1000;
/// What a hub calls itself in tokens.
const HUB: &str = "hub_id";
/// The keys, as the store has them.
const KEYS: &str = "token_keys";
/// The one key of hubs of before.
const KEY: &str = "token_key";

/// A key, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// In hexadecimal digits.
    key: String,
    /// Since when it signs.
    since_ms: i64,
}

/// What has to be kept then, newest first, if it is anything else than what is.
fn turned(
    kept: &[Kept],
    now_ms: i64,
    good_ms: i64,
    make: impl FnOnce() -> Result<String>,
) -> Result<Option<Vec<Kept>>> {
    let mut all = kept.to_vec();
    // One of a time that is to come was made while the clock was wrong.
    let is_over = |first: &Kept| !(0..SIGNS_MS).contains(&(now_ms - first.since_ms + SKEW_MS));
    if all.first().is_none_or(is_over) {
        all.insert(0, Kept { key: make()?, since_ms: now_ms });
    }
    // One signed until the next one did.
    let mut next = i64::MAX;
    all.retain(|one| now_ms < std::mem::replace(&mut next, one.since_ms.min(now_ms)).saturating_add(good_ms));
    Ok((all != kept).then_some(all))
}

/// What signs tokens.
pub(super) struct Signing {
    name: String,
    /// How long tokens are good at the most.
    good_ms: i64,
    issuer: RwLock<Arc<Issuer>>,
}

impl Signing {
    /// Reads the keys, or makes the first.
    pub(super) async fn open(store: &Store, good_ms: i64) -> Result<Self> {
        let name = match store.meta(HUB).await? {
            Some(name) => name,
            None => {
                let name = format!("kinora:{}", Uuid::new_v4());
                store.put_meta(HUB, &name).await?;
                name
            }
        };
        let issuer = RwLock::new(Arc::new(issuer(&name, &keys(store, good_ms).await?)?));
        Ok(Self { name, good_ms, issuer })
    }

    /// What signs now.
    pub(super) fn issuer(&self) -> Arc<Issuer> {
        self.issuer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the next key when it is time, and drops those that are over.
    pub(super) async fn turn(&self, store: &Store) -> Result<()> {
        let next = issuer(&self.name, &keys(store, self.good_ms).await?)?;
        *self.issuer.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(())
    }
}

fn issuer(name: &str, kept: &[Kept]) -> Result<Issuer> {
    let read = |kept: &Kept| {
        unhex(&kept.key).ok_or_else(|| HubError::Inconsistent("a key that signs cannot be read".to_owned()))
    };
    let keys = kept.iter().map(read).collect::<Result<Vec<_>>>()?;
    Issuer::new(name, &keys).map_err(broken)
}

/// The keys as they have to be now.
async fn keys(store: &Store, good_ms: i64) -> Result<Vec<Kept>> {
    let now = now_ms();
    let kept = match (store.meta(KEYS).await?, store.meta(KEY).await?) {
        (Some(text), _) => serde_json::from_str(&text)
            .map_err(|error| HubError::Inconsistent(format!("the keys that sign cannot be read: {error}")))?,
        // Since when it signs is not known: it has done that for long enough.
        (None, Some(key)) => vec![Kept { key, since_ms: 0 }],
        (None, None) => Vec::new(),
    };
    let make = || SigningKey::generate().map(|key| hex(&key)).map_err(broken);
    let Some(turned) = turned(&kept, now, good_ms, make)? else { return Ok(kept) };
    let text = serde_json::to_string(&turned).map_err(|error| HubError::Inconsistent(error.to_string()))?;
    store.put_meta(KEYS, &text).await?;
    Ok(turned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(key: &str, since_ms: i64) -> Kept {
        Kept { key: key.to_owned(), since_ms }
    }

    fn turn(all: &[Kept], now_ms: i64) -> Option<Vec<Kept>> {
        turned(all, now_ms, 1000, || Ok("new".to_owned())).unwrap()
    }

    #[test]
    fn a_key_signs_for_its_time_and_is_known_a_little_longer() {
        assert_eq!(turn(&[], 7), Some(vec![kept("new", 7)]));
        let one = [kept("a", 0)];
        assert_eq!(turn(&one, SIGNS_MS - SKEW_MS - 1), None);
        let two = vec![kept("new", SIGNS_MS), kept("a", 0)];
        assert_eq!(turn(&one, SIGNS_MS), Some(two.clone()));
        assert_eq!(turn(&two, SIGNS_MS + 999), None);
        assert_eq!(turn(&two, SIGNS_MS + 1000), Some(vec![kept("new", SIGNS_MS)]));
        // The clock was wrong for a while: what was made then signs no more, and is known for as long as others.
        assert_eq!(
            turn(&[kept("a", 9 * SIGNS_MS)], 50),
            Some(vec![kept("new", 50), kept("a", 9 * SIGNS_MS)])
        );
        assert_eq!(turn(&[kept("new", 50), kept("a", 9 * SIGNS_MS)], 2000), Some(vec![kept("new", 50)]));
        assert_eq!(turn(&[kept("a", 1000)], 50), None, "a clock goes back a little");
        // A hub that was off for long has signed nothing meanwhile.
        assert_eq!(turn(&one, 9 * SIGNS_MS), Some(vec![kept("new", 9 * SIGNS_MS), kept("a", 0)]));
    }
}
