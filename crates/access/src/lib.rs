//! Who somebody is, and what that somebody may do: passwords, keys, tokens, and the one decision about all of them.
//!
//! It knows neither HTTP nor where users are kept, and reads no clock. What has to lie in a file of its own is written by `private`.

mod actor;
mod authorize;
pub mod chain;
pub mod node;
pub mod oidc;
pub mod password;
pub mod private;
mod secret;
mod signature;
mod token;

pub use actor::{Actor, User, Via};
pub use authorize::{Action, Denial, Resource, authorize};
pub use secret::{Prefix, Secret, SecretId};
pub use token::{Audience, Claims, Issuer, TokenError};

/// What cannot be made because the system gives no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers: {0}")]
pub struct NoRandomness(getrandom::Error);

/// Bytes that nobody can guess.
///
/// # Errors
/// When the system has none.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}
