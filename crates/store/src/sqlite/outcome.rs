//! How a lease ends: with a result, a failure, or silence. Everything here is fenced by task, attempt and node.

use kinora_protocol::event::{Event, TaskChange};
use kinora_protocol::job::JobPhase;
use kinora_protocol::proof::Proof;
use kinora_protocol::task::{TaskKind, TaskOutput};
use kinora_protocol::{ErrorCode, Failure, JobId, TaskId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fault::Fault;
use super::{Store, backup, convert, media, outbox, phase};
use crate::error::{Result, StoreError};
use crate::lease::{
    Accepted, AfterExpiry, AfterFailure, AttemptOutcome, Completion, Expired, FailOutcome, Lease, Stopped,
};

/// A result made ready on the caller's thread.
pub(super) struct Output {
    json: String,
    bytes: u64,
    kind: TaskKind,
}

impl Output {
    pub(super) fn new(output: &TaskOutput) -> Result<Self, StoreError> {
        let bytes = match output {
            TaskOutput::Package(package) => package.size,
            _ => output.blob().map_or(0, |blob| blob.size),
        };
        Ok(Self { json: convert::json(output)?, bytes, kind: output.kind() })
    }
}

/// Which task it was.
pub(super) struct Ended {
    pub(super) id: TaskId,
    pub(super) job: JobId,
    kind: TaskKind,
    ordinal: u32,
}

impl Ended {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: convert::task_id(row, "id")?,
            job: convert::parsed(row, "job_id")?,
            kind: convert::kind(row)?,
            ordinal: row.get("ordinal")?,
        })
    }

    pub(super) fn event(&self, change: TaskChange) -> Event {
        Event::Task { job: self.job, task: self.id, kind: self.kind, ordinal: self.ordinal, change }
    }
}

/// What became of a result.
pub(super) enum Finished {
    Now(Ended, Option<Lease>),
    Before,
    LeaseLost,
}

/// Writes a result down, if the lease holds. The caller releases those who wait for it.
pub(super) fn finish(
    conn: &Connection,
    lease: &Lease,
    output: &Output,
    now_ms: i64,
) -> Result<Finished, Fault> {
    let beaten = backup::settle(conn, lease)?;
    let done = conn
        .prepare_cached(
            "UPDATE tasks SET state = 'done', lease_until_ms = NULL
             WHERE id = ?1 AND attempt = ?2 AND node_id = ?3 AND state = 'leased'
             RETURNING id, job_id, kind, ordinal, cache_key",
        )?
        .query_row(params![lease.task.0, lease.attempt.0, lease.node.as_str()], |row| {
            Ok((Ended::from_row(row)?, row.get::<_, Option<String>>("cache_key")?))
        })
        .optional()?;
    let Some((task, cache_key)) = done else { return not_leased(conn, lease) };
    if task.kind != output.kind {
        return Err(Fault::Invalid(format!(
            "task {} is of kind {}, its result of kind {}",
            task.id,
            task.kind.name(),
            output.kind.name()
        )));
    }
    conn.prepare_cached("UPDATE task_bodies SET output = ?2 WHERE task_id = ?1")?
        .execute(params![task.id.0, output.json])?;
    end_attempt(conn, lease, AttemptOutcome::Done, None, now_ms)?;
    if let Some(beaten) = &beaten {
        end_attempt(conn, beaten, AttemptOutcome::Cancelled, None, now_ms)?;
    }
    if let Some(key) = cache_key {
        media::cache(conn, &key, &output.json, output.bytes, now_ms)?;
    }
    Ok(Finished::Now(task, beaten))
}

fn not_leased(conn: &Connection, lease: &Lease) -> Result<Finished, Fault> {
    let before = conn
        .prepare_cached(
            "SELECT 1 FROM tasks WHERE id = ?1 AND attempt = ?2 AND node_id = ?3 AND state = 'done'",
        )?
        .exists(params![lease.task.0, lease.attempt.0, lease.node.as_str()])?;
    Ok(if before { Finished::Before } else { Finished::LeaseLost })
}

/// One undone dependency less for all that wait for this task. Gives those that are ready now, and those that only their
/// gate holds.
pub(super) fn release_dependants(
    conn: &Connection,
    task: TaskId,
) -> Result<(Vec<TaskId>, Vec<TaskId>), Fault> {
    let mut update = conn.prepare_cached(
        "UPDATE tasks SET pending_deps = pending_deps - 1,
           state = CASE WHEN state = 'waiting' AND pending_deps = 1 AND gate <> 'closed' THEN 'ready' ELSE state END
         WHERE id IN (SELECT dst FROM deps WHERE src = ?1)
         RETURNING id, state, pending_deps",
    )?;
    let mut rows = update.query([task.0])?;
    let (mut released, mut gated) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let (id, state, pending) = (
            convert::task_id(row, "id")?,
            row.get::<_, String>("state")?,
            row.get::<_, i64>("pending_deps")?,
        );
        match (state.as_str(), pending) {
            ("ready", 0) => released.push(id),
            ("waiting", 0) => gated.push(id),
            _ => {}
        }
    }
    released.sort_unstable();
    gated.sort_unstable();
    Ok((released, gated))
}

/// Closes the record of an attempt.
pub(super) fn end_attempt(
    conn: &Connection,
    lease: &Lease,
    outcome: AttemptOutcome,
    failure: Option<&Failure>,
    now_ms: i64,
) -> Result<(), Fault> {
    conn.prepare_cached(
        "UPDATE attempts SET ended_ms = ?3, outcome = ?4, failure = ?5
         WHERE task_id = ?1 AND attempt = ?2 AND ended_ms IS NULL",
    )?
    .execute(params![
        lease.task.0,
        lease.attempt.0,
        now_ms,
        outcome.name(),
        failure.map(convert::json_inside).transpose()?
    ])?;
    Ok(())
}

pub(super) fn complete(
    conn: &Connection,
    lease: &Lease,
    output: &Output,
    now_ms: i64,
) -> Result<Completion, Fault> {
    let (task, beaten) = match finish(conn, lease, output, now_ms)? {
        Finished::Now(task, beaten) => (task, beaten),
        Finished::Before => return Ok(Completion::AlreadyDone),
        Finished::LeaseLost => return Ok(Completion::LeaseLost),
    };
    let (released, gated) = release_dependants(conn, task.id)?;
    outbox::put(conn, &task.event(TaskChange::Done))?;
    let last = phase::all_done(conn, task.job)?;
    Ok(Completion::Accepted(Accepted { job: task.job, released, gated, last, beaten }))
}

fn complete_job(
    conn: &Connection,
    lease: &Lease,
    output: &Output,
    proof: Option<&str>,
    now_ms: i64,
) -> Result<Completion, Fault> {
    let completion = complete(conn, lease, output, now_ms)?;
    if let Completion::Accepted(Accepted { job, last, .. }) = completion {
        if !last {
            return Err(Fault::Conflict(format!("job {job} has undone tasks and cannot be completed")));
        }
        if let Some(proof) = proof {
            media::put_proof(conn, job, proof)?;
        }
        let from = phase::of(conn, job)?;
        phase::enter(conn, job, from, JobPhase::Completed, None, now_ms)?;
    }
    Ok(completion)
}

/// A failure of either sort: told by the node, or found because it told nothing.
struct Bad<'a> {
    failure: &'a Failure,
    outcome: AttemptOutcome,
    then: AfterFailure,
}

fn fail(conn: &Connection, lease: &Lease, bad: &Bad<'_>, now_ms: i64) -> Result<FailOutcome, Fault> {
    let key = params![lease.task.0, lease.attempt.0, lease.node.as_str()];
    let held = conn
        .prepare_cached(
            "SELECT id, job_id, kind, ordinal, max_attempts - tries AS tries_left FROM tasks
             WHERE id = ?1 AND attempt = ?2 AND node_id = ?3 AND state = 'leased'",
        )?
        .query_row(key, |row| Ok((Ended::from_row(row)?, row.get::<_, i64>("tries_left")?)))
        .optional()?;
    let Some((task, tries_left)) = held else {
        if !backup::drop(conn, lease)? {
            return Ok(FailOutcome::LeaseLost);
        }
        end_attempt(conn, lease, bad.outcome, Some(bad.failure), now_ms)?;
        return Ok(FailOutcome::StillRunning);
    };
    let tries_left = u32::try_from(tries_left).unwrap_or(0);
    end_attempt(conn, lease, bad.outcome, Some(bad.failure), now_ms)?;
    if backup::promote(conn, task.id)? {
        return Ok(FailOutcome::StillRunning);
    }
    let public = outbox::without_detail(bad.failure);
    match bad.then {
        AfterFailure::Retry { not_before_ms } if tries_left > 0 => {
            to_ready(conn, task.id, not_before_ms)?;
            outbox::put(conn, &task.event(TaskChange::Retry { failure: public }))?;
            Ok(FailOutcome::Retrying { tries_left })
        }
        AfterFailure::Retry { .. } | AfterFailure::Fatal => {
            conn.prepare_cached(
                "UPDATE tasks SET state = 'failed', node_id = NULL, lease_until_ms = NULL
                 WHERE id = ?1 AND state = 'leased'",
            )?
            .execute([task.id.0])?;
            outbox::put(conn, &task.event(TaskChange::Failed { failure: public }))?;
            let stopped = phase::fail(conn, task.job, bad.failure, now_ms)?;
            Ok(FailOutcome::TaskFailed { stopped })
        }
    }
}

fn to_ready(conn: &Connection, task: TaskId, not_before_ms: i64) -> Result<(), Fault> {
    conn.prepare_cached(
        "UPDATE tasks SET state = 'ready', node_id = NULL, lease_until_ms = NULL, not_before_ms = ?2,
           progress_frames = 0, progress_fps = 0
         WHERE id = ?1 AND state = 'leased'",
    )?
    .execute(params![task.0, not_before_ms])?;
    Ok(())
}

fn expire(conn: &Connection, now_ms: i64, retry_at_ms: i64) -> Result<Vec<Expired>, Fault> {
    let overdue = conn
        .prepare_cached(
            "SELECT id, job_id, kind, ordinal, attempt, node_id FROM tasks INDEXED BY tasks_leased
             WHERE state = 'leased' AND lease_until_ms <= ?1
             UNION ALL
             SELECT id, job_id, kind, ordinal, backups.attempt, backups.node_id
             FROM backups JOIN tasks ON tasks.id = backups.task_id WHERE backups.lease_until_ms <= ?1
             ORDER BY 1",
        )?
        .query_map([now_ms], |row| {
            let Ended { job, kind, ordinal, .. } = Ended::from_row(row)?;
            Ok(Stopped { job, kind, ordinal, lease: convert::lease(row)? })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut expired = Vec::with_capacity(overdue.len());
    for Stopped { job, kind, ordinal, lease } in overdue {
        let message =
            format!("{} {ordinal}: node {} did not renew its lease in time", kind.name(), lease.node);
        let failure = Failure::new(ErrorCode::LeaseLost, message);
        let bad = Bad {
            failure: &failure,
            outcome: AttemptOutcome::Expired,
            then: AfterFailure::Retry { not_before_ms: retry_at_ms },
        };
        let then = match fail(conn, &lease, &bad, now_ms)? {
            FailOutcome::Retrying { tries_left } => AfterExpiry::Retrying { tries_left },
            FailOutcome::StillRunning => AfterExpiry::StillRunning,
            FailOutcome::TaskFailed { stopped } => AfterExpiry::TaskFailed { stopped },
            // An earlier one of this sweep failed the job, and this lease was among those it stopped.
            FailOutcome::LeaseLost => continue,
        };
        expired.push(Expired { job, kind, ordinal, lease, then });
    }
    Ok(expired)
}

impl Store {
    /// Takes a result, if the lease holds: the task, those that wait for it, the event and the cache change together.
    ///
    /// # Errors
    /// `Invalid` when the result is of another kind than the task.
    pub async fn complete(&self, lease: &Lease, output: &TaskOutput, now_ms: i64) -> Result<Completion> {
        let (lease, output) = (lease.clone(), Output::new(output)?);
        self.write(move |conn| complete(conn, &lease, &output, now_ms)).await
    }

    /// As [`Store::complete`] for the last task of a job; keeps the proof and moves the job to `Completed` with it.
    ///
    /// # Errors
    /// `Conflict` when it is not the last; then the result is not taken either.
    pub async fn complete_job(
        &self,
        lease: &Lease,
        output: &TaskOutput,
        proof: Option<&Proof>,
        now_ms: i64,
    ) -> Result<Completion> {
        let (lease, output) = (lease.clone(), Output::new(output)?);
        let proof = proof.map(convert::json).transpose()?;
        self.write(move |conn| complete_job(conn, &lease, &output, proof.as_deref(), now_ms)).await
    }

    /// Ends an attempt that failed.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn fail(
        &self,
        lease: &Lease,
        failure: &Failure,
        then: AfterFailure,
        now_ms: i64,
    ) -> Result<FailOutcome> {
        let (lease, failure) = (lease.clone(), failure.clone());
        self.write(move |conn| {
            let bad = Bad { failure: &failure, outcome: AttemptOutcome::Failed, then };
            fail(conn, &lease, &bad, now_ms)
        })
        .await
    }

    /// Ends all leases that were to be renewed by now. Their tasks are ready again, not before `retry_at_ms`; one without a
    /// try left fails its job.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn expire(&self, now_ms: i64, retry_at_ms: i64) -> Result<Vec<Expired>> {
        self.write(move |conn| expire(conn, now_ms, retry_at_ms)).await
    }
}
