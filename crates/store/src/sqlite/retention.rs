//! What is old enough to be dropped, and which stored bytes ought to be what.

use kinora_protocol::JobId;
use kinora_protocol::task::TaskOutput;
use rusqlite::{OptionalExtension, params};

use super::{Store, convert};
use crate::error::Result;
use crate::job::JobDeletion;
use crate::media::{Holder, Stored};

impl Store {
    /// Up to `limit` jobs that ended before a time, those first that ended first.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn ended_before(&self, time_ms: i64, limit: u32) -> Result<Vec<JobId>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT id FROM jobs WHERE finished_ms < ?1 AND phase IN ('Completed', 'Failed', 'Cancelled')
                 ORDER BY finished_ms, id LIMIT ?2",
            )?;
            let rows = query.query_map(params![time_ms, limit], |row| convert::parsed(row, "id"))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// Forgets a job that has ended, with its tasks, attempts and proof. Its files are left to the caller.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn delete_job(&self, job: JobId) -> Result<JobDeletion> {
        self.write(move |conn| {
            let phase = conn
                .prepare_cached("SELECT phase FROM jobs WHERE id = ?1")?
                .query_row([job.to_string()], convert::phase)
                .optional()?;
            match phase {
                None => Ok(JobDeletion::Unknown),
                Some(phase) if !phase.is_final() => Ok(JobDeletion::NotEnded(phase)),
                Some(_) => {
                    conn.prepare_cached("DELETE FROM outbox WHERE job_id = ?1")?
                        .execute([job.to_string()])?;
                    conn.prepare_cached("DELETE FROM jobs WHERE id = ?1")?.execute([job.to_string()])?;
                    Ok(JobDeletion::Deleted)
                }
            }
        })
        .await
    }

    /// All files that are kept beyond their job, with what they ought to be.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn stored(&self) -> Result<Vec<Stored>> {
        self.read(|conn| {
            let mut all = Vec::new();
            let mut query = conn.prepare_cached("SELECT key, result FROM chunk_cache ORDER BY key")?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                let output: TaskOutput = convert::from_json(row, "result")?;
                let holder = Holder::Chunk(convert::digest(row, "key")?);
                all.extend(output.blob().cloned().map(|blob| Stored { holder, blob }));
            }
            let mut query =
                conn.prepare_cached("SELECT fingerprint, index_blob FROM media ORDER BY fingerprint")?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                let holder = Holder::Index(row.get("fingerprint")?);
                all.push(Stored { holder, blob: convert::from_json(row, "index_blob")? });
            }
            let mut query = conn.prepare_cached(
                "SELECT media, json_extract(output, '$.blob') AS blob FROM descriptions
                 WHERE blob IS NOT NULL ORDER BY media, part",
            )?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                let holder = Holder::Description(convert::digest(row, "media")?);
                all.push(Stored { holder, blob: convert::from_json(row, "blob")? });
            }
            Ok(all)
        })
        .await
    }
}
