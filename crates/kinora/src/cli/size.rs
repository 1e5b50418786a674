//! Numbers of bytes as people write them.

/// `20G`, `500M`, `0`.
pub fn parse(text: &str) -> Result<u64, String> {
    let unit = match text.as_bytes().last().map(u8::to_ascii_uppercase) {
        Some(b'K') => 1_000,
        Some(b'M') => 1_000_000,
        Some(b'G') => 1_000_000_000,
        Some(b'T') => 1_000_000_000_000,
        _ => 1,
    };
    let number = if unit == 1 { text } else { &text[..text.len() - 1] };
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    bytes.ok_or_else(|| format!("{text:?} is not a size such as 20G or 500M"))
}

/// The same for people.
pub fn shown(bytes: u64) -> String {
    indicatif::DecimalBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0", 0), ("17", 17), ("2k", 2_000), ("500M", 500_000_000), ("20G", 20_000_000_000)]
        {
            assert_eq!(parse(text), Ok(bytes));
        }
        for text in ["", "G", "-1", "1.5G", "9999999999T", "20 G"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
