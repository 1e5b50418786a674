//! Programs in a row with something of ours between them: what one writes is worked on here, and the next reads it. It must not know
//! what the bytes are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::AsyncWriteExt as _;
use tokio::process::ChildStdin;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{JoinHandle, JoinSet};

use super::lines::Report;
use super::{Control, Finished, Invocation, LineMeans, run_into};
use crate::error::MediaError;

/// Pieces that wait on either side: programs and we take turns otherwise.
const AHEAD: usize = 16;

/// What is done between two programs: bytes as they come in pieces of any size, and where they go. It runs on a thread of its own.
/// When nobody takes what it sends any more, it ends; the reason is told by the program that went.
pub type Work = Box<dyn FnOnce(Receiver<Vec<u8>>, Sender<Vec<u8>>) -> Result<(), MediaError> + Send>;

/// A program that is given what it reads, until there is no more or it is gone: its own words tell why.
pub(super) struct Fed {
    feeding: JoinHandle<()>,
    bytes: Arc<AtomicU64>,
    waits: Arc<AtomicBool>,
}

impl Fed {
    pub(super) fn by(mut input: Receiver<Vec<u8>>, mut pipe: ChildStdin) -> Self {
        let bytes = Arc::new(AtomicU64::new(0));
        let waits = Arc::new(AtomicBool::new(true));
        let (given, waiting) = (Arc::clone(&bytes), Arc::clone(&waits));
        let feeding = tokio::spawn(async move {
            while let Some(piece) = input.recv().await {
                waiting.store(false, Ordering::Relaxed);
                if pipe.write_all(&piece).await.is_err() {
                    return;
                }
                given.fetch_add(piece.len() as u64, Ordering::Relaxed);
                waiting.store(true, Ordering::Relaxed);
            }
            waiting.store(false, Ordering::Relaxed);
            let _ = pipe.shutdown().await;
        });
        Self { feeding, bytes, waits }
    }

    /// Whether it has taken all that there is so far: what it does then is up to who makes more.
    pub(super) fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// Bytes that it has taken so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        // Who makes its input finds that nobody takes it.
        self.feeding.abort();
    }
}

/// Who takes what a program writes. The program waits while it is taken.
pub(super) trait Takes: Send {
    fn take(&mut self, bytes: &[u8]) -> impl Future<Output = LineMeans> + Send;
}

impl<F: FnMut(&[u8]) -> LineMeans + Send> Takes for F {
    fn take(&mut self, bytes: &[u8]) -> impl Future<Output = LineMeans> + Send {
        std::future::ready(self(bytes))
    }
}

struct Sends(Sender<Vec<u8>>);

impl Takes for Sends {
    async fn take(&mut self, bytes: &[u8]) -> LineMeans {
        // Who took them has ended, and tells why.
        let _ = self.0.send(bytes.to_vec()).await;
        LineMeans::Movement
    }
}

/// Runs `first`, whose standard output goes through a work to the standard input of the next program, and so on; that of the last is
/// its progress. When one fails, so do the others; what is told is why the first did. What is given back is of the last, with the
/// processor seconds of all programs.
///
/// # Errors
/// See [`MediaError`]; nothing is left running.
pub async fn chain(
    first: Invocation,
    rest: Vec<(Work, Invocation)>,
    control: &Control,
) -> Result<Finished, MediaError> {
    let ours = Control { cancel: control.cancel.child_token(), ..control.clone() };
    let mut parts: JoinSet<(usize, Result<Option<Finished>, MediaError>)> = JoinSet::new();
    let (mut program, mut input) = (first, None);
    let count = 2 * rest.len() + 1;
    for (n, (work, next)) in rest.into_iter().enumerate() {
        let (raw, taken) = channel(AHEAD);
        let (made, given) = channel(AHEAD);
        let (runs, reads, with) = (std::mem::replace(&mut program, next), input.replace(given), ours.clone());
        parts.spawn(async move { (2 * n, run_into(&runs, &with, reads, &mut Sends(raw)).await.map(Some)) });
        parts.spawn(async move {
            (2 * n + 1, crate::encode::blocking(move || work(taken, made)).await.map(|()| None))
        });
    }
    let last = ours.clone();
    parts.spawn(async move {
        let mut report = Report::to(&last);
        let finished = run_into(&program, &last, input, &mut report).await;
        let written = report.end().written;
        (count - 1, finished.map(|finished| Some(Finished { written, ..finished })))
    });
    gathered(parts, &ours).await
}

/// Runs a program whose standard output is worked on here, on a thread of its own. What came of that is given also when the program
/// failed midway, with how it ended.
///
/// # Errors
/// When the work itself broke off.
pub async fn taken<T: Send + 'static>(
    program: Invocation,
    work: impl FnOnce(Receiver<Vec<u8>>) -> T + Send + 'static,
    control: &Control,
) -> Result<(T, Result<Finished, MediaError>), MediaError> {
    let (raw, pieces) = channel(AHEAD);
    let runs = async move { run_into(&program, control, None, &mut Sends(raw)).await };
    let works = crate::encode::blocking(move || Ok(work(pieces)));
    let (finished, made) = tokio::join!(runs, works);
    Ok((made?, finished))
}

/// Waits for all parts; when one fails, the others are cancelled.
async fn gathered(
    mut parts: JoinSet<(usize, Result<Option<Finished>, MediaError>)>,
    control: &Control,
) -> Result<Finished, MediaError> {
    let (mut last, mut seconds) = ((0, Finished::default()), 0.0);
    let mut failed: Option<(bool, usize, MediaError)> = None;
    while let Some(ended) = parts.join_next().await {
        let broke = |error: tokio::task::JoinError| MediaError::ToolUnusable {
            program: "pipe".to_owned(),
            reason: error.to_string(),
        };
        let (place, result) = ended.unwrap_or_else(|error| (usize::MAX, Err(broke(error))));
        match result {
            Ok(Some(finished)) => {
                seconds += finished.cpu_seconds;
                if place >= last.0 {
                    last = (place, finished);
                }
            }
            Ok(None) => {}
            Err(error) => {
                control.cancel.cancel();
                // The others were cancelled for the sake of the one that failed, or failed as they were given nothing any more.
                let rank = (matches!(error, MediaError::Cancelled { .. }), place);
                if failed.as_ref().is_none_or(|(cancelled, before, _)| rank < (*cancelled, *before)) {
                    failed = Some((rank.0, rank.1, error));
                }
            }
        }
    }
    match failed {
        Some((_, _, error)) => Err(error),
        None => Ok(Finished { cpu_seconds: seconds, ..last.1 }),
    }
}
