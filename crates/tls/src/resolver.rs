//! Which certificate a connection gets: the newest, or the answer to a challenge of an authority.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::acme;

/// Changes while connections come in.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    current: RwLock<Option<Arc<CertifiedKey>>>,
    /// By the name that is to be proven.
    challenges: RwLock<HashMap<String, Arc<CertifiedKey>>>,
}

impl Resolver {
    pub(crate) fn set(&self, certificate: Arc<CertifiedKey>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(certificate);
    }

    pub(crate) fn challenge(&self, name: &str, certificate: Option<Arc<CertifiedKey>>) {
        let mut challenges = self.challenges.write().unwrap_or_else(PoisonError::into_inner);
        match certificate {
            Some(certificate) => challenges.insert(name.to_ascii_lowercase(), certificate),
            None => challenges.remove(&name.to_ascii_lowercase()),
        };
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // An authority that looks offers this protocol and no other (RFC 8737, section 3).
        let looked_at = hello
            .alpn()
            .is_some_and(|mut offered| offered.next() == Some(acme::PROTOCOL) && offered.next().is_none());
        if looked_at {
            let challenges = self.challenges.read().unwrap_or_else(PoisonError::into_inner);
            return challenges.get(&hello.server_name()?.to_ascii_lowercase()).cloned();
        }
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
