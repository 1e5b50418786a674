//! Leases handed out, renewed and given back.

use kinora_protocol::node::{Progress, SlotClass};
use kinora_protocol::task::TaskKind;
use kinora_protocol::{Attempt, ErrorCode, Failure, JobId, NodeId, TaskId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use kinora_protocol::job::JobPhase;

use super::fault::Fault;
use super::{Store, convert, outcome, phase};
use crate::error::Result;
use crate::lease::{AfterFailure, AttemptOutcome, Claimed, Lease};

/// The first ready task of a class, leased in one statement. The index has exactly these rows in exactly this order.
pub(super) const CLAIM: &str = "UPDATE tasks SET state = 'leased', attempt = attempt + 1, tries = tries + 1,
       node_id = ?1, lease_until_ms = ?4, progress_frames = 0, progress_fps = 0
     WHERE id = (SELECT id FROM tasks INDEXED BY tasks_ready
                 WHERE class = ?2 AND state = 'ready' AND held = 0 AND not_before_ms <= ?3
                 ORDER BY priority DESC, rank, id LIMIT 1)
       AND state = 'ready' AND held = 0
     RETURNING id, job_id, kind, ordinal, attempt, tries, max_attempts, node_id";

/// A claim whose spec is not read yet.
struct Leased {
    job: JobId,
    lease: Lease,
    kind: TaskKind,
    ordinal: u32,
    tries: u32,
    max_attempts: u32,
    failed_on: Vec<NodeId>,
    spec: String,
}

impl Leased {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            job: convert::job_id(row, "job_id")?,
            lease: convert::lease(row)?,
            kind: convert::kind(row)?,
            ordinal: row.get("ordinal")?,
            tries: row.get("tries")?,
            max_attempts: row.get("max_attempts")?,
            failed_on: Vec::new(),
            spec: String::new(),
        })
    }

    fn read(self) -> Result<Claimed, (Lease, serde_json::Error)> {
        let Self { job, lease, kind, ordinal, tries, max_attempts, failed_on, spec } = self;
        match serde_json::from_str(&spec) {
            Ok(spec) => Ok(Claimed { job, lease, kind, ordinal, spec, tries, max_attempts, failed_on }),
            Err(error) => Err((lease, error)),
        }
    }
}

fn claim(
    conn: &Connection,
    node: &NodeId,
    class: SlotClass,
    now_ms: i64,
    lease_until_ms: i64,
) -> Result<Option<Leased>, Fault> {
    let leased = conn
        .prepare_cached(CLAIM)?
        .query_row(params![node.as_str(), class.name(), now_ms, lease_until_ms], Leased::from_row)
        .optional()?;
    let Some(mut leased) = leased else { return Ok(None) };
    let task = leased.lease.task;
    conn.prepare_cached(
        "INSERT INTO attempts (task_id, attempt, node_id, started_ms) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![task.0, leased.lease.attempt.0, node.as_str(), now_ms])?;
    if phase::of(conn, leased.job)? == JobPhase::Queued {
        phase::enter(conn, leased.job, JobPhase::Queued, JobPhase::Processing, None, now_ms)?;
    }
    leased.spec = conn
        .prepare_cached("SELECT spec FROM task_bodies WHERE task_id = ?1")?
        .query_row([task.0], |row| row.get(0))?;
    if leased.lease.attempt > Attempt(1) {
        leased.failed_on = failed_on(conn, task)?;
    }
    Ok(Some(leased))
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
        // SQLite has no NaN; it would be a null, and one node's division by zero would spoil everybody's renewal.
        let fps = if progress.fps.is_finite() { progress.fps } else { 0.0 };
        let changed = update.execute(params![
            lease.task.0,
            lease.attempt.0,
            lease.node.as_str(),
            lease_until_ms,
            convert::signed(progress.frames),
            fps
        ])?;
        held.push(changed == 1);
    }
    Ok(held)
}

/// Back to ready without fault: the try does not count, the attempt stays used.
fn release(conn: &Connection, lease: &Lease, now_ms: i64) -> Result<bool, Fault> {
    let changed = conn
        .prepare_cached(
            "UPDATE tasks SET state = 'ready', node_id = NULL, lease_until_ms = NULL, tries = tries - 1,
               progress_frames = 0, progress_fps = 0
             WHERE id = ?1 AND attempt = ?2 AND node_id = ?3 AND state = 'leased'",
        )?
        .execute(params![lease.task.0, lease.attempt.0, lease.node.as_str()])?;
    if changed == 1 {
        outcome::end_attempt(conn, lease, AttemptOutcome::Released, None, now_ms)?;
    }
    Ok(changed == 1)
}

impl Store {
    /// Leases the first ready task of a class to a node: greatest priority, then least rank, then oldest. The first claim of
    /// a queued job moves it to `Processing`.
    ///
    /// A task whose spec this version cannot read fails with its job, so that it does not block those behind it.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn claim(
        &self,
        node: &NodeId,
        class: SlotClass,
        now_ms: i64,
        lease_until_ms: i64,
    ) -> Result<Option<Claimed>> {
        loop {
            let node = node.clone();
            let leased = self.write(move |conn| claim(conn, &node, class, now_ms, lease_until_ms)).await?;
            let (lease, error) = match leased.map(Leased::read) {
                None => return Ok(None),
                Some(Ok(claimed)) => return Ok(Some(claimed)),
                Some(Err(unreadable)) => unreadable,
            };
            tracing::error!(task = %lease.task, %error, "a stored task cannot be read");
            let message = format!("task {} was stored in a form that this version cannot read", lease.task);
            let failure = Failure { code: ErrorCode::Internal, message, detail: error.to_string() };
            self.fail(&lease, &failure, AfterFailure::Fatal, now_ms).await?;
        }
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
                     WHERE state = 'leased' AND node_id = ?1 ORDER BY id",
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
    pub async fn least_rank(&self, class: SlotClass, priority: i32) -> Result<Option<f64>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT min(rank) FROM tasks INDEXED BY tasks_ready
                 WHERE class = ?1 AND priority = ?2 AND state = 'ready' AND held = 0",
            )?;
            Ok(query.query_row(params![class.name(), priority], |row| row.get(0))?)
        })
        .await
    }
}
