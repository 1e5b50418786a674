//! One try of a delivery: signed, sent, judged. Which ones are due is not known here.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::StreamExt as _;
use hmac::{Hmac, Mac as _};
use kinora_protocol::webhook::DeliveryState;
use kinora_store::{DeliveryRow, Tried, WebhookRow};
use sha2::Sha256;

use crate::{Hub, Result, now_ms};

/// A receiver has to answer within this.
const PATIENCE: Duration = Duration::from_secs(15);
/// Tries at once.
const AT_ONCE: usize = 16;
/// Deliveries that are looked at in one go.
const DUE: u32 = 64;
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

/// What sends: it follows no redirects, which a signature is not meant for.
pub(crate) fn client() -> reqwest::Result<reqwest::Client> {
    // Another part of the program may have chosen it before: there is one for all.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let agent = concat!("Kinora/", env!("CARGO_PKG_VERSION"));
    reqwest::Client::builder()
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(agent)
        .build()
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
        Err(error) => {
            let mut cause: &dyn std::error::Error = &error;
            while let Some(source) = cause.source() {
                cause = source;
            }
            Err(if error.is_timeout() { "no answer in time".to_owned() } else { cause.to_string() })
        }
    }
}

impl Hub {
    /// Sends what is due, each delivery once.
    pub(crate) async fn send_deliveries(&self, client: &reqwest::Client) -> Result<()> {
        let due = self.store().due_deliveries(now_ms(), DUE).await?;
        let sent = futures_util::stream::iter(due).map(|delivery| self.send(client, delivery));
        let outcomes: Vec<Result<()>> = sent.buffer_unordered(AT_ONCE).collect().await;
        outcomes.into_iter().collect()
    }

    async fn send(&self, client: &reqwest::Client, delivery: DeliveryRow) -> Result<()> {
        let Some(hook) = self.store().webhook(delivery.webhook).await? else { return Ok(()) };
        let answer = post(client, &hook, &delivery).await;
        let gone = answer == Ok(GONE);
        let tried = judge(answer, delivery.tries, now_ms());
        if let Some(error) = &tried.error {
            tracing::warn!(webhook = %hook.id, delivery = %delivery.id, "{}: {error}", hook.url);
        }
        self.store().note_tried(delivery.id, tried, now_ms()).await?;
        if gone {
            tracing::warn!(webhook = %hook.id, "{} is gone: it is told nothing any more", hook.url);
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
