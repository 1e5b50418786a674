//! The head of an object: its id, and its key, wrapped by a master key. There is room for two, in blocks of the disk of their own,
//! so that another master key can be put in without the first one being touched before the second is safe.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::master::{KEY, Master, MasterName, Masters, NAME};
use crate::segment::{Cipher, NONCE, TAG};
use crate::{ObjectId, at, random};

/// Bytes of each place for a wrapped key.
const SLOT: usize = 4096;
/// Bytes before the first segment.
pub(crate) const HEADER: usize = 2 * SLOT;
/// What each place begins with that is not empty; the digit is the version of all that follows.
const MAGIC: &[u8; 8] = b"KINORAv1";
const ID: usize = size_of::<ObjectId>();
const WRAPPED: usize = KEY + TAG;
const USED: usize = MAGIC.len() + ID + NAME + NONCE + WRAPPED;

/// A wrapped key as it is in its place.
struct Slot {
    id: ObjectId,
    master: MasterName,
    nonce: [u8; NONCE],
    wrapped: [u8; WRAPPED],
}

/// What was found in a header.
struct Opened {
    key: [u8; KEY],
    id: ObjectId,
    /// The place that was opened, and whether with the key that wraps now.
    slot: usize,
    current: bool,
    /// The other place holds something, too.
    both: bool,
}

fn wrong(why: &str) -> Error {
    Error::new(ErrorKind::InvalidData, why.to_owned())
}

fn cut<const N: usize>(bytes: &[u8], at: &mut usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[*at..*at + N]);
    *at += N;
    part
}

impl Slot {
    /// Reads a place; `None` when it is empty.
    fn read(bytes: &[u8]) -> Result<Option<Self>> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if !bytes.starts_with(MAGIC) || bytes[USED..].iter().any(|byte| *byte != 0) {
            return Err(wrong("it does not begin as what is encrypted here"));
        }
        let mut at = MAGIC.len();
        Ok(Some(Self {
            id: cut(bytes, &mut at),
            master: cut(bytes, &mut at),
            nonce: cut(bytes, &mut at),
            wrapped: cut(bytes, &mut at),
        }))
    }

    fn wrap(key: &[u8; KEY], id: &ObjectId, master: &Master) -> Result<Self> {
        let failed = || wrong("its key cannot be wrapped");
        let nonce: [u8; NONCE] = random()?;
        let mut bytes = key.to_vec();
        let wrapping = master.wrapping(id).ok_or_else(failed)?;
        let whole = Nonce::assume_unique_for_key(nonce);
        wrapping.seal_in_place_append_tag(whole, aad(id, &master.name), &mut bytes).map_err(|_| failed())?;
        let mut wrapped = [0; WRAPPED];
        wrapped.copy_from_slice(&bytes);
        Ok(Self { id: *id, master: master.name, nonce, wrapped })
    }

    fn unwrap_by(&self, master: &Master) -> Option<[u8; KEY]> {
        let mut bytes = self.wrapped;
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let key = master.wrapping(&self.id)?;
        let opened = key.open_in_place(nonce, aad(&self.id, &self.master), &mut bytes).ok()?;
        opened.try_into().ok()
    }

    fn bytes(&self) -> [u8; SLOT] {
        let mut bytes = [0; SLOT];
        let mut at = 0;
        for part in [&MAGIC[..], &self.id, &self.master, &self.nonce, &self.wrapped] {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        bytes
    }
}

fn aad(id: &ObjectId, master: &MasterName) -> Aad<Vec<u8>> {
    Aad::from([&MAGIC[..], id, master].concat())
}

fn opened(bytes: &[u8; HEADER], masters: &Masters) -> Result<Opened> {
    let slots = [Slot::read(&bytes[..SLOT])?, Slot::read(&bytes[SLOT..])?];
    let both = slots.iter().all(Option::is_some);
    let mut found: Option<Opened> = None;
    let mut known = false;
    for (number, slot) in slots.iter().enumerate() {
        let Some(slot) = slot else { continue };
        let Some(master) = masters.find(&slot.master) else { continue };
        known = true;
        let key = slot.unwrap_by(master).ok_or_else(|| wrong("its key is damaged"))?;
        let current = master.name == masters.current().name;
        if found.as_ref().is_none_or(|found| !found.current && current) {
            found = Some(Opened { key, id: slot.id, slot: number, current, both });
        }
    }
    found.ok_or_else(|| {
        let empty = slots.iter().all(Option::is_none);
        wrong(match (empty, known) {
            (true, _) => "it does not begin as what is encrypted here",
            (false, true) => "its key is damaged",
            (false, false) => "no master key that is given opens it",
        })
    })
}

fn cipher(id: ObjectId, key: &[u8; KEY]) -> Result<Cipher> {
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| wrong("its key is none"))?;
    Ok(Cipher::new(id, LessSafeKey::new(key)))
}

/// Writes the head of a new object.
pub(crate) fn begin(file: &File, masters: &Masters) -> Result<Cipher> {
    let (id, key): (ObjectId, [u8; KEY]) = (random()?, random()?);
    let mut bytes = [0; HEADER];
    bytes[..SLOT].copy_from_slice(&Slot::wrap(&key, &id, masters.current())?.bytes());
    at::write_all(file, &bytes, 0)?;
    cipher(id, &key)
}

fn read(file: &File) -> Result<[u8; HEADER]> {
    let mut bytes = [0; HEADER];
    at::read_exact(file, &mut bytes, 0)?;
    Ok(bytes)
}

/// Whether a file begins as an object does, whatever opens it.
pub(crate) fn is_one(file: &File) -> bool {
    read(file)
        .is_ok_and(|bytes| bytes.chunks(SLOT).any(|slot| Slot::read(slot).is_ok_and(|slot| slot.is_some())))
}

/// Reads the head of an object.
pub(crate) fn open(file: &File, masters: &Masters) -> Result<Cipher> {
    let Opened { key, id, .. } = opened(&read(file)?, masters)?;
    cipher(id, &key)
}

/// Lets the current master key alone open an object. Whether another one did.
pub(crate) fn rewrap(file: &File, masters: &Masters) -> Result<bool> {
    let found = opened(&read(file)?, masters)?;
    let mut used = found.slot;
    if !found.current {
        used = 1 - found.slot;
        let slot = Slot::wrap(&found.key, &found.id, masters.current())?;
        at::write_all(file, &slot.bytes(), (used * SLOT) as u64)?;
        file.sync_data()?;
    }
    let left = !found.current || found.both;
    if left {
        at::write_all(file, &[0; SLOT], ((1 - used) * SLOT) as u64)?;
        file.sync_data()?;
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masters(keys: &[&str]) -> Masters {
        Masters::parse(&keys.join("\n")).unwrap()
    }

    #[test]
    fn another_master_key_takes_over() {
        let (old, new) = (Masters::generate().unwrap(), Masters::generate().unwrap());
        let file = tempfile::tempfile().unwrap();
        begin(&file, &masters(&[&old])).unwrap();
        assert!(!rewrap(&file, &masters(&[&old])).unwrap(), "nothing is to do");
        let unknown = open(&file, &masters(&[&new])).err().unwrap();
        assert!(unknown.to_string().contains("no master key"), "{unknown}");
        // Power was cut before the old one was taken out: both are there.
        let half = read(&file).unwrap();
        assert!(rewrap(&file, &masters(&[&new, &old])).unwrap());
        let whole = read(&file).unwrap();
        let mut between = whole;
        between[..SLOT].copy_from_slice(&half[..SLOT]);
        at::write_all(&file, &between, 0).unwrap();
        for keys in [masters(&[&old]), masters(&[&new])] {
            open(&file, &keys).unwrap();
        }
        assert!(rewrap(&file, &masters(&[&new, &old])).unwrap());
        assert_eq!(read(&file).unwrap(), whole, "the old one is gone");
        open(&file, &masters(&[&new])).unwrap();
        assert!(open(&file, &masters(&[&old])).is_err());
        // And back, into the place that is free again.
        assert!(rewrap(&file, &masters(&[&old, &new])).unwrap());
        open(&file, &masters(&[&old])).unwrap();
        assert!(open(&file, &masters(&[&new])).is_err());
    }

    #[test]
    fn every_bit_counts() {
        let keys = masters(&[&Masters::generate().unwrap()]);
        let file = tempfile::tempfile().unwrap();
        begin(&file, &keys).unwrap();
        let good = read(&file).unwrap();
        for bit in (0..HEADER * 8).filter(|bit| *bit < USED * 8 || bit % 97 == 0) {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(opened(&bad, &keys).is_err(), "bit {bit}");
        }
        assert!(opened(&[0; HEADER], &keys).is_err());
    }
}
