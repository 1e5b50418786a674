//! Waiting times that differ, so that a thousand nodes do not come back in the same second.

use std::time::Duration;

/// Between a half and one and a half of `wait`.
pub fn around(wait: Duration) -> Duration {
    let mut random = [0; 4];
    // Without random numbers all wait alike: slower, not wrong.
    let part = match getrandom::fill(&mut random) {
        Ok(()) => f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    };
    wait.mul_f64(0.5 + part)
}

/// How long to wait before the `tries`-th try, from 0: twice as long each time, up to `most`.
pub fn backoff(first: Duration, tries: u32, most: Duration) -> Duration {
    around(first.saturating_mul(1 << tries.min(16)).min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_in_bounds() {
        let (first, most) = (Duration::from_secs(1), Duration::from_secs(10));
        for tries in 0..100 {
            let wait = backoff(first, tries, most);
            assert!(wait >= Duration::from_millis(500) && wait <= Duration::from_secs(15), "{wait:?}");
        }
        assert!(backoff(first, 9, most) >= Duration::from_secs(5));
    }
}
