//! How much there is of everything, for whoever watches the hub.

use kinora_protocol::job::JobPhase;
use kinora_protocol::task::TaskKind;

use super::{Store, convert};
use crate::error::Result;
use crate::task::Sums;

impl Store {
    /// How much there is of everything now.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn sums(&self) -> Result<Sums> {
        self.read(|conn| {
            let count = |row: &rusqlite::Row<'_>| row.get::<_, i64>(1).map(i64::unsigned_abs);
            let mut query = conn.prepare_cached("SELECT phase, count(*) FROM jobs GROUP BY phase")?;
            let jobs: Vec<(JobPhase, u64)> = query
                .query_map([], |row| Ok((convert::phase(row)?, count(row)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let kinds = |state: &str| -> rusqlite::Result<Vec<(TaskKind, u64)>> {
                let mut query = conn.prepare_cached(&format!(
                    "SELECT kind, count(*) FROM tasks WHERE {state} GROUP BY kind"
                ))?;
                query.query_map([], |row| Ok((convert::kind(row)?, count(row)?)))?.collect()
            };
            let (ready, running) = (kinds("state = 'ready' AND held = 0")?, kinds("state = 'leased'")?);
            let oldest_ready_ms = conn
                .prepare_cached(
                    "SELECT min(created_ms) FROM jobs
                     WHERE id IN (SELECT job_id FROM tasks WHERE state = 'ready' AND held = 0)
                       AND id NOT IN (SELECT job_id FROM tasks WHERE state = 'leased')",
                )?
                .query_row([], |row| row.get(0))?;
            let one = |text: &str| -> rusqlite::Result<u64> {
                conn.prepare_cached(text)?.query_row([], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
            };
            Ok(Sums {
                jobs,
                ready,
                running,
                oldest_ready_ms,
                media_bytes: one("SELECT coalesce(sum(size), 0) FROM library")?,
                chunk_bytes: one("SELECT coalesce(sum(bytes), 0) FROM chunk_cache")?,
                deliveries: one(
                    "SELECT count(*) FROM deliveries JOIN webhooks ON webhooks.id = deliveries.webhook
                     WHERE state = 'pending' AND enabled = 1",
                )?,
            })
        })
        .await
    }
}
