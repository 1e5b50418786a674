//! What a change of phase does to a job's tasks. Which change is legal is decided by who calls.

use kinora_protocol::event::Event;
use kinora_protocol::job::JobPhase;
use kinora_protocol::{Failure, JobId};
use rusqlite::{Connection, OptionalExtension, params};

use super::convert;
use super::fault::Fault;
use super::outbox;
use crate::lease::{AttemptOutcome, Stopped};

/// Whether tasks of a job in this phase may start.
pub(super) fn is_runnable(phase: JobPhase) -> bool {
    match phase {
        JobPhase::Queued | JobPhase::Processing | JobPhase::Combining => true,
        JobPhase::WaitingForNodes
        | JobPhase::Benchmarking
        | JobPhase::Completed
        | JobPhase::Failed
        | JobPhase::Cancelled
        | JobPhase::Paused => false,
    }
}

/// The phase that a job is in.
pub(super) fn of(conn: &Connection, job: JobId) -> Result<JobPhase, Fault> {
    conn.prepare_cached("SELECT phase FROM jobs WHERE id = ?1")?
        .query_row([job.to_string()], convert::phase)
        .optional()?
        .ok_or_else(|| Fault::NotFound(format!("job {job}")))
}

/// Whether every task of a job is done.
pub(super) fn all_done(conn: &Connection, job: JobId) -> Result<bool, Fault> {
    let mut query =
        conn.prepare_cached("SELECT NOT EXISTS (SELECT 1 FROM tasks WHERE job_id = ?1 AND state <> 'done')")?;
    Ok(query.query_row([job.to_string()], |row| row.get(0))?)
}

/// Puts the job into a phase and its tasks into what goes with it. Gives the leases that end.
pub(super) fn enter(
    conn: &Connection,
    job: JobId,
    from: JobPhase,
    to: JobPhase,
    failure: Option<&Failure>,
    now_ms: i64,
) -> Result<Vec<Stopped>, Fault> {
    let paused_from = (to == JobPhase::Paused).then(|| from.name());
    let finished = to.is_final().then_some(now_ms);
    let stored = failure.map(convert::json_inside).transpose()?;
    let changed = conn
        .prepare_cached(
            "UPDATE jobs SET phase = ?3, paused_from = ?4, failure = ?5, updated_ms = ?6, finished_ms = ?7
             WHERE id = ?1 AND phase = ?2",
        )?
        .execute(params![job.to_string(), from.name(), to.name(), paused_from, stored, now_ms, finished])?;
    if changed != 1 {
        return Err(Fault::Internal(format!("job {job} is not in phase {}", from.name())));
    }
    let stopped = match to {
        JobPhase::Failed | JobPhase::Cancelled => stop_tasks(conn, job, now_ms)?,
        _ => {
            hold_tasks(conn, job, !is_runnable(to))?;
            Vec::new()
        }
    };
    outbox::put(conn, &Event::Job { job, phase: to, failure: failure.map(outbox::without_detail) })?;
    Ok(stopped)
}

/// A failed task fails its job.
pub(super) fn fail(
    conn: &Connection,
    job: JobId,
    failure: &Failure,
    now_ms: i64,
) -> Result<Vec<Stopped>, Fault> {
    let from = of(conn, job)?;
    enter(conn, job, from, JobPhase::Failed, Some(failure), now_ms)
}

/// Held tasks are not in the index that claims go through: a paused job costs nobody a scan.
fn hold_tasks(conn: &Connection, job: JobId, held: bool) -> Result<(), Fault> {
    conn.prepare_cached("UPDATE tasks SET held = ?2 WHERE job_id = ?1 AND state <> 'done' AND held <> ?2")?
        .execute(params![job.to_string(), held])?;
    Ok(())
}

fn stop_tasks(conn: &Connection, job: JobId, now_ms: i64) -> Result<Vec<Stopped>, Fault> {
    let stopped = conn
        .prepare_cached(
            "SELECT id, kind, ordinal, attempt, node_id FROM tasks WHERE job_id = ?1 AND state = 'leased'
             UNION ALL
             SELECT id, kind, ordinal, backups.attempt, backups.node_id
             FROM tasks JOIN backups ON backups.task_id = tasks.id WHERE job_id = ?1",
        )?
        .query_map([job.to_string()], |row| {
            Ok(Stopped {
                job,
                kind: convert::kind(row)?,
                ordinal: row.get("ordinal")?,
                lease: convert::lease(row)?,
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for Stopped { lease, .. } in &stopped {
        super::outcome::end_attempt(conn, lease, AttemptOutcome::Cancelled, None, now_ms)?;
    }
    conn.prepare_cached("DELETE FROM backups WHERE task_id IN (SELECT id FROM tasks WHERE job_id = ?1)")?
        .execute([job.to_string()])?;
    conn.prepare_cached(
        "UPDATE tasks SET state = 'cancelled', node_id = NULL, lease_until_ms = NULL
         WHERE job_id = ?1 AND state IN ('waiting', 'ready', 'leased')",
    )?
    .execute([job.to_string()])?;
    Ok(stopped)
}
