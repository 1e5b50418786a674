//! A few connections for reading, each used by one query at a time, off the async threads.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::fault::Fault;
use super::schema;
use crate::error::StoreError;

/// Connections open at once. Queries are short; more would only wait for the same processors.
const READERS: usize = 4;

#[derive(Debug, Clone)]
pub(super) struct Readers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    closed: AtomicBool,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                idle: Mutex::default(),
                permits: Arc::new(Semaphore::new(READERS)),
                closed: AtomicBool::new(false),
            }),
        }
    }

    /// Where the store is.
    pub(super) fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Runs a query on one snapshot: all its statements see the same commit.
    pub(super) async fn run<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let inner = self.inner.clone();
        let closed = || StoreError::Closed { path: self.inner.path.clone() };
        let permit = inner.permits.clone().acquire_owned().await.map_err(|_| closed())?;
        let answer = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            inner.query(query).map_err(|fault| fault.into_error(&inner.path))
        });
        answer.await.unwrap_or_else(|_| {
            Err(StoreError::Internal { path: self.inner.path.clone(), reason: "a query panicked".to_owned() })
        })
    }

    /// No query starts any more; those that run end by themselves.
    pub(super) fn close(&self) {
        self.inner.closed.store(true, Ordering::SeqCst);
        self.inner.permits.close();
        self.inner.idle().clear();
    }
}

impl Inner {
    fn query<T>(&self, query: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, Fault> {
        let idle = self.idle().pop();
        let conn = match idle {
            Some(conn) => conn,
            None => schema::open_reader(&self.path)?,
        };
        let transaction = conn.unchecked_transaction()?;
        let result = query(&transaction)?;
        transaction.finish()?;
        let mut idle = self.idle();
        if !self.closed.load(Ordering::SeqCst) {
            idle.push(conn);
        }
        Ok(result)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
