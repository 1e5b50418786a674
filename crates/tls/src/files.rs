//! Certificates in files of the operator's, which something else renews.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::sign::CertifiedKey;

use crate::certificate::{self, Facts};
use crate::{Result, TlsError};

/// A certificate that ends so soon is worth a word.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// What stands in both.
pub(crate) type Texts = (Vec<u8>, Vec<u8>);
/// The same, and what it comes to.
type Read = (Texts, Arc<CertifiedKey>);

fn bytes(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| TlsError::file(path, error))
}

pub(crate) fn read(chain: &Path, key: &Path) -> Result<Read> {
    let texts = (bytes(chain)?, bytes(key)?);
    let certificates = certificate::chain(&texts.0).map_err(|error| TlsError::file(chain, error))?;
    let secret = certificate::key(&texts.1).map_err(|error| TlsError::file(key, error))?;
    if let Some(first) = certificates.first() {
        let facts = Facts::read(first).map_err(|error| TlsError::file(chain, error))?;
        match facts.left() {
            Duration::ZERO => tracing::warn!("{}: the certificate is over", chain.display()),
            left if left < SOON => {
                tracing::warn!(
                    "{}: the certificate ends in {} days",
                    chain.display(),
                    left.as_secs() / 86_400
                );
            }
            _ => {}
        }
    }
    let pair = certificate::pair(certificates, secret).map_err(|error| TlsError::file(key, error))?;
    Ok((texts, pair))
}

/// An authority that clients are to know.
pub(crate) fn authority(path: &Path) -> Result<String> {
    let text = bytes(path)?;
    certificate::chain(&text).map_err(|error| TlsError::file(path, error))?;
    String::from_utf8(text).map_err(|_| TlsError::file(path, "it is no text"))
}

/// What is known of files that are looked at again and again. Their times say little: links are moved to new ones that are older
/// than the last look, and a key is written after its certificate. So what stands in them counts, and only when both belong together.
pub(crate) struct Following {
    last: Option<Texts>,
    /// What was last said about them.
    said: String,
}

impl Following {
    pub(crate) fn new(last: Option<Texts>) -> Self {
        Self { last, said: String::new() }
    }

    /// The certificate that they hold now, if it is another.
    pub(crate) fn look(&mut self, chain: &Path, key: &Path) -> Option<Arc<CertifiedKey>> {
        if let (Ok(chain), Ok(key)) = (bytes(chain), bytes(key))
            && self.last == Some((chain, key))
        {
            return None;
        }
        match read(chain, key) {
            Ok((texts, pair)) => {
                tracing::info!("{}: the new certificate is in use", chain.display());
                self.last = Some(texts);
                self.said.clear();
                Some(pair)
            }
            Err(error) => {
                let why = error.to_string();
                if why != self.said {
                    tracing::warn!("the certificate stays as it was: {why}");
                }
                self.said = why;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn what_has_changed_is_taken_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
        let (one, two) = (made("one.example"), made("two.example"));
        let write = |chain_text: &str, key_text: &str| {
            std::fs::write(&chain, chain_text).unwrap();
            std::fs::write(&key, key_text).unwrap();
        };
        write(&one.0, &one.1);
        let mut following = Following::new(Some(read(&chain, &key).unwrap().0));
        assert!(following.look(&chain, &key).is_none());
        write(&two.0, &one.1);
        assert!(following.look(&chain, &key).is_none());
        write(&two.0, &two.1);
        assert!(following.look(&chain, &key).is_some() && following.look(&chain, &key).is_none());
        // What changed before the first look is seen, too.
        let mut late = Following::new(Some((one.0.into_bytes(), one.1.into_bytes())));
        assert!(late.look(&chain, &key).is_some());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
        let (one, two) = (made("one.example"), made("two.example"));
        let why = |texts: (&str, &str)| {
            std::fs::write(&chain, texts.0).unwrap();
            std::fs::write(&key, texts.1).unwrap();
            read(&chain, &key).map(|_| ()).map_err(|error| error.to_string())
        };
        assert!(read(&chain, &key).is_err_and(|error| error.to_string().contains("chain.pem")));
        assert_eq!(why((&one.0, &one.1)), Ok(()));
        for (texts, words) in [
            ((&*one.0, &*two.1), "another certificate"),
            ((&*one.1, &*one.1), "no certificate"),
            ((&*one.0, &*one.0), "no key"),
            (("", ""), "no certificate"),
            ((&*one.0, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "key.pem"),
        ] {
            let said = why(texts).unwrap_err();
            assert!(said.contains(words), "{said}");
        }
    }
}
