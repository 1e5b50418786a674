//! Ctrl-C and polite requests to end. It must not know what they end.

use kinora_worker::Signals;
use tokio_util::sync::CancellationToken;

/// Cancelled by Ctrl-C or a polite request to end.
pub fn interruption() -> CancellationToken {
    let token = CancellationToken::new();
    let on_signal = token.clone();
    tokio::spawn(async move {
        asked_to_end().await;
        on_signal.cancel();
        // Whoever asks twice does not want to wait for a disk. Nothing is lost by it, and programs die with this one.
        asked_to_end().await;
        std::process::exit(130);
    });
    token
}

/// The first request to end drains, the second stops, the third ends at once.
pub fn drain_then_stop() -> Signals {
    let signals = Signals::default();
    let on_signal = signals.clone();
    tokio::spawn(async move {
        asked_to_end().await;
        on_signal.drain.cancel();
        asked_to_end().await;
        on_signal.stop.cancel();
        asked_to_end().await;
        std::process::exit(130);
    });
    signals
}

#[cfg(unix)]
async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

#[cfg(not(unix))]
async fn asked_to_end() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
