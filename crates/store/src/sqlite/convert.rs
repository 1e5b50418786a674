//! Values as SQLite holds them, to and from their types.

use std::fmt::Display;
use std::str::FromStr;

use kinora_protocol::class::Class;
use kinora_protocol::job::JobPhase;
use kinora_protocol::task::TaskKind;
use kinora_protocol::{Attempt, Digest, NodeId, TaskId};
use rusqlite::Row;
use rusqlite::types::Type;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fault::Fault;
use crate::error::StoreError;
use crate::lease::{AttemptOutcome, AttemptRow, Lease};
use crate::task::{Gate, TaskState};

/// JSON text. Made by the caller's thread, not by the writer's.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|error| StoreError::Invalid { what: format!("a value cannot be stored: {error}") })
}

/// As [`json`], for use within a command.
pub(super) fn json_inside<T: Serialize>(value: &T) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::Invalid(format!("a value cannot be stored: {error}")))
}

fn unreadable(column: &str, value: &str, why: impl Display) -> rusqlite::Error {
    let short: String = value.chars().take(40).collect();
    let what = format!("column {column} holds {short:?}: {why}");
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, what.into())
}

/// A JSON column.
pub(super) fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| unreadable(column, &text, error))
}

/// A JSON column that may be null.
pub(super) fn from_json_opt<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| serde_json::from_str(&text).map_err(|error| unreadable(column, &text, error))).transpose()
}

pub(super) fn named<T: Copy>(
    row: &Row<'_>,
    column: &str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    all.iter().copied().find(|v| name(*v) == text).ok_or_else(|| unreadable(column, &text, "unknown name"))
}

pub(super) fn kind(row: &Row<'_>) -> rusqlite::Result<TaskKind> {
    named(row, "kind", &TaskKind::ALL, TaskKind::name)
}

pub(super) fn state(row: &Row<'_>) -> rusqlite::Result<TaskState> {
    named(row, "state", &TaskState::ALL, TaskState::name)
}

pub(super) fn gate(row: &Row<'_>) -> rusqlite::Result<Gate> {
    named(row, "gate", &Gate::ALL, Gate::name)
}

pub(super) fn class(row: &Row<'_>) -> rusqlite::Result<Class> {
    let text: String = row.get("class")?;
    text.parse().map_err(|error| unreadable("class", &text, error))
}

pub(super) fn phase(row: &Row<'_>) -> rusqlite::Result<JobPhase> {
    named(row, "phase", &JobPhase::ALL, JobPhase::name)
}

pub(super) fn paused_from(row: &Row<'_>) -> rusqlite::Result<Option<JobPhase>> {
    match row.get_ref("paused_from")? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => named(row, "paused_from", &JobPhase::ALL, JobPhase::name).map(Some),
    }
}

pub(super) fn outcome(row: &Row<'_>) -> rusqlite::Result<Option<AttemptOutcome>> {
    match row.get_ref("outcome")? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => named(row, "outcome", &AttemptOutcome::ALL, AttemptOutcome::name).map(Some),
    }
}

/// A column whose text is a value.
pub(super) fn parsed<T: FromStr<Err: Display>>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error| unreadable(column, &text, error))
}

/// As [`parsed`], where it may be null.
pub(super) fn parsed_opt<T: FromStr<Err: Display>>(
    row: &Row<'_>,
    column: &str,
) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| text.parse().map_err(|error| unreadable(column, &text, error))).transpose()
}

pub(super) fn task_id(row: &Row<'_>, column: &str) -> rusqlite::Result<TaskId> {
    row.get(column).map(TaskId)
}

pub(super) fn digest(row: &Row<'_>, column: &str) -> rusqlite::Result<Digest> {
    let text: String = row.get(column)?;
    Digest::try_from(text.clone()).map_err(|error| unreadable(column, &text, error))
}

pub(super) fn digest_opt(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Digest>> {
    match row.get_ref(column)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => digest(row, column).map(Some),
    }
}

/// Columns `id`, `attempt` and `node_id`.
pub(super) fn lease(row: &Row<'_>) -> rusqlite::Result<Lease> {
    Ok(Lease {
        task: task_id(row, "id")?,
        attempt: Attempt(row.get("attempt")?),
        node: NodeId::from(row.get::<_, String>("node_id")?),
    })
}

pub(super) fn attempt(row: &Row<'_>) -> rusqlite::Result<AttemptRow> {
    Ok(AttemptRow {
        lease: lease(row)?,
        started_ms: row.get("started_ms")?,
        ended_ms: row.get("ended_ms")?,
        outcome: outcome(row)?,
        failure: from_json_opt(row, "failure")?,
        sandbox: row.get("sandbox")?,
    })
}

/// A speed as it can be stored: SQLite has no NaN; it would be a null, and one node's division by zero would spoil everybody's
/// renewal.
pub(super) fn speed(fps: f32) -> f32 {
    if fps.is_finite() { fps } else { 0.0 }
}

/// SQLite's integers have a sign; no count here comes near the end.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
