//! Webhooks and their deliveries: made with the position in the events up to which they stand, so that none is lost or made twice.

use std::collections::BTreeMap;

use kinora_protocol::access::{Kind, Sight};
use kinora_protocol::webhook::{DeliveryState, WebhookEvent};
use kinora_protocol::{DeliveryId, UserId, WebhookId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fault::Fault;
use super::{Store, convert, grants, keep_meta, outbox};
use crate::error::Result;
use crate::outbox::OutboxRow;
use crate::webhook::{DeliveryRow, Tried, WebhookRow};

/// Where deliveries stand in the events.
const CURSOR: &str = "webhooks.seq";

const SELECT: &str = "SELECT id, url, events, secret, enabled, since, created_ms FROM webhooks";
const DELIVERIES: &str = "SELECT id, webhook, seq, event, job, body, state, tries, next_ms, status, error, created_ms, tried_ms FROM deliveries";

fn webhook_row(row: &Row<'_>) -> rusqlite::Result<WebhookRow> {
    Ok(WebhookRow {
        id: convert::parsed(row, "id")?,
        url: row.get("url")?,
        events: convert::from_json(row, "events")?,
        secret: row.get("secret")?,
        enabled: row.get("enabled")?,
        since: row.get("since")?,
        created_ms: row.get("created_ms")?,
    })
}

fn delivery_row(row: &Row<'_>) -> rusqlite::Result<DeliveryRow> {
    Ok(DeliveryRow {
        id: convert::parsed(row, "id")?,
        webhook: convert::parsed(row, "webhook")?,
        seq: row.get("seq")?,
        event: convert::named(row, "event", &WebhookEvent::ALL, WebhookEvent::name)?,
        job: convert::parsed_opt(row, "job")?,
        body: row.get("body")?,
        state: convert::named(row, "state", &DeliveryState::ALL, DeliveryState::name)?,
        tries: row.get("tries")?,
        next_ms: row.get("next_ms")?,
        status: row.get("status")?,
        error: row.get("error")?,
        created_ms: row.get("created_ms")?,
        tried_ms: row.get("tried_ms")?,
    })
}

fn put(conn: &Connection, delivery: &DeliveryRow) -> std::result::Result<(), Fault> {
    conn.prepare_cached(
        "INSERT INTO deliveries (id, webhook, seq, event, job, body, state, tries, next_ms, created_ms)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 WHERE EXISTS (SELECT 1 FROM webhooks WHERE id = ?2)
         ON CONFLICT (webhook, seq) DO NOTHING",
    )?
    .execute(params![
        delivery.id.to_string(),
        delivery.webhook.to_string(),
        delivery.seq,
        delivery.event.name(),
        delivery.job.map(|job| job.to_string()),
        delivery.body,
        delivery.state.name(),
        delivery.tries,
        delivery.next_ms,
        delivery.created_ms
    ])?;
    Ok(())
}

impl Store {
    /// Keeps a webhook; it is told of what happens from now on. `since` of the row is set here.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn put_webhook(&self, webhook: &WebhookRow, owner: Option<UserId>) -> Result<()> {
        let events = convert::json(&webhook.events)?;
        let webhook = webhook.clone();
        self.write(move |conn| {
            conn.prepare_cached(
                "INSERT INTO webhooks (id, url, events, secret, enabled, since, created_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0), ?6)",
            )?
            .execute(params![
                webhook.id.to_string(),
                webhook.url,
                events,
                webhook.secret,
                webhook.enabled,
                webhook.created_ms
            ])?;
            grants::own(conn, (Kind::Webhook, &webhook.id.to_string()), owner)?;
            Ok(())
        })
        .await
    }

    /// All webhooks that somebody gets to see, oldest first.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn webhooks(&self, sight: &Sight) -> Result<Vec<WebhookRow>> {
        let seen_by = grants::seen_by(sight)?;
        self.read(move |conn| {
            let seen = grants::seen(Kind::Webhook, "webhooks.id", 1);
            let mut query = conn.prepare_cached(&format!("{SELECT} WHERE {seen} ORDER BY id"))?;
            Ok(query.query_map([seen_by], webhook_row)?.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// One webhook.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn webhook(&self, webhook: WebhookId) -> Result<Option<WebhookRow>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?;
            Ok(query.query_row([webhook.to_string()], webhook_row).optional()?)
        })
        .await
    }

    /// Forgets a webhook with its deliveries. Whether there was one.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn drop_webhook(&self, webhook: WebhookId) -> Result<bool> {
        self.write(move |conn| {
            let mut delete = conn.prepare_cached("DELETE FROM webhooks WHERE id = ?1")?;
            Ok(delete.execute([webhook.to_string()])? == 1)
        })
        .await
    }

    /// Sets whether a webhook is told anything; what happens meanwhile it is not told later. Whether there is one.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn enable_webhook(&self, webhook: WebhookId, enabled: bool) -> Result<bool> {
        self.write(move |conn| {
            let mut update = conn.prepare_cached(
                "UPDATE webhooks SET enabled = ?2,
                 since = CASE WHEN ?2 AND NOT enabled
                   THEN coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0) ELSE since END
                 WHERE id = ?1",
            )?;
            Ok(update.execute(params![webhook.to_string(), enabled])? == 1)
        })
        .await
    }

    /// Phases that jobs entered since deliveries were last made, in order, and the position up to which they are all there are,
    /// where that is a new one.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn untold(&self, limit: u32) -> Result<(Vec<OutboxRow>, Option<i64>)> {
        self.read(move |conn| {
            let cursor: Option<String> = conn
                .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
                .query_row([CURSOR], |row| row.get(0))
                .optional()?;
            let cursor = cursor.and_then(|text| text.parse().ok()).unwrap_or(0_i64);
            let newest = outbox::newest(conn)?;
            let mut query = conn.prepare_cached(
                "SELECT seq, job_id, body FROM outbox WHERE seq > ?1 AND kind = 'job' ORDER BY seq LIMIT ?2",
            )?;
            let rows: Vec<OutboxRow> = query
                .query_map(params![cursor, limit], outbox::outbox_row)?
                .collect::<rusqlite::Result<_>>()?;
            let whole = rows.len() < limit as usize;
            let through = rows.last().filter(|_| !whole).map_or(newest, |row| row.seq);
            Ok((rows, (through != cursor).then_some(through)))
        })
        .await
    }

    /// Keeps deliveries of all events up to `through`.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn put_deliveries(&self, deliveries: Vec<DeliveryRow>, through: i64) -> Result<()> {
        self.write(move |conn| {
            for delivery in &deliveries {
                put(conn, delivery)?;
            }
            keep_meta(conn, CURSOR, &through.to_string())
        })
        .await
    }

    /// Keeps a delivery that somebody asked for.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn put_delivery(&self, delivery: DeliveryRow) -> Result<()> {
        self.write(move |conn| put(conn, &delivery)).await
    }

    /// Deliveries whose time has come, of webhooks that are told anything: up to `limit` of each.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn due_deliveries(
        &self,
        now_ms: i64,
        limit: u32,
    ) -> Result<BTreeMap<WebhookId, Vec<DeliveryRow>>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(&format!(
                "{DELIVERIES} WHERE id IN (
                   SELECT id FROM (
                     SELECT id, row_number() OVER (PARTITION BY webhook ORDER BY next_ms, id) AS place FROM deliveries
                     WHERE state = 'pending' AND next_ms <= ?1 AND webhook IN (SELECT id FROM webhooks WHERE enabled)
                   ) WHERE place <= ?2
                 ) ORDER BY next_ms, id"
            ))?;
            let mut due: BTreeMap<WebhookId, Vec<DeliveryRow>> = BTreeMap::new();
            for row in query.query_map(params![now_ms, limit], delivery_row)? {
                let row = row?;
                due.entry(row.webhook).or_default().push(row);
            }
            Ok(due)
        })
        .await
    }

    /// Notes what a try came to, unless somebody wants it to be sent anew meanwhile.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn note_tried(&self, sent: &DeliveryRow, tried: Tried, now_ms: i64) -> Result<()> {
        let (delivery, due) = (sent.id, sent.next_ms);
        self.write(move |conn| {
            conn.prepare_cached(
                "UPDATE deliveries SET state = ?2, next_ms = ?3, status = ?4, error = ?5, tries = tries + 1, tried_ms = ?6
                 WHERE id = ?1 AND state = 'pending' AND next_ms = ?7",
            )?
            .execute(params![
                delivery.to_string(),
                tried.state.name(),
                tried.next_ms,
                tried.status,
                tried.error,
                now_ms,
                due
            ])?;
            Ok(())
        })
        .await
    }

    /// The newest deliveries of a webhook.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn deliveries(&self, webhook: WebhookId, limit: u32) -> Result<Vec<DeliveryRow>> {
        self.read(move |conn| {
            let sql = format!("{DELIVERIES} WHERE webhook = ?1 ORDER BY created_ms DESC, id DESC LIMIT ?2");
            let mut query = conn.prepare_cached(&sql)?;
            let rows = query.query_map(params![webhook.to_string(), limit], delivery_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// Sends a delivery again from the beginning, whatever became of it. The delivery, if there is one.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn replay_delivery(
        &self,
        webhook: WebhookId,
        delivery: DeliveryId,
        now_ms: i64,
    ) -> Result<Option<DeliveryRow>> {
        self.write(move |conn| {
            conn.prepare_cached(
                "UPDATE deliveries SET state = 'pending', tries = 0, next_ms = ?3 WHERE id = ?1 AND webhook = ?2",
            )?
            .execute(params![delivery.to_string(), webhook.to_string(), now_ms])?;
            let mut query = conn.prepare_cached(&format!("{DELIVERIES} WHERE id = ?1 AND webhook = ?2"))?;
            Ok(query.query_row([delivery.to_string(), webhook.to_string()], delivery_row).optional()?)
        })
        .await
    }

    /// Forgets deliveries that were made before. Gives their number.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn drop_deliveries(&self, before_ms: i64) -> Result<usize> {
        self.write(move |conn| {
            Ok(conn.prepare_cached("DELETE FROM deliveries WHERE created_ms < ?1")?.execute([before_ms])?)
        })
        .await
    }
}
