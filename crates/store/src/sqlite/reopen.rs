//! Tasks that the caller has a second word on: done ones to be done again, and gates.

use std::collections::BTreeSet;

use kinora_protocol::event::{Event, TaskChange};
use kinora_protocol::task::{TaskKind, TaskSpec};
use kinora_protocol::{JobId, TaskId};
use rusqlite::{Connection, OptionalExtension, params};

use super::fault::Fault;
use super::{Store, convert, media, outbox, phase};
use crate::error::{Result, StoreError};
use crate::task::{GateOpening, RefusedReopen, Reopen, Reopening, TaskState};

/// A task to be opened again, made ready on the caller's thread.
struct Prepared {
    task: TaskId,
    cache_key: Option<String>,
    spec: String,
    kind: TaskKind,
    preroll: Option<kinora_protocol::task::Preroll>,
}

impl Prepared {
    fn new(reopen: &Reopen) -> Result<Self, StoreError> {
        let preroll = match &reopen.spec {
            TaskSpec::Chunk(chunk) => Some(chunk.work.preroll),
            _ => None,
        };
        Ok(Self {
            task: reopen.task,
            cache_key: reopen.cache_key.clone().map(String::from),
            spec: convert::json(&reopen.spec)?,
            kind: reopen.spec.kind(),
            preroll,
        })
    }
}

/// What a task is, before anything is done to it.
struct Found {
    job: JobId,
    kind: TaskKind,
    ordinal: u32,
    state: TaskState,
    cache_key: Option<String>,
}

fn find(conn: &Connection, task: TaskId) -> Result<Found, Fault> {
    conn.prepare_cached("SELECT job_id, kind, ordinal, state, cache_key FROM tasks WHERE id = ?1")?
        .query_row([task.0], |row| {
            Ok(Found {
                job: convert::parsed(row, "job_id")?,
                kind: convert::kind(row)?,
                ordinal: row.get("ordinal")?,
                state: convert::state(row)?,
                cache_key: row.get("cache_key")?,
            })
        })
        .optional()?
        .ok_or_else(|| Fault::NotFound(format!("task {task}")))
}

/// Why it may not be opened again, if so.
fn refusal(conn: &Connection, task: TaskId, found: &Found) -> Result<Option<RefusedReopen>, Fault> {
    let phase = phase::of(conn, found.job)?;
    if phase.is_final() {
        return Ok(Some(RefusedReopen::JobEnded(phase)));
    }
    if found.state != TaskState::Done {
        return Ok(Some(RefusedReopen::NotDone(found.state)));
    }
    let user = conn
        .prepare_cached(
            "SELECT tasks.id FROM deps JOIN tasks ON tasks.id = deps.dst
             WHERE deps.src = ?1 AND tasks.state NOT IN ('waiting', 'ready') LIMIT 1",
        )?
        .query_row([task.0], |row| convert::task_id(row, "id"))
        .optional()?;
    Ok(user.map(RefusedReopen::Used))
}

fn reopen(conn: &Connection, tasks: &[Prepared]) -> Result<Reopening, Fault> {
    // All are looked at before the first is touched: opening one changes what the next one's check would see.
    let mut found = Vec::with_capacity(tasks.len());
    for Prepared { task, kind, .. } in tasks {
        let one = find(conn, *task)?;
        if let Some(why) = refusal(conn, *task, &one)? {
            return Ok(Reopening::Refused(*task, why));
        }
        if one.kind != *kind {
            let what =
                format!("task {task} is of kind {}, its new spec of kind {}", one.kind.name(), kind.name());
            return Err(Fault::Invalid(what));
        }
        found.push(one);
    }
    let mut waiting = BTreeSet::new();
    for (task, found) in tasks.iter().zip(found) {
        open_again(conn, task, &found)?;
        waiting.extend(hold_dependants(conn, task.task)?);
    }
    Ok(Reopening::Reopened { waiting: waiting.into_iter().collect() })
}

fn open_again(conn: &Connection, task: &Prepared, found: &Found) -> Result<(), Fault> {
    let held = !phase::is_runnable(phase::of(conn, found.job)?);
    let changed = conn
        .prepare_cached(
            "UPDATE tasks SET state = 'ready', held = ?2, node_id = NULL, tries = 0, not_before_ms = 0, cache_key = ?3,
               progress_frames = 0, progress_fps = 0
             WHERE id = ?1 AND state = 'done' AND pending_deps = 0",
        )?
        .execute(params![task.task.0, held, task.cache_key])?;
    if changed != 1 {
        return Err(Fault::Invalid(format!("task {} is named twice, or waits for others", task.task)));
    }
    conn.prepare_cached("UPDATE task_bodies SET spec = ?2, output = NULL WHERE task_id = ?1")?
        .execute(params![task.task.0, task.spec])?;
    // A result that a check flagged must not come back by way of the cache.
    if let Some(key) = &found.cache_key {
        media::forget(conn, key)?;
    }
    if let Some(preroll) = task.preroll {
        outbox::put(
            conn,
            &Event::Task {
                job: found.job,
                task: task.task,
                kind: found.kind,
                ordinal: found.ordinal,
                change: TaskChange::Redo { preroll },
            },
        )?;
    }
    Ok(())
}

/// They wait again; what was decided at an open gate was decided on a result that is no more.
fn hold_dependants(conn: &Connection, task: TaskId) -> Result<Vec<TaskId>, Fault> {
    let mut update = conn.prepare_cached(
        "UPDATE tasks SET pending_deps = pending_deps + 1, state = 'waiting',
           gate = CASE gate WHEN 'open' THEN 'closed' ELSE gate END
         WHERE id IN (SELECT dst FROM deps WHERE src = ?1) RETURNING id",
    )?;
    let ids = update.query_map([task.0], |row| convert::task_id(row, "id"))?;
    Ok(ids.collect::<rusqlite::Result<_>>()?)
}

fn open_gate(
    conn: &Connection,
    task: TaskId,
    spec: Option<&(TaskKind, String)>,
) -> Result<GateOpening, Fault> {
    let changed = conn
        .prepare_cached(
            "UPDATE tasks SET gate = 'open', state = 'ready'
             WHERE id = ?1 AND gate = 'closed' AND state = 'waiting' AND pending_deps = 0",
        )?
        .execute([task.0])?;
    let Found { kind, state, .. } = find(conn, task)?;
    if changed == 0 {
        let closed: bool = conn
            .prepare_cached("SELECT gate = 'closed' FROM tasks WHERE id = ?1")?
            .query_row([task.0], |row| row.get(0))?;
        return Ok(if closed { GateOpening::Refused(state) } else { GateOpening::AlreadyOpen });
    }
    if let Some((new, spec)) = spec {
        if *new != kind {
            let what = format!("task {task} is of kind {}, its new spec of kind {}", kind.name(), new.name());
            return Err(Fault::Invalid(what));
        }
        conn.prepare_cached("UPDATE task_bodies SET spec = ?2 WHERE task_id = ?1")?
            .execute(params![task.0, spec])?;
    }
    Ok(GateOpening::Opened)
}

impl Store {
    /// Opens done tasks again with a new spec, after a check flagged their results. What waits for them waits again, and
    /// gates before it close. Legal only while nothing has begun to use the results.
    ///
    /// # Errors
    /// `NotFound` when there is no such task; `Invalid` when one is named twice or its new spec is of another kind.
    pub async fn reopen(&self, tasks: &[Reopen]) -> Result<Reopening> {
        let tasks = tasks.iter().map(Prepared::new).collect::<Result<Vec<_>>>()?;
        self.write(move |conn| reopen(conn, &tasks)).await
    }

    /// Lets a task run that waits for nothing but its gate, with its final spec where the first was a draft.
    ///
    /// # Errors
    /// `NotFound` when there is no such task; `Invalid` when the new spec is of another kind.
    pub async fn open_gate(&self, task: TaskId, spec: Option<&TaskSpec>) -> Result<GateOpening> {
        let spec = spec.map(|s| Ok::<_, StoreError>((s.kind(), convert::json(s)?))).transpose()?;
        self.write(move |conn| open_gate(conn, task, spec.as_ref())).await
    }

    /// Lets a task that is ready wait for [`Store::open_gate`]. Whether it was ready.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn close_gate(&self, task: TaskId) -> Result<bool> {
        self.write(move |conn| {
            let mut close = conn.prepare_cached(
                "UPDATE tasks SET gate = 'closed', state = 'waiting' WHERE id = ?1 AND state = 'ready'",
            )?;
            Ok(close.execute([task.0])? == 1)
        })
        .await
    }

    /// Tasks that wait for nothing but their gate: what a start has to decide on, if the last run ended before it did.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn at_gate(&self) -> Result<Vec<(JobId, TaskId)>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT job_id, id FROM tasks INDEXED BY tasks_gated
                 WHERE state = 'waiting' AND gate = 'closed' AND pending_deps = 0 ORDER BY id",
            )?;
            let rows = query
                .query_map([], |row| Ok((convert::parsed(row, "job_id")?, convert::task_id(row, "id")?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}
