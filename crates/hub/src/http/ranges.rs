//! `Range` requests (RFC 9110, section 14): which bytes of a file are asked for. Pure; nothing is read here.

use std::ops::Range;

/// More ranges than this are not worth it: the whole file is sent, as the RFC allows.
const MOST: usize = 64;

/// What a `Range` header comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// Everything: there is no such header, it is in another unit, or it makes no sense.
    Whole,
    /// These parts, in the order in which they were asked for; at least one, none of them empty.
    Parts(Vec<Range<u64>>),
    /// Nothing of it is in the file.
    Nothing,
}

/// Reads the header for a file of `size` bytes.
pub(super) fn asked(header: &str, size: u64) -> Asked {
    let Some((unit, set)) = header.split_once('=') else { return Asked::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Asked::Whole;
    }
    let mut parts = Vec::new();
    for (count, spec) in set.split(',').map(str::trim).filter(|spec| !spec.is_empty()).enumerate() {
        match part(spec, size) {
            Some(Some(range)) => parts.push(range),
            Some(None) => {}
            None => return Asked::Whole,
        }
        if count == MOST {
            return Asked::Whole;
        }
    }
    if parts.is_empty() {
        return if set.trim().is_empty() { Asked::Whole } else { Asked::Nothing };
    }
    // Overlapping ranges are how a small request asks for a large answer.
    let sum: u64 = parts.iter().map(|part| part.end - part.start).fold(0, u64::saturating_add);
    if parts.len() > 1 && sum > size { Asked::Whole } else { Asked::Parts(parts) }
}

/// One range; the inner `None` is one that the file does not have, the outer one that is none.
fn part(spec: &str, size: u64) -> Option<Option<Range<u64>>> {
    let (first, last) = spec.split_once('-')?;
    let number = |text: &str| -> Option<Option<u64>> {
        match text.trim() {
            "" => Some(None),
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(Some(digits.parse().unwrap_or(u64::MAX)))
            }
            _ => None,
        }
    };
    let range = match (number(first)?, number(last)?) {
        (None, None) => return None,
        (None, Some(length)) => size.saturating_sub(length)..size,
        (Some(first), None) => first..size,
        (Some(first), Some(last)) if first <= last => first..size.min(last.saturating_add(1)),
        (Some(_), Some(_)) => return None,
    };
    Some((range.start < range.end).then_some(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_as_clients_send_them() {
        let parts = |parts: &[(u64, u64)]| Asked::Parts(parts.iter().map(|(a, b)| *a..*b).collect());
        let cases = [
            ("bytes=0-0", parts(&[(0, 1)])),
            ("bytes=0-", parts(&[(0, 100)])),
            ("bytes=90-200", parts(&[(90, 100)])),
            ("bytes=-10", parts(&[(90, 100)])),
            ("bytes=-1000", parts(&[(0, 100)])),
            ("Bytes = 5-6", parts(&[(5, 7)])),
            ("bytes=0-1, 98-", parts(&[(0, 2), (98, 100)])),
            ("bytes=50-60,200-300", parts(&[(50, 61)])),
            ("bytes=99-18446744073709551615", parts(&[(99, 100)])),
            ("bytes=99-99999999999999999999999", parts(&[(99, 100)])),
            ("bytes=100-", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=500-600,700-", Asked::Nothing),
            ("bytes=5-4", Asked::Whole),
            ("bytes=", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=1", Asked::Whole),
            ("frames=1-2", Asked::Whole),
            ("", Asked::Whole),
            ("bytes=0-80,10-90", Asked::Whole),
        ];
        for (header, expected) in cases {
            assert_eq!(asked(header, 100), expected, "{header}");
        }
        assert_eq!(asked("bytes=0-", 0), Asked::Nothing);
        let many = format!("bytes={}", (0..70).map(|n| format!("{n}-{n}")).collect::<Vec<_>>().join(","));
        assert_eq!(asked(&many, 100), Asked::Whole);
    }
}
