//! The loop that hands out work: whenever something may have become ready or a node free, all free slots are filled in one
//! commit. Which node can do what is decided in `jobs::schedule`; which task is first, by the store.

use std::time::Duration;

use kinora_protocol::event::TaskChange;
use kinora_protocol::fault;
use kinora_protocol::node::SlotClass;
use kinora_store::{Claimed, Lease};
use tokio_util::sync::CancellationToken;

use crate::{Hub, Result, lease_until, now_ms};

/// How often work is looked for when nothing rings.
const NET: Duration = Duration::from_secs(1);
/// Tasks handed out in one commit.
const MOST: u32 = 256;

impl Hub {
    /// Hands out work until `stop`.
    ///
    /// # Errors
    /// When the store fails: then the hub cannot go on.
    pub async fn dispatch(&self, stop: CancellationToken) -> Result<()> {
        let mut net = tokio::time::interval(NET);
        net.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Listening starts before looking, so that no bell between the two is missed.
            let bell = self.inner.work.notified();
            tokio::pin!(bell);
            bell.as_mut().enable();
            while self.hand_out().await? > 0 {}
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = &mut bell => {}
                _ = net.tick() => {}
            }
        }
    }

    /// Fills free slots once; gives how many.
    async fn hand_out(&self) -> Result<usize> {
        let ready = self.store().ready(now_ms(), MOST).await?;
        let jobs = self.inner.settings.jobs;
        let askers = self.inner.nodes.askers(&ready, jobs);
        let mut granted = if askers.is_empty() {
            0
        } else {
            let claimed = self.store().claim(askers, now_ms(), lease_until()).await?;
            self.grant(claimed.into_iter().flatten()).await?
        };
        if !ready.iter().any(|(class, _)| class.slot == SlotClass::Chunk) {
            for (task, node) in self.inner.nodes.backups(jobs) {
                let second = self.store().back_up(task, &node, now_ms(), lease_until()).await?;
                granted += self.grant(second).await?;
            }
        }
        Ok(granted)
    }

    /// Gives leases to their nodes; gives how many.
    async fn grant(&self, claimed: impl IntoIterator<Item = Claimed>) -> Result<usize> {
        let mut count = 0;
        for claimed in claimed {
            if self.put_off(&claimed).await? {
                continue;
            }
            self.make_place(&claimed).await;
            let Lease { task, attempt, node } = &claimed.lease;
            let capability = self.capability(*task, *attempt, node);
            fault::point("grant.before");
            if self.inner.nodes.grant(&claimed, &capability, self.mark_of_source(&claimed.spec)) {
                fault::point("grant.after");
                count += 1;
                self.task_event(&claimed, TaskChange::Leased { attempt: claimed.lease.attempt });
            } else {
                self.store().release(std::slice::from_ref(&claimed.lease), now_ms()).await?;
            }
        }
        Ok(count)
    }

    /// Looks for work again when a task that failed may be tried again.
    pub(crate) fn ring_in(&self, delay_ms: i64) {
        let hub = self.clone();
        let delay = Duration::from_millis(u64::try_from(delay_ms).unwrap_or(0) + 1);
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            hub.ring();
        });
    }

    /// Something may have become ready, or somebody free.
    pub(crate) fn ring(&self) {
        self.inner.work.notify_waiters();
    }
}
