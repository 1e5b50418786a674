//! The one thread that writes, with group commit. It must not know what its commands do.
//!
//! A commit costs an fsync, whatever is in it. So the thread takes all commands that wait (up to [`BATCH`]), runs each in a
//! savepoint of one transaction, commits once, and only then answers. While the disk works, the next batch gathers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::fault::Fault;
use super::place::Lock;
use crate::error::StoreError;

/// Most commands in one commit: bounds how long the first of them waits for the last.
const BATCH: usize = 256;

/// Commands that may wait before callers do.
const QUEUE: usize = 1024;

/// How much was written since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Commands answered.
    pub commands: u64,
    /// Transactions committed.
    pub commits: u64,
}

#[derive(Debug, Default)]
struct Counters {
    commands: AtomicU64,
    commits: AtomicU64,
}

/// A command, without its type.
trait Command: Send {
    /// Runs it. After an error its changes are not to be kept.
    fn run(&mut self, conn: &Connection) -> Result<(), StoreError>;
    /// Its changes did not come through, whatever it says itself.
    fn spoil(&mut self, error: &StoreError);
    /// Answers the caller, who may be gone.
    fn answer(self: Box<Self>);
}

struct Typed<F, T> {
    path: Arc<PathBuf>,
    work: Option<F>,
    result: Option<Result<T, StoreError>>,
    caller: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Command for Typed<F, T>
where
    F: FnOnce(&Connection) -> Result<T, Fault> + Send,
    T: Send,
{
    fn run(&mut self, conn: &Connection) -> Result<(), StoreError> {
        let Some(work) = self.work.take() else { return Ok(()) };
        // A panic is a bug of one command; the thread serves all, so it must outlive it.
        let outcome = catch_unwind(AssertUnwindSafe(|| work(conn)))
            .unwrap_or_else(|_| Err(Fault::Internal("a command panicked".to_owned())));
        let result = outcome.map_err(|fault| fault.into_error(&self.path));
        let outcome = result.as_ref().map(|_| ()).map_err(Clone::clone);
        self.result = Some(result);
        outcome
    }

    fn spoil(&mut self, error: &StoreError) {
        self.result = Some(Err(error.clone()));
    }

    fn answer(self: Box<Self>) {
        if let Some(result) = self.result {
            let _ = self.caller.send(result);
        }
    }
}

enum Message {
    Run(Box<dyn Command>),
    Close(oneshot::Sender<Result<(), StoreError>>),
}

/// The handle to the thread. Dropping it waits for the thread to finish what was sent.
#[derive(Debug)]
pub(super) struct Writer {
    path: Arc<PathBuf>,
    sender: Mutex<Option<mpsc::Sender<Message>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    counters: Arc<Counters>,
}

impl Writer {
    pub(super) fn start(path: &Path, conn: Connection, lock: Lock) -> Result<Self, StoreError> {
        let path = Arc::new(path.to_owned());
        let (sender, receiver) = mpsc::channel(QUEUE);
        let counters = Arc::<Counters>::default();
        let state = Thread { path: path.clone(), conn, counters: counters.clone() };
        let thread = std::thread::Builder::new()
            .name("kinora-store".to_owned())
            .spawn(move || {
                state.serve(receiver);
                // After the connection: whoever gets the lock finds a closed file.
                drop(lock);
            })
            .map_err(|error| StoreError::Internal { path: (*path).clone(), reason: error.to_string() })?;
        Ok(Self { path, sender: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), counters })
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            commands: self.counters.commands.load(Ordering::Relaxed),
            commits: self.counters.commits.load(Ordering::Relaxed),
        }
    }

    /// Runs a command and answers after it is on the disk. Once it is queued it runs even if the caller stops waiting.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let command = Typed { path: self.path.clone(), work: Some(work), result: None, caller };
        let sender = self.sender().ok_or_else(|| self.closed())?;
        sender.send(Message::Run(Box::new(command))).await.map_err(|_| self.closed())?;
        answer.await.unwrap_or_else(|_| Err(self.closed()))
    }

    /// Finishes what was sent before, folds the log into the file, and ends the thread.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        let Some(sender) = self.lock_sender().take() else { return Ok(()) };
        let (caller, answer) = oneshot::channel();
        let sent = sender.send(Message::Close(caller)).await;
        drop(sender);
        let outcome = match sent {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(self.closed())),
            Err(_) => Ok(()),
        };
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        outcome
    }

    /// Commands that are sent and not taken yet.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.sender().map_or(0, |sender| sender.max_capacity() - sender.capacity())
    }

    fn sender(&self) -> Option<mpsc::Sender<Message>> {
        self.lock_sender().clone()
    }

    fn lock_sender(&self) -> std::sync::MutexGuard<'_, Option<mpsc::Sender<Message>>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closed(&self) -> StoreError {
        StoreError::Closed { path: (*self.path).clone() }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.lock_sender().take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

struct Thread {
    path: Arc<PathBuf>,
    conn: Connection,
    counters: Arc<Counters>,
}

impl Thread {
    fn serve(self, mut receiver: mpsc::Receiver<Message>) {
        let mut closing = None;
        while closing.is_none()
            && let Some(first) = receiver.blocking_recv()
        {
            let mut batch = Vec::new();
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Run(command) => batch.push(command),
                    Message::Close(caller) => {
                        closing = Some(caller);
                        break;
                    }
                }
                next = if batch.len() < BATCH { receiver.try_recv().ok() } else { None };
            }
            self.commit(batch);
        }
        // Senders see a closed channel from here on.
        drop(receiver);
        let path = self.path.clone();
        let outcome = self.finish().map_err(|error| Fault::from(error).into_error(&path));
        if let Err(error) = &outcome {
            tracing::warn!(%error, "the store's log was not folded in; the next start does it");
        }
        if let Some(caller) = closing {
            let _ = caller.send(outcome);
        }
    }

    fn finish(self) -> rusqlite::Result<()> {
        self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        self.conn.close().map_err(|(_, error)| error)
    }

    /// All of these in one commit; more than one only when SQLite gives a transaction up half way.
    fn commit(&self, batch: Vec<Box<dyn Command>>) {
        let mut rest = batch.into_iter().peekable();
        while rest.peek().is_some() {
            let mut ran = Vec::new();
            let outcome = self.transaction(&mut rest, &mut ran);
            if let Err(error) = &outcome {
                tracing::error!(%error, commands = ran.len(), "a commit failed");
            }
            // Counted before the answers, so that who has one sees its commit counted.
            self.counters.commits.fetch_add(u64::from(outcome.is_ok()), Ordering::Relaxed);
            self.counters.commands.fetch_add(ran.len() as u64, Ordering::Relaxed);
            for mut command in ran {
                if let Err(error) = &outcome {
                    command.spoil(error);
                }
                command.answer();
            }
        }
    }

    fn transaction(
        &self,
        rest: &mut impl Iterator<Item = Box<dyn Command>>,
        ran: &mut Vec<Box<dyn Command>>,
    ) -> Result<(), StoreError> {
        let outcome = self.sql("BEGIN IMMEDIATE").and_then(|()| {
            for mut command in rest.by_ref() {
                let outcome = self.in_savepoint(command.as_mut());
                ran.push(command);
                outcome?;
            }
            self.sql("COMMIT")
        });
        let Err(error) = outcome else { return Ok(()) };
        if !self.conn.is_autocommit() {
            // A failed ROLLBACK leaves nothing more to do here: the next BEGIN fails, and its callers learn why.
            let _ = self.sql("ROLLBACK");
        }
        // When not even BEGIN worked, nobody ran, and everybody waits for an answer.
        if ran.is_empty() {
            ran.extend(rest);
        }
        Err(error)
    }

    /// Fails only when the whole transaction is lost.
    fn in_savepoint(&self, command: &mut dyn Command) -> Result<(), StoreError> {
        self.sql("SAVEPOINT command")?;
        if let Err(error) = command.run(&self.conn) {
            // On a full disk and the like SQLite may give up the whole transaction; then no savepoint is left to go back to.
            if self.conn.is_autocommit() {
                return Err(error);
            }
            self.sql("ROLLBACK TO command")?;
        }
        self.sql("RELEASE command")
    }

    fn sql(&self, sql: &str) -> Result<(), StoreError> {
        let done = self.conn.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
        done.map(|_| ()).map_err(|error| Fault::from(error).into_error(&self.path))
    }
}
