//! Leases handed out, renewed and given back.

use std::cmp::{Ordering, Reverse};

use kinora_protocol::class::Class;
use kinora_protocol::node::Progress;
use kinora_protocol::task::TaskKind;
use kinora_protocol::{Attempt, ErrorCode, Failure, JobId, NodeId, TaskId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use kinora_protocol::job::JobPhase;

use super::fault::Fault;
use super::{Store, backup, convert, outcome, phase};
use crate::error::Result;
use crate::lease::{AfterFailure, AttemptOutcome, Avoid, Claimed, Lease, Wanted};

/// The first ready task of a class. The index has exactly these rows in exactly this order. One that nobody else took within
/// ten seconds may be taken by a node that has failed it: else it would wait for ever where all have.
pub(super) const FIRST: &str = "SELECT id, priority, rank FROM tasks INDEXED BY tasks_ready
     WHERE class = ?1 AND state = 'ready' AND held = 0 AND not_before_ms <= ?2
       AND (?4 = 0 OR not_before_ms <= ?2 - 10000 OR NOT EXISTS (SELECT 1 FROM attempts WHERE attempts.task_id = tasks.id
              AND attempts.node_id = ?3 AND attempts.outcome IN ('failed', 'expired')))
     ORDER BY priority DESC, rank, id LIMIT 1";

const LEASE: &str =
    "UPDATE tasks SET state = 'leased', issued = issued + 1, attempt = issued + 1, tries = tries + 1,
       node_id = ?2, lease_until_ms = ?3, progress_frames = 0, progress_fps = 0
     WHERE id = ?1 AND state = 'ready' AND held = 0
     RETURNING id, job_id, kind, ordinal, class, attempt, tries, max_attempts, node_id";

/// How often the time of a job's last lease is written anew.
const SERVED_EVERY_MS: i64 = 5_000;

/// A claim whose spec is not read yet.
pub(super) struct Leased {
    job: JobId,
    pub(super) lease: Lease,
    kind: TaskKind,
    ordinal: u32,
    class: Class,
    tries: u32,
    max_attempts: u32,
    failed_on: Vec<NodeId>,
    spec: String,
}

impl Leased {
    pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            job: convert::parsed(row, "job_id")?,
            lease: convert::lease(row)?,
            kind: convert::kind(row)?,
            ordinal: row.get("ordinal")?,
            class: convert::class(row)?,
            tries: row.get("tries")?,
            max_attempts: row.get("max_attempts")?,
            failed_on: Vec::new(),
            spec: String::new(),
        })
    }

    pub(super) fn read(self) -> Result<Claimed, (Lease, serde_json::Error)> {
        let Self { job, lease, kind, ordinal, class, tries, max_attempts, failed_on, spec } = self;
        match serde_json::from_str(&spec) {
            Ok(spec) => {
                Ok(Claimed { job, lease, kind, ordinal, class, spec, tries, max_attempts, failed_on })
            }
            Err(error) => Err((lease, error)),
        }
    }
}

/// The first task of several classes: each class's first by its index, then the best of these.
fn first(conn: &Connection, wanted: &Wanted, now_ms: i64) -> Result<Option<i64>, Fault> {
    let mut query = conn.prepare_cached(FIRST)?;
    let avoid = wanted.avoid == Avoid::OwnFailures;
    let mut best: Option<(Reverse<i64>, f64, i64)> = None;
    for class in &wanted.classes {
        let found = query
            .query_row(params![class.to_string(), now_ms, wanted.node.as_str(), avoid], |row| {
                Ok((Reverse(row.get("priority")?), row.get("rank")?, row.get("id")?))
            })
            .optional()?;
        best = match (best, found) {
            (Some(best), Some(found)) if best.partial_cmp(&found) == Some(Ordering::Less) => Some(best),
            (best, found) => found.or(best),
        };
    }
    Ok(best.map(|(_, _, id)| id))
}

fn claim(
    conn: &Connection,
    wanted: &Wanted,
    now_ms: i64,
    lease_until_ms: i64,
) -> Result<Option<Leased>, Fault> {
    let Some(id) = first(conn, wanted, now_ms)? else { return Ok(None) };
    let leased = conn
        .prepare_cached(LEASE)?
        .query_row(params![id, wanted.node.as_str(), lease_until_ms], Leased::from_row)
        .optional()?;
    let Some(leased) = leased else { return Ok(None) };
    if phase::of(conn, leased.job)? == JobPhase::Queued {
        phase::enter(conn, leased.job, JobPhase::Queued, JobPhase::Processing, None, now_ms)?;
    }
    conn.prepare_cached("UPDATE jobs SET served_ms = ?2 WHERE id = ?1 AND served_ms <= ?2 - ?3")?
        .execute(params![leased.job.to_string(), now_ms, SERVED_EVERY_MS])?;
    begin(conn, leased, now_ms).map(Some)
}

/// Opens the record of an attempt and adds what its node has to know.
pub(super) fn begin(conn: &Connection, mut leased: Leased, now_ms: i64) -> Result<Leased, Fault> {
    let Lease { task, attempt, node } = &leased.lease;
    conn.prepare_cached(
        "INSERT INTO attempts (task_id, attempt, node_id, started_ms, sandbox)
         VALUES (?1, ?2, ?3, ?4, (SELECT sandbox FROM nodes WHERE id = ?3))",
    )?
    .execute(params![task.0, attempt.0, node.as_str(), now_ms])?;
    leased.spec = spec_of(conn, *task)?;
    if *attempt > Attempt(1) {
        leased.failed_on = failed_on(conn, *task)?;
    }
    Ok(leased)
}

fn spec_of(conn: &Connection, task: TaskId) -> Result<String, Fault> {
    let mut query = conn.prepare_cached("SELECT spec FROM task_bodies WHERE task_id = ?1")?;
    Ok(query.query_row([task.0], |row| row.get(0))?)
}

fn failed_on(conn: &Connection, task: TaskId) -> Result<Vec<NodeId>, Fault> {
    let mut query = conn.prepare_cached(
        "SELECT node_id FROM attempts WHERE task_id = ?1 AND outcome IN ('failed', 'expired')
         GROUP BY node_id ORDER BY min(attempt)",
    )?;
    let nodes = query.query_map([task.0], |row| row.get::<_, String>(0).map(NodeId::from))?;
    Ok(nodes.collect::<rusqlite::Result<_>>()?)
}

fn renew(conn: &Connection, renewals: &[(Lease, Progress)], lease_until_ms: i64) -> Result<Vec<bool>, Fault> {
    let mut update = conn.prepare_cached(
        "UPDATE tasks SET lease_until_ms = max(lease_until_ms, ?4), progress_frames = ?5, progress_fps = ?6
         WHERE id = ?1 AND attempt = ?2 AND node_id = ?3 AND state = 'leased'",
    )?;
    let mut held = Vec::with_capacity(renewals.len());
    for (lease, progress) in renewals {
        let changed = update.execute(params![
            lease.task.0,
            lease.attempt.0,
            lease.node.as_str(),
            lease_until_ms,
            convert::signed(progress.frames),
            convert::speed(progress.fps)
        ])?;
        held.push(changed == 1 || backup::renew(conn, lease, *progress, lease_until_ms)?);
    }
    Ok(held)
}

/// Back to ready without fault: the try does not count, the attempt stays used. A backup takes over.
fn release(conn: &Connection, lease: &Lease, now_ms: i64) -> Result<bool, Fault> {
    let key = params![lease.task.0, lease.attempt.0, lease.node.as_str()];
    let held = conn
        .prepare_cached(
            "SELECT 1 FROM tasks WHERE id = ?1 AND attempt = ?2 AND node_id = ?3 AND state = 'leased'",
        )?
        .exists(key)?;
    let released = if held {
        if !backup::promote(conn, lease.task)? {
            conn.prepare_cached(
                "UPDATE tasks SET state = 'ready', node_id = NULL, lease_until_ms = NULL, tries = tries - 1,
                   progress_frames = 0, progress_fps = 0
                 WHERE id = ?1",
            )?
            .execute([lease.task.0])?;
        }
        true
    } else {
        backup::drop(conn, lease)?
    };
    if released {
        outcome::end_attempt(conn, lease, AttemptOutcome::Released, None, now_ms)?;
    }
    Ok(released)
}

impl Store {
    /// Leases to each asker the first ready task of its classes: greatest priority, then least rank, then oldest. All in one
    /// commit, so that many nodes share its cost. The first claim of a queued job moves it to `Processing`.
    ///
    /// A task whose spec this version cannot read fails with its job, so that it does not block those behind it.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn claim(
        &self,
        wanted: Vec<Wanted>,
        now_ms: i64,
        lease_until_ms: i64,
    ) -> Result<Vec<Option<Claimed>>> {
        let leased = self
            .write(move |conn| {
                wanted.iter().map(|w| claim(conn, w, now_ms, lease_until_ms)).collect::<Result<Vec<_>, _>>()
            })
            .await?;
        let mut claimed = Vec::with_capacity(leased.len());
        for leased in leased {
            claimed.push(self.readable(leased, now_ms).await?);
        }
        Ok(claimed)
    }

    /// A lease with its spec; one that this version cannot read fails with its job.
    pub(super) async fn readable(&self, leased: Option<Leased>, now_ms: i64) -> Result<Option<Claimed>> {
        let (lease, error) = match leased.map(Leased::read) {
            None => return Ok(None),
            Some(Ok(claimed)) => return Ok(Some(claimed)),
            Some(Err(unreadable)) => unreadable,
        };
        tracing::error!(task = %lease.task, %error, "a stored task cannot be read");
        let message = format!("task {} was stored in a form that this version cannot read", lease.task);
        let failure = Failure { code: ErrorCode::Internal, message, detail: error.to_string() };
        self.fail(&lease, &failure, AfterFailure::Fatal, now_ms).await?;
        Ok(None)
    }

    /// How many tasks of each class could be handed out now, counted up to `most`: a look that takes no lock.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn ready(&self, now_ms: i64, most: u32) -> Result<Vec<(Class, u32)>> {
        self.read(move |conn| {
            // From one class to the next by the index, which is a look for each, however many tasks it has.
            let mut query = conn.prepare_cached(
                "WITH RECURSIVE classes (class) AS (
                   SELECT min(class) FROM tasks INDEXED BY tasks_ready WHERE state = 'ready' AND held = 0
                   UNION ALL
                   SELECT (SELECT min(class) FROM tasks INDEXED BY tasks_ready
                           WHERE state = 'ready' AND held = 0 AND tasks.class > classes.class)
                   FROM classes WHERE class IS NOT NULL
                 )
                 SELECT class, (SELECT count(*) FROM (SELECT 1 FROM tasks INDEXED BY tasks_ready
                   WHERE tasks.class = classes.class AND state = 'ready' AND held = 0 AND not_before_ms <= ?1
                   LIMIT ?2)) AS number
                 FROM classes WHERE class IS NOT NULL AND number > 0 ORDER BY class",
            )?;
            let rows = query
                .query_map(params![now_ms, most], |row| Ok((convert::class(row)?, row.get("number")?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// Leases that a node holds by the store, as they were handed out: what it may go on with after it, or the hub, was away.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn leases_of(&self, node: &NodeId) -> Result<Vec<Claimed>> {
        let node = node.clone();
        self.read(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT id, job_id, kind, ordinal, class, attempt, tries, max_attempts, node_id
                 FROM tasks INDEXED BY tasks_leased WHERE state = 'leased' AND node_id = ?1
                 UNION ALL
                 SELECT id, job_id, kind, ordinal, class, backups.attempt, tries, max_attempts, backups.node_id
                 FROM backups JOIN tasks ON tasks.id = backups.task_id WHERE backups.node_id = ?1
                 ORDER BY 1",
            )?;
            let leased =
                query.query_map([node.as_str()], Leased::from_row)?.collect::<rusqlite::Result<Vec<_>>>()?;
            let mut held = Vec::with_capacity(leased.len());
            for mut one in leased {
                one.spec = spec_of(conn, one.lease.task)?;
                one.failed_on = failed_on(conn, one.lease.task)?;
                // What cannot be read was not handed out by this version; its lease runs out.
                held.extend(one.read().ok());
            }
            Ok(held)
        })
        .await
    }

    /// Lets every lease last at least this long: after a start, so that nodes find the hub again before they lose their work.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn extend_leases(&self, lease_until_ms: i64) -> Result<()> {
        self.write(move |conn| {
            conn.prepare_cached(
                "UPDATE tasks SET lease_until_ms = max(lease_until_ms, ?1)
                 WHERE id IN (SELECT id FROM tasks INDEXED BY tasks_leased WHERE state = 'leased')",
            )?
            .execute([lease_until_ms])?;
            conn.prepare_cached("UPDATE backups SET lease_until_ms = max(lease_until_ms, ?1)")?
                .execute([lease_until_ms])?;
            Ok(())
        })
        .await
    }

    /// Extends leases and notes the progress of their tasks, all in one transaction. `false`: this lease is lost.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn renew(&self, renewals: &[(Lease, Progress)], lease_until_ms: i64) -> Result<Vec<bool>> {
        let renewals = renewals.to_vec();
        self.write(move |conn| renew(conn, &renewals, lease_until_ms)).await
    }

    /// Gives leases back without fault (a node drains, say): the task is ready, the try does not count. `false`: this lease
    /// was lost before.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn release(&self, leases: &[Lease], now_ms: i64) -> Result<Vec<bool>> {
        let leases = leases.to_vec();
        self.write(move |conn| leases.iter().map(|lease| release(conn, lease, now_ms)).collect()).await
    }

    /// Gives back all leases of a node, which a process that is dead now has left. To be called before the node claims.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn release_node(&self, node: &NodeId, now_ms: i64) -> Result<Vec<Lease>> {
        let node = node.clone();
        self.write(move |conn| {
            let leases = conn
                .prepare_cached(
                    "SELECT id, attempt, node_id FROM tasks INDEXED BY tasks_leased
                     WHERE state = 'leased' AND node_id = ?1
                     UNION ALL SELECT task_id, attempt, node_id FROM backups WHERE node_id = ?1 ORDER BY 1",
                )?
                .query_map([node.as_str()], convert::lease)?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            for lease in &leases {
                release(conn, lease, now_ms)?;
            }
            Ok(leases)
        })
        .await
    }

    /// The least rank among ready tasks of a class. A new job that starts there takes turns with those that wait, instead of
    /// going before or after all of them.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn least_rank(&self, class: &Class, priority: i32) -> Result<Option<f64>> {
        let class = class.to_string();
        self.read(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT min(rank) FROM tasks INDEXED BY tasks_ready
                 WHERE class = ?1 AND priority = ?2 AND state = 'ready' AND held = 0",
            )?;
            Ok(query.query_row(params![class, priority], |row| row.get(0))?)
        })
        .await
    }
}
