//! Reading certificates and their keys.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// The certificates in a text, first that of the hub.
pub(crate) fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| format!("it is no PEM: {error}"))?;
    if chain.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(chain) }
}

/// The key in a text.
pub(crate) fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            "there is no key in it; one that is locked by a password has to be unlocked first".to_owned()
        }
        other => format!("it is no PEM: {other}"),
    })
}

/// A certificate with its key, if they belong together.
pub(crate) fn pair(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, String> {
    let pair = CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => "the key is that of another certificate".to_owned(),
        other => other.to_string(),
    })?;
    Ok(Arc::new(pair))
}

/// What is to be known of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Names and addresses that it is for.
    pub names: BTreeSet<String>,
    /// From when it is good.
    pub from: SystemTime,
    /// Until when.
    pub until: SystemTime,
}

impl Facts {
    pub(crate) fn read(certificate: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, read) =
            X509Certificate::from_der(certificate).map_err(|e| format!("it cannot be read: {e}"))?;
        let names = read.subject_alternative_name().map_err(|e| e.to_string())?;
        let names = names.map(|names| names.value.general_names.iter().filter_map(name).collect());
        let time = |at: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(at).unwrap_or(0));
        let validity = read.validity();
        Ok(Self {
            names: names.unwrap_or_default(),
            from: time(validity.not_before.timestamp()),
            until: time(validity.not_after.timestamp()),
        })
    }

    /// How long it is good yet.
    pub(crate) fn left(&self) -> Duration {
        self.until.duration_since(SystemTime::now()).unwrap_or_default()
    }

    /// Whether a third of its time or less is left.
    pub(crate) fn is_due(&self) -> bool {
        self.left() <= self.until.duration_since(self.from).unwrap_or_default() / 3
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|four| std::net::IpAddr::from(four).to_string()),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|all| std::net::IpAddr::from(all).to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// Whether one certificate was signed with the key of another.
pub(crate) fn is_signed(certificate: &CertificateDer<'_>, by: &CertificateDer<'_>) -> bool {
    let read = X509Certificate::from_der(certificate);
    let (Ok((_, certificate)), Ok((_, by))) = (read, X509Certificate::from_der(by)) else { return false };
    certificate.verify_signature(Some(by.public_key())).is_ok()
}

/// SHA-256 of the one certificate in a PEM text, in hexadecimal as browsers and OpenSSL write it.
///
/// # Errors
/// When there is none, or more than one: a fingerprint would not speak for the others.
pub fn fingerprint(pem: &str) -> Result<String, String> {
    let all = chain(pem.as_bytes())?;
    let [one] = &all[..] else { return Err(format!("there are {} certificates in it, not one", all.len())) };
    Ok(sha256(one).iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":"))
}

/// The digest that certificates are known by.
pub(crate) fn sha256(bytes: &[u8]) -> Vec<u8> {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_speaks_for_one() {
        let made = || rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap().cert.pem();
        let (one, other) = (made(), made());
        assert_eq!(fingerprint(&one).unwrap().len(), 32 * 3 - 1);
        assert!(fingerprint(&format!("{one}{other}")).unwrap_err().contains("2 certificates"));
        assert!(fingerprint("").is_err());
    }
}
