//! Sets of byte ranges: which parts of a file are here. Pure.

use std::collections::BTreeMap;

/// Disjoint half-open ranges, touching ones united.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges {
    /// Start → end.
    held: BTreeMap<u64, u64>,
}

impl Ranges {
    /// Adds `len` bytes from `from`.
    pub fn insert(&mut self, from: u64, len: u64) {
        if len == 0 {
            return;
        }
        let (mut start, mut end) = (from, from.saturating_add(len));
        // All that touch it: the one that begins before it, and those that begin within it.
        let touching: Vec<u64> =
            self.held.range(..=end).rev().take_while(|(_, e)| **e >= start).map(|(s, _)| *s).collect();
        for key in touching {
            if let Some(other) = self.held.remove(&key) {
                start = start.min(key);
                end = end.max(other);
            }
        }
        self.held.insert(start, end);
    }

    /// The parts of `len` bytes from `from` that are not there, in order.
    pub fn missing(&self, from: u64, len: u64) -> Vec<(u64, u64)> {
        let end = from.saturating_add(len);
        let mut gaps = Vec::new();
        if len == 0 {
            return gaps;
        }
        let mut at = from;
        let before = self.held.range(..=from).next_back();
        for (&start, &stop) in before.into_iter().chain(self.held.range(from.saturating_add(1)..end)) {
            if stop <= at {
                continue;
            }
            if start > at {
                gaps.push((at, start - at));
            }
            at = stop;
        }
        if at < end {
            gaps.push((at, end - at));
        }
        gaps
    }

    /// How many bytes are there.
    pub fn bytes(&self) -> u64 {
        self.held.iter().map(|(start, end)| end - start).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn touching_ranges_are_one() {
        let mut ranges = Ranges::default();
        for (from, len) in [(10, 5), (20, 5), (15, 5), (0, 0)] {
            ranges.insert(from, len);
        }
        assert_eq!(ranges.held, BTreeMap::from([(10, 25)]));
        assert_eq!(ranges.missing(5, 30), [(5, 5), (25, 10)]);
        assert_eq!(ranges.missing(12, 3), []);
        assert_eq!(ranges.missing(30, 0), []);
    }

    proptest! {
        #[test]
        fn as_a_map_of_bytes_would_have_it(
            inserted in prop::collection::vec((0_u64..60, 0_u64..12), 0..12),
            (from, len) in (0_u64..60, 0_u64..20),
        ) {
            let mut ranges = Ranges::default();
            let mut bytes = [false; 100];
            for (from, len) in inserted {
                ranges.insert(from, len);
                (from..from + len).for_each(|b| bytes[b as usize] = true);
            }
            prop_assert_eq!(ranges.bytes(), bytes.iter().filter(|b| **b).count() as u64);
            let missing = ranges.missing(from, len);
            let mut told = [false; 100];
            for (from, len) in &missing {
                prop_assert!(*len > 0);
                (*from..from + len).for_each(|b| told[b as usize] = true);
            }
            for b in 0..100 {
                let wanted = b >= from && b < from + len;
                prop_assert_eq!(told[b as usize], wanted && !bytes[b as usize]);
            }
            prop_assert!(missing.windows(2).all(|w| w[0].0 + w[0].1 < w[1].0), "in order, with room between");
        }
    }
}
