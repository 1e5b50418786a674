//! Digests over times and frame checksums: short stand-ins for long lists that have to be equal.
//! Both sides of a comparison (the plan, and what a node counted) must use these.

use kinora_protocol::Digest;

/// BLAKE3 over 64-bit little-endian values in order.
#[derive(Debug, Clone, Default)]
pub struct TimesDigest(blake3::Hasher);

impl TimesDigest {
    /// Adds a time in ticks.
    pub fn push(&mut self, ticks: i64) {
        self.0.update(&ticks.to_le_bytes());
    }

    /// The digest of all that was added.
    pub fn finish(&self) -> Digest {
        Digest::from_bytes(self.0.finalize().as_bytes())
    }
}

/// Digest over a list of times.
pub fn times(ticks: impl IntoIterator<Item = i64>) -> Digest {
    let mut digest = TimesDigest::default();
    for tick in ticks {
        digest.push(tick);
    }
    digest.finish()
}

/// BLAKE3 over bytes.
pub fn bytes(data: &[u8]) -> Digest {
    Digest::from_bytes(blake3::hash(data).as_bytes())
}
