//! The record of who did what. Entries are only ever added. How one is bound to the one before it is the caller's business.

use rusqlite::{OptionalExtension, Row, params};

use super::Store;
use crate::access::{AuditEntry, AuditRow, Chain};
use crate::error::Result;

fn audit_row(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
    Ok(AuditRow {
        seq: row.get("seq")?,
        entry: AuditEntry {
            at_ms: row.get("at_ms")?,
            actor: row.get("actor")?,
            address: row.get("address")?,
            action: row.get("action")?,
            outcome: row.get("outcome")?,
            detail: row.get("detail")?,
        },
        hash: row.get("hash")?,
    })
}

impl Store {
    /// Adds an entry.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn put_audit(&self, entry: AuditEntry, chain: Chain) -> Result<()> {
        self.write(move |conn| {
            let last: Option<(i64, String)> = conn
                .prepare_cached("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")?
                .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let (last, before) = last.unwrap_or_default();
            let (seq, hash) = (last + 1, chain(&before, last + 1, &entry));
            conn.prepare_cached(
                "INSERT INTO audit (seq, at_ms, actor, address, action, outcome, detail, hash)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                seq,
                entry.at_ms,
                entry.actor,
                entry.address,
                entry.action,
                entry.outcome,
                entry.detail,
                hash
            ])?;
            Ok(())
        })
        .await
    }

    /// Up to `limit` entries after this position, in order. 0 is before the first.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn audit_after(&self, seq: i64, limit: u32) -> Result<Vec<AuditRow>> {
        self.read(move |conn| {
            let mut query =
                conn.prepare_cached("SELECT * FROM audit WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
            Ok(query.query_map(params![seq, limit], audit_row)?.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}
