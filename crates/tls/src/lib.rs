//! Certificates of a hub: from files of the operator's, from a certificate authority on the internet (ACME), or from an authority
//! of the hub's own. Whatever listens takes a configuration from here that always has the newest one.
//!
//! It knows nothing of HTTP and nothing of who connects.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use tokio_util::sync::CancellationToken;

pub mod acme;
mod authority;
mod certificate;
mod files;
mod resolver;

pub use acme::Acme;
pub use certificate::fingerprint;
use resolver::Resolver;

/// Something that is not to be had, or cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A certificate that an authority on the internet was asked for.
    #[error("{directory} gives no certificate: {reason}")]
    Acme {
        /// Where it was asked for.
        directory: String,
        /// Why.
        reason: String,
    },
    /// A certificate cannot be made.
    #[error("no certificate can be made: {0}")]
    Make(String),
}

/// Result of this crate.
pub type Result<T, E = TlsError> = std::result::Result<T, E>;

impl TlsError {
    fn file(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::File { path: path.to_owned(), reason: reason.to_string() }
    }

    fn make(reason: impl std::fmt::Display) -> Self {
        Self::Make(reason.to_string())
    }
}

/// Where certificates come from.
#[derive(Debug, Clone)]
pub enum Certificates {
    /// Files of the operator's, which are read again when they change.
    Files {
        /// The certificate and those between it and its authority, as PEM.
        chain: PathBuf,
        /// Its key, as PEM.
        key: PathBuf,
        /// The authority that clients are to know, as PEM, when it is none that they know anyway.
        authority: Option<PathBuf>,
    },
    /// An authority of the hub's own, which signs for all addresses of this machine.
    Own {
        /// Where it lies.
        folder: PathBuf,
        /// Names of the hub besides.
        names: Vec<String>,
    },
    /// An authority that is asked over the internet.
    Acme(Acme),
}

/// The certificates of a hub that runs.
pub struct Tls {
    certificates: Certificates,
    resolver: Arc<Resolver>,
    authority: Option<Text>,
    /// What stood in the files of the operator.
    read: Option<files::Texts>,
}

/// A text that may change.
pub type Text = Arc<RwLock<String>>;

/// How often files are read again.
const FILES: Duration = Duration::from_secs(5);
/// How often it is looked whether this machine has other addresses, or its certificate ends.
const OWN: Duration = Duration::from_secs(600);

impl Tls {
    /// Reads or makes what is needed. A certificate from the internet that is not there yet comes when [`Tls::keep`] runs.
    ///
    /// # Errors
    /// When files cannot be read or do not belong together.
    pub fn open(certificates: Certificates) -> Result<Self> {
        let resolver = Arc::new(Resolver::default());
        let (mut authority, mut texts) = (None, None);
        match &certificates {
            Certificates::Files { chain, key, authority: path } => {
                let (read, pair) = files::read(chain, key)?;
                resolver.set(pair);
                texts = Some(read);
                authority = path.as_deref().map(files::authority).transpose()?;
            }
            Certificates::Own { folder, names } => {
                let own = authority::issue(folder, names)?;
                resolver.set(own.certificate);
                authority = Some(own.authority);
            }
            Certificates::Acme(acme) => {
                if let Some(kept) = acme.kept()? {
                    resolver.set(kept);
                }
            }
        }
        let authority = authority.map(|text| Arc::new(RwLock::new(text)));
        Ok(Self { certificates, resolver, authority, read: texts })
    }

    /// The authority that clients have to know, as PEM, when it is none that they know anyway. It changes as certificates do.
    pub fn authority(&self) -> Option<Text> {
        self.authority.clone()
    }

    fn authority_is(&self, now: String) {
        if let Some(kept) = &self.authority {
            *kept.write().unwrap_or_else(PoisonError::into_inner) = now;
        }
    }

    async fn follow_files(&self, chain: &Path, key: &Path, authority: Option<&Path>) {
        let mut following = files::Following::new(self.read.clone());
        loop {
            tokio::time::sleep(FILES).await;
            if let Some(pair) = following.look(chain, key) {
                self.resolver.set(pair);
            }
            if let Some(Ok(now)) = authority.map(files::authority) {
                self.authority_is(now);
            }
        }
    }

    /// What a listener needs: TLS 1.2 and 1.3, HTTP/2 before HTTP/1.1.
    ///
    /// # Errors
    /// Never with the cryptography that is built in.
    pub fn config(&self) -> Result<Arc<ServerConfig>> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().map_err(TlsError::make)?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(self.resolver.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if matches!(self.certificates, Certificates::Acme(_)) {
            config.alpn_protocols.push(acme::PROTOCOL.to_vec());
        }
        Ok(Arc::new(config))
    }

    /// Keeps certificates new until `stop`.
    pub async fn keep(self, stop: CancellationToken) {
        let work = async {
            match &self.certificates {
                Certificates::Files { chain, key, authority } => {
                    self.follow_files(chain, key, authority.as_deref()).await;
                }
                Certificates::Own { folder, names } => loop {
                    tokio::time::sleep(OWN).await;
                    match authority::issue(folder, names) {
                        Ok(own) => {
                            self.resolver.set(own.certificate);
                            self.authority_is(own.authority);
                        }
                        Err(error) => tracing::warn!("the certificate stays as it was: {error}"),
                    }
                },
                Certificates::Acme(acme) => acme.follow(&self.resolver).await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }
}
