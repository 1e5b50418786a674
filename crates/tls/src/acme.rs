//! Certificates from an authority on the internet (ACME, RFC 8555). That a name leads here is proven on the port where the hub
//! listens anyway (TLS-ALPN-01, RFC 8737): nothing else has to be open.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order, OrderStatus,
    RetryPolicy,
};
use kinora_access::node::hex;
use kinora_access::private;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;

use crate::certificate::{self, Facts};
use crate::resolver::Resolver;
use crate::{Result, TlsError};

/// By what an authority says that it only looks.
pub const PROTOCOL: &[u8] = b"acme-tls/1";
/// The authority that is asked when nobody says which.
pub const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// How often it is looked whether the certificate has to be renewed.
const LOOK: Duration = Duration::from_secs(3600);
/// The first wait after an authority has refused; each is twice as long as the one before.
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// The longest. Authorities count failures by the hour.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// How long an authority may look, and sign.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(120));

/// Whom to ask for what.
#[derive(Debug, Clone)]
pub struct Acme {
    /// Where account, keys and certificates lie.
    pub folder: PathBuf,
    /// Names that the certificate is for; each leads to this hub.
    pub names: Vec<String>,
    /// Address of the authority's directory.
    pub directory: String,
    /// Mail address to which the authority may write.
    pub contact: Option<String>,
    /// By what the authority itself is known, as PEM, where it is not on the internet.
    pub roots: Option<PathBuf>,
}

impl Acme {
    /// What belongs to another directory is of no use to this one.
    fn at(&self, name: &str) -> PathBuf {
        let digest = certificate::sha256(self.directory.as_bytes());
        let of = hex(&digest[..8]);
        self.folder.join(format!("acme-{of}-{name}"))
    }

    fn failed(&self, reason: impl std::fmt::Display) -> TlsError {
        TlsError::Acme { directory: self.directory.clone(), reason: reason.to_string() }
    }

    /// The outermost words of these say little.
    fn broken(&self, error: instant_acme::Error) -> TlsError {
        let mut cause: &dyn std::error::Error = &error;
        let mut reason = cause.to_string();
        while let Some(source) = cause.source() {
            let words = source.to_string();
            if !reason.contains(&words) {
                reason = format!("{reason}: {words}");
            }
            cause = source;
        }
        self.failed(reason)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.names.iter().map(|name| name.to_ascii_lowercase()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The certificate of before, if it is for these names. One that is over is better than none: it says which hub this is.
    pub(crate) fn kept(&self) -> Result<Option<Arc<CertifiedKey>>> {
        Ok(self.read()?.map(|(pair, _)| pair))
    }

    fn read(&self) -> Result<Option<(Arc<CertifiedKey>, Facts)>> {
        std::fs::create_dir_all(&self.folder).map_err(|error| TlsError::file(&self.folder, error))?;
        let path = self.at("certificate.pem");
        let texts = match (std::fs::read(&path), std::fs::read(self.at("certificate.key"))) {
            (Ok(chain), Ok(key)) => (chain, key),
            _ => return Ok(None),
        };
        let wrong = |error: String| TlsError::file(&path, error);
        let chain = certificate::chain(&texts.0).map_err(wrong)?;
        let facts = Facts::read(&chain[0]).map_err(wrong)?;
        let pair = certificate::pair(chain, certificate::key(&texts.1).map_err(wrong)?);
        // A kill between the two files leaves them apart.
        let Ok(pair) = pair else { return Ok(None) };
        // Some authorities add a name.
        let all = self.names().iter().all(|name| facts.names.contains(name));
        Ok(all.then_some((pair, facts)))
    }

    /// Gets a certificate when there is none or a third of its time is left, for ever.
    pub(crate) async fn follow(&self, resolver: &Resolver) {
        let mut wait = FIRST_WAIT;
        loop {
            let due = !matches!(self.read(), Ok(Some((_, facts))) if !facts.is_due());
            if !due {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            match self.order(resolver).await {
                Ok(pair) => {
                    tracing::info!("{} gave a certificate for {}", self.directory, self.names().join(", "));
                    resolver.set(pair);
                    wait = FIRST_WAIT;
                    tokio::time::sleep(LOOK).await;
                }
                Err(error) => {
                    tracing::warn!("{error}; tried again in {} s", wait.as_secs());
                    tokio::time::sleep(wait).await;
                    wait = (2 * wait).min(LONGEST_WAIT);
                }
            }
        }
    }

    async fn account(&self) -> Result<Account> {
        let failed = |error| self.broken(error);
        let builder = match &self.roots {
            Some(path) => Account::builder_with_root(path).map_err(|error| TlsError::file(path, error))?,
            None => Account::builder().map_err(failed)?,
        };
        let path = self.at("account.json");
        if let Ok(text) = std::fs::read_to_string(&path) {
            let kept = serde_json::from_str(&text).map_err(|error| TlsError::file(&path, error))?;
            return builder.from_credentials(kept).await.map_err(failed);
        }
        let contact = self.contact.as_ref().map(|contact| format!("mailto:{contact}"));
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let wanted =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let (account, made) = builder.create(&wanted, self.directory.clone(), None).await.map_err(failed)?;
        let text = serde_json::to_string(&made).map_err(TlsError::make)?;
        private::write(&path, &text).map_err(|error| TlsError::file(&path, error))?;
        Ok(account)
    }

    async fn order(&self, resolver: &Resolver) -> Result<Arc<CertifiedKey>> {
        let names = self.names();
        let identifiers: Vec<Identifier> = names.iter().cloned().map(Identifier::Dns).collect();
        let account = self.account().await?;
        let order = account.new_order(&NewOrder::new(&identifiers)).await;
        let mut order = order.map_err(|error| self.broken(error))?;
        let done = self.fulfil(&mut order, resolver).await;
        for name in &names {
            resolver.challenge(name, None);
        }
        done?;
        let key = KeyPair::generate().map_err(TlsError::make)?;
        let params = CertificateParams::new(names).map_err(TlsError::make)?;
        let request = params.serialize_request(&key).map_err(TlsError::make)?;
        order.finalize_csr(request.der()).await.map_err(|error| self.broken(error))?;
        let chain = order.poll_certificate(&PATIENCE).await.map_err(|error| self.broken(error))?;
        let write = |name: &str, text: &str| {
            let path = self.at(name);
            private::write(&path, text).map_err(|error| TlsError::file(&path, error))
        };
        let certificates = certificate::chain(chain.as_bytes()).map_err(|error| self.failed(error))?;
        let secret = certificate::key(key.serialize_pem().as_bytes()).map_err(TlsError::make)?;
        let pair = certificate::pair(certificates, secret).map_err(|error| self.failed(error))?;
        write("certificate.key", &key.serialize_pem())?;
        write("certificate.pem", &chain)?;
        Ok(pair)
    }

    /// Proves that each name leads here.
    async fn fulfil(&self, order: &mut Order, resolver: &Resolver) -> Result<()> {
        let mut proofs = order.authorizations();
        while let Some(proof) = proofs.next().await {
            let mut proof = proof.map_err(|error| self.broken(error))?;
            match proof.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                other => return Err(self.failed(format!("it takes no proof for a name ({other:?})"))),
            }
            let missing = || self.failed("it does not offer TLS-ALPN-01, the one proof that Kinora can give");
            let mut challenge = proof.challenge(ChallengeType::TlsAlpn01).ok_or_else(missing)?;
            let name = challenge.identifier().to_string();
            let answer = answer(&name, challenge.key_authorization().digest().as_ref())?;
            resolver.challenge(&name, Some(answer));
            challenge.set_ready().await.map_err(|error| self.broken(error))?;
        }
        match order.poll_ready(&PATIENCE).await {
            Ok(OrderStatus::Ready) => Ok(()),
            Ok(_) => Err(self.why(order).await),
            Err(error) => Err(self.not_reached(&self.names().join(", "), error)),
        }
    }

    fn not_reached(&self, name: &str, reason: impl std::fmt::Display) -> TlsError {
        self.failed(format!("{name}: {reason}; it has to reach this hub at port 443 of that name"))
    }

    /// What the authority found wrong.
    async fn why(&self, order: &mut Order) -> TlsError {
        let mut proofs = order.authorizations();
        while let Some(Ok(mut proof)) = proofs.next().await {
            let name = proof.identifier().to_string();
            let Ok(state) = proof.refresh().await else { continue };
            if let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
                return self.not_reached(&name, problem);
            }
        }
        self.failed("it did not say why")
    }
}

/// The certificate that proves it, signed by itself.
fn answer(name: &str, digest: &[u8]) -> Result<Arc<CertifiedKey>> {
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(TlsError::make)?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate().map_err(TlsError::make)?;
    let made = params.self_signed(&key).map_err(TlsError::make)?;
    let secret = certificate::key(key.serialize_pem().as_bytes()).map_err(TlsError::make)?;
    // To look whether the two belong together would mean to read what only authorities read.
    let secret = any_supported_type(&secret).map_err(TlsError::make)?;
    Ok(Arc::new(CertifiedKey::new(vec![made.der().clone()], secret)))
}
