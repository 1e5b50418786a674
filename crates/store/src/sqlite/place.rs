//! The folder that the database is in: who may use it, whether it is local, whether it is full. It must not know SQL.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::StoreError;

/// How long a lock may still be held by one who is gone: what a killed process was about to start has its files until it does.
const LINGERING: Duration = Duration::from_secs(1);

/// Held while a store is open: a second process would take the first one's leases for those of a dead one.
///
/// The lock is on a file of its own, since closing any handle of the database file would drop SQLite's own locks on it.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let name = PathBuf::from(name);
        let disk = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::StorageFull => StoreError::Full { path: path.to_owned() },
            _ => StoreError::Disk { path: path.to_owned(), reason: format!("{}: {error}", name.display()) },
        };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&name).map_err(disk)?;
        let until = Instant::now() + LINGERING;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => return Err(StoreError::Busy { path: path.to_owned() }),
                Err(TryLockError::Error(error)) => return Err(disk(error)),
            }
        }
    }
}

/// Hardly anything is left for us.
#[cfg(unix)]
pub(super) fn is_full(path: &Path) -> bool {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    rustix::fs::statvfs(folder).is_ok_and(|s| s.f_bavail.saturating_mul(s.f_frsize) < 64 * 1024)
}

/// Not known here.
#[cfg(not(unix))]
pub(super) fn is_full(_path: &Path) -> bool {
    false
}

/// The name of the network file system that the file is on, if it is on a known one: there, locks and shared memory do not
/// hold what SQLite needs.
#[cfg(target_os = "linux")]
pub(super) fn network_file_system(path: &Path) -> Option<&'static str> {
    // linux/magic.h
    match rustix::fs::statfs(path).ok()?.f_type as u32 {
        0x6969 => Some("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Some("SMB"),
        0x0102_1997 => Some("9p"),
        0x5346_414f => Some("AFS"),
        0x00c3_6400 => Some("Ceph"),
        0x0bd0_0bd0 => Some("Lustre"),
        _ => None,
    }
}

/// Not known here.
#[cfg(not(target_os = "linux"))]
pub(super) fn network_file_system(_path: &Path) -> Option<&'static str> {
    None
}
