//! Values of flags that several commands take.

use kinora_protocol::class::Tags;

/// A number of seconds, up to an hour.
pub fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|s: &f64| (0.0..=3600.0).contains(s));
    seconds.ok_or_else(|| format!("{text:?} is not a number of seconds up to 3600"))
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
        assert_eq!(tags("gpu, attic").map(|t| t.to_string()), Ok("attic,gpu".to_owned()));
        assert!(tags("gpu,,attic").is_err_and(|why| why.contains("no tag")));
    }
}
