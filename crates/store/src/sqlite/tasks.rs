//! Looking tasks up.

use std::collections::BTreeMap;

use kinora_protocol::class::Class;
use kinora_protocol::node::Progress;
use kinora_protocol::task::{PackageOutput, TaskKind, TaskOutput};
use kinora_protocol::{Attempt, JobId, NodeId, TaskId};
use rusqlite::{OptionalExtension, Row};

use super::{Store, convert};
use crate::error::Result;
use crate::lease::{AttemptRow, JobAttempt, Lease};
use crate::task::{ChunkSum, Chunks, Counts, TaskRow};

/// A failure is kept once, with its attempt.
const SELECT: &str = "SELECT tasks.id, job_id, kind, ordinal, state, gate, class, priority, rank, tasks.attempt, tries,
       max_attempts, pending_deps, tasks.node_id, tasks.lease_until_ms, tasks.progress_frames, tasks.progress_fps, cache_key, spec, output,
       attempts.failure, backups.attempt AS backup_attempt, backups.node_id AS backup_node
     FROM tasks JOIN task_bodies ON task_bodies.task_id = tasks.id
     LEFT JOIN attempts ON attempts.task_id = tasks.id AND attempts.attempt = tasks.attempt
     LEFT JOIN backups ON backups.task_id = tasks.id";

fn backup(row: &Row<'_>) -> rusqlite::Result<Option<Lease>> {
    let (attempt, node): (Option<u32>, Option<String>) =
        (row.get("backup_attempt")?, row.get("backup_node")?);
    let task = convert::task_id(row, "id")?;
    Ok(attempt.zip(node).map(|(attempt, node)| Lease {
        task,
        attempt: Attempt(attempt),
        node: NodeId::from(node),
    }))
}

fn task_row(row: &Row<'_>) -> rusqlite::Result<TaskRow> {
    Ok(TaskRow {
        id: convert::task_id(row, "id")?,
        job: convert::parsed(row, "job_id")?,
        kind: convert::kind(row)?,
        ordinal: row.get("ordinal")?,
        state: convert::state(row)?,
        gate: convert::gate(row)?,
        class: convert::class(row)?,
        priority: row.get("priority")?,
        rank: row.get("rank")?,
        attempt: Attempt(row.get("attempt")?),
        tries: row.get("tries")?,
        max_attempts: row.get("max_attempts")?,
        pending_deps: row.get("pending_deps")?,
        node: row.get::<_, Option<String>>("node_id")?.map(NodeId::from),
        lease_until_ms: row.get("lease_until_ms")?,
        backup: backup(row)?,
        progress: Progress {
            frames: u64::try_from(row.get::<_, i64>("progress_frames")?).unwrap_or(0),
            fps: row.get("progress_fps")?,
        },
        cache_key: convert::digest_opt(row, "cache_key")?,
        spec: convert::from_json(row, "spec")?,
        output: convert::from_json_opt(row, "output")?,
        failure: convert::from_json_opt(row, "failure")?,
    })
}

impl Store {
    /// One task.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn task(&self, task: TaskId) -> Result<Option<TaskRow>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(&format!("{SELECT} WHERE tasks.id = ?1"))?;
            Ok(query.query_row([task.0], task_row).optional()?)
        })
        .await
    }

    /// All tasks of a job with their specs and results, in the order in which they were stored.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn tasks(&self, job: JobId) -> Result<Vec<TaskRow>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(&format!("{SELECT} WHERE job_id = ?1 ORDER BY tasks.id"))?;
            let rows = query.query_map([job.to_string()], task_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// What the task that made a job's result gave back, if it is done.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn package_of(&self, job: JobId) -> Result<Option<PackageOutput>> {
        let output = self.read(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT output FROM tasks JOIN task_bodies ON task_bodies.task_id = tasks.id
                 WHERE job_id = ?1 AND kind = 'package'",
            )?;
            let found = query.query_row([job.to_string()], |row| convert::from_json_opt(row, "output"));
            Ok(found.optional()?.flatten())
        });
        match output.await? {
            Some(TaskOutput::Package(made)) => Ok(Some(made)),
            _ => Ok(None),
        }
    }

    /// All attempts of a task, in order.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn attempts(&self, task: TaskId) -> Result<Vec<AttemptRow>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT task_id AS id, attempt, node_id, started_ms, ended_ms, outcome, failure, sandbox
                 FROM attempts WHERE task_id = ?1 ORDER BY attempt",
            )?;
            let rows = query.query_map([task.0], convert::attempt)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// All attempts of all tasks of a job: those of a task together and in order.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn attempts_of(&self, job: JobId) -> Result<Vec<JobAttempt>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT tasks.id AS id, kind, ordinal, attempts.attempt AS attempt, attempts.node_id AS node_id,
                        started_ms, ended_ms, outcome, failure, sandbox
                 FROM tasks JOIN attempts ON attempts.task_id = tasks.id
                 WHERE job_id = ?1 ORDER BY tasks.id, attempts.attempt",
            )?;
            let rows = query.query_map([job.to_string()], |row| {
                Ok(JobAttempt {
                    kind: convert::kind(row)?,
                    ordinal: row.get("ordinal")?,
                    attempt: convert::attempt(row)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// The chunks of a job as they stand: no spec is read for it.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn chunks(&self, job: JobId) -> Result<Chunks> {
        self.read(move |conn| {
            let mut leased = conn.prepare_cached(
                "SELECT ordinal FROM tasks WHERE job_id = ?1 AND kind = 'chunk' AND state = 'leased'",
            )?;
            let leased = leased.query_map([job.to_string()], |row| row.get(0))?;
            let leased = leased.collect::<rusqlite::Result<_>>()?;
            let mut query = conn.prepare_cached(
                "SELECT state, node_id, count(*) AS number, total(frames) AS frames FROM tasks
                 WHERE job_id = ?1 AND kind = 'chunk' GROUP BY state, node_id",
            )?;
            let rows = query.query_map([job.to_string()], |row| {
                Ok(ChunkSum {
                    state: convert::state(row)?,
                    node: row.get::<_, Option<String>>("node_id")?.map(NodeId::from),
                    chunks: row.get("number")?,
                    frames: row.get::<_, f64>("frames")? as u64,
                })
            })?;
            Ok(Chunks { sums: rows.collect::<rusqlite::Result<_>>()?, leased })
        })
        .await
    }

    /// What the tasks of a job that could run now ask of a node.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn ready_classes(&self, job: JobId) -> Result<Vec<Class>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT DISTINCT class FROM tasks INDEXED BY tasks_unfinished
                 WHERE job_id = ?1 AND state <> 'done' AND state = 'ready' AND held = 0 ORDER BY class",
            )?;
            Ok(query.query_map([job.to_string()], convert::class)?.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// How many tasks of a job are in which state, by kind.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn counts(&self, job: JobId) -> Result<BTreeMap<TaskKind, Counts>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT kind, state, count(*) AS number FROM tasks WHERE job_id = ?1 GROUP BY kind, state",
            )?;
            let mut rows = query.query([job.to_string()])?;
            let mut counts = BTreeMap::<TaskKind, Counts>::new();
            while let Some(row) = rows.next()? {
                let number = u64::try_from(row.get::<_, i64>("number")?).unwrap_or(0);
                *counts.entry(convert::kind(row)?).or_default().of(convert::state(row)?) = number;
            }
            Ok(counts)
        })
        .await
    }
}
