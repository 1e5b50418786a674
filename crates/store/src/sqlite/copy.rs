//! The whole store in another file, as it is at one moment; and the same in another folder.

use std::path::Path;

use rusqlite::params;

use super::fault::Fault;
use super::{Store, schema};
use crate::error::{Result, StoreError};

impl Store {
    /// Writes all that is committed into a file that is not there yet. Others read and write meanwhile.
    ///
    /// # Errors
    /// The disk fails or is full.
    pub async fn copy_to(&self, to: &Path) -> Result<()> {
        let (path, to) = (self.inner.readers.path().to_owned(), to.to_string_lossy().into_owned());
        let from = path.clone();
        let copied = tokio::task::spawn_blocking(move || {
            let fault = |error: rusqlite::Error| Fault::from(error).into_error(&from);
            let conn = schema::open_reader(&from).map_err(fault)?;
            // It writes into the other file, and nothing here.
            conn.pragma_update(None, "query_only", false).map_err(fault)?;
            conn.execute("VACUUM INTO ?1", [&to]).map(|_| ()).map_err(fault)
        });
        copied.await.unwrap_or_else(|error| {
            Err(StoreError::Internal { path, reason: format!("copying panicked: {error}") })
        })
    }

    /// Names of files below one folder become names of the same files below another: what was moved is found again.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn relocate(&self, from: &Path, to: &Path) -> Result<()> {
        let text = |path: &Path| path.join("").to_string_lossy().into_owned();
        let (from, to) = (text(from), text(to));
        // As they begin in JSON.
        let quoted = |text: &str| {
            let json = serde_json::Value::from(text).to_string();
            json.trim_end_matches('"').to_owned()
        };
        let (json_from, json_to) = (quoted(&from), quoted(&to));
        self.write(move |conn| {
            conn.execute(
                "UPDATE library SET path = ?2 || substr(path, length(?1) + 1) WHERE substr(path, 1, length(?1)) = ?1",
                params![from, to],
            )?;
            for (table, column) in [("jobs", "request"), ("task_bodies", "spec"), ("task_bodies", "output")] {
                conn.execute(
                    &format!("UPDATE {table} SET {column} = replace({column}, ?1, ?2) WHERE instr({column}, ?1) > 0"),
                    params![json_from, json_to],
                )?;
            }
            Ok(())
        })
        .await
    }
}
