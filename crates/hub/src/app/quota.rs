//! How many bytes of media are kept for one user. What jobs make does not count: it comes and goes with them.

use kinora_protocol::access::Quota;
use kinora_protocol::{Digest, UploadId, UserId};

use super::uploads::Unfit;
use crate::{Hub, Result};

/// What does not count: it is on its way to become what is asked about, or is that already.
#[derive(Debug, Clone, Default)]
pub(super) struct Besides {
    pub(super) upload: Option<UploadId>,
    pub(super) media: Option<Digest>,
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
            "{} bytes may be kept for you, and {} are: delete media, or ask an admin for more (kinora users quota)",
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
        let found = self.store().used_by(owner, besides.upload, besides.media).await?;
        // Somebody who is gone meanwhile keeps nothing.
        let (quota, used) = found.unwrap_or((Quota::Bytes(0), 0));
        let quota = match quota {
            Quota::Usual => self.inner.settings.quota,
            Quota::Unlimited => None,
            Quota::Bytes(bytes) => Some(bytes),
        };
        Ok(quota.map(|quota| Allowance { quota, used }))
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
