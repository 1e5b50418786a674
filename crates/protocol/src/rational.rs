//! An exact ratio, as containers and ffmpeg write them: `30000/1001`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `num / den` in lowest terms, `den > 0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rational {
    num: i64,
    den: i64,
}

/// The text is not a ratio of two whole numbers, or its denominator is zero.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a ratio such as 25, 30000/1001 or 0.5")]
pub struct BadRational(pub String);

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}

impl Rational {
    /// `num / den` in lowest terms; `None` when `den` is zero.
    pub fn new(num: i64, den: i64) -> Option<Self> {
        if den == 0 || num == i64::MIN || den == i64::MIN {
            return None;
        }
        let sign = if den < 0 { -1 } else { 1 };
        let common = i64::try_from(gcd(num.unsigned_abs(), den.unsigned_abs())).ok()?;
        Some(Self { num: sign * num / common, den: sign * den / common })
    }

    /// Numerator, lowest terms.
    pub fn num(self) -> i64 {
        self.num
    }

    /// Denominator, lowest terms, above zero.
    pub fn den(self) -> i64 {
        self.den
    }

    /// For display and estimates only, never for a plan.
    pub fn approx(self) -> f64 {
        self.num as f64 / self.den as f64
    }

    /// Whether the value is above zero.
    pub fn is_positive(self) -> bool {
        self.num > 0
    }
}

impl fmt::Display for Rational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.num, self.den)
    }
}

impl FromStr for Rational {
    type Err = BadRational;

    /// Takes `N`, `N/D`, `N:D` (ffprobe writes aspect ratios so) and plain decimals with up to six digits.
    fn from_str(text: &str) -> Result<Self, BadRational> {
        let bad = || BadRational(text.to_owned());
        let trimmed = text.trim();
        if let Some((num, den)) = trimmed.split_once(['/', ':']) {
            let (num, den) = (num.parse().map_err(|_| bad())?, den.parse().map_err(|_| bad())?);
            return Self::new(num, den).ok_or_else(bad);
        }
        if let Some((whole, fraction)) = trimmed.split_once('.') {
            let digits = u32::try_from(fraction.len()).map_err(|_| bad())?;
            if digits == 0 || digits > 6 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
                return Err(bad());
            }
            let scale = 10_i64.pow(digits);
            let (whole_value, part): (i64, i64) =
                (whole.parse().map_err(|_| bad())?, fraction.parse().map_err(|_| bad())?);
            let part = if whole.starts_with('-') { -part } else { part };
            let num = whole_value.checked_mul(scale).and_then(|v| v.checked_add(part)).ok_or_else(bad)?;
            return Self::new(num, scale).ok_or_else(bad);
        }
        Self::new(trimmed.parse().map_err(|_| bad())?, 1).ok_or_else(bad)
    }
}

impl TryFrom<String> for Rational {
    type Error = BadRational;
    fn try_from(text: String) -> Result<Self, BadRational> {
        text.parse()
    }
}

impl From<Rational> for String {
    fn from(value: Rational) -> Self {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_users_and_ffprobe_write() {
        let cases = [
            ("25", Some((25, 1))),
            ("30000/1001", Some((30000, 1001))),
            ("50/2", Some((25, 1))),
            ("16:9", Some((16, 9))),
            ("29.97", Some((2997, 100))),
            ("-0.5", Some((-1, 2))),
            ("1/0", None),
            ("", None),
            ("25;rm", None),
            ("1.", None),
            ("nan", None),
        ];
        for (text, expected) in cases {
            let got = text.parse::<Rational>().ok().map(|r| (r.num(), r.den()));
            assert_eq!(got, expected, "{text:?}");
        }
    }
}
