//! How often somebody may do something: a bucket for each that fills by itself (the generic cell rate algorithm).

use std::num::NonZeroU32;

use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

/// Buckets beyond which full ones are dropped.
const MANY: usize = 10_000;

const TEN: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);

/// Buckets by a name.
pub(super) struct Limiter {
    buckets: RateLimiter<String, HashMapStateStore<String>, DefaultClock>,
}

impl Limiter {
    /// So many at once, and as many in a minute from then on.
    pub(super) fn per_minute(number: u32) -> Self {
        let number = NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self { buckets: RateLimiter::hashmap(Quota::per_minute(number)) }
    }

    /// So many in a second for long, and ten times as many at once.
    pub(super) fn per_second(number: NonZeroU32) -> Self {
        let quota = Quota::per_second(number).allow_burst(number.saturating_mul(TEN));
        Self { buckets: RateLimiter::hashmap(quota) }
    }

    /// Takes one out of a bucket; else how many seconds it takes until there is one.
    pub(super) fn take(&self, name: &str) -> Result<(), u64> {
        if self.buckets.len() > MANY {
            self.buckets.retain_recent();
        }
        self.buckets
            .check_key(&name.to_owned())
            .map_err(|until| until.wait_time_from(DefaultClock::default().now()).as_secs() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_too_many_waits_and_others_do_not() {
        let limiter = Limiter::per_minute(3);
        for _ in 0..3 {
            assert_eq!(limiter.take("anna"), Ok(()));
        }
        let wait = limiter.take("anna").unwrap_err();
        assert!((1..=21).contains(&wait), "{wait}");
        assert_eq!(limiter.take("bert"), Ok(()));
    }
}
