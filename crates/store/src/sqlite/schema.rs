//! Connections with the settings that durability rests on, and the schema's versions. It must not know what the tables mean.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::fault::Fault;
use crate::error::StoreError;

/// One step per version: step n brings a file from version n to n + 1.
const MIGRATIONS: [&str; 12] = [
    include_str!("migrations/0001_init.sql"),
    include_str!("migrations/0002_cluster.sql"),
    include_str!("migrations/0003_views.sql"),
    include_str!("migrations/0004_uploads.sql"),
    include_str!("migrations/0005_descriptions.sql"),
    include_str!("migrations/0006_webhooks.sql"),
    include_str!("migrations/0007_folders.sql"),
    include_str!("migrations/0008_sandbox.sql"),
    include_str!("migrations/0009_access.sql"),
    include_str!("migrations/0010_enrollment.sql"),
    include_str!("migrations/0011_quota.sql"),
    include_str!("migrations/0012_scan.sql"),
];

/// `KNRA`: tells our files from other people's.
const APPLICATION: i64 = 0x4b4e_5241;

/// Others than us hold a lock for moments only (a backup, a shell).
const BUSY: Duration = Duration::from_secs(5);

/// The newest schema that is known here.
pub(super) const SCHEMA: i64 = MIGRATIONS.len() as i64;

/// The one connection that writes, with the schema up to date.
pub(super) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    let fault = |error: rusqlite::Error| Fault::from(error).into_error(path);
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags).map_err(fault)?;
    conn.busy_timeout(BUSY).map_err(fault)?;
    let found = check_ours(&conn, path)?;
    keep_private(path);
    configure_writer(&conn).map_err(fault)?;
    migrate(&mut conn, found).map_err(fault)?;
    Ok(conn)
}

/// Keys and hashes of secrets are in it: nobody else on the machine is to read it. The files beside it get the rights of this one.
#[cfg(unix)]
fn keep_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    // Before anything is written into a new one. Those beside it may be there already, of an older version's.
    for end in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        match std::fs::set_permissions(&name, std::fs::Permissions::from_mode(0o600)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!("{}: its rights stay as they are: {error}", Path::new(&name).display());
            }
            _ => {}
        }
    }
}

#[cfg(not(unix))]
fn keep_private(_path: &Path) {}

/// A connection that cannot write.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY)?;
    conn.pragma_update(None, "query_only", true)?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(conn)
}

/// Before anything is written into it: the file is new, or ours and not too new. Gives its version.
fn check_ours(conn: &Connection, path: &Path) -> Result<i64, StoreError> {
    let fault = |error: rusqlite::Error| Fault::from(error).into_error(path);
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(fault);
    let (application, found) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    if application != APPLICATION && tables > 0 {
        let reason = "it is a database of another program".to_owned();
        return Err(StoreError::Corrupt { path: path.to_owned(), reason });
    }
    if found > SCHEMA {
        return Err(StoreError::Newer { path: path.to_owned(), found, supported: SCHEMA });
    }
    Ok(found)
}

fn configure_writer(conn: &Connection) -> rusqlite::Result<()> {
    conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    // FULL: a commit is on the disk before it is answered. On macOS only F_FULLFSYNC does that.
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "fullfsync", true)?;
    conn.pragma_update(None, "checkpoint_fullfsync", true)?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.query_row("PRAGMA journal_size_limit = 67108864", [], |_| Ok(()))?;
    conn.set_prepared_statement_cache_capacity(128);
    Ok(())
}

fn migrate(conn: &mut Connection, found: i64) -> rusqlite::Result<()> {
    for (version, step) in (0_i64..).zip(MIGRATIONS).filter(|(version, _)| *version >= found) {
        let transaction = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", version + 1)?;
        transaction.commit()?;
    }
    Ok(())
}
