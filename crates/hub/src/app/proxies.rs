//! Proxies of media: jobs like any other, found by the media and the kind. They go with their media.

use kinora_plan::proxy;
use kinora_protocol::api::{NewJob, Source};
use kinora_protocol::job::JobPhase;
use kinora_protocol::media::Verdict;
use kinora_protocol::proxy::{ProxiesView, ProxyKind, ProxyState, ProxyView};
use kinora_protocol::{Digest, ErrorCode, Failure, JobId, routes};
use kinora_store::{JobRow, Owner};

use super::media::Asked;
use crate::{Hub, Result};

/// What the job of a proxy is found by. No key of a client's has the first character.
fn key(media: &Digest, kind: ProxyKind) -> String {
    format!("\nproxy {} {media}", kind.name())
}

fn view(media: &Digest, kind: ProxyKind, row: Option<JobRow>) -> ProxyView {
    let media_type = kind.media_type().to_owned();
    let Some(row) = row else {
        return ProxyView { kind, media_type, state: ProxyState::Absent, job: None, url: None, error: None };
    };
    let (state, error) = match row.phase {
        JobPhase::Completed => (ProxyState::Ready, None),
        JobPhase::Cancelled => (ProxyState::Failed, Some("its job was cancelled".to_owned())),
        JobPhase::Failed => (ProxyState::Failed, row.failure.map(|failure: Failure| failure.message)),
        _ => (ProxyState::Working, None),
    };
    let url = (state == ProxyState::Ready).then(|| match kind {
        ProxyKind::Hls => routes::of_media(media, "hls/master.m3u8"),
        ProxyKind::Mp4 | ProxyKind::Webm => routes::of_media(media, &format!("proxies/{}", kind.name())),
    });
    ProxyView { kind, media_type, state, job: Some(row.id), url, error }
}

impl Hub {
    async fn proxy(&self, media: &Digest, kind: ProxyKind) -> Result<Option<JobRow>> {
        match self.store().job_with_key(&key(media, kind)).await? {
            Some(job) => self.job(job).await,
            None => Ok(None),
        }
    }

    /// How media can be played in a browser; `None` when there is no such media.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn proxies(&self, media: &Digest) -> Result<Option<ProxiesView>> {
        let Some(row) = self.media_row(media).await? else { return Ok(None) };
        let extension = row.path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let plays = row.verdict.as_ref().map(|verdict| match verdict {
            Verdict::Admitted(facts) => proxy::plays(facts, extension),
            Verdict::Refused(_) => false,
        });
        let mut proxies = Vec::with_capacity(ProxyKind::ALL.len());
        for kind in ProxyKind::ALL {
            proxies.push(view(media, kind, self.proxy(media, kind).await?));
        }
        Ok(Some(ProxiesView { media: media.clone(), plays, proxies }))
    }

    /// Makes a proxy, unless it is there or under way; one that failed is tried again. `None` when there is no such media.
    ///
    /// # Errors
    /// When the store fails; that it cannot be made is the inner error.
    pub async fn make_proxy(&self, media: &Digest, kind: ProxyKind) -> Result<Option<Asked<ProxyView>>> {
        // Its media does not go meanwhile.
        let _nobody_deletes = self.inner.library.lock().await;
        let Some(known) = self.media_row(media).await? else { return Ok(None) };
        let sound_alone = match &known.verdict {
            Some(Verdict::Admitted(facts)) => facts.video().is_none(),
            Some(Verdict::Refused(_)) | None => false,
        };
        let recipe = match proxy::recipe(kind, sound_alone) {
            Ok(recipe) => recipe,
            Err(why) => return Ok(Some(Err(Failure::new(ErrorCode::BadRecipe, why)))),
        };
        let extension = recipe.container.map_or("mp4", |container| container.extension());
        let job = NewJob {
            recipe: recipe.clone(),
            name: Some(format!("proxy.{extension}")),
            ..NewJob::of(Source::Media(media.clone()))
        };
        if let Some(JobRow { id, phase: JobPhase::Failed | JobPhase::Cancelled, request, .. }) =
            self.proxy(media, kind).await?
        {
            // Before anybody had looked at it, it was taken for a video.
            match request.recipe.video.codec == recipe.video.codec {
                true => drop(self.retry(id).await?),
                false => drop(self.delete_job(id).await?),
            }
        }
        let owner = Owner::Media(media.clone());
        if let Err(failure) = self.submit_for(owner, job, Some(key(media, kind))).await? {
            return Ok(Some(Err(failure)));
        }
        Ok(Some(Ok(view(media, kind, self.proxy(media, kind).await?))))
    }

    /// The job whose result is a proxy that can be played.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn ready_proxy(&self, media: &Digest, kind: ProxyKind) -> Result<Option<JobId>> {
        if self.media_row(media).await?.is_none() {
            return Ok(None);
        }
        let row = self.proxy(media, kind).await?;
        Ok(row.filter(|row| row.phase == JobPhase::Completed).map(|row| row.id))
    }

    /// Forgets the proxies of media that is gone.
    pub(super) async fn drop_proxies(&self, media: &Digest) -> Result<()> {
        for kind in ProxyKind::ALL {
            if let Some(row) = self.proxy(media, kind).await? {
                self.delete_job(row.id).await?;
            }
        }
        Ok(())
    }
}
