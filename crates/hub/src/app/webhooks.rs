//! Webhooks: who is told what, and what became of that. How a try is sent stands in `send`; when, in `reconcile`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kinora_protocol::access::Sight;
use kinora_protocol::webhook::{DeliveryState, DeliveryView, NewWebhook, Payload, WebhookEvent, WebhookView};
use kinora_protocol::{DeliveryId, JobId, UserId, WebhookId};
use kinora_store::{DeliveryRow, WebhookRow};
use serde_json::{Value, json};

use super::media::{Asked, bad};
use crate::{Hub, HubError, Result, now_ms};

pub(crate) mod send;

/// What secrets begin with, as Standard Webhooks has it.
const PREFIX: &str = "whsec_";
/// Bytes of a secret that the hub makes.
const SECRET: usize = 32;
/// Webhooks of a hub at the most.
const MOST: usize = 100;
/// Longest address.
const LONGEST_URL: usize = 2000;
/// Deliveries that a log shows.
const SHOWN: u32 = 100;
/// Events that are looked at in one go.
const AT_ONCE: u32 = 500;
/// Deliveries are forgotten after so long.
const KEPT_MS: i64 = 30 * 24 * 3600 * 1000;

fn view(row: WebhookRow, secret: Option<String>) -> WebhookView {
    let WebhookRow { id, url, events, enabled, created_ms, .. } = row;
    WebhookView { id, url, events, enabled, secret, created_ms }
}

fn delivery_view(row: DeliveryRow) -> DeliveryView {
    DeliveryView {
        id: row.id,
        event: row.event,
        job: row.job,
        state: row.state,
        tries: row.tries,
        next_ms: (row.state == DeliveryState::Pending).then_some(row.next_ms),
        status: row.status,
        error: row.error,
        created_ms: row.created_ms,
        tried_ms: row.tried_ms,
    }
}

/// An address that deliveries can go to.
fn address(url: &str) -> Asked<()> {
    let refused = |why: &str| Err(bad(format!("this is no address for a webhook: {why}")));
    if url.len() > LONGEST_URL {
        return refused("it is too long");
    }
    let Ok(parsed) = reqwest::Url::parse(url) else { return refused("write https://HOST/PATH") };
    match parsed.scheme() {
        "http" | "https" if parsed.host_str().is_none_or(str::is_empty) => refused("it names no host"),
        "http" | "https" if !parsed.username().is_empty() || parsed.password().is_some() => {
            refused("names and passwords do not belong into it: deliveries are signed")
        }
        "http" | "https" => Ok(()),
        _ => refused("write https://HOST/PATH"),
    }
}

/// The bytes of a secret as its text has them.
fn secret_of(text: &str) -> Asked<Vec<u8>> {
    let why = || bad(format!("a secret is {PREFIX} and 24 to 64 bytes in base64"));
    let bytes = BASE64_STANDARD.decode(text.strip_prefix(PREFIX).ok_or_else(why)?).map_err(|_| why())?;
    if (24..=64).contains(&bytes.len()) { Ok(bytes) } else { Err(why()) }
}

impl Hub {
    /// Makes a webhook. Only the answer has its secret.
    ///
    /// # Errors
    /// When the store cannot keep it; that it makes no sense is the inner error.
    pub async fn new_webhook(&self, owner: Option<UserId>, wanted: NewWebhook) -> Result<Asked<WebhookView>> {
        if let Err(failure) = address(&wanted.url) {
            return Ok(Err(failure));
        }
        if self.store().webhooks(&Sight::All).await?.len() >= MOST {
            return Ok(Err(bad(format!("there are {MOST} webhooks already"))));
        }
        let mut events = wanted.events.unwrap_or_else(|| WebhookEvent::USUAL.to_vec());
        events.sort_unstable();
        events.dedup();
        if events.is_empty() {
            return Ok(Err(bad("a webhook is told of one event at the least")));
        }
        let secret = match wanted.secret.as_deref().map(secret_of) {
            Some(Err(failure)) => return Ok(Err(failure)),
            Some(Ok(secret)) => secret,
            None => {
                let mut secret = vec![0; SECRET];
                getrandom::fill(&mut secret)
                    .map_err(|e| HubError::Inconsistent(format!("the system gives no random bytes: {e}")))?;
                secret
            }
        };
        let told = format!("{PREFIX}{}", BASE64_STANDARD.encode(&secret));
        let row = WebhookRow {
            id: WebhookId::generate(),
            url: wanted.url,
            events,
            secret,
            enabled: true,
            since: 0,
            created_ms: now_ms(),
        };
        self.store().put_webhook(&row, owner).await?;
        Ok(Ok(view(row, Some(told))))
    }

    /// The webhooks that somebody gets to see, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn webhook_views(&self, sight: &Sight) -> Result<Vec<WebhookView>> {
        Ok(self.store().webhooks(sight).await?.into_iter().map(|row| view(row, None)).collect())
    }

    /// One webhook.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn webhook_view(&self, webhook: WebhookId) -> Result<Option<WebhookView>> {
        Ok(self.store().webhook(webhook).await?.map(|row| view(row, None)))
    }

    /// Forgets a webhook. Whether there was one.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn delete_webhook(&self, webhook: WebhookId) -> Result<bool> {
        Ok(self.store().drop_webhook(webhook).await?)
    }

    /// Sets whether a webhook is told anything. Whether there is one.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn enable_webhook(&self, webhook: WebhookId, enabled: bool) -> Result<bool> {
        Ok(self.store().enable_webhook(webhook, enabled).await?)
    }

    /// The newest deliveries of a webhook; `None` when there is no such webhook.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn delivery_views(&self, webhook: WebhookId) -> Result<Option<Vec<DeliveryView>>> {
        if self.store().webhook(webhook).await?.is_none() {
            return Ok(None);
        }
        let rows = self.store().deliveries(webhook, SHOWN).await?;
        Ok(Some(rows.into_iter().map(delivery_view).collect()))
    }

    /// Sends a delivery again; `None` when there is none.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn replay(&self, webhook: WebhookId, delivery: DeliveryId) -> Result<Option<DeliveryView>> {
        Ok(self.store().replay_delivery(webhook, delivery, now_ms()).await?.map(delivery_view))
    }

    /// Sends a webhook something to try it; `None` when there is no such webhook.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn ping(&self, webhook: WebhookId) -> Result<Option<DeliveryView>> {
        let Some(row) = self.store().webhook(webhook).await? else { return Ok(None) };
        // One that is told nothing is sent this when it is told things again.
        let delivery = delivery(&row, (WebhookEvent::Ping, None, None), json!({ "webhook": row.id }))?;
        self.store().put_delivery(delivery.clone()).await?;
        Ok(Some(delivery_view(delivery)))
    }

    /// Makes deliveries of what has happened since they were last made, and forgets old ones.
    pub(crate) async fn make_deliveries(&self) -> Result<()> {
        loop {
            let webhooks = self.store().webhooks(&Sight::All).await?;
            if webhooks.is_empty() {
                return Ok(());
            }
            let (events, through) = self.store().untold(AT_ONCE).await?;
            let more = events.len() == AT_ONCE as usize;
            let Some(through) = through else { return Ok(()) };
            let mut deliveries = Vec::new();
            for told in events {
                let Some((event, job)) = WebhookEvent::of(&told.event) else { continue };
                let wants = |hook: &&WebhookRow| {
                    hook.enabled && hook.since < told.seq && hook.events.contains(&event)
                };
                let mut wanting = webhooks.iter().filter(wants).peekable();
                if wanting.peek().is_none() {
                    continue;
                }
                let data = self.job_data(job).await;
                for hook in wanting {
                    if !self.store().may_be_told(hook.id, job).await? {
                        continue;
                    }
                    deliveries.push(delivery(hook, (event, Some(job), Some(told.seq)), data.clone())?);
                }
            }
            self.store().put_deliveries(deliveries, through).await?;
            if !more {
                return Ok(());
            }
        }
    }

    /// A job as it is now, or its id when it was forgotten meanwhile.
    async fn job_data(&self, job: JobId) -> Value {
        let view =
            self.job_view(job).await.inspect_err(|e| tracing::error!(%job, "it cannot be told of: {e}"));
        let shown = view.ok().flatten().and_then(|view| serde_json::to_value(view).ok());
        shown.unwrap_or_else(|| json!({ "id": job }))
    }

    /// Forgets deliveries of long ago.
    pub(crate) async fn drop_old_deliveries(&self) -> Result<usize> {
        Ok(self.store().drop_deliveries(now_ms() - KEPT_MS).await?)
    }
}

fn delivery(
    webhook: &WebhookRow,
    (event, job, seq): (WebhookEvent, Option<JobId>, Option<i64>),
    data: Value,
) -> Result<DeliveryRow> {
    let now = now_ms();
    let payload = Payload { kind: event, timestamp_ms: now, data };
    let body =
        serde_json::to_string(&payload).map_err(|e| HubError::Inconsistent(format!("a payload: {e}")))?;
    Ok(DeliveryRow {
        id: DeliveryId::generate(),
        webhook: webhook.id,
        seq,
        event,
        job,
        body,
        state: DeliveryState::Pending,
        tries: 0,
        next_ms: now,
        status: None,
        error: None,
        created_ms: now,
        tried_ms: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["https://example.org/hook?a=b", "http://192.168.1.4:8123/api", "http://[::1]/"] {
            address(good).unwrap();
        }
        for wrong in
            ["", "ftp://host/", "file:///etc/passwd", "https://", "https://me:secret@host/", "host/path"]
        {
            assert!(address(wrong).is_err(), "{wrong}");
        }
        assert!(address(&format!("https://host/{}", "a".repeat(LONGEST_URL))).is_err());
    }

    #[test]
    fn secrets() {
        let text = format!("{PREFIX}{}", BASE64_STANDARD.encode([7; 24]));
        assert_eq!(secret_of(&text).unwrap(), [7; 24]);
        for wrong in ["whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_***"] {
            assert!(secret_of(wrong).is_err(), "{wrong}");
        }
    }
}
