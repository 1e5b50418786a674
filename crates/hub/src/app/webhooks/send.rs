//! One try of a delivery: signed, sent, judged. Which ones are due is not known here.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac as _};
use kinora_protocol::WebhookId;
use kinora_protocol::webhook::DeliveryState;
use kinora_store::{DeliveryRow, Tried, WebhookRow};
use sha2::Sha256;
use tokio_util::sync::CancellationToken;

use crate::app::outgoing::{self, innermost};
use crate::{Hub, Result, now_ms};

/// A receiver has to answer within this.
const PATIENCE: Duration = Duration::from_secs(15);
/// Deliveries of a webhook that are sent in one go.
const DUE: u32 = 16;
/// Seconds until the next try, after the first, the second and so on; then it has failed. As Standard Webhooks proposes.
const DELAYS: [i64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// The receiver wants nothing any more.
const GONE: u16 = 410;

/// What is put before a signature: the version of its making.
const VERSION: &str = "v1";

/// HMAC-SHA256 over id, time in seconds and body, in base64.
fn signature(secret: &[u8], id: &str, seconds: i64, body: &str) -> String {
    // A key of any length is taken.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return String::new() };
    mac.update(format!("{id}.{seconds}.{body}").as_bytes());
    format!("{VERSION},{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

/// What an answer, or that there was none, means for a delivery that was tried `tries` times before.
fn judge(answer: std::result::Result<u16, String>, tries: u32, now_ms: i64) -> Tried {
    let (status, error) = match answer {
        Ok(status) if (200..300).contains(&status) => {
            return Tried {
                state: DeliveryState::Delivered,
                next_ms: now_ms,
                status: Some(status),
                error: None,
            };
        }
        Ok(status) => (Some(status), format!("the receiver answered {status}")),
        Err(why) => (None, why),
    };
    match DELAYS.get(tries as usize).filter(|_| status != Some(GONE)) {
        Some(seconds) => Tried {
            state: DeliveryState::Pending,
            next_ms: now_ms + seconds * 1000,
            status,
            error: Some(error),
        },
        None => Tried { state: DeliveryState::Failed, next_ms: now_ms, status, error: Some(error) },
    }
}

/// What sends.
pub(crate) fn client() -> reqwest::Result<reqwest::Client> {
    outgoing::client(PATIENCE)
}

async fn post(
    client: &reqwest::Client,
    hook: &WebhookRow,
    delivery: &DeliveryRow,
) -> std::result::Result<u16, String> {
    let (id, seconds) = (delivery.id.to_string(), now_ms() / 1000);
    let sent = client
        .post(&hook.url)
        .header("content-type", "application/json")
        .header("webhook-id", &id)
        .header("webhook-timestamp", seconds.to_string())
        .header("webhook-signature", signature(&hook.secret, &id, seconds, &delivery.body))
        .body(delivery.body.clone())
        .send()
        .await;
    match sent {
        Ok(answer) => Ok(answer.status().as_u16()),
        Err(error) if error.is_timeout() => Err("no answer in time".to_owned()),
        Err(error) => Err(innermost(&error)),
    }
}

/// Who is being told something now: one delivery of a webhook after the other, and none waits for another webhook's.
#[derive(Debug, Default)]
pub(crate) struct Busy(Mutex<HashSet<WebhookId>>);

/// A webhook's turn; it is over when this is dropped.
struct Turn {
    hub: Hub,
    webhook: WebhookId,
}

impl Busy {
    fn lock(&self) -> MutexGuard<'_, HashSet<WebhookId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    fn begin(hub: &Hub, webhook: WebhookId) -> Self {
        hub.inner.telling.lock().insert(webhook);
        Self { hub: hub.clone(), webhook }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.hub.inner.telling.lock().remove(&self.webhook);
    }
}

impl Hub {
    /// Sends what is due, each webhook's in a task of its own.
    pub(crate) async fn send_deliveries(
        &self,
        client: &reqwest::Client,
        stop: &CancellationToken,
    ) -> Result<()> {
        // Looked at before what is due: of one whose turn ends in between, the list is of before its last deliveries.
        let busy = self.inner.telling.lock().clone();
        let due = self.store().due_deliveries(now_ms(), DUE).await?;
        for (webhook, deliveries) in due.into_iter().filter(|(webhook, _)| !busy.contains(webhook)) {
            let turn = Turn::begin(self, webhook);
            let (client, stop) = (client.clone(), stop.clone());
            tokio::spawn(async move {
                for delivery in deliveries {
                    // A try that is broken off is made again: deliveries come at least once.
                    let sent = tokio::select! {
                        () = stop.cancelled() => return,
                        sent = turn.hub.send(&client, delivery) => sent,
                    };
                    if let Err(error) = sent {
                        tracing::error!(%webhook, "a delivery cannot be noted: {error}");
                        return;
                    }
                }
            });
        }
        Ok(())
    }

    async fn send(&self, client: &reqwest::Client, delivery: DeliveryRow) -> Result<()> {
        let hook = self.store().webhook(delivery.webhook).await?.filter(|hook| hook.enabled);
        let Some(hook) = hook else { return Ok(()) };
        let answer = post(client, &hook, &delivery).await;
        let gone = answer == Ok(GONE);
        let tried = judge(answer, delivery.tries, now_ms());
        // Addresses of receivers often are secrets.
        let host = reqwest::Url::parse(&hook.url).ok().and_then(|url| url.host_str().map(str::to_owned));
        let host = host.unwrap_or_default();
        if let Some(error) = &tried.error {
            tracing::warn!(webhook = %hook.id, delivery = %delivery.id, "{host}: {error}");
        }
        self.store().note_tried(&delivery, tried, now_ms()).await?;
        if gone {
            tracing::warn!(webhook = %hook.id, "{host} is gone: it is told nothing any more");
            self.store().enable_webhook(hook.id, false).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_as_in_the_specification() {
        // The example of Standard Webhooks' reference libraries.
        let secret = BASE64_STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed =
            signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn tried_again_later_and_later_until_it_is_enough() {
        assert_eq!(judge(Ok(204), 3, 1000).state, DeliveryState::Delivered);
        let first = judge(Ok(500), 0, 1000);
        assert_eq!((first.state, first.next_ms, first.status), (DeliveryState::Pending, 6000, Some(500)));
        let redirect = judge(Ok(302), 1, 0);
        assert_eq!((redirect.state, redirect.next_ms), (DeliveryState::Pending, 300_000));
        assert_eq!(judge(Err("no answer".into()), 9, 0).state, DeliveryState::Failed);
        assert_eq!(judge(Ok(GONE), 0, 0).state, DeliveryState::Failed);
    }
}
