//! Calls about proxies of media.

use super::{Answer, Client};
use crate::id::Digest;
use crate::proxy::{ProxiesView, ProxyKind, ProxyView};
use crate::routes;

impl Client {
    /// How media can be played in a browser.
    ///
    /// # Errors
    /// As all calls: the hub cannot be reached, or says no.
    pub async fn proxies(&self, media: &Digest) -> Answer<ProxiesView> {
        self.get(&routes::of_media(media, "proxies")).await
    }

    /// Makes a proxy, unless it is there or under way.
    ///
    /// # Errors
    /// As all calls.
    pub async fn make_proxy(&self, media: &Digest, kind: ProxyKind) -> Answer<ProxyView> {
        self.post(&routes::of_media(media, &format!("proxies/{}", kind.name())), &()).await
    }
}
