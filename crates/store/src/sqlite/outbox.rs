//! Events, written in the transaction of the change that they tell of.

use kinora_protocol::event::{Event, TaskChange};
use kinora_protocol::{Failure, JobId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Store;
use super::convert;
use super::fault::Fault;
use crate::error::Result;
use crate::outbox::OutboxRow;

/// The public part of a failure.
pub(super) fn without_detail(failure: &Failure) -> Failure {
    Failure::new(failure.code, failure.message.clone())
}

/// Writes an event.
pub(super) fn put(conn: &Connection, event: &Event) -> Result<(), Fault> {
    let (job, kind): (JobId, _) = match event {
        Event::Job { job, .. } => (*job, "job"),
        Event::Planned { job, .. } => (*job, "planned"),
        Event::Task { job, change, .. } => match change {
            TaskChange::Leased { .. } => (*job, "task.leased"),
            TaskChange::Progress(_) => (*job, "task.progress"),
            TaskChange::Done => (*job, "task.done"),
            TaskChange::Retry { .. } => (*job, "task.retry"),
            TaskChange::Redo { .. } => (*job, "task.redo"),
            TaskChange::Failed { .. } => (*job, "task.failed"),
        },
    };
    conn.prepare_cached("INSERT INTO outbox (job_id, kind, body) VALUES (?1, ?2, ?3)")?.execute(params![
        job.to_string(),
        kind,
        convert::json_inside(event)?
    ])?;
    Ok(())
}

pub(super) fn outbox_row(row: &Row<'_>) -> rusqlite::Result<OutboxRow> {
    Ok(OutboxRow {
        seq: row.get("seq")?,
        job: convert::parsed(row, "job_id")?,
        event: convert::from_json(row, "body")?,
    })
}

/// The position of the newest event that there ever was; 0 before the first.
pub(super) fn newest(conn: &Connection) -> rusqlite::Result<i64> {
    let mut query = conn.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'")?;
    Ok(query.query_row([], |row| row.get(0)).optional()?.unwrap_or(0))
}

impl Store {
    /// Up to `limit` events after this position, in order. 0 is before the first.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn outbox_after(&self, seq: i64, limit: u32) -> Result<Vec<OutboxRow>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT seq, job_id, body FROM outbox WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?;
            let rows = query.query_map(params![seq, limit], outbox_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// As [`Store::outbox_after`], of one job.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn outbox_of(&self, job: JobId, seq: i64, limit: u32) -> Result<Vec<OutboxRow>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT seq, job_id, body FROM outbox WHERE job_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
            )?;
            let rows = query.query_map(params![job.to_string(), seq, limit], outbox_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// The position of the newest event that there ever was; 0 before the first.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn outbox_newest(&self) -> Result<i64> {
        self.read(|conn| Ok(newest(conn)?)).await
    }

    /// Drops events up to this position, after they were sent. Gives their number.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn trim_outbox(&self, through: i64) -> Result<usize> {
        self.write(move |conn| {
            Ok(conn.prepare_cached("DELETE FROM outbox WHERE seq <= ?1")?.execute([through])?)
        })
        .await
    }
}
