//! Values of flags that several commands take.

use std::time::Duration;

use kinora_protocol::class::Tags;

/// A number of seconds, up to an hour.
pub fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|s: &f64| (0.0..=3600.0).contains(s));
    seconds.ok_or_else(|| format!("{text:?} is not a number of seconds up to 3600"))
}

/// A moment in a film: seconds, or hours, minutes and seconds with colons between; in microseconds.
pub fn moment(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no time in a film: write seconds, as 12.5, or H:M:S");
    let parts: Vec<&str> = text.split(':').collect();
    let (last, before) = parts.split_last().filter(|(_, before)| before.len() <= 2).ok_or_else(wrong)?;
    let seconds = last.parse().ok().filter(|s: &f64| (0.0..1e6).contains(s)).ok_or_else(wrong)?;
    let mut whole = 0_u32;
    for part in before {
        whole =
            part.parse::<u32>().ok().filter(|n| *n < 10_000).map(|n| (whole + n) * 60).ok_or_else(wrong)?;
    }
    Ok(((f64::from(whole) + seconds) * 1e6).round() as i64)
}

/// An origin of web pages: scheme, host and perhaps a port, and nothing more.
pub fn origin(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain = |host: &str| {
        !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'))
    };
    if text == "*" || host.is_some_and(plain) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(format!("{text:?} is no origin: write https://HOST or https://HOST:PORT, or *"))
}

/// A hundred years, in seconds.
const LONGEST_SPAN: u64 = 100 * 365 * 24 * 60 * 60;

/// A length of time: `30d`, `12h`, `5m`, `10s`.
pub fn span(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is no length of time such as 30d, 12h, 5m or 10s");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(bad)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(bad()),
    };
    let number: u64 = number.parse().map_err(|_| bad())?;
    let seconds = number.checked_mul(seconds).filter(|seconds| (1..=LONGEST_SPAN).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(bad)
}

/// As [`span`], or `never`.
pub fn span_or_never(text: &str) -> Result<Span, String> {
    if text == "never" { Ok(Span::Never) } else { span(text).map(Span::Of) }
}

/// A length of time that may be without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// It ends.
    Of(Duration),
    /// It does not.
    Never,
}

impl From<Span> for Option<Duration> {
    fn from(span: Span) -> Self {
        match span {
            Span::Of(span) => Some(span),
            Span::Never => None,
        }
    }
}

/// Tags, separated by commas.
pub fn tags(text: &str) -> Result<Tags, String> {
    let words: Vec<String> = text.split(',').map(|word| word.trim().to_owned()).collect();
    Tags::try_from(words).map_err(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_or_refused() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        for text in ["", "-1", "3601", "NaN", "1s"] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert_eq!(origin("https://Studio.example:8443"), Ok("https://studio.example:8443".to_owned()));
        for text in ["", "studio.example", "https://", "https://a/b", "https://a b", "file://a"] {
            assert!(origin(text).is_err(), "{text}");
        }
        assert_eq!(span("12h"), Ok(Duration::from_secs(43_200)));
        assert_eq!(span_or_never("never"), Ok(Span::Never));
        for text in ["", "d", "1", "1w", "-1d", "1.5d", "1é", "99999d", "0s"] {
            assert!(span(text).is_err(), "{text}");
        }
        assert_eq!(tags("gpu, attic").map(|t| t.to_string()), Ok("attic,gpu".to_owned()));
        assert!(tags("gpu,,attic").is_err_and(|why| why.contains("no tag")));
    }
}
