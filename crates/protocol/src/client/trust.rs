//! Whom a client believes that it is the hub: by certificates that the system knows, or by one authority and no other. What is
//! asked over the connection is none of its business.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier;

use super::Answer;
use crate::error::{ErrorCode, Failure};

/// Decides about certificates; what it goes by may change while connections are made.
#[derive(Debug)]
pub(super) struct Trust {
    provider: Arc<CryptoProvider>,
    whom: RwLock<Whom>,
    /// Read from the system when it is first needed.
    system: OnceLock<Result<Verifier, Error>>,
}

#[derive(Debug, Clone)]
enum Whom {
    /// Whom the system knows.
    System,
    /// Whomever one authority has signed for.
    Authority(Arc<WebPkiServerVerifier>),
    /// Anybody. What is said has to be proven otherwise.
    Anybody,
}

impl Trust {
    pub(super) fn system() -> Arc<Self> {
        Self::new(Whom::System)
    }

    pub(super) fn anybody() -> Arc<Self> {
        Self::new(Whom::Anybody)
    }

    fn new(whom: Whom) -> Arc<Self> {
        let provider = Arc::new(ring::default_provider());
        Arc::new(Self { provider, whom: RwLock::new(whom), system: OnceLock::new() })
    }

    /// From now on whom this authority has signed for, and nobody else; without one whom the system knows.
    pub(super) fn change(&self, authority: Option<&str>) -> Answer<()> {
        let whom = match authority {
            None => Whom::System,
            Some(pem) => Whom::Authority(self.authority(pem)?),
        };
        *self.whom.write().unwrap_or_else(PoisonError::into_inner) = whom;
        Ok(())
    }

    fn authority(&self, pem: &str) -> Answer<Arc<WebPkiServerVerifier>> {
        let wrong = |why: String| {
            Failure::new(ErrorCode::BadInput, format!("the authority of the hub is no certificate: {why}"))
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
        let builder = WebPkiServerVerifier::builder_with_provider(roots.into(), self.provider.clone());
        builder.build().map_err(|error| wrong(error.to_string()))
    }

    /// What connections are made with.
    pub(super) fn config(self: &Arc<Self>) -> Answer<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(self.provider.clone());
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))?;
        Ok(builder.dangerous().with_custom_certificate_verifier(self.clone()).with_no_client_auth())
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let whom = self.whom.read().unwrap_or_else(PoisonError::into_inner).clone();
        match whom {
            Whom::Anybody => Ok(ServerCertVerified::assertion()),
            Whom::Authority(one) => one.verify_server_cert(end_entity, intermediates, name, ocsp, now),
            Whom::System => match self.system.get_or_init(|| Verifier::new(self.provider.clone())) {
                Ok(system) => system.verify_server_cert(end_entity, intermediates, name, ocsp, now),
                // A system that knows nobody.
                Err(_) => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
            },
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What is wrong with a certificate, in words, if that is why a connection failed.
pub(super) fn distrust(hub: &str, error: &(dyn std::error::Error + 'static)) -> Option<Failure> {
    let mut cause = Some(error);
    while let Some(one) = cause {
        if let Some(Error::InvalidCertificate(wrong)) = one.downcast_ref::<Error>() {
            let why = words(wrong);
            let help = "if it is your own hub, see `kinora trust --help`";
            let why = format!("the hub at {hub} cannot be told apart from somebody else: {why}; {help}");
            return Some(Failure::new(ErrorCode::Untrusted, why));
        }
        // These do not give what they carry as their source.
        cause = match one.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => one.source(),
        };
    }
    None
}

fn words(wrong: &CertificateError) -> String {
    match wrong {
        CertificateError::UnknownIssuer => {
            "nobody that this machine trusts has signed its certificate".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate is over (or the clock of this machine is wrong)".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for other names".to_owned()
        }
        other => format!("its certificate is not good ({other:?})"),
    }
}
