//! Jobs: submission, changes of phase, retry, and looking them up.

use std::path::Path;

use kinora_protocol::access::{Kind, Sight};
use kinora_protocol::event::Event;
use kinora_protocol::job::JobPhase;
use kinora_protocol::{Digest, Failure, JobId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fault::Fault;
use super::{Store, convert, grants, graph, outbox, phase};
use crate::error::Result;
use crate::job::{JobRow, NewJob, Owner, PhaseChange, Retried, Submitted};

const COLUMNS: &str =
    "id, phase, paused_from, request, failure, created_ms, updated_ms, finished_ms, moved_bytes";

fn job_row(row: &Row<'_>) -> rusqlite::Result<JobRow> {
    Ok(JobRow {
        id: convert::parsed(row, "id")?,
        phase: convert::phase(row)?,
        paused_from: convert::paused_from(row)?,
        request: convert::from_json(row, "request")?,
        failure: convert::from_json_opt(row, "failure")?,
        created_ms: row.get("created_ms")?,
        updated_ms: row.get("updated_ms")?,
        finished_ms: row.get("finished_ms")?,
        moved_bytes: u64::try_from(row.get::<_, i64>("moved_bytes")?).unwrap_or(0),
    })
}

impl Store {
    /// Stores a job in its first phase with its first tasks. A second submission with the same idempotency key gives the
    /// first one's job.
    ///
    /// # Errors
    /// [`StoreError::Conflict`](crate::StoreError::Conflict) when the id is taken, `Invalid` when the graph has a ring.
    pub async fn submit(&self, job: NewJob, now_ms: i64) -> Result<Submitted> {
        let NewJob { id, phase, request, graph, owner } = job;
        let tasks = graph::Prepared::new(&graph)?;
        drop(graph);
        let body = convert::json(&request)?;
        let (user, media) = match owner {
            Owner::Nobody => (None, None),
            Owner::User(user) => (Some(user), None),
            Owner::Media(media) => (None, Some(media)),
        };
        self.write(move |conn| {
            if let Some(existing) = job_by_key(conn, request.idempotency_key.as_deref())? {
                return Ok(Submitted::Existing(existing));
            }
            let inserted = conn
                .prepare_cached(
                    "INSERT INTO jobs (id, phase, priority, idem_key, request, created_ms, updated_ms, of_media)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7) ON CONFLICT (id) DO NOTHING",
                )?
                .execute(params![
                    id.to_string(),
                    phase.name(),
                    request.priority,
                    request.idempotency_key,
                    body,
                    now_ms,
                    media.as_ref().map(Digest::as_str)
                ])?;
            if inserted == 0 {
                return Err(Fault::Conflict(format!("there is a job {id} already")));
            }
            grants::own(conn, (Kind::Job, &id.to_string()), user)?;
            graph::insert(conn, id, &tasks, phase, now_ms)?;
            outbox::put(conn, &Event::Job { job: id, phase, failure: None })?;
            Ok(Submitted::Created(id))
        })
        .await
    }

    /// The job that was submitted with a key.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn job_with_key(&self, key: &str) -> Result<Option<JobId>> {
        let key = key.to_owned();
        self.read(move |conn| job_by_key(conn, Some(&key))).await
    }

    /// Notes that the result of a job was moved.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn set_output(&self, job: JobId, output: &Path) -> Result<()> {
        let output = convert::json(&output)?;
        self.write(move |conn| {
            conn.prepare_cached(
                "UPDATE jobs SET request = json_set(request, '$.output', json(?2)) WHERE id = ?1",
            )?
            .execute(params![job.to_string(), output])?;
            Ok(())
        })
        .await
    }

    /// Moves a job to another phase, if it is in one of `allowed_from` now. `Failed` and `Cancelled` also end its tasks and
    /// leases; `Completed` is refused while a task is undone; nothing leaves a final phase but by [`Store::retry`].
    ///
    /// # Errors
    /// [`StoreError::NotFound`](crate::StoreError::NotFound) when there is no such job.
    pub async fn set_phase(
        &self,
        job: JobId,
        to: JobPhase,
        allowed_from: &[JobPhase],
        failure: Option<Failure>,
        now_ms: i64,
    ) -> Result<PhaseChange> {
        let allowed = allowed_from.to_vec();
        self.write(move |conn| {
            let from = phase::of(conn, job)?;
            let ends_undone = to == JobPhase::Completed && !phase::all_done(conn, job)?;
            if from == to || from.is_final() || !allowed.contains(&from) || ends_undone {
                return Ok(PhaseChange::Refused(from));
            }
            let stopped = phase::enter(conn, job, from, to, failure.as_ref(), now_ms)?;
            Ok(PhaseChange::Changed { stopped })
        })
        .await
    }

    /// Stops a job for good, unless it has ended.
    ///
    /// # Errors
    /// As [`Store::set_phase`].
    pub async fn cancel(&self, job: JobId, now_ms: i64) -> Result<PhaseChange> {
        self.set_phase(job, JobPhase::Cancelled, &JobPhase::ALL, None, now_ms).await
    }

    /// Lets no further task of a job start. Those that run go on, and their results are taken.
    ///
    /// # Errors
    /// As [`Store::set_phase`].
    pub async fn pause(&self, job: JobId, now_ms: i64) -> Result<PhaseChange> {
        self.set_phase(job, JobPhase::Paused, &JobPhase::ALL, None, now_ms).await
    }

    /// Lets a paused job go on in the phase that it was paused in.
    ///
    /// # Errors
    /// As [`Store::set_phase`].
    pub async fn resume(&self, job: JobId, now_ms: i64) -> Result<PhaseChange> {
        self.write(move |conn| {
            let from = phase::of(conn, job)?;
            let to = conn
                .prepare_cached("SELECT paused_from FROM jobs WHERE id = ?1")?
                .query_row([job.to_string()], convert::paused_from)?;
            let Some(to) = to else { return Ok(PhaseChange::Refused(from)) };
            let stopped = phase::enter(conn, job, from, to, None, now_ms)?;
            Ok(PhaseChange::Changed { stopped })
        })
        .await
    }

    /// Opens a failed or cancelled job again: what is done stays done, everything else gets all its tries back.
    ///
    /// # Errors
    /// As [`Store::set_phase`].
    pub async fn retry(&self, job: JobId, now_ms: i64) -> Result<Retried> {
        self.write(move |conn| {
            let from = phase::of(conn, job)?;
            if !matches!(from, JobPhase::Failed | JobPhase::Cancelled) {
                return Ok(Retried::Refused(from));
            }
            phase::enter(conn, job, from, JobPhase::Processing, None, now_ms)?;
            Ok(Retried::Changed { reopened: reopen_tasks(conn, job)? })
        })
        .await
    }

    /// Lets tasks of jobs that nobody took from for so long go before others: one step of priority at a time, up to `most`
    /// above what the job asked for. Gives how many tasks rose.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn age(&self, now_ms: i64, waited_ms: i64, most: u32) -> Result<usize> {
        self.write(move |conn| {
            let mut query = conn.prepare_cached(
                "UPDATE jobs SET served_ms = ?1
                 WHERE phase IN ('Queued', 'Processing', 'Combining') AND max(served_ms, created_ms) <= ?1 - ?2
                 RETURNING id",
            )?;
            let jobs = query
                .query_map([now_ms, waited_ms], |row| row.get::<_, String>("id"))?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            let mut raise = conn.prepare_cached(
                "UPDATE tasks SET priority = priority + 1
                 WHERE job_id = ?1 AND state = 'ready' AND held = 0
                   AND priority < (SELECT priority FROM jobs WHERE id = ?1) + ?2",
            )?;
            let mut raised = 0;
            for job in jobs {
                raised += raise.execute(params![job, most])?;
            }
            Ok(raised)
        })
        .await
    }

    /// Adds to what jobs have moved.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn add_moved(&self, moved: Vec<(JobId, u64)>) -> Result<()> {
        self.write(move |conn| {
            let mut add =
                conn.prepare_cached("UPDATE jobs SET moved_bytes = moved_bytes + ?2 WHERE id = ?1")?;
            for (job, bytes) in &moved {
                add.execute(params![job.to_string(), convert::signed(*bytes)])?;
            }
            Ok(())
        })
        .await
    }

    /// One job.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn job(&self, job: JobId) -> Result<Option<JobRow>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1"))?;
            Ok(query.query_row([job.to_string()], job_row).optional()?)
        })
        .await
    }

    /// Up to `limit` jobs that somebody gets to see, newest first, that are older than `after`; from the newest when absent.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn jobs(&self, sight: &Sight, after: Option<JobId>, limit: u32) -> Result<Vec<JobRow>> {
        let seen_by = grants::seen_by(sight)?;
        self.read(move |conn| {
            let mut query = conn.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM jobs WHERE id < ?1 AND {} ORDER BY id DESC LIMIT ?2",
                grants::seen(Kind::Job, "jobs.id", 3)
            ))?;
            // `~` sorts after all ids.
            let before = after.map_or_else(|| "~".to_owned(), |id| id.to_string());
            let rows = query.query_map(params![before, limit, seen_by], job_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// All jobs that have not ended, oldest first: what a start has to look at.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn open_jobs(&self) -> Result<Vec<JobRow>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM jobs WHERE phase NOT IN ('Completed', 'Failed', 'Cancelled') ORDER BY id"
            ))?;
            Ok(query.query_map([], job_row)?.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}

fn job_by_key(conn: &Connection, key: Option<&str>) -> Result<Option<JobId>, Fault> {
    let Some(key) = key else { return Ok(None) };
    let mut query = conn.prepare_cached("SELECT id FROM jobs WHERE idem_key = ?1")?;
    Ok(query.query_row([key], |row| convert::parsed(row, "id")).optional()?)
}

fn reopen_tasks(conn: &Connection, job: JobId) -> Result<usize, Fault> {
    let reopened = conn
        .prepare_cached(
            "UPDATE tasks SET state = 'waiting', tries = 0, not_before_ms = 0, node_id = NULL, pending_deps =
               (SELECT count(*) FROM deps JOIN tasks AS src ON src.id = deps.src
                WHERE deps.dst = tasks.id AND src.state <> 'done')
             WHERE job_id = ?1 AND state IN ('failed', 'cancelled')",
        )?
        .execute([job.to_string()])?;
    conn.prepare_cached(
        "UPDATE tasks SET state = 'ready'
         WHERE job_id = ?1 AND state = 'waiting' AND pending_deps = 0 AND gate <> 'closed'",
    )?
    .execute([job.to_string()])?;
    Ok(reopened)
}
