//! Stored bytes looked at one file after another: are they what they were? What can be made again is dropped, so that it is; what
//! cannot is reported.

use std::path::Path;
use std::sync::{MutexGuard, PoisonError};

use kinora_protocol::Digest;
use kinora_protocol::access::Sight;
use kinora_protocol::api::ScrubView;
use kinora_store::{Holder, LibraryRow, Stored};
use tokio_util::sync::CancellationToken;

use crate::{Hub, Result, now_ms};

impl Hub {
    /// How a look at all stored bytes goes, or went.
    pub fn scrub_view(&self) -> ScrubView {
        self.scrubbing().clone()
    }

    fn scrubbing(&self) -> MutexGuard<'_, ScrubView> {
        self.inner.scrub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins one in the background, unless one goes on.
    pub fn start_scrub(&self) -> ScrubView {
        {
            let mut view = self.scrubbing();
            if view.running {
                return view.clone();
            }
            *view = ScrubView { running: true, started_ms: Some(now_ms()), ..ScrubView::default() };
        }
        let hub = self.clone();
        tokio::spawn(async move {
            if let Err(error) = hub.scrub().await {
                tracing::error!("stored bytes cannot be looked at: {error}");
                hub.scrubbing().lost.push(format!("the look was given up: {error}"));
            }
            let mut view = hub.scrubbing();
            (view.running, view.finished_ms) = (false, Some(now_ms()));
        });
        self.scrub_view()
    }

    async fn scrub(&self) -> Result<()> {
        for media in self.store().library(&Sight::All).await? {
            self.scrub_media(&media).await?;
        }
        for stored in self.store().stored().await? {
            self.scrub_stored(&stored).await?;
        }
        // Results of jobs that have not ended are made again by their tasks.
        self.check_stored_blobs().await?;
        self.ring();
        Ok(())
    }

    async fn scrub_media(&self, media: &LibraryRow) -> Result<()> {
        if self.looks_right(&media.path, media.size, &media.digest).await
            || self.is_gone(&media.digest).await?
        {
            return Ok(());
        }
        let lost = format!(
            "media {} ({}): its bytes are damaged or missing; upload it again",
            media.digest, media.name
        );
        tracing::error!("{lost}");
        self.scrubbing().lost.push(lost);
        Ok(())
    }

    /// Whether media was deleted while it was looked at.
    async fn is_gone(&self, media: &Digest) -> Result<bool> {
        Ok(self.media_row(media).await?.is_none())
    }

    async fn scrub_stored(&self, stored: &Stored) -> Result<()> {
        let blob = &stored.blob;
        if self.looks_right(&self.inner.blobs.join(&blob.path), blob.size, &blob.digest).await {
            return Ok(());
        }
        // What was dropped while it was looked at is no damage.
        if !self.store().stored().await?.contains(stored) {
            return Ok(());
        }
        let repaired = match &stored.holder {
            Holder::Chunk(key) => {
                self.store().forget_chunk(key).await?;
                format!("a chunk kept for later jobs ({}) is forgotten", blob.path.display())
            }
            Holder::Index(fingerprint) => {
                self.store().forget_media(fingerprint).await?;
                format!("an index ({}) is forgotten; its source is probed again", blob.path.display())
            }
            Holder::Description(media) => {
                self.store().forget_description(media).await?;
                // A job that finds out about it just now would not find out again what it has found.
                self.stop_describing(media).await?;
                self.describe(media).await?;
                format!("what is known about media {media} is found out again")
            }
        };
        tracing::warn!("{} is damaged or missing: {repaired}", blob.path.display());
        self.scrubbing().repaired.push(repaired);
        Ok(())
    }

    async fn looks_right(&self, path: &Path, size: u64, digest: &Digest) -> bool {
        {
            let mut view = self.scrubbing();
            view.files += 1;
            view.bytes += size;
        }
        self.holds(path, size, digest).await
    }

    /// Looks at all stored bytes every so often until `stop`, not before the first of these times.
    pub async fn watch_stored(&self, every: Option<std::time::Duration>, stop: CancellationToken) {
        let Some(every) = every else { return stop.cancelled().await };
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(every) => drop(self.start_scrub()),
            }
        }
    }
}
