//! Authorities by which hubs are known to this user: those of hubs that sign for themselves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kinora_access::private;
use kinora_protocol::{ErrorCode, Failure};

use super::credentials::{disk, place};

/// The file with what was trusted.
const KEPT: &str = "authorities.json";

fn all(path: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(path).ok();
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
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
    let mut kept = all(&path);
    let before = match authority {
        Some(authority) => kept.insert(key(hub), authority),
        None => kept.remove(&key(hub)),
    };
    let text =
        serde_json::to_string_pretty(&kept).map_err(|e| Failure::new(ErrorCode::Internal, e.to_string()))?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| disk(folder, &e))?;
    }
    private::write(&path, &text).map_err(|e| disk(&path, &e))?;
    Ok(before)
}

/// By what the hub at an address is known: the file that `KINORA_CA` names, else what was trusted for it, else what the system knows.
pub fn find(hub: &str) -> Result<Option<String>, Failure> {
    if let Some(path) = std::env::var_os("KINORA_CA").filter(|path| !path.is_empty()).map(PathBuf::from) {
        let text = std::fs::read_to_string(&path);
        return text
            .map(Some)
            .map_err(|e| Failure::new(ErrorCode::BadInput, format!("KINORA_CA is {}: {e}", path.display())));
    }
    Ok(place(KEPT).and_then(|path| all(&path).remove(&key(hub))))
}
