//! Exact conversions between ticks, microseconds and output frames.

use kinora_protocol::Rational;

/// Seconds by which every chunk's timestamps are late, so that no muxer has to rewrite one: times stay above zero
/// whatever the source starts with. The final mux takes it off again.
pub const GUARD_SECONDS: i64 = 16;

/// The guard of the sound: whole seconds that every stream's time base can hold. AVI counts in blocks of sound, and 16 s of
/// blocks of 24 ms would be rounded to 16.008 s.
pub fn audio_guard(time_bases: &[Rational]) -> i64 {
    let holds = |seconds: i64| time_bases.iter().all(|base| (seconds * base.den()) % base.num().max(1) == 0);
    (GUARD_SECONDS..GUARD_SECONDS + 100_000).find(|seconds| holds(*seconds)).unwrap_or(GUARD_SECONDS)
}

/// `value * num / den` rounded to nearest, halves away from zero (ffmpeg's `AV_ROUND_NEAR_INF`); `den > 0`.
pub fn rescale(value: i64, num: i64, den: i64) -> i64 {
    let product = i128::from(value) * i128::from(num);
    let den = i128::from(den.max(1));
    let half = den / 2;
    let rounded = if product >= 0 { (product + half) / den } else { -((-product + half) / den) };
    i64::try_from(rounded).unwrap_or(if rounded > 0 { i64::MAX } else { i64::MIN })
}

/// Microseconds to ticks of `1/hz` seconds.
pub fn us_to_ticks(us: i64, hz: i64) -> i64 {
    rescale(us, hz, 1_000_000)
}

/// Ticks of `1/hz` seconds to microseconds.
pub fn ticks_to_us(ticks: i64, hz: i64) -> i64 {
    rescale(ticks, 1_000_000, hz)
}

/// Ticks to seconds, for display and estimates only.
pub fn seconds(ticks: i64, hz: i64) -> f64 {
    ticks as f64 / hz.max(1) as f64
}

/// What is added to a source time of `1/hz` ticks so that it becomes a chunk time.
pub fn shift(start_us: i64, hz: i64) -> i64 {
    GUARD_SECONDS * hz - us_to_ticks(start_us, hz)
}

/// Microseconds as a decimal number of seconds with six digits, as ffmpeg's options take it.
pub fn us_text(us: i64) -> String {
    let sign = if us < 0 { "-" } else { "" };
    let us = us.unsigned_abs();
    format!("{sign}{}.{:06}", us / 1_000_000, us % 1_000_000)
}

/// Which output frame of constant `rate` shows at `ticks` after the origin: the nearest one, as ffmpeg's `fps` filter
/// rounds by default.
pub fn frame_at(ticks: i64, hz: i64, rate: Rational) -> i64 {
    let num = i128::from(ticks) * i128::from(rate.num());
    let den = i128::from(hz) * i128::from(rate.den());
    let half = den / 2;
    let rounded = if num >= 0 { (num + half) / den } else { -((-num + half) / den) };
    i64::try_from(rounded).unwrap_or(i64::MAX)
}

/// A time in milliseconds as WebVTT writes it.
pub fn clock(ms: i64) -> String {
    let ms = ms.max(0);
    format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_of_the_sound_fits_its_time_base() {
        let base = |num, den| Rational::new(num, den).unwrap();
        assert_eq!(audio_guard(&[]), 16);
        assert_eq!(audio_guard(&[base(1, 48_000)]), 16);
        assert_eq!(audio_guard(&[base(3, 125), base(1, 44_100)]), 18);
    }

    #[test]
    fn rescale_rounds_halves_away_from_zero() {
        let cases = [
            (5, 1, 10, 1),
            (-5, 1, 10, -1),
            (4, 1, 10, 0),
            (i64::MAX, 2, 1, i64::MAX),
            (7, 90_000, 1_000, 630),
        ];
        for (value, num, den, expected) in cases {
            assert_eq!(rescale(value, num, den), expected, "{value}*{num}/{den}");
        }
        assert_eq!(us_text(-1_500_000), "-1.500000");
        assert_eq!(us_text(16_000_001), "16.000001");
    }
}
