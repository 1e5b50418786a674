//! How the entries of a record are bound to one another: each has the hash of itself and of the one before it. Whoever has noted
//! one hash can tell whether anything up to it was changed, left out or put in.

use kinora_protocol::access::AuditView;

/// What an entry is hashed with, which no other use of the hash has.
const CONTEXT: &str = "kinora 2026-11 chain of the audit log";

/// The hash of an entry that follows one with the hash `before`, which is empty for the first. The entry's own is not looked at.
pub fn chained(before: &str, entry: &AuditView) -> String {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    let (seq, at_ms) = (entry.seq.to_string(), entry.at_ms.to_string());
    let AuditView { actor, address, action, outcome, detail, .. } = entry;
    for field in [before, &seq, &at_ms, actor, address, action, outcome, detail] {
        // With its length, so that no field can take from its neighbour.
        hasher.update(&(field.len() as u64).to_le_bytes());
        hasher.update(field.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// Looks at entries in order.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    seq: i64,
    hash: String,
}

impl Chain {
    /// Looks at the next entry.
    ///
    /// # Errors
    /// Where the chain is broken, and how.
    pub fn check(&mut self, entry: &AuditView) -> Result<(), String> {
        let next = self.seq + 1;
        if entry.seq != next {
            return Err(format!("entry {next} is missing: {} follows {}", entry.seq, self.seq));
        }
        if chained(&self.hash, entry) != entry.hash {
            return Err(format!("entry {next} was changed, or what was before it"));
        }
        (self.seq, self.hash) = (entry.seq, entry.hash.clone());
        Ok(())
    }

    /// How many were looked at.
    pub fn len(&self) -> i64 {
        self.seq
    }

    /// None were.
    pub fn is_empty(&self) -> bool {
        self.seq == 0
    }

    /// The hash of the last.
    pub fn head(&self) -> &str {
        &self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Vec<AuditView> {
        let mut before = String::new();
        (1..=5)
            .map(|seq| {
                let mut entry = AuditView {
                    seq,
                    at_ms: 1000 + seq,
                    actor: "user anna".into(),
                    address: "127.0.0.1".into(),
                    action: "POST /api/v1/jobs".into(),
                    outcome: "done".into(),
                    detail: String::new(),
                    hash: String::new(),
                };
                entry.hash = chained(&before, &entry);
                before.clone_from(&entry.hash);
                entry
            })
            .collect()
    }

    fn verdict(record: &[AuditView]) -> Result<Chain, String> {
        let mut chain = Chain::default();
        record.iter().try_for_each(|entry| chain.check(entry))?;
        Ok(chain)
    }

    #[test]
    fn what_was_written_is_whole() {
        let chain = verdict(&record()).unwrap();
        assert_eq!((chain.len(), chain.head()), (5, record()[4].hash.as_str()));
    }

    #[test]
    fn nothing_can_be_changed_left_out_or_put_in() {
        let good = record();
        let change = |change: fn(&mut AuditView)| {
            let mut record = good.clone();
            change(&mut record[2]);
            verdict(&record).unwrap_err()
        };
        for why in [
            change(|entry| entry.actor = "user eve".into()),
            change(|entry| entry.outcome = "denied".into()),
            change(|entry| entry.at_ms += 1),
            change(|entry| entry.detail = "x".into()),
            // What is taken from a field is not given to the next.
            change(|entry| (entry.actor, entry.address) = ("user anna1".into(), "27.0.0.1".into())),
        ] {
            assert!(why.contains("entry 3"), "{why}");
        }
        let without: Vec<_> = good.iter().filter(|entry| entry.seq != 3).cloned().collect();
        assert!(verdict(&without).unwrap_err().contains("entry 3 is missing"));
        let mut swapped = good.clone();
        swapped.swap(1, 2);
        assert!(verdict(&swapped).is_err());
        // One who hashes anew what was changed breaks what follows.
        let mut forged = good;
        forged[2].actor = "user eve".into();
        forged[2].hash = chained(&forged[1].hash.clone(), &forged[2]);
        assert!(verdict(&forged).unwrap_err().contains("entry 4"));
    }
}
