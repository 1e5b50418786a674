//! Secrets that somebody carries with him: API keys, refresh tokens, tickets. Only a hash of them is kept; it needs no salt and no
//! delay, as they are 256 random bits.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::node::{Statement, hex, unhex};
use crate::{NoRandomness, random};

/// What it is hashed with, which no other use of the hash has.
const CONTEXT: &str = "kinora 2026-11 secrets that are kept as hashes";
/// What secrets are derived with that follow from another.
const DERIVED: &str = "kinora 2026-11 secrets that follow from the hub's";
/// What proofs of secrets are made with.
const PROOF: &str = "kinora 2026-11 proofs of secrets";
/// Bytes of what is secret.
const BYTES: usize = 32;

/// What a secret is good for. It is the first word of its text, so that people and scanners know it when they see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Prefix {
    /// An API key.
    Key,
    /// A session in a cookie.
    Cookie,
    /// The right to the next pair of tokens.
    Refresh,
    /// The right to become a node.
    Enrollment,
    /// The right to open one WebSocket.
    Ticket,
    /// The right to make the first user.
    Setup,
    /// Whoever may read the hub's files.
    Local,
}

impl Prefix {
    const ALL: [Self; 7] =
        [Self::Key, Self::Cookie, Self::Refresh, Self::Enrollment, Self::Ticket, Self::Setup, Self::Local];

    fn text(self) -> &'static str {
        match self {
            Self::Key => "kn",
            Self::Cookie => "kc",
            Self::Refresh => "kr",
            Self::Enrollment => "ke",
            Self::Ticket => "kt",
            Self::Setup => "ks",
            Self::Local => "kl",
        }
    }
}

/// What a secret is found by; it is none itself.
pub type SecretId = Uuid;

/// A secret. Its text is `kn_ID_SECRET` in hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// What it is good for.
    pub prefix: Prefix,
    /// What it is found by.
    pub id: SecretId,
    secret: [u8; BYTES],
}

impl Secret {
    /// A new one with this id.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn generate(prefix: Prefix, id: SecretId) -> Result<Self, NoRandomness> {
        Ok(Self { prefix, id, secret: random()? })
    }

    /// The one that follows from a secret of the hub's: the same each time.
    pub fn derived(prefix: Prefix, from: &[u8; 32]) -> Self {
        let material = |what: &str| blake3::derive_key(&format!("{DERIVED} {}: {what}", prefix.text()), from);
        let mut id = [0; 16];
        id.copy_from_slice(&material("id")[..16]);
        Self { prefix, id: Uuid::from_bytes(id), secret: material("secret") }
    }

    /// What is kept of it.
    pub fn hash(&self) -> String {
        let key = blake3::derive_key(CONTEXT, self.to_string().as_bytes());
        blake3::Hash::from_bytes(key).to_hex().to_string()
    }

    /// Shows that somebody has this secret, without showing it.
    pub fn proof(&self, statement: Statement<'_>, public_key: &str) -> String {
        proof(&self.hash(), statement, public_key)
    }

    /// Whether a proof was made with the secret that this was kept of.
    pub fn is_proof(kept: &str, statement: Statement<'_>, public_key: &str, shown: &str) -> bool {
        blake3::hash(proof(kept, statement, public_key).as_bytes()) == blake3::hash(shown.as_bytes())
    }

    /// Whether it is the one that this was kept of. How long that takes says nothing about it.
    pub fn is(&self, kept: &str) -> bool {
        blake3::hash(self.hash().as_bytes()) == blake3::hash(kept.as_bytes())
    }
}

fn proof(kept: &str, statement: Statement<'_>, public_key: &str) -> String {
    let key = blake3::derive_key(PROOF, kept.as_bytes());
    let mut mac = blake3::Hasher::new_keyed(&key);
    mac.update(&statement.bytes());
    mac.update(public_key.as_bytes());
    mac.finalize().to_hex().to_string()
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}_{}", self.prefix.text(), self.id.simple(), hex(&self.secret))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}_…", self.prefix.text(), self.id.simple())
    }
}

impl FromStr for Secret {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.splitn(3, '_');
        let mut word = || words.next().ok_or(());
        let first = word()?;
        let prefix = Prefix::ALL.into_iter().find(|prefix| prefix.text() == first).ok_or(())?;
        let id = word()?;
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if id.len() != 32 || !plain(id) {
            return Err(());
        }
        let id = Uuid::parse_str(id).map_err(|_| ())?;
        let digits = word()?;
        if digits.len() != 2 * BYTES || !plain(digits) {
            return Err(());
        }
        let secret = unhex(digits).and_then(|bytes| bytes.try_into().ok()).ok_or(())?;
        Ok(Self { prefix, id, secret })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_its_text_and_is_known_by_its_hash() {
        let secret = Secret::generate(Prefix::Key, Uuid::new_v4()).unwrap();
        let text = secret.to_string();
        assert_eq!((text.len(), &text[..3]), (3 + 32 + 1 + 64, "kn_"));
        let read: Secret = text.parse().unwrap();
        assert!(read == secret && read.is(&secret.hash()));
        let other = Secret { id: secret.id, ..Secret::generate(Prefix::Key, secret.id).unwrap() };
        assert!(!other.is(&secret.hash()));
        // The same bits are not good for something else.
        let refresh = Secret { prefix: Prefix::Refresh, ..secret.clone() };
        assert!(!refresh.is(&secret.hash()));
        assert!(!format!("{secret:?}").contains(&text[36..]), "{secret:?}");
        assert!(!secret.hash().contains(&text[36..]));
    }

    #[test]
    fn what_follows_is_the_same_each_time_and_only_from_the_same() {
        let local = Secret::derived(Prefix::Local, &[1; 32]);
        assert!(local == Secret::derived(Prefix::Local, &[1; 32]));
        assert!(local.to_string().parse::<Secret>().unwrap().is(&local.hash()));
        let others = [Secret::derived(Prefix::Local, &[2; 32]), Secret::derived(Prefix::Key, &[1; 32])];
        assert!(others.iter().all(|other| !other.is(&local.hash()) && other.id != local.id));
    }

    #[test]
    fn a_proof_shows_the_secret_for_one_statement_and_key() {
        let secret = Secret::generate(Prefix::Enrollment, Uuid::new_v4()).unwrap();
        let said = Statement::Enroll { token: "t", node: "n", hub: "h" };
        let proof = secret.proof(said, "key");
        assert!(Secret::is_proof(&secret.hash(), said, "key", &proof));
        let other = Secret::generate(Prefix::Enrollment, secret.id).unwrap();
        assert!(!Secret::is_proof(&other.hash(), said, "key", &proof));
        assert!(!Secret::is_proof(&secret.hash(), said, "another key", &proof));
        let elsewhere = Statement::Enroll { token: "t", node: "m", hub: "h" };
        assert!(!Secret::is_proof(&secret.hash(), elsewhere, "key", &proof));
        assert!(!secret.to_string().contains(&proof));
    }

    #[test]
    fn other_texts_are_none() {
        let good = Secret::generate(Prefix::Refresh, Uuid::new_v4()).unwrap().to_string();
        let short = &good[..good.len() - 1];
        let upper = good.to_uppercase();
        let foreign = good.replacen("kr", "kx", 1);
        let longer = format!("{good}0");
        let wide = good.replace(&good[40..44], "äö");
        for text in ["", "kr", "kr__", short, &upper, &foreign, &longer, &wide, "kr_x_y"] {
            assert!(text.parse::<Secret>().is_err(), "{text}");
        }
    }
}
