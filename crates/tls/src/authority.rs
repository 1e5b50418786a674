//! The hub's own authority: made once, known to clients by its fingerprint, and signing for whatever addresses this machine has.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kinora_access::node::hex;
use kinora_access::{private, random};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use crate::certificate::{self, Facts};
use crate::{Result, TlsError};

/// A day.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long an authority is good.
const AUTHORITY: u32 = 3650;
/// How long a certificate is good; browsers take none of more than 398 days from authorities that they came with, and some from none.
const CERTIFICATE: u32 = 90;

/// What there is then.
pub(crate) struct Own {
    pub certificate: Arc<CertifiedKey>,
    /// As PEM.
    pub authority: String,
}

/// Names and addresses of this machine, with those that it is told.
fn all_names(names: &[String]) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    let found = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!("the addresses of this machine are not to be had: {error}");
        Vec::new()
    });
    // One that is good within a network alone stands in addresses with the number of the card, and no certificate can say that.
    let usable = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    };
    all.extend(found.iter().map(if_addrs::Interface::ip).filter(usable).map(|ip| ip.to_string()));
    all.extend(names.iter().map(|name| name.to_ascii_lowercase()));
    all
}

/// The certificate for this machine as it is now: that of before, if it is good yet.
pub(crate) fn issue(folder: &Path, names: &[String]) -> Result<Own> {
    let at = |name: &str| folder.join(name);
    std::fs::create_dir_all(folder).map_err(|error| TlsError::file(folder, error))?;
    let (authority, key) = authority(folder)?;
    let known = all_names(names);
    let signer =
        certificate::chain(authority.as_bytes()).map_err(|e| TlsError::file(&at("authority.pem"), e))?;
    let signer = &signer[0];
    if let Some(kept) = kept(folder, &known, signer) {
        return Ok(Own { certificate: kept, authority });
    }
    let issuer = Issuer::from_ca_cert_der(signer, key).map_err(TlsError::make)?;
    let mut params = CertificateParams::new(known.into_iter().collect::<Vec<_>>()).map_err(TlsError::make)?;
    params.distinguished_name.push(DnType::CommonName, "Kinora hub");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    good_for(&mut params, CERTIFICATE);
    let own = KeyPair::generate().map_err(TlsError::make)?;
    let made = params.signed_by(&own, &issuer).map_err(TlsError::make)?;
    let key = certificate::key(own.serialize_pem().as_bytes()).map_err(TlsError::make)?;
    let pair = certificate::pair(vec![made.der().clone()], key).map_err(TlsError::make)?;
    write(&at("certificate.key"), &own.serialize_pem())?;
    write(&at("certificate.pem"), &made.pem())?;
    Ok(Own { certificate: pair, authority })
}

/// The certificate of before, if it is for all of these and lasts.
fn kept(folder: &Path, names: &BTreeSet<String>, signer: &CertificateDer<'_>) -> Option<Arc<CertifiedKey>> {
    let chain = certificate::chain(&std::fs::read(folder.join("certificate.pem")).ok()?).ok()?;
    let key = certificate::key(&std::fs::read(folder.join("certificate.key")).ok()?).ok()?;
    let first = chain.first()?;
    let facts = Facts::read(first).ok()?;
    let good = facts.names == *names && !facts.is_due() && certificate::is_signed(first, signer);
    if good { certificate::pair(chain, key).ok() } else { None }
}

/// The authority with its key: that of before, or a new one.
fn authority(folder: &Path) -> Result<(String, KeyPair)> {
    let (path, key_path) = (folder.join("authority.pem"), folder.join("authority.key"));
    match (std::fs::read_to_string(&path), std::fs::read_to_string(&key_path)) {
        (Ok(text), Ok(key)) => {
            let key = KeyPair::from_pem(&key).map_err(|error| TlsError::file(&key_path, error))?;
            let chain = certificate::chain(text.as_bytes()).map_err(|error| TlsError::file(&path, error))?;
            let facts = Facts::read(&chain[0]).map_err(|error| TlsError::file(&path, error))?;
            if facts.left() > CERTIFICATE * DAY {
                return Ok((text, key));
            }
            tracing::warn!("{}: the authority ends soon; there is a new one", path.display());
        }
        (Err(error), _) if error.kind() == std::io::ErrorKind::NotFound => {}
        // To make a new one would turn away whoever knows this one.
        (Err(error), _) => return Err(TlsError::file(&path, error)),
        (_, Err(error)) => return Err(TlsError::file(&key_path, error)),
    }
    let key = KeyPair::generate().map_err(TlsError::make)?;
    let mut params = CertificateParams::default();
    // Two hubs have different ones, and browsers tell authorities apart by their names.
    let number = random::<4>().map_err(TlsError::make)?;
    let number = hex(&number);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("Kinora authority {number}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    good_for(&mut params, AUTHORITY);
    let made = params.self_signed(&key).map_err(TlsError::make)?;
    // Without the certificate the key is nothing: it is looked for first.
    write(&key_path, &key.serialize_pem())?;
    write(&path, &made.pem())?;
    Ok((made.pem(), key))
}

/// From yesterday, as clocks differ.
fn good_for(params: &mut CertificateParams, days: u32) {
    let now = SystemTime::now();
    params.not_before = (now - DAY).into();
    params.not_after = (now + days * DAY).into();
}

fn write(path: &Path, text: &str) -> Result<()> {
    private::write(path, text).map_err(|error| TlsError::file(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_until_something_changes() {
        let folder = tempfile::tempdir().unwrap();
        let first = issue(folder.path(), &[]).unwrap();
        let again = issue(folder.path(), &[]).unwrap();
        assert_eq!(first.certificate.cert, again.certificate.cert);
        let named = issue(folder.path(), &["Studio.example".to_owned()]).unwrap();
        assert_eq!(first.authority, named.authority);
        assert_ne!(first.certificate.cert, named.certificate.cert);
        let facts = Facts::read(&named.certificate.cert[0]).unwrap();
        for name in ["localhost", "127.0.0.1", "::1", "studio.example"] {
            assert!(facts.names.contains(name), "{name} in {:?}", facts.names);
        }
        assert!(facts.left() > 89 * DAY && facts.left() <= 90 * DAY);
        // Half of a pair is as good as none.
        std::fs::remove_file(folder.path().join("certificate.key")).unwrap();
        assert_ne!(
            named.certificate.cert,
            issue(folder.path(), &["studio.example".to_owned()]).unwrap().certificate.cert
        );
        // A new authority signs anew.
        for name in ["authority.pem", "authority.key"] {
            std::fs::remove_file(folder.path().join(name)).unwrap();
        }
        let other = issue(folder.path(), &["studio.example".to_owned()]).unwrap();
        assert_ne!(other.authority, first.authority);
        assert!(certificate::is_signed(
            &other.certificate.cert[0],
            &certificate::chain(other.authority.as_bytes()).unwrap()[0]
        ));
    }

    #[test]
    fn an_authority_whose_key_is_gone_is_not_replaced_unasked() {
        let folder = tempfile::tempdir().unwrap();
        issue(folder.path(), &[]).unwrap();
        std::fs::remove_file(folder.path().join("authority.key")).unwrap();
        let said = issue(folder.path(), &[]).map(|_| ()).unwrap_err().to_string();
        assert!(said.contains("authority.key"), "{said}");
    }
}
