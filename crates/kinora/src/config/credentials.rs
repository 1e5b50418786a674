//! By what this user shows a hub who it is: what the environment says, what a login has left, or the key that lies with the files
//! of a hub on this machine.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use kinora_access::private;
use kinora_protocol::{ErrorCode, Failure};
use serde::{Deserialize, Serialize};

/// The file beside a hub's files.
const LOCAL: &str = "local.json";
/// The file that a hub holds as long as it runs.
const LOCK: &str = "store.db.lock";
/// Where the files of a hub on this machine are looked for: where one keeps them that is told nothing, and where one does that the
/// system starts.
const USUAL_DATA: [&str; 2] = ["kinora-data", "/var/lib/kinora"];
/// The file with what logins have left.
const KEPT: &str = "credentials.json";

/// What lies with the files of a hub that runs: whoever can read it may do everything. It is removed when this is dropped.
pub struct LocalKey {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Left {
    url: String,
    key: String,
}

pub(super) fn disk(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(ErrorCode::Disk, format!("{}: {error}", path.display()))
}

impl LocalKey {
    /// Leaves the key of a hub that listens at `address` with its files in `data`.
    pub fn leave(data: &Path, address: SocketAddr, key: String) -> Result<Self, Failure> {
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        let left = Left { url: format!("http://{}", SocketAddr::new(ip, address.port())), key };
        let path = data.join(LOCAL);
        let text =
            serde_json::to_string(&left).map_err(|e| Failure::new(ErrorCode::Internal, e.to_string()))?;
        private::write(&path, &text).map_err(|e| disk(&path, &e))?;
        Ok(Self { path })
    }
}

impl Drop for LocalKey {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What a login has left, by the address of the hub.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    /// Who signed in.
    pub user: String,
    /// The key that was made for this machine.
    pub key: String,
}

/// Where a file of this user's lies.
pub(super) fn place(name: &str) -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = match cfg!(windows) {
        true => set("APPDATA"),
        false => set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config"))),
    };
    Some(base?.join("kinora").join(name))
}

fn all() -> BTreeMap<String, Kept> {
    let text = place(KEPT).and_then(|path| std::fs::read_to_string(path).ok());
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// Keeps what a login has left, or forgets it. Gives what was kept before.
pub fn keep(hub: &str, login: Option<Kept>) -> Result<Option<Kept>, Failure> {
    let path = place(KEPT).ok_or_else(|| {
        Failure::new(ErrorCode::Disk, "there is no home folder to keep the login in: set KINORA_KEY instead")
    })?;
    let mut kept = all();
    let hub = hub.trim_end_matches('/').to_owned();
    let before = match login {
        Some(login) => kept.insert(hub, login),
        None => kept.remove(&hub),
    };
    write(&path, &kept)?;
    Ok(before)
}

/// Writes a file of this user's, by the addresses of hubs.
pub(super) fn write(path: &Path, kept: &BTreeMap<String, impl Serialize>) -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(kept).map_err(|e| Failure::new(ErrorCode::Internal, e.to_string()))?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| disk(folder, &e))?;
    }
    private::write(path, &text).map_err(|e| disk(path, &e))
}

/// Whether a hub has the files in `data` open. One that was killed leaves its key there; whoever takes its port then must not be shown
/// it.
fn is_open(data: &Path) -> bool {
    let lock = std::fs::File::open(data.join(LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}

/// The key of a hub on this machine, if its files are in `data` and it listens at `hub`.
fn local(data: &Path, hub: &str) -> Option<String> {
    if !is_open(data) {
        return None;
    }
    let left: Left = serde_json::from_str(&std::fs::read_to_string(data.join(LOCAL)).ok()?).ok()?;
    // One machine has several names for itself.
    let near = |url: &str| {
        let rest = url.trim_end_matches('/').strip_prefix("http://")?.to_owned();
        let (host, port) = rest.rsplit_once(':').unwrap_or((&rest, "80"));
        let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let host = match ip {
            Ok(ip) if ip.is_loopback() => "here".to_owned(),
            _ if host == "localhost" => "here".to_owned(),
            _ => host.to_owned(),
        };
        Some((host, port.to_owned()))
    };
    (near(&left.url)? == near(hub)?).then_some(left.key)
}

/// Whether commands on this machine find the key of a hub by themselves whose files are there.
pub fn is_usual(data: &Path) -> bool {
    USUAL_DATA.iter().any(|usual| Path::new(usual).canonicalize().is_ok_and(|usual| usual == data))
}

/// What is shown to the hub at an address: `KINORA_KEY`, else what a login has left, else the key beside its files when these are
/// in this folder or where the system's hub has them.
pub fn find(hub: &str) -> Option<String> {
    let said = std::env::var("KINORA_KEY").ok().filter(|key| !key.is_empty());
    let hub = hub.trim_end_matches('/');
    said.or_else(|| all().remove(hub).map(|kept| kept.key))
        .or_else(|| USUAL_DATA.iter().find_map(|data| local(Path::new(data), hub)))
}

/// By what a provider of identities knows the hub.
pub fn oidc_secret() -> Option<String> {
    std::env::var("KINORA_OIDC_SECRET").ok().filter(|secret| !secret.is_empty())
}

/// What opens files that are encrypted.
pub fn master_key() -> Option<String> {
    std::env::var("KINORA_MASTER_KEY").ok().filter(|key| !key.is_empty())
}

/// What lets this machine in, where it was not said on the command line, which everybody on the machine can read.
pub fn token() -> Option<String> {
    std::env::var("KINORA_TOKEN").ok().filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_beside_the_files_is_for_that_hub_alone() {
        let folder = tempfile::tempdir().unwrap();
        let address = SocketAddr::from(([0, 0, 0, 0], 8123));
        let left = LocalKey::leave(folder.path(), address, "kl_x".to_owned()).unwrap();
        let lock = std::fs::File::create(folder.path().join(LOCK)).unwrap();
        assert_eq!(local(folder.path(), "http://127.0.0.1:8123"), None, "nobody has the files open");
        lock.try_lock().unwrap();
        for hub in ["http://127.0.0.1:8123", "http://localhost:8123/", "http://[::1]:8123"] {
            assert_eq!(local(folder.path(), hub).as_deref(), Some("kl_x"), "{hub}");
        }
        for hub in
            ["http://127.0.0.1:8124", "http://192.168.1.2:8123", "http://localhost", "https://localhost:8123"]
        {
            assert_eq!(local(folder.path(), hub), None, "{hub}");
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(folder.path().join(LOCAL)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        drop(left);
        assert_eq!(local(folder.path(), "http://127.0.0.1:8123"), None);
    }
}
