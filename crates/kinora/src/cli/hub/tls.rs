//! Flags that say how what goes to a hub is encrypted.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;
use ipnet::IpNet;
use kinora_protocol::{ErrorCode, Failure};
use kinora_tls::{Acme, Certificates, TlsError, acme};

/// Whether it is encrypted when no certificate is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Encryption {
    /// By an authority of the hub's own, unless it listens on loopback only.
    Auto,
    /// By an authority of the hub's own.
    Own,
    /// Not at all: for hubs behind a proxy that encrypts, and networks where nobody listens.
    Off,
}

/// How what goes to a hub is encrypted.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Encryption")]
pub struct TlsFlags {
    /// Whether connections are encrypted when no certificate is named: auto (by an authority of the hub's own, unless it listens on
    /// loopback), own, off
    #[arg(long, value_enum, value_name = "auto|own|off", default_value_t = Encryption::Auto)]
    pub tls: Encryption,
    /// Certificate of the hub with those between it and its authority (PEM); read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key", conflicts_with_all = ["acme", "tls"])]
    pub tls_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Authority that has signed it, if workers do not know it anyway (PEM): they get it with their tokens
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_authority: Option<PathBuf>,
    /// Get a certificate for this name from an authority on the internet, whose terms you agree to, and renew it; may be repeated.
    /// Port 443 of the name has to lead here
    #[arg(long, value_name = "NAME", value_parser = host_name, conflicts_with = "tls")]
    pub acme: Vec<String>,
    /// Mail address to which that authority may write
    #[arg(long, value_name = "MAIL", requires = "acme", value_parser = mail)]
    pub acme_contact: Option<String>,
    /// Which authority: the address of its directory
    #[arg(long, value_name = "URL", requires = "acme", default_value = acme::DIRECTORY, hide_short_help = true)]
    pub acme_directory: String,
    /// By what that authority itself is known, if it is one of your own (PEM)
    #[arg(long, value_name = "FILE", requires = "acme", hide_short_help = true)]
    pub acme_root: Option<PathBuf>,
    /// Believe proxies in this network, or at this address, for whom they ask (X-Forwarded-For) and whether that was encrypted
    /// (X-Forwarded-Proto); may be repeated
    #[arg(long, value_name = "NET", value_parser = net)]
    pub trusted_proxy: Vec<IpNet>,
}

/// A name as certificates have it.
fn host_name(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (1..=63).contains(&label.len()) && plain && !label.starts_with('-') && !label.ends_with('-')
    };
    let good = text.len() <= 253 && text.contains('.') && text.split('.').all(label);
    if good && text.parse::<IpAddr>().is_err() {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("write a whole name such as video.example.org".to_owned())
    }
}

fn mail(text: &str) -> Result<String, String> {
    let good = text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host_name(host).is_ok());
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>,;:?&\"".contains(&byte));
    if good && plain {
        Ok(text.to_owned())
    } else {
        Err("write an address such as ada@example.org".to_owned())
    }
}

fn net(text: &str) -> Result<IpNet, String> {
    let one = text.parse::<IpAddr>().map(IpNet::from);
    one.or_else(|_| text.parse()).map_err(|_| "write an address or a network such as 10.0.0.0/8".to_owned())
}

impl TlsFlags {
    /// Where certificates come from for a hub that listens there; nowhere when nothing is encrypted.
    pub fn certificates(&self, listen: SocketAddr, data: &Path, names: Vec<String>) -> Option<Certificates> {
        let folder = data.join("tls");
        if let (Some(chain), Some(key)) = (&self.tls_cert, &self.tls_key) {
            let authority = self.tls_authority.clone();
            return Some(Certificates::Files { chain: chain.clone(), key: key.clone(), authority });
        }
        if !self.acme.is_empty() {
            return Some(Certificates::Acme(Acme {
                folder,
                names: self.acme.clone(),
                directory: self.acme_directory.clone(),
                contact: self.acme_contact.clone(),
                roots: self.acme_root.clone(),
            }));
        }
        let own = match self.tls {
            Encryption::Off => false,
            Encryption::Own => true,
            Encryption::Auto => !listen.ip().is_loopback(),
        };
        own.then_some(Certificates::Own { folder, names })
    }
}

/// What is wrong with a certificate, as a failure.
pub fn failed(error: TlsError) -> Failure {
    let code = match &error {
        TlsError::File { .. } => ErrorCode::BadInput,
        TlsError::Acme { .. } => ErrorCode::Unreachable,
        TlsError::Make(_) => ErrorCode::Internal,
    };
    Failure::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_nets_are_looked_at() {
        for good in ["video.example.org", "a-b.example", "xn--bcher-kva.example"] {
            assert!(host_name(good).is_ok(), "{good}");
        }
        for wrong in ["localhost", "10.0.0.1", "-a.example", "a..example", "a b.example", "*.example.org", ""]
        {
            assert!(host_name(wrong).is_err(), "{wrong}");
        }
        assert_eq!(net("10.0.0.0/8").unwrap(), "10.0.0.0/8".parse().unwrap());
        assert_eq!(net("127.0.0.1").unwrap(), "127.0.0.1/32".parse().unwrap());
        assert!(net("10.0.0.0/40").is_err() && net("lan").is_err());
        assert!(mail("ada@example.org").is_ok() && mail("ada").is_err() && mail("a b@example.org").is_err());
    }
}
