//! What the hub asks others with. Whom it asks for what is not known here.

use std::time::Duration;

/// What asks others: it follows no redirects, whose ends have to be looked at first.
pub(super) fn builder() -> reqwest::ClientBuilder {
    // Another part of the program may have chosen it before: there is one for all.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let agent = concat!("Kinora/", env!("CARGO_PKG_VERSION"));
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).user_agent(agent)
}

/// What sends to receivers that somebody named, who have to answer within `patience`. Without certificates of authorities on this machine
/// those with plain HTTP are reached all the same.
pub(super) fn client(patience: Duration) -> reqwest::Result<reqwest::Client> {
    builder().timeout(patience).build().or_else(|_| builder().timeout(patience).tls_certs_only([]).build())
}

/// The outermost words of an error only say that it did not work.
pub(super) fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
