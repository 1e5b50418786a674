//! Two programs with something of ours between them: what one writes is worked on here, and the other reads it. It must not know
//! what the bytes are.

use tokio::io::AsyncWriteExt as _;
use tokio::process::ChildStdin;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{Control, Finished, Invocation, LineMeans, run_into};
use crate::error::MediaError;

/// Pieces that wait on either side: programs and we take turns otherwise.
const AHEAD: usize = 16;

/// What is done between the programs: bytes as they come in pieces of any size, and where they go. It runs on a thread of its own.
/// When nobody takes what it sends any more, it may end; the reason is told by the program that went.
pub trait Work:
    FnOnce(Receiver<Vec<u8>>, Sender<Vec<u8>>) -> Result<(), MediaError> + Send + 'static
{
}

impl<F: FnOnce(Receiver<Vec<u8>>, Sender<Vec<u8>>) -> Result<(), MediaError> + Send + 'static> Work for F {}

/// Gives a program what it reads, until there is no more or it is gone: its own words tell why.
pub(super) async fn feed(mut input: Receiver<Vec<u8>>, mut pipe: ChildStdin) {
    while let Some(bytes) = input.recv().await {
        if pipe.write_all(&bytes).await.is_err() {
            return;
        }
    }
    let _ = pipe.shutdown().await;
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

/// Runs `from`, whose standard output goes through `work` to the standard input of `to`. When one of the three fails, so do
/// the others; what is told is why the first did.
///
/// # Errors
/// See [`MediaError`]; nothing is left running.
pub async fn between(
    from: &Invocation,
    to: &Invocation,
    control: &Control,
    work: impl Work,
) -> Result<[Finished; 2], MediaError> {
    let ours = Control { cancel: control.cancel.child_token(), ..control.clone() };
    let (raw, taken) = channel(AHEAD);
    let (made, input) = channel(AHEAD);
    let stops = |result: Result<Finished, MediaError>| result.inspect_err(|_| ours.cancel.cancel());
    let reads = async { stops(run_into(from, &ours, None, Sends(raw)).await) };
    let writes = async { stops(run_into(to, &ours, Some(input), |_: &[u8]| LineMeans::Movement).await) };
    let works = async {
        let worked = crate::encode::blocking(move || work(taken, made)).await;
        worked.inspect_err(|_| ours.cancel.cancel())
    };
    let (read, written, worked) = tokio::join!(reads, writes, works);
    let results = [read.map(Some), worked.map(|()| None), written.map(Some)];
    let mut finished = Vec::new();
    let mut failed: Option<MediaError> = None;
    for result in results {
        match result {
            Ok(program) => finished.extend(program),
            // The others were cancelled for the sake of the one that failed.
            Err(error) if failed.is_none() || matches!(failed, Some(MediaError::Cancelled { .. })) => {
                failed = Some(error);
            }
            Err(_) => {}
        }
    }
    match (failed, <[Finished; 2]>::try_from(finished)) {
        (None, Ok(finished)) => Ok(finished),
        (Some(error), _) => Err(error),
        (None, Err(_)) => Err(MediaError::Cancelled { what: from.what.clone() }),
    }
}
