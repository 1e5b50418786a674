//! Where one JPEG ends and the next begins, in a file that holds nothing else (ITU-T T.81, annex B).

use std::ops::Range;

/// Each picture from its start marker to its end marker. What is cut off at the end is left out.
pub(super) fn pictures(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    while let Some(end) = end_of(bytes, start) {
        found.push(start..end);
        start = end;
    }
    found
}

/// One past the end marker of the picture that starts here.
fn end_of(bytes: &[u8], start: usize) -> Option<usize> {
    const START: u8 = 0xd8;
    const END: u8 = 0xd9;
    const SCAN: u8 = 0xda;
    if bytes.get(start..start + 2)? != [0xff, START] {
        return None;
    }
    let mut at = start + 2;
    loop {
        let [0xff, marker] = *bytes.get(at..at + 2)? else { return None };
        if marker == END {
            return Some(at + 2);
        }
        let [high, low] = *bytes.get(at + 2..at + 4)? else { return None };
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
        if marker == SCAN {
            // In a scan each 0xff is followed by a zero or a restart marker; anything else ends it.
            let rest = bytes.get(at..)?;
            let next = |pair: &[u8]| matches!(pair, [0xff, m] if *m != 0 && !(0xd0..=0xd7).contains(m));
            at += rest.windows(2).position(next)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_told_apart() {
        // A table that holds what looks like an end marker, a scan with a stuffed byte and a restart.
        let one = [
            &[0xff, 0xd8][..],
            &[0xff, 0xdb, 0, 5, 0xff, 0xd9, 1],
            &[0xff, 0xda, 0, 3, 0],
            &[1, 0xff, 0, 2, 0xff, 0xd3, 4],
            &[0xff, 0xd9],
        ]
        .concat();
        let two = [one.as_slice(), &one].concat();
        assert_eq!(pictures(&two), [0..one.len(), one.len()..two.len()]);
        assert_eq!(pictures(&two[..two.len() - 1]).len(), 1, "the second is cut off");
        assert!(pictures(b"no picture").is_empty() && pictures(b"").is_empty());
    }
}
