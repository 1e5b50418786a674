//! What holds for every WebSocket: how long a message is, and how many come in a second.

use std::num::NonZeroU32;

use axum::extract::ws::{Message, WebSocketUpgrade};
use futures_util::{Stream, StreamExt as _};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::app::metrics::Metrics;

/// How much somebody may say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Of whom.
    pub kind: &'static str,
    /// Bytes of a message.
    pub message: usize,
    /// Messages in a second, for long.
    pub per_second: NonZeroU32,
    /// Messages at once.
    pub burst: NonZeroU32,
}

/// What a watcher or a client of another system may say.
pub(super) const WATCHER: Bounds =
    Bounds { kind: "watcher", message: 64 << 10, per_second: number(10), burst: number(100) };
/// What a node may say: the progress of each of its chunks, twice a second.
pub(super) const NODE: Bounds =
    Bounds { kind: "node", message: 8 << 20, per_second: number(2_000), burst: number(20_000) };

const fn number(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

impl Bounds {
    /// Bounds what is read into memory.
    pub(super) fn of(self, upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
        // A frame is read as a whole before its message is looked at.
        upgrade.max_message_size(self.message).max_frame_size(self.message)
    }

    fn pace(self) -> DefaultDirectRateLimiter {
        RateLimiter::direct(Quota::per_second(self.per_second).allow_burst(self.burst))
    }

    /// Counts it as open, and ends where too many come: what is said to nobody's use costs as much as anything else.
    pub(super) fn paced<E>(
        self,
        metrics: &Metrics,
        messages: impl Stream<Item = Result<Message, E>> + Unpin,
    ) -> impl Stream<Item = Result<Message, E>> + Unpin {
        let (pace, open) = (self.pace(), metrics.socket(self.kind));
        messages.take_while(move |_| {
            let _open = &open;
            let goes_on = pace.check().is_ok();
            if !goes_on {
                tracing::info!("a WebSocket is closed: more than {} messages a second came", self.per_second);
            }
            std::future::ready(goes_on)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_says_too_much_is_cut_off() {
        let endless = futures_util::stream::repeat_with(|| Ok::<_, ()>(Message::Ping(Vec::new().into())));
        let heard = WATCHER.paced(&Metrics::new(), endless.take(10_000)).count().await;
        assert!((100..=120).contains(&heard), "{heard}");
    }
}
