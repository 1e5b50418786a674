//! Passwords as they are kept: argon2id in PHC form, with the parameters of OWASP's password storage cheat sheet (19 MiB, two
//! passes, one lane), which are the library's own. Each takes some tens of milliseconds and 19 MiB: how many at once is the
//! caller's business.

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Argon2, PasswordHash};

/// Least number of characters.
const LEAST: usize = 10;
/// Longest password, in bytes: longer ones only make work.
const LONGEST: usize = 1024;

/// What an unknown user's password is compared with, so that it takes as long as a known one's.
const DECOY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$a2lub3JhIGRlY295$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Why a password cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// It can be guessed.
    #[error("a password has {LEAST} characters at the least")]
    Short,
    /// It is no password but a file.
    #[error("a password has {LONGEST} bytes at the most")]
    Long,
    /// Hardly more than the same character.
    #[error("a password has more than two different characters")]
    Monotonous,
    /// It cannot be hashed.
    #[error("the password cannot be kept: {0}")]
    Failed(String),
}

/// What is kept of a password.
///
/// # Errors
/// When it is no good.
pub fn keep(password: &str) -> Result<String, PasswordError> {
    if password.len() > LONGEST {
        return Err(PasswordError::Long);
    }
    if password.chars().count() < LEAST {
        return Err(PasswordError::Short);
    }
    let mut different: Vec<char> = password.chars().collect();
    different.sort_unstable();
    different.dedup();
    if different.len() < 3 {
        return Err(PasswordError::Monotonous);
    }
    let kept = Argon2::default().hash_password(password.as_bytes());
    Ok(kept.map_err(|e| PasswordError::Failed(e.to_string()))?.to_string())
}

/// Whether it is the one. It takes as long when there is nothing to compare it with.
pub fn matches(password: &str, kept: Option<&str>) -> bool {
    let Ok(hash) = PasswordHash::new(kept.unwrap_or(DECOY)) else { return false };
    let short = &password.as_bytes()[..password.len().min(LONGEST)];
    let same = Argon2::default().verify_password(short, &hash).is_ok();
    same && kept.is_some() && password.len() <= LONGEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_matches() {
        let kept = keep("drei große Bären").unwrap();
        assert!(matches("drei große Bären", Some(&kept)));
        for wrong in ["", "drei große Baren", "drei große Bären "] {
            assert!(!matches(wrong, Some(&kept)), "{wrong}");
        }
        assert!(!matches("drei große Bären", None));
        assert!(!matches("drei große Bären", Some("plain text")));
        assert_ne!(kept, keep("drei große Bären").unwrap());
    }

    /// Who is not known is not found out by how long it takes.
    #[test]
    fn the_decoy_takes_as_long_as_what_is_kept() {
        let how = |kept: &str| kept.rsplitn(3, '$').nth(2).map(str::to_owned);
        let kept = keep("drei große Bären").unwrap();
        assert_eq!(how(DECOY), how(&kept));
        assert_eq!(how(DECOY).as_deref(), Some("$argon2id$v=19$m=19456,t=2,p=1"));
        let decoy = PasswordHash::new(DECOY).unwrap();
        let kept = PasswordHash::new(&kept).unwrap();
        assert_eq!(decoy.hash.map(|hash| hash.len()), kept.hash.map(|hash| hash.len()));
    }

    #[test]
    fn some_are_no_good() {
        assert_eq!(keep("123456789"), Err(PasswordError::Short));
        assert_eq!(keep("äöüäöüäöü"), Err(PasswordError::Short));
        assert_eq!(keep("aaaaaaaaaaaa"), Err(PasswordError::Monotonous));
        assert_eq!(keep(&"abc".repeat(400)), Err(PasswordError::Long));
    }
}
