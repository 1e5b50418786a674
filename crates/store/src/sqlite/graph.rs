//! Putting tasks and their edges into the table, all at once or not at all.

use kinora_protocol::JobId;
use kinora_protocol::TaskId;
use kinora_protocol::event::TaskChange;
use kinora_protocol::job::JobPhase;
use kinora_protocol::task::{TaskOutput, TaskSpec};
use rusqlite::{Connection, OptionalExtension, params};

use super::fault::Fault;
use super::{Store, convert, outbox, outcome, phase};
use crate::error::{Result, StoreError};
use crate::lease::Lease;
use crate::task::{Dep, Expansion, Gate, Graph, TaskState};

/// A graph made ready on the caller's thread, so that the writer has only to insert it.
pub(super) struct Prepared {
    tasks: Vec<Row>,
    deps: Vec<Dep>,
}

struct Row {
    kind: &'static str,
    ordinal: u32,
    state: TaskState,
    gate: Gate,
    class: String,
    priority: i32,
    rank: f64,
    max_attempts: u32,
    pending: u32,
    cache_key: Option<String>,
    frames: Option<i64>,
    spec: String,
    output: Option<String>,
}

impl Prepared {
    pub(super) fn new(graph: &Graph) -> Result<Self, StoreError> {
        let pending = graph.pending()?;
        let mut tasks = Vec::with_capacity(graph.tasks.len());
        for (task, pending) in graph.tasks.iter().zip(pending) {
            if !task.rank.is_finite() || task.max_attempts == 0 {
                let what = format!("a task with rank {} and {} attempts", task.rank, task.max_attempts);
                return Err(StoreError::Invalid { what });
            }
            let state = match (&task.done, pending, task.gate) {
                (Some(_), _, _) => TaskState::Done,
                (None, 0, Gate::None | Gate::Open) => TaskState::Ready,
                (None, _, _) => TaskState::Waiting,
            };
            tasks.push(Row {
                kind: task.spec.kind().name(),
                ordinal: task.ordinal,
                state,
                gate: task.gate,
                class: task.class.to_string(),
                priority: task.priority,
                rank: task.rank,
                max_attempts: task.max_attempts,
                pending,
                cache_key: task.cache_key.clone().map(String::from),
                frames: match &task.spec {
                    TaskSpec::Chunk(chunk) => Some(convert::signed(chunk.work.frames.count())),
                    _ => None,
                },
                spec: convert::json(&task.spec)?,
                output: task.done.as_ref().map(convert::json).transpose()?,
            });
        }
        let mut deps = graph.deps.clone();
        deps.sort_unstable();
        deps.dedup();
        Ok(Self { tasks, deps })
    }
}

/// What an insertion came to.
pub(super) enum Inserted {
    New(Vec<TaskId>),
    AllThere,
}

/// Inserts all tasks, or finds all of them there.
pub(super) fn insert(
    conn: &Connection,
    job: JobId,
    graph: &Prepared,
    phase: JobPhase,
    now_ms: i64,
) -> Result<Inserted, Fault> {
    let held = !phase::is_runnable(phase);
    let mut ids = Vec::with_capacity(graph.tasks.len());
    for task in &graph.tasks {
        ids.extend(insert_task(conn, job, task, held, now_ms)?);
    }
    if ids.is_empty() && !graph.tasks.is_empty() {
        return Ok(Inserted::AllThere);
    }
    if ids.len() < graph.tasks.len() {
        return Err(Fault::Conflict(format!("job {job} has some of these tasks already, and not all")));
    }
    let mut edge = conn.prepare_cached("INSERT INTO deps (src, dst) VALUES (?1, ?2)")?;
    for Dep { before, after } in &graph.deps {
        edge.execute([ids[*before].0, ids[*after].0])?;
    }
    Ok(Inserted::New(ids))
}

fn insert_task(
    conn: &Connection,
    job: JobId,
    task: &Row,
    held: bool,
    now_ms: i64,
) -> Result<Option<TaskId>, Fault> {
    let id: Option<i64> = conn
        .prepare_cached(
            "INSERT INTO tasks (job_id, kind, ordinal, state, held, gate, class, priority, rank, max_attempts,
               pending_deps, cache_key, frames)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
             ON CONFLICT (job_id, kind, ordinal) DO NOTHING RETURNING id",
        )?
        .query_row(
            params![
                job.to_string(),
                task.kind,
                task.ordinal,
                task.state.name(),
                held,
                task.gate.name(),
                task.class,
                task.priority,
                task.rank,
                task.max_attempts,
                task.pending,
                task.cache_key,
                task.frames
            ],
            |row| row.get(0),
        )
        .optional()?;
    let Some(id) = id else { return Ok(None) };
    conn.prepare_cached("INSERT INTO task_bodies (task_id, spec, output) VALUES (?1, ?2, ?3)")?
        .execute(params![id, task.spec, task.output])?;
    if let (TaskState::Done, Some(key)) = (task.state, &task.cache_key) {
        conn.prepare_cached("UPDATE chunk_cache SET used_at = max(used_at, ?2) WHERE key = ?1")?
            .execute(params![key, now_ms])?;
    }
    Ok(Some(TaskId(id)))
}

impl Store {
    /// Adds tasks to a job, all in one transaction; with `finishing`, completes the task that they follow from (a probe,
    /// say), and with `phase` moves the job on. A paused job stays paused and goes on in that phase when it is resumed.
    /// Repeated, it changes nothing.
    ///
    /// # Errors
    /// `NotFound` when there is no such job; `Conflict` when it has some of the tasks and not all, or `finishing` is another
    /// job's; `Invalid` when the graph has a ring, or `phase` is final or `Paused`.
    pub async fn expand(
        &self,
        job: JobId,
        finishing: Option<(Lease, TaskOutput)>,
        graph: Graph,
        phase: Option<JobPhase>,
        now_ms: i64,
    ) -> Result<Expansion> {
        if let Some(to) = phase.filter(|p| p.is_final() || *p == JobPhase::Paused) {
            return Err(StoreError::Invalid { what: format!("an expansion into phase {}", to.name()) });
        }
        let prepared = Prepared::new(&graph)?;
        drop(graph);
        let finishing =
            finishing.map(|(lease, output)| Ok((lease, outcome::Output::new(&output)?))).transpose()?;
        self.write(move |conn| expand(conn, job, finishing.as_ref(), &prepared, phase, now_ms)).await
    }
}

fn expand(
    conn: &Connection,
    job: JobId,
    finishing: Option<&(Lease, outcome::Output)>,
    graph: &Prepared,
    to: Option<JobPhase>,
    now_ms: i64,
) -> Result<Expansion, Fault> {
    let from = phase::of(conn, job)?;
    let finished = match finishing {
        None => None,
        Some((lease, output)) => match outcome::finish(conn, lease, output, now_ms)? {
            outcome::Finished::Now(task, _) if task.job == job => Some(task),
            outcome::Finished::Now(task, _) => {
                return Err(Fault::Conflict(format!(
                    "task {} is one of job {}, not of {job}",
                    task.id, task.job
                )));
            }
            outcome::Finished::Before => return Ok(Expansion::Already),
            outcome::Finished::LeaseLost => return Ok(Expansion::LeaseLost),
        },
    };
    if from.is_final() {
        return Ok(Expansion::Ended(from));
    }
    let tasks = match (insert(conn, job, graph, from, now_ms)?, &finished) {
        (Inserted::New(tasks), _) => tasks,
        (Inserted::AllThere, None) => return Ok(Expansion::Already),
        (Inserted::AllThere, Some(task)) => {
            return Err(Fault::Conflict(format!(
                "what follows from task {} is there before it is done",
                task.id
            )));
        }
    };
    if let Some(task) = finished {
        outcome::release_dependants(conn, task.id)?;
        outbox::put(conn, &task.event(TaskChange::Done))?;
    }
    if let Some(to) = to {
        advance(conn, job, from, to, now_ms)?;
    }
    Ok(Expansion::Created { tasks })
}

fn advance(conn: &Connection, job: JobId, from: JobPhase, to: JobPhase, now_ms: i64) -> Result<(), Fault> {
    if from == JobPhase::Paused {
        conn.prepare_cached("UPDATE jobs SET paused_from = ?2 WHERE id = ?1 AND phase = 'Paused'")?
            .execute(params![job.to_string(), to.name()])?;
    } else if from != to {
        phase::enter(conn, job, from, to, None, now_ms)?;
    }
    Ok(())
}
