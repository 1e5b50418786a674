//! The store on SQLite: one writer that commits in groups, a few readers, one file on a local disk.
//!
//! Each file below writes the statements of one resource; nobody else has SQL.

mod audit;
mod backup;
mod convert;
mod copy;
mod credentials;
mod descriptions;
mod enrollment;
mod fault;
mod folders;
mod grants;
mod graph;
mod jobs;
mod lease;
mod library;
mod media;
mod nodes;
mod outbox;
mod outcome;
mod phase;
mod place;
mod readers;
mod reopen;
mod retention;
mod schema;
mod sums;
mod tasks;
#[cfg(test)]
mod tests;
mod uploads;
mod users;
mod webhooks;
mod writer;

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use crate::error::{Result, StoreError};
use fault::Fault;
use place::Lock;
use readers::Readers;
use writer::Writer;

pub use writer::Stats;

/// The store. Clones share one writer; the last to be dropped waits until it has finished.
///
/// Times are milliseconds since the Unix epoch and come in as arguments. A change answers after it is on the disk.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    // Before the writer, whose last connection then folds the log into the file.
    readers: Readers,
    writer: Writer,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.readers.close();
    }
}

impl Store {
    /// Opens the file, or makes it. Its folder must be there.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when another process has it open, [`StoreError::Newer`] when a later version made it,
    /// [`StoreError::Corrupt`] when it is something else, [`StoreError::Disk`] or [`StoreError::Full`].
    pub async fn open(path: &Path) -> Result<Self> {
        let path = path.to_owned();
        let place = path.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let lock = Lock::take(&path)?;
            let conn = schema::open_writer(&path)?;
            if let Some(system) = place::network_file_system(&path) {
                tracing::warn!(
                    path = %path.display(), system,
                    "the store is on a network file system, where it can be damaged; put it on a local disk"
                );
            }
            let writer = Writer::start(&path, conn, lock)?;
            Ok(Self { inner: Arc::new(Inner { readers: Readers::new(&path), writer }) })
        });
        opened.await.unwrap_or_else(|error| {
            Err(StoreError::Internal { path: place, reason: format!("opening panicked: {error}") })
        })
    }

    /// Finishes what was asked before, folds the log into the file and closes it, for all clones. Later calls answer
    /// [`StoreError::Closed`]; closing twice is no error.
    ///
    /// # Errors
    /// The disk fails; what was answered before is safe nevertheless.
    pub async fn close(&self) -> Result<()> {
        self.inner.readers.close();
        self.inner.writer.close().await
    }

    /// How much was written since it was opened.
    pub fn stats(&self) -> Stats {
        self.inner.writer.stats()
    }

    /// A value kept under a name, such as this hub's identity.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn meta(&self, key: &str) -> Result<Option<String>> {
        let key = key.to_owned();
        self.read(move |conn| {
            let mut query = conn.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
            Ok(query.query_row([key], |row| row.get(0)).optional()?)
        })
        .await
    }

    /// Keeps a value under a name.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn put_meta(&self, key: &str, value: &str) -> Result<()> {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.write(move |conn| keep_meta(conn, &key, &value)).await
    }

    async fn write<T, F>(&self, command: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        self.inner.writer.run(command).await
    }

    async fn read<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        self.inner.readers.run(query).await
    }
}

/// Keeps a value under a name.
fn keep_meta(conn: &Connection, key: &str, value: &str) -> Result<(), Fault> {
    conn.prepare_cached(
        "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )?
    .execute(params![key, value])?;
    Ok(())
}
