//! Whether anything happens on a connection: requests that are worked on, and answers that are taken. A connection on which nothing
//! does is given up, whatever is said to keep it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Response;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, sleep};

/// Of one connection. Clones are the same.
#[derive(Clone)]
pub(super) struct Activity(Arc<Inner>);

struct Inner {
    began: Instant,
    /// Requests that are worked on.
    at_work: AtomicUsize,
    /// When something last happened, in milliseconds since it began.
    last: AtomicU64,
}

/// A request that is worked on.
pub(super) struct AtWork(Activity);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.0.at_work.fetch_sub(1, Ordering::Relaxed);
        self.0.touch();
    }
}

impl Activity {
    pub(super) fn new() -> Self {
        let began = Instant::now();
        Self(Arc::new(Inner { began, at_work: AtomicUsize::new(0), last: AtomicU64::new(0) }))
    }

    fn touch(&self) {
        let at = u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last.store(at, Ordering::Relaxed);
    }

    /// A request is worked on for as long as this is held.
    pub(super) fn begin(&self) -> AtWork {
        self.0.at_work.fetch_add(1, Ordering::Relaxed);
        AtWork(self.clone())
    }

    /// An answer whose body counts when a piece of it is asked for: nobody asks for one while the other side takes none.
    pub(super) fn watch(&self, answer: Response<Body>) -> Response<Body> {
        answer.map(|inner| Body::new(Watched { inner, activity: self.clone() }))
    }

    /// Ends when nothing has happened for so long.
    pub(super) async fn is_over(&self, patience: Duration) {
        loop {
            let last = self.0.began + Duration::from_millis(self.0.last.load(Ordering::Relaxed));
            let quiet = last.elapsed();
            let busy = self.0.at_work.load(Ordering::Relaxed) > 0;
            if !busy && quiet >= patience {
                return;
            }
            sleep(if busy { patience } else { patience - quiet }).await;
        }
    }
}

struct Watched {
    inner: Body,
    activity: Activity,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.activity.touch();
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
