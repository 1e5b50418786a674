//! Checksums that clients send along with bytes. Ours is BLAKE3; these are for clients that know others.

use base64::Engine as _;
use sha2::digest::DynDigest;

/// Names of those that are known.
pub const ALGORITHMS: &str = "sha1,sha256";

/// A checksum that is wanted, and what came so far.
pub struct Checksum {
    hasher: Box<dyn DynDigest + Send>,
    wanted: Vec<u8>,
}

impl Checksum {
    /// From the name of an algorithm and the sum in base64; `None` when either makes no sense.
    pub fn wanted(algorithm: &str, sum: &str) -> Option<Self> {
        let hasher: Box<dyn DynDigest + Send> = match algorithm {
            "sha1" => Box::new(sha1::Sha1::default()),
            "sha256" => Box::new(sha2::Sha256::default()),
            _ => return None,
        };
        let wanted = base64::engine::general_purpose::STANDARD.decode(sum).ok()?;
        (wanted.len() == hasher.output_size()).then_some(Self { hasher, wanted })
    }

    pub(crate) fn update(&mut self, piece: &[u8]) {
        self.hasher.update(piece);
    }

    /// What came is not what was meant.
    pub(crate) fn fails(&self) -> bool {
        *self.hasher.box_clone().finalize() != *self.wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_as_other_tools_write_them() {
        // printf abc | openssl dgst -sha1 -binary | base64
        for (algorithm, sum) in [
            ("sha1", "qZk+NkcGgWq6PiVxeFDCbJzQ2J0="),
            ("sha256", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="),
        ] {
            for (text, fails) in [("abc", false), ("abd", true)] {
                let mut checksum = Checksum::wanted(algorithm, sum).expect("a checksum");
                checksum.update(text.as_bytes());
                assert_eq!(checksum.fails(), fails, "{algorithm} {text}");
            }
        }
        for (algorithm, sum) in [("crc32", "AAAAAA=="), ("sha1", "AAAA"), ("sha1", "not base64!")] {
            assert!(Checksum::wanted(algorithm, sum).is_none());
        }
    }
}
