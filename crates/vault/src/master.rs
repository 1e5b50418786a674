//! Master keys: they wrap the keys of objects and nothing else. Where they are kept is for whoever gives them.

use std::fmt;

use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};

use crate::ObjectId;

/// Bytes of a key.
pub(crate) const KEY: usize = 32;
/// By how many bytes a master key is told from others.
pub(crate) const NAME: usize = 8;

/// What a master key is told from others by; it says nothing of the key.
pub(crate) type MasterName = [u8; NAME];

/// The master keys that there are: the first wraps, all unwrap.
#[derive(Clone)]
pub struct Masters {
    keys: Vec<Master>,
}

#[derive(Clone)]
pub(crate) struct Master {
    pub(crate) name: MasterName,
    key: [u8; KEY],
}

/// Why a text holds no master keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMaster {
    /// No line has one.
    #[error("there is no key in it: make one with kinora vault new-key")]
    None,
    /// A line is none.
    #[error("line {0} is no key of 64 hexadecimal digits: make one with kinora vault new-key")]
    Line(usize),
    /// A line is there twice.
    #[error("line {0} has a key that is there before")]
    Twice(usize),
}

fn digits(line: &str) -> Option<[u8; KEY]> {
    blake3::Hash::from_hex(line).ok().map(|hash| *hash.as_bytes())
}

impl Masters {
    /// Reads keys, one on each line, the newest first: 64 hexadecimal digits. Empty lines and those that begin with `#` are left
    /// out.
    ///
    /// # Errors
    /// [`BadMaster`] with the line, never with what is on it.
    pub fn parse(text: &str) -> Result<Self, BadMaster> {
        let mut keys: Vec<Master> = Vec::new();
        for (number, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let master = Master::new(digits(line).ok_or(BadMaster::Line(number + 1))?);
            if keys.iter().any(|known| known.name == master.name) {
                return Err(BadMaster::Twice(number + 1));
            }
            keys.push(master);
        }
        if keys.is_empty() { Err(BadMaster::None) } else { Ok(Self { keys }) }
    }

    /// A new key as [`Masters::parse`] reads it.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn generate() -> std::io::Result<String> {
        Ok(blake3::Hash::from_bytes(crate::random()?).to_hex().to_string())
    }

    /// What they are told from others by, the one that wraps first. It says nothing of them.
    pub fn names(&self) -> Vec<String> {
        let hex = |name: &MasterName| name.iter().map(|byte| format!("{byte:02x}")).collect();
        self.keys.iter().map(|master| hex(&master.name)).collect()
    }

    /// The one that wraps.
    pub(crate) fn current(&self) -> &Master {
        &self.keys[0]
    }

    pub(crate) fn find(&self, name: &MasterName) -> Option<&Master> {
        self.keys.iter().find(|master| master.name == *name)
    }
}

impl Master {
    fn new(key: [u8; KEY]) -> Self {
        let known = blake3::derive_key("kinora 2026-11 vault: name of a master key", &key);
        let mut name = [0; NAME];
        name.copy_from_slice(&known[..NAME]);
        Self { name, key }
    }

    /// The key that wraps the key of one object: as each object has its own, no nonce can come twice with it by chance.
    pub(crate) fn wrapping(&self, id: &ObjectId) -> Option<LessSafeKey> {
        let mut about = Vec::from(&b"kinora vault: wrap "[..]);
        about.extend_from_slice(id);
        let key = blake3::keyed_hash(&self.key, &about);
        UnboundKey::new(&AES_256_GCM, key.as_bytes()).ok().map(LessSafeKey::new)
    }
}

impl fmt::Debug for Masters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masters({})", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_lines() {
        let (one, two) = (Masters::generate().unwrap(), Masters::generate().unwrap());
        let both = Masters::parse(&format!("# of November\n{one}\n\n  {two}  \n")).unwrap();
        assert_eq!(both.keys.len(), 2);
        assert_eq!(both.current().name, Masters::parse(&one).unwrap().current().name);
        assert!(both.find(&Masters::parse(&two).unwrap().current().name).is_some());
        assert_eq!(both.names()[1..], Masters::parse(&two).unwrap().names());
        assert!(!format!("{both:?}").contains(&one));
        assert_eq!(Masters::parse("#\n\n").unwrap_err(), BadMaster::None);
        assert_eq!(Masters::parse(&format!("{one}\nsecret")).unwrap_err(), BadMaster::Line(2));
        assert_eq!(Masters::parse(&one[1..]).unwrap_err(), BadMaster::Line(1));
        assert_eq!(Masters::parse(&format!("{one}\n{one}")).unwrap_err(), BadMaster::Twice(2));
    }
}
