//! Backups: a second attempt of a leased task on another node, so that one slow or silent node does not hold up a job. Whoever
//! is done first wins; the other's word counts for nothing from then on.

use kinora_protocol::node::Progress;
use kinora_protocol::{NodeId, TaskId};
use rusqlite::{Connection, OptionalExtension, params};

use super::fault::Fault;
use super::lease::{Leased, begin};
use super::{Store, convert};
use crate::error::Result;
use crate::lease::{Claimed, Lease};

/// Puts the backup in the place of the attempt that ended. Whether there was one.
pub(super) fn promote(conn: &Connection, task: TaskId) -> Result<bool, Fault> {
    let promoted = conn
        .prepare_cached(
            "UPDATE tasks SET attempt = backups.attempt, node_id = backups.node_id,
               lease_until_ms = backups.lease_until_ms, progress_frames = backups.progress_frames,
               progress_fps = backups.progress_fps
             FROM backups WHERE tasks.id = ?1 AND backups.task_id = ?1 AND tasks.state = 'leased'",
        )?
        .execute([task.0])?;
    conn.prepare_cached("DELETE FROM backups WHERE task_id = ?1")?.execute([task.0])?;
    Ok(promoted == 1)
}

/// Takes a backup away. Whether this lease was one.
pub(super) fn drop(conn: &Connection, lease: &Lease) -> Result<bool, Fault> {
    let dropped = conn
        .prepare_cached("DELETE FROM backups WHERE task_id = ?1 AND attempt = ?2 AND node_id = ?3")?
        .execute(params![lease.task.0, lease.attempt.0, lease.node.as_str()])?;
    Ok(dropped == 1)
}

/// Extends a backup's lease. Whether this lease is one.
pub(super) fn renew(
    conn: &Connection,
    lease: &Lease,
    progress: Progress,
    lease_until_ms: i64,
) -> Result<bool, Fault> {
    let changed = conn
        .prepare_cached(
            "UPDATE backups SET lease_until_ms = max(lease_until_ms, ?4), progress_frames = ?5, progress_fps = ?6
             WHERE task_id = ?1 AND attempt = ?2 AND node_id = ?3",
        )?
        .execute(params![
            lease.task.0,
            lease.attempt.0,
            lease.node.as_str(),
            lease_until_ms,
            convert::signed(progress.frames),
            convert::speed(progress.fps)
        ])?;
    Ok(changed == 1)
}

/// The lease that works on the same task as the winner, if there are two. The winner stays, as the task's own attempt.
pub(super) fn settle(conn: &Connection, winner: &Lease) -> Result<Option<Lease>, Fault> {
    let pair = conn
        .prepare_cached(
            "SELECT tasks.id, tasks.attempt, tasks.node_id, backups.attempt AS second, backups.node_id AS other
             FROM tasks JOIN backups ON backups.task_id = tasks.id WHERE tasks.id = ?1 AND tasks.state = 'leased'",
        )?
        .query_row([winner.task.0], |row| {
            let backup = Lease {
                task: winner.task,
                attempt: kinora_protocol::Attempt(row.get("second")?),
                node: NodeId::from(row.get::<_, String>("other")?),
            };
            Ok((convert::lease(row)?, backup))
        })
        .optional()?;
    match pair {
        Some((first, backup)) if backup == *winner => {
            promote(conn, winner.task)?;
            Ok(Some(first))
        }
        Some((first, backup)) if first == *winner => {
            drop(conn, &backup)?;
            Ok(Some(backup))
        }
        _ => Ok(None),
    }
}

impl Store {
    /// Leases a task that another node has to this one as well. `None`: it is not leased any more, has a backup already, or
    /// the node is the one that has it.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn back_up(
        &self,
        task: TaskId,
        node: &NodeId,
        now_ms: i64,
        lease_until_ms: i64,
    ) -> Result<Option<Claimed>> {
        let node = node.clone();
        let leased = self
            .write(move |conn| {
                let issued = conn
                    .prepare_cached(
                        "UPDATE tasks SET issued = issued + 1
                         WHERE id = ?1 AND state = 'leased' AND held = 0 AND node_id <> ?2
                           AND NOT EXISTS (SELECT 1 FROM backups WHERE task_id = ?1)
                           AND NOT EXISTS (SELECT 1 FROM attempts WHERE task_id = ?1 AND node_id = ?2
                                           AND outcome IN ('failed', 'expired'))
                         RETURNING id, job_id, kind, ordinal, class, issued AS attempt, tries, max_attempts, ?2 AS node_id",
                    )?
                    .query_row(params![task.0, node.as_str()], Leased::from_row)
                    .optional()?;
                let Some(leased) = issued else { return Ok(None) };
                conn.prepare_cached(
                    "INSERT INTO backups (task_id, attempt, node_id, lease_until_ms) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![task.0, leased.lease.attempt.0, node.as_str(), lease_until_ms])?;
                begin(conn, leased, now_ms).map(Some)
            })
            .await?;
        self.readable(leased, now_ms).await
    }
}
