//! A node that reaches its hub over the network: it connects, and connects again whenever the connection is lost. What runs
//! goes on meanwhile, and is told later.

use std::sync::Arc;
use std::time::Duration;

use kinora_protocol::client::Client;
use kinora_protocol::{ErrorCode, Failure};

use crate::claim::{Desk, Ended, Link, Signals, Worker};
use crate::identity::Machine;
use crate::jitter;

/// A connection is tried again after no more than this.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How to come back.
#[derive(Debug, Clone, Copy)]
pub struct Reconnect {
    /// How long to wait before the first try; later ones wait longer.
    pub delay: Duration,
    /// Wait for a hub that is not there at the start, too, and come back when sent away.
    pub persistent: bool,
}

/// What happens to the connection, for people.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// It stands.
    Connected,
    /// It is gone, or could not be made.
    Lost {
        /// Why.
        why: String,
        /// When it is tried again.
        again_in: Duration,
    },
}

/// Works for a hub until the machine or the hub says that it is enough.
///
/// # Errors
/// The hub is not there at the start, or does not take this node.
pub async fn serve(
    worker: Worker,
    client: &Client,
    machine: &Machine,
    how: Reconnect,
    signals: &Signals,
    notice: impl Fn(Notice) + Send,
) -> Result<(), Failure> {
    let worker = Arc::new(worker);
    let mut desk = Desk::default();
    let outcome = tokio::select! {
        outcome = keep_connected(&worker, &mut desk, (client, machine), how, signals, notice) => outcome,
        () = machine.keep() => Ok(()),
    };
    desk.close().await;
    outcome
}

async fn keep_connected(
    worker: &Arc<Worker>,
    desk: &mut Desk,
    (client, machine): (&Client, &Machine),
    how: Reconnect,
    signals: &Signals,
    notice: impl Fn(Notice) + Send,
) -> Result<(), Failure> {
    let (mut was_connected, mut tries) = (how.persistent, 0);
    loop {
        let connect = async {
            machine.refresh().await?;
            match client.connect_node().await {
                // The hub may have another authority than before; its key says so.
                Err(failure) if failure.code == ErrorCode::Untrusted => {
                    machine.renew().await?;
                    client.connect_node().await
                }
                connected => connected,
            }
        };
        let connected = tokio::select! {
            connected = connect => connected,
            () = signals.stop.cancelled() => return Ok(()),
        };
        let why = match connected {
            Ok((to_hub, from_hub)) => {
                notice(Notice::Connected);
                (was_connected, tries) = (true, 0);
                match worker.converse(desk, Link { to_hub, from_hub }, signals).await {
                    Ended::Stopped | Ended::Drained => return Ok(()),
                    Ended::SentAway if !how.persistent => return Ok(()),
                    Ended::SentAway => "the hub sent this node away".to_owned(),
                    Ended::Refused(failure) => return Err(failure),
                    Ended::Cut => "the connection is gone".to_owned(),
                }
            }
            Err(failure)
                if matches!(
                    failure.code,
                    ErrorCode::Unreachable | ErrorCode::Untrusted | ErrorCode::TooMany
                ) && was_connected =>
            {
                failure.message
            }
            Err(failure) => return Err(failure),
        };
        let again_in = jitter::backoff(how.delay, tries, LONGEST_WAIT);
        tries += 1;
        notice(Notice::Lost { why, again_in });
        tokio::select! {
            () = tokio::time::sleep(again_in) => {}
            () = signals.stop.cancelled() => return Ok(()),
            // Without a hub there is nothing to be finished for.
            () = signals.drain.cancelled() => return Ok(()),
        }
    }
}
