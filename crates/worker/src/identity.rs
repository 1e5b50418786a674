//! By what this machine is known to its hub: its own key, which never leaves it, and an identity of the hub's that is good for a
//! short time and renewed before that is over. How the hub is told apart from others is checked here, too.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kinora_access::node::{SigningKey, Statement, fingerprint, hex, is_signed, unhex};
use kinora_access::{Secret, private, random};
use kinora_protocol::access::{Enroll, Identity, Renew};
use kinora_protocol::client::Client;
use kinora_protocol::{EnrollmentId, ErrorCode, Failure, NodeId};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};

/// How long to wait before an identity that could not be renewed is asked for again.
const AGAIN: Duration = Duration::from_secs(5);

/// What is kept of the hub that this machine was let in to.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    /// Fingerprint of its key.
    hub: String,
}

/// This machine, as its hub knows it.
pub struct Machine {
    client: Client,
    /// The authority that is believed where the hub has none of its own, as PEM; those that the system knows when absent.
    usual: Option<String>,
    node: NodeId,
    key: SigningKey,
    known: PathBuf,
    renew_at: Mutex<Option<Instant>>,
}

fn disk(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(ErrorCode::Disk, format!("{}: {error}", path.display()))
}

fn odd(error: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorCode::Internal, error.to_string())
}

/// The key of this machine, made at its first start.
fn own_key(path: &Path) -> Result<SigningKey, Failure> {
    let kept = match std::fs::read_to_string(path) {
        Ok(text) => unhex(text.trim()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(disk(path, &error)),
    };
    let kept = match kept {
        Some(kept) => kept,
        None => {
            let made = SigningKey::generate().map_err(odd)?;
            private::write(path, hex(&made)).map_err(|error| disk(path, &error))?;
            made
        }
    };
    let unreadable = |e| Failure::new(ErrorCode::Disk, format!("{}: {e}", path.display()));
    SigningKey::read(&kept).map_err(unreadable)
}

impl Machine {
    /// With its key in `folder`; `usual` is believed where the hub has no authority of its own.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(folder: &Path, node: NodeId, client: Client, usual: Option<String>) -> Result<Self, Failure> {
        let key = own_key(&folder.join("node.key"))?;
        Ok(Self { client, usual, node, key, known: folder.join("hub.json"), renew_at: Mutex::default() })
    }

    fn known(&self) -> Option<Known> {
        serde_json::from_str(&std::fs::read_to_string(&self.known).ok()?).ok()
    }

    /// Whether this machine was let in by a hub before.
    pub fn is_enrolled(&self) -> bool {
        self.known().is_some()
    }

    /// Whoever answers has the key that is meant. The authority that it names is believed from then on, and no other: so it does
    /// not matter whether this machine knew it before.
    async fn check_hub(&self, expected: &str) -> Result<(), Failure> {
        let nonce = hex(&random::<32>().map_err(odd)?);
        let shown = self.client.unbelieving()?.hub_identity(&nonce).await?;
        let said = Statement::Hub { nonce: &nonce, authority: &shown.authority };
        if fingerprint(&shown.public_key) != expected || !is_signed(&shown.public_key, said, &shown.signature)
        {
            let why = "whoever answers there is not the hub that is meant: it has another key";
            return Err(Failure::new(ErrorCode::Forbidden, why));
        }
        let own = Some(shown.authority.as_str()).filter(|own| !own.is_empty());
        self.client.trust(own.or(self.usual.as_deref()))
    }

    /// Lets itself in by a token, which is used up then.
    ///
    /// # Errors
    /// The hub is another, or does not take the token.
    pub async fn enroll(&self, token: &str) -> Result<(), Failure> {
        let wrong = || {
            Failure::new(
                ErrorCode::BadInput,
                "this is no token: copy the whole of what `kinora tokens new` has printed",
            )
        };
        let (secret, hub) = token.trim().rsplit_once('_').ok_or_else(wrong)?;
        let secret: Secret = secret.parse().map_err(|()| wrong())?;
        let id = EnrollmentId::from(secret.id);
        self.check_hub(hub).await?;
        let text = id.to_string();
        let said = Statement::Enroll { token: &text, node: self.node.as_str(), hub };
        let asked = Enroll {
            token: id,
            node: self.node.clone(),
            public_key: self.key.public(),
            signature: self.key.sign(said),
            proof: secret.proof(said, &self.key.public()),
        };
        let identity = self.client.enroll(&asked).await?;
        let known = Known { hub: hub.to_owned() };
        let text = serde_json::to_string(&known).map_err(odd)?;
        private::write(&self.known, &text).map_err(|error| disk(&self.known, &error))?;
        self.take(identity);
        Ok(())
    }

    fn take(&self, identity: Identity) {
        // At two thirds of its time, so that a hub that is away for a while is no matter.
        let due = Instant::now() + Duration::from_secs(u64::from(identity.expires_in)) * 2 / 3;
        *self.renew_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(due);
        self.client.show(Some(identity.token));
    }

    /// Asks for the next identity.
    ///
    /// # Errors
    /// The hub is another, does not know this machine any more, or cannot be reached.
    pub async fn renew(&self) -> Result<(), Failure> {
        let Some(known) = self.known() else { return Ok(()) };
        self.check_hub(&known.hub).await?;
        let challenge = self.client.challenge(&self.node).await?;
        let said = Statement::Renew { nonce: &challenge.nonce, node: self.node.as_str() };
        let signature = self.key.sign(said);
        let asked = Renew { node: self.node.clone(), nonce: challenge.nonce, signature };
        self.take(self.client.renew_identity(&asked).await?);
        Ok(())
    }

    /// Whether it is time for the next.
    fn due(&self) -> Option<Instant> {
        *self.renew_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that what is shown is good now: for a machine that slept.
    ///
    /// # Errors
    /// As [`Machine::renew`].
    pub async fn refresh(&self) -> Result<(), Failure> {
        match self.due() {
            Some(due) if due > Instant::now() => Ok(()),
            _ => self.renew().await,
        }
    }

    /// Renews the identity whenever it is time, for as long as it is polled.
    pub async fn keep(&self) {
        loop {
            let Some(due) = self.due() else { return std::future::pending().await };
            sleep_until(due).await;
            if let Err(failure) = self.refresh().await {
                tracing::warn!("the identity of this machine cannot be renewed: {failure}");
                sleep(AGAIN).await;
            }
        }
    }
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Machine({})", self.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        let made = own_key(&path).unwrap().public();
        assert_eq!(own_key(&path).unwrap().public(), made);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        std::fs::write(&path, "00ff").unwrap();
        assert!(own_key(&path).unwrap_err().message.contains("node.key"));
    }
}
