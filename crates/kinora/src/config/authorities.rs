//! Authorities by which hubs are known to this user: those of hubs that sign for themselves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kinora_protocol::{ErrorCode, Failure};

use super::credentials::{disk, place, write};

/// The file with what was trusted.
const KEPT: &str = "authorities.json";

/// What was trusted. What cannot be read is not the same as nothing: then anybody would be believed.
fn all(path: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(disk(path, &error)),
    };
    serde_json::from_str(&text).map_err(|error| {
        let why = format!("{}: {error}; mend it, or remove it and trust anew", path.display());
        Failure::new(ErrorCode::BadInput, why)
    })
}

fn key(hub: &str) -> String {
    hub.trim_end_matches('/').to_ascii_lowercase()
}

/// Believes an authority (PEM) for the hub at an address from now on, or forgets that. Gives what was believed before.
pub fn keep(hub: &str, authority: Option<String>) -> Result<Option<String>, Failure> {
    let path = place(KEPT).ok_or_else(|| {
        Failure::new(
            ErrorCode::Disk,
            "there is no home folder to keep the authority in: set KINORA_CA instead",
        )
    })?;
    let mut kept = all(&path)?;
    let before = match authority {
        Some(authority) => kept.insert(key(hub), authority),
        None => kept.remove(&key(hub)),
    };
    write(&path, &kept)?;
    Ok(before)
}

/// What the file holds that `KINORA_CA` names.
pub fn named() -> Result<Option<String>, Failure> {
    let Some(path) = std::env::var_os("KINORA_CA").filter(|path| !path.is_empty()).map(PathBuf::from) else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(&path);
    let wrong = |e| Failure::new(ErrorCode::BadInput, format!("KINORA_CA is {}: {e}", path.display()));
    text.map(Some).map_err(wrong)
}

/// By what the hub at an address is known: the file that `KINORA_CA` names, else what was trusted for it, else what the system knows.
pub fn find(hub: &str) -> Result<Option<String>, Failure> {
    if let Some(named) = named()? {
        return Ok(Some(named));
    }
    match place(KEPT) {
        Some(path) => Ok(all(&path)?.remove(&key(hub))),
        None => Ok(None),
    }
}
