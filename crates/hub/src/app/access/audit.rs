//! The record of who did what, and who tried what. It is for people who have to find out afterwards.

use std::sync::PoisonError;

use kinora_access::chain::chained;
use kinora_protocol::access::AuditView;
use kinora_protocol::api::Page;
use kinora_store::{AuditEntry, AuditRow};

use super::Caller;
use crate::{Hub, Result, now_ms};

/// Longest text of an entry, in characters.
const LONGEST: usize = 500;

/// Addresses whose denials are counted, at the most.
const MANY: usize = 10_000;

/// What came of what somebody did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is done.
    Done,
    /// It was not allowed.
    Denied,
    /// It could not be done.
    Failed,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// As it may stand in a log: without what could move a cursor, and not without end.
fn short(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}

fn view(row: AuditRow) -> AuditView {
    let AuditRow { seq, entry, hash } = row;
    let AuditEntry { at_ms, actor, address, action, outcome, detail } = entry;
    AuditView { seq, at_ms, actor, address, action, outcome, detail, hash }
}

fn chain(before: &str, seq: i64, entry: &AuditEntry) -> String {
    chained(before, &view(AuditRow { seq, entry: entry.clone(), hash: String::new() }))
}

impl Hub {
    /// Writes down what somebody did. What is denied or fails is written so often at the most that nobody
    /// can fill the disk by it; how much was left out is written.
    pub(crate) async fn record(&self, caller: &Caller, action: &str, outcome: Outcome, detail: &str) {
        let address = caller.address.to_string();
        let mut detail = detail.to_owned();
        if outcome != Outcome::Done {
            let net = caller.net();
            let mut suppressed = self.access().suppressed.lock().unwrap_or_else(PoisonError::into_inner);
            if self.access().refused.take(&net).is_err() {
                if suppressed.len() < MANY {
                    *suppressed.entry(net).or_default() += 1;
                }
                return;
            }
            if let Some(number) = suppressed.remove(&net) {
                detail = format!("{detail} (and {number} more from there that are not written down)");
            }
        }
        let entry = AuditEntry {
            at_ms: now_ms(),
            actor: short(&caller.actor.to_string()),
            address,
            action: short(action),
            outcome: outcome.name().to_owned(),
            detail: short(&detail),
        };
        tracing::info!(
            actor = entry.actor,
            address = entry.address,
            outcome = entry.outcome,
            "{}",
            entry.action
        );
        self.put_down(entry).await;
    }

    async fn put_down(&self, entry: AuditEntry) {
        if let Err(error) = self.store().put_audit(entry, chain).await {
            tracing::error!("what was done cannot be written down: {error}");
        }
    }

    /// Writes down what the hub did by itself.
    pub(crate) async fn record_own(&self, action: &str, detail: &str) {
        let entry = AuditEntry {
            at_ms: now_ms(),
            actor: "hub".to_owned(),
            address: String::new(),
            action: action.to_owned(),
            outcome: Outcome::Done.name().to_owned(),
            detail: short(detail),
        };
        self.put_down(entry).await;
    }

    /// What was done after a position, in order.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn audit_views(&self, after: i64, limit: u32) -> Result<Page<AuditView>> {
        let rows = self.store().audit_after(after, limit).await?;
        let whole = u32::try_from(rows.len()).unwrap_or(u32::MAX) == limit;
        let next = rows.last().filter(|_| whole).map(|row| row.seq.to_string());
        Ok(Page { items: rows.into_iter().map(view).collect(), next })
    }
}
