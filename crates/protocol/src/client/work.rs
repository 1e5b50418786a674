//! The bytes of a task, for a node on another machine: in by ranges and whole, out as its result. A transfer that stops
//! moving is given up, so that the caller can try again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use reqwest::{Method, Response};
use tokio::time::timeout;
use tokio_util::io::ReaderStream;

use super::{Answer, Client};
use crate::api::Ranges;
use crate::error::{ErrorCode, Failure};
use crate::id::Digest;
use crate::routes;
use crate::task::Blob;

/// A transfer that moves nothing for so long is given up.
const STALL: Duration = Duration::from_secs(30);
/// How long a hub may take to make a received result durable.
const SETTLE: Duration = Duration::from_secs(300);
/// Bytes read from a file at a time.
const PIECE: usize = 256 << 10;

/// A body that arrives piece by piece.
pub struct Pieces {
    hub: Client,
    answer: Response,
}

impl Pieces {
    /// The next piece; none after the last.
    ///
    /// # Errors
    /// When the connection breaks or nothing comes any more.
    pub async fn next(&mut self) -> Answer<Option<Bytes>> {
        match timeout(STALL, self.answer.chunk()).await {
            // It may be the hub that cannot read on: this must not be tried for ever.
            Ok(piece) => piece.map_err(|e| {
                Failure::new(
                    ErrorCode::NotExact,
                    format!("a transfer broke off: {}", self.hub.unreachable(&e)),
                )
            }),
            Err(_) => Err(self.hub.stalled()),
        }
    }
}

impl Client {
    fn stalled(&self) -> Failure {
        let why = format!("a transfer with the hub at {} stands still", self.base);
        Failure::new(ErrorCode::Unreachable, why)
    }

    /// Ranges of a task's source, end to end, and then the 32 bytes of the BLAKE3 of them all.
    ///
    /// # Errors
    /// As all calls.
    pub async fn work_source(&self, capability: &str, ranges: Vec<(u64, u64)>) -> Answer<Pieces> {
        let request = self.request(Method::POST, &routes::work_source(capability)).json(&Ranges { ranges });
        let answer = timeout(STALL, self.send(request)).await.map_err(|_| self.stalled())??;
        Ok(Pieces { hub: self.clone(), answer })
    }

    /// A blob that a task works on, by its position.
    ///
    /// # Errors
    /// As all calls.
    pub async fn work_input(&self, capability: &str, position: usize) -> Answer<Pieces> {
        let request = self.request(Method::GET, &routes::work_input(capability, position));
        let answer = timeout(STALL, self.send(request)).await.map_err(|_| self.stalled())??;
        Ok(Pieces { hub: self.clone(), answer })
    }

    /// Hands in a task's result.
    ///
    /// # Errors
    /// The file cannot be read, the lease is lost, or as all calls.
    pub async fn work_result(&self, capability: &str, path: &Path, digest: &Digest) -> Answer<Blob> {
        let disk = |e: std::io::Error| Failure::new(ErrorCode::Disk, format!("{}: {e}", path.display()));
        let file = tokio::fs::File::open(path).await.map_err(disk)?;
        let size = file.metadata().await.map_err(disk)?.len();
        let sent = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&sent);
        let pieces = ReaderStream::with_capacity(file, PIECE).inspect_ok(move |piece| {
            count.fetch_add(piece.len() as u64, Ordering::Relaxed);
        });
        let request = self
            .request(Method::PUT, &routes::work_result(capability))
            .header(routes::DIGEST_HEADER, digest.to_string())
            .header("content-length", size)
            .body(reqwest::Body::wrap_stream(pieces.boxed()));
        tokio::select! {
            answer = self.json(request) => answer,
            () = stands_still(&sent, size) => Err(self.stalled()),
        }
    }
}

/// Ends when nothing is sent any more though there is more to send, or the receiver takes too long afterwards.
async fn stands_still(sent: &AtomicU64, size: u64) {
    let mut before = None;
    loop {
        let now = sent.load(Ordering::Relaxed);
        if before == Some(now) {
            return;
        }
        before = Some(now);
        tokio::time::sleep(if now < size { STALL } else { SETTLE }).await;
    }
}
