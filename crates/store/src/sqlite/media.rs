//! What outlives its job: probed media, results that other jobs may use, proofs.

use std::collections::HashMap;

use kinora_protocol::proof::Proof;
use kinora_protocol::{Attempt, Digest, JobId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fault::Fault;
use super::{Store, convert};
use crate::error::Result;
use crate::media::{CachedChunk, InUse, MediaRow};

/// Keeps a result for other jobs; the newest wins.
pub(super) fn cache(
    conn: &Connection,
    key: &str,
    result: &str,
    bytes: u64,
    now_ms: i64,
) -> Result<(), Fault> {
    conn.prepare_cached(
        "INSERT INTO chunk_cache (key, result, bytes, used_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (key) DO UPDATE SET result = excluded.result, bytes = excluded.bytes, used_at = excluded.used_at",
    )?
    .execute(params![key, result, convert::signed(bytes), now_ms])?;
    Ok(())
}

/// Whether there was one.
pub(super) fn forget(conn: &Connection, key: &str) -> Result<bool, Fault> {
    Ok(conn.prepare_cached("DELETE FROM chunk_cache WHERE key = ?1")?.execute([key])? > 0)
}

/// Keeps a job's proof.
pub(super) fn put_proof(conn: &Connection, job: JobId, body: &str) -> Result<(), Fault> {
    conn.prepare_cached(
        "INSERT INTO proofs (job_id, body) VALUES (?1, ?2) ON CONFLICT (job_id) DO UPDATE SET body = excluded.body",
    )?
    .execute(params![job.to_string(), body])?;
    Ok(())
}

fn cached_row(row: &Row<'_>) -> rusqlite::Result<CachedChunk> {
    Ok(CachedChunk {
        key: convert::digest(row, "key")?,
        output: convert::from_json(row, "result")?,
        bytes: u64::try_from(row.get::<_, i64>("bytes")?).unwrap_or(0),
        used_ms: row.get("used_at")?,
    })
}

impl Store {
    /// A file that was probed before, by the cheap name of its present state.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn find_media(&self, fingerprint: &str) -> Result<Option<MediaRow>> {
        let fingerprint = fingerprint.to_owned();
        self.read(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT fingerprint, digest, facts, index_blob FROM media WHERE fingerprint = ?1",
            )?;
            let row = query.query_row([fingerprint], |row| {
                Ok(MediaRow {
                    fingerprint: row.get("fingerprint")?,
                    digest: convert::digest(row, "digest")?,
                    facts: convert::from_json(row, "facts")?,
                    index: convert::from_json(row, "index_blob")?,
                })
            });
            Ok(row.optional()?)
        })
        .await
    }

    /// Keeps what a probe found.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn put_media(&self, media: &MediaRow) -> Result<()> {
        let (fingerprint, digest) = (media.fingerprint.clone(), media.digest.clone());
        let (facts, index) = (convert::json(&media.facts)?, convert::json(&media.index)?);
        self.write(move |conn| {
            conn.prepare_cached(
                "INSERT INTO media (fingerprint, digest, facts, index_blob) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (fingerprint) DO UPDATE SET digest = excluded.digest, facts = excluded.facts,
                   index_blob = excluded.index_blob",
            )?
            .execute(params![fingerprint, digest.as_str(), facts, index])?;
            Ok(())
        })
        .await
    }

    /// Forgets all probed files but the newest.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn trim_media(&self, keep: u32) -> Result<()> {
        self.write(move |conn| {
            conn.prepare_cached(
                "DELETE FROM media WHERE rowid NOT IN (SELECT rowid FROM media ORDER BY rowid DESC LIMIT ?1)",
            )?
            .execute([keep])?;
            Ok(())
        })
        .await
    }

    /// Forgets a probed file, because its index is gone or damaged, say. Whether there was one.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn forget_media(&self, fingerprint: &str) -> Result<bool> {
        let fingerprint = fingerprint.to_owned();
        self.write(move |conn| {
            Ok(conn.prepare_cached("DELETE FROM media WHERE fingerprint = ?1")?.execute([fingerprint])? > 0)
        })
        .await
    }

    /// The results that are kept under these keys.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn cached_chunks(&self, keys: &[Digest]) -> Result<HashMap<Digest, CachedChunk>> {
        let keys = keys.to_vec();
        self.read(move |conn| {
            let mut query =
                conn.prepare_cached("SELECT key, result, bytes, used_at FROM chunk_cache WHERE key = ?1")?;
            let mut found = HashMap::new();
            for key in keys {
                if let Some(row) = query.query_row([key.as_str()], cached_row).optional()? {
                    found.insert(key, row);
                }
            }
            Ok(found)
        })
        .await
    }

    /// Forgets a kept result, because its blob is gone or damaged, say. Whether there was one.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn forget_chunk(&self, key: &Digest) -> Result<bool> {
        let key = key.clone();
        self.write(move |conn| forget(conn, key.as_str())).await
    }

    /// Up to `limit` kept results, those unused for longest first, leaving out those of jobs that have not ended: what may be
    /// dropped to make room.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn oldest_chunks(&self, limit: u32) -> Result<Vec<CachedChunk>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT key, result, bytes, used_at FROM chunk_cache AS c WHERE NOT EXISTS (
                   SELECT 1 FROM tasks JOIN jobs ON jobs.id = tasks.job_id
                   WHERE tasks.cache_key = c.key AND jobs.phase NOT IN ('Completed', 'Failed', 'Cancelled'))
                 ORDER BY used_at, key LIMIT ?1",
            )?;
            Ok(query.query_map([limit], cached_row)?.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// The blobs that must stay, as of one moment.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn blobs_in_use(&self) -> Result<InUse> {
        self.read(move |conn| {
            let mut in_use = InUse::default();
            let mut query = conn.prepare_cached(
                "SELECT coalesce(json_extract(output, '$.blob.path'), json_extract(output, '$.index.path')) AS path
                 FROM task_bodies JOIN tasks ON tasks.id = task_id JOIN jobs ON jobs.id = job_id
                 WHERE jobs.phase <> 'Completed' AND tasks.state = 'done' AND path IS NOT NULL
                 UNION SELECT json_extract(result, '$.blob.path') AS path FROM chunk_cache WHERE path IS NOT NULL
                 UNION SELECT json_extract(index_blob, '$.path') AS path FROM media WHERE path IS NOT NULL
                 UNION SELECT json_extract(output, '$.blob.path') AS path FROM descriptions WHERE path IS NOT NULL",
            )?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                in_use.paths.insert(row.get("path")?);
            }
            let mut query = conn.prepare_cached(
                "SELECT id, attempt FROM tasks INDEXED BY tasks_leased WHERE state = 'leased'
                 UNION ALL SELECT task_id, attempt FROM backups",
            )?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                in_use.attempts.insert((convert::task_id(row, "id")?, Attempt(row.get("attempt")?)));
            }
            Ok(in_use)
        })
        .await
    }

    /// Bytes of all kept results together.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn cached_bytes(&self) -> Result<u64> {
        self.read(move |conn| {
            let sum: i64 =
                conn.query_row("SELECT coalesce(sum(bytes), 0) FROM chunk_cache", [], |row| row.get(0))?;
            Ok(u64::try_from(sum).unwrap_or(0))
        })
        .await
    }

    /// Keeps a job's proof; a second one replaces the first.
    ///
    /// # Errors
    /// The disk fails, the store is closed, or there is no such job (`NotFound`).
    pub async fn put_proof(&self, job: JobId, proof: &Proof) -> Result<()> {
        let body = convert::json(proof)?;
        self.write(move |conn| {
            super::phase::of(conn, job)?;
            put_proof(conn, job, &body)
        })
        .await
    }

    /// A job's proof.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn proof(&self, job: JobId) -> Result<Option<Proof>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached("SELECT body FROM proofs WHERE job_id = ?1")?;
            Ok(query.query_row([job.to_string()], |row| convert::from_json(row, "body")).optional()?)
        })
        .await
    }
}
