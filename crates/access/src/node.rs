//! Machines that work: how one shows the hub that it is the one that was let in, and the hub shows it that it is the right hub.

use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::TokenError;

/// What a signature is made over, so that none is good for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statement<'a> {
    /// A machine wants to be let in, by the token with this id, to the hub with this fingerprint.
    Enroll {
        /// Id of the token.
        token: &'a str,
        /// The machine.
        node: &'a str,
        /// Fingerprint of the hub's key.
        hub: &'a str,
    },
    /// A machine asks for its next identity.
    Renew {
        /// What the hub has just given out, once.
        nonce: &'a str,
        /// The machine.
        node: &'a str,
    },
    /// A hub answers: that it has its key, and by which authority its certificates are signed.
    Hub {
        /// What was asked with.
        nonce: &'a str,
        /// Its authority, as PEM; nothing when it has none of its own.
        authority: &'a str,
    },
}

impl Statement<'_> {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let (name, fields): (&str, Vec<&str>) = match self {
            Self::Enroll { token, node, hub } => ("enroll", vec![token, node, hub]),
            Self::Renew { nonce, node } => ("renew", vec![nonce, node]),
            Self::Hub { nonce, authority } => ("hub", vec![nonce, authority]),
        };
        let mut bytes = format!("kinora 2026-11 {name}").into_bytes();
        for field in fields {
            bytes.extend_from_slice(&(field.len() as u64).to_le_bytes());
            bytes.extend_from_slice(field.as_bytes());
        }
        bytes
    }
}

/// A key that somebody signs with (Ed25519).
pub struct SigningKey {
    pair: Ed25519KeyPair,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

impl SigningKey {
    /// A new one, to be kept where nobody else can read it (PKCS #8).
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn generate() -> Result<Vec<u8>, TokenError> {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        Ok(key.map_err(|e| TokenError::Failed(e.to_string()))?.as_ref().to_vec())
    }

    /// The one that was kept.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(kept: &[u8]) -> Result<Self, TokenError> {
        let pair = Ed25519KeyPair::from_pkcs8(kept).map_err(|e| TokenError::Failed(e.to_string()))?;
        Ok(Self { pair })
    }

    /// What others know it by, in hexadecimal digits.
    pub fn public(&self) -> String {
        hex(self.pair.public_key().as_ref())
    }

    /// A signature in hexadecimal digits.
    pub fn sign(&self, statement: Statement<'_>) -> String {
        hex(self.pair.sign(&statement.bytes()).as_ref())
    }
}

/// Whether a statement was signed with the key that others know by `public`.
pub fn is_signed(public: &str, statement: Statement<'_>, signature: &str) -> bool {
    let (Some(public), Some(signature)) = (unhex(public), unhex(signature)) else { return false };
    UnparsedPublicKey::new(&ED25519, public).verify(&statement.bytes(), &signature).is_ok()
}

/// What a key is pinned by.
pub fn fingerprint(public: &str) -> String {
    blake3::Hash::from_bytes(blake3::derive_key("kinora 2026-11 fingerprint of a hub", public.as_bytes()))
        .to_hex()
        .to_string()
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Bytes from hexadecimal digits.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::read(&SigningKey::generate().unwrap()).unwrap()
    }

    #[test]
    fn a_signature_is_good_for_what_it_says() {
        let (one, other) = (key(), key());
        let statement = Statement::Renew { nonce: "abc", node: "n1" };
        let signature = one.sign(statement);
        assert!(is_signed(&one.public(), statement, &signature));
        assert!(!is_signed(&other.public(), statement, &signature));
        for wrong in [
            Statement::Renew { nonce: "abd", node: "n1" },
            Statement::Renew { nonce: "abc", node: "n2" },
            // What is taken from one field is not given to the next.
            Statement::Renew { nonce: "abcn", node: "1" },
            Statement::Hub { nonce: "abc", authority: "n1" },
            Statement::Enroll { token: "abc", node: "n1", hub: "" },
        ] {
            assert!(!is_signed(&one.public(), wrong, &signature), "{wrong:?}");
        }
        for garbage in ["", "00", "zz", &signature[2..]] {
            assert!(!is_signed(&one.public(), statement, garbage));
            assert!(!is_signed(garbage, statement, &signature));
        }
        assert_ne!(fingerprint(&one.public()), fingerprint(&other.public()));
    }

    #[test]
    fn digits_and_bytes() {
        assert_eq!(unhex(&hex(&[0, 10, 255])), Some(vec![0, 10, 255]));
        assert_eq!((unhex("0"), unhex("0g"), unhex("ä")), (None, None, None));
    }
}
