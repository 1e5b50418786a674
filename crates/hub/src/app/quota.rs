//! How many bytes of media are kept for one user. What jobs make does not count: it comes and goes with them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kinora_protocol::access::Quota;
use kinora_protocol::{Digest, ErrorCode, Failure, UploadId, UserId};

use super::uploads::Unfit;
use crate::{Hub, Result};

/// What does not count: it is on its way to become what is asked about, or is that already.
#[derive(Debug, Clone, Default)]
pub(super) struct Besides {
    pub(super) uploads: Vec<UploadId>,
    pub(super) media: Option<Digest>,
}

/// Bytes that are coming and stand in no row yet: as many as were announced, or all that is left where nothing was.
#[derive(Default)]
pub(crate) struct Coming {
    by: Mutex<HashMap<u64, (UserId, u64)>>,
    next: AtomicU64,
}

/// Room for what is coming; it is given back when this is dropped.
pub(super) struct Room<'a> {
    coming: &'a Coming,
    id: u64,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.coming.all().remove(&self.id);
    }
}

impl Coming {
    fn all(&self) -> MutexGuard<'_, HashMap<u64, (UserId, u64)>> {
        self.by.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, user: UserId) -> u64 {
        self.all()
            .values()
            .filter(|(whose, _)| *whose == user)
            .fold(0, |all, (_, bytes)| bytes.saturating_add(all))
    }

    /// Keeps room for somebody, where there is an end to it.
    pub(super) fn keep(&self, owner: Option<UserId>, bytes: u64) -> Option<Room<'_>> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.all().insert(id, (owner?, bytes));
        Some(Room { coming: self, id })
    }
}

/// What a user may keep, and keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance {
    quota: u64,
    used: u64,
}

impl Allowance {
    /// Bytes that may come yet.
    pub(super) fn left(self) -> u64 {
        self.quota.saturating_sub(self.used)
    }

    pub(super) fn unfit(self) -> Unfit {
        Unfit::Quota(format!(
            "{} bytes may be kept for you, and {} are, or are on their way: delete media, or ask an admin for more (kinora users quota)",
            self.quota, self.used
        ))
    }
}

impl Hub {
    /// What an owner may keep; nothing when there is no end to it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) async fn allowance(
        &self,
        owner: Option<UserId>,
        besides: Besides,
    ) -> Result<Option<Allowance>> {
        let Some(owner) = owner else { return Ok(None) };
        let found = self.store().used_by(owner, besides.uploads, besides.media).await?;
        // Somebody who is gone meanwhile keeps nothing.
        let (quota, used) = found.unwrap_or((Quota::Bytes(0), 0));
        let used = used.saturating_add(self.inner.coming.of(owner));
        let quota = match quota {
            Quota::Usual => self.inner.settings.quota,
            Quota::Unlimited => None,
            Quota::Bytes(bytes) => Some(bytes),
        };
        Ok(quota.map(|quota| Allowance { quota, used }))
    }

    /// Whether media may become a user's own.
    ///
    /// # Errors
    /// When the store cannot be read; that it may not is the inner error.
    pub(super) async fn may_be_given(
        &self,
        user: UserId,
        media: &str,
    ) -> Result<std::result::Result<(), Failure>> {
        let Ok(media) = Digest::try_from(media.to_owned()) else { return Ok(Ok(())) };
        let Some(row) = self.store().find_library(&media).await? else { return Ok(Ok(())) };
        let besides = Besides { media: Some(media), ..Besides::default() };
        let within = self.within_quota(Some(user), besides, row.size).await?;
        Ok(within.map_err(|_| {
            Failure::new(ErrorCode::Disk, format!("no {} bytes more are kept for that user", row.size))
        }))
    }

    /// Whether so many bytes more may be kept for an owner.
    ///
    /// # Errors
    /// When the store cannot be read; that they may not is the inner error.
    pub(super) async fn within_quota(
        &self,
        owner: Option<UserId>,
        besides: Besides,
        bytes: u64,
    ) -> Result<std::result::Result<(), Unfit>> {
        let allowance = self.allowance(owner, besides).await?;
        Ok(match allowance {
            Some(allowance) if allowance.left() < bytes => Err(allowance.unfit()),
            _ => Ok(()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back() {
        let (coming, anna, bert) = (Coming::default(), UserId::generate(), UserId::generate());
        let rooms = [coming.keep(Some(anna), 5), coming.keep(Some(anna), 7), coming.keep(Some(bert), 1)];
        assert_eq!((coming.of(anna), coming.of(bert)), (12, 1));
        drop(rooms);
        assert_eq!(coming.of(anna), 0);
        assert!(coming.keep(None, 5).is_none());
    }
}
