//! The hub itself: what it is, its log, the look at what is stored, copies.

use std::path::Path;
use std::time::Duration;

use reqwest::Method;

use super::{Answer, Client};
use crate::api::{ClusterView, LogView, ReadyView, ScrubView, SystemView};
use crate::error::{ErrorCode, Failure};
use crate::routes;

/// A hub that does not answer within this is not well.
const HEALTH: Duration = Duration::from_secs(20);

impl Client {
    /// The hub itself.
    ///
    /// # Errors
    /// As all calls: it cannot be reached, or says no.
    pub async fn system(&self) -> Answer<SystemView> {
        self.get(routes::SYSTEM).await
    }

    /// Whether it can do its work; it says so also when it cannot.
    ///
    /// # Errors
    /// It cannot be reached, or answers otherwise.
    pub async fn readiness(&self) -> Answer<ReadyView> {
        let answer = self.bare(Method::GET, routes::HEALTH_READY).timeout(HEALTH).send().await;
        let answer = answer.map_err(|e| self.unreachable(&e))?;
        let status = answer.status();
        let bad = |_| Failure::new(ErrorCode::Unreachable, format!("{} answered {status}", self.base));
        answer.json().await.map_err(bad)
    }

    /// What the hub says in its log.
    ///
    /// # Errors
    /// As all calls.
    pub async fn log(&self) -> Answer<LogView> {
        self.get(routes::LOG).await
    }

    /// What the hub said last in its log.
    ///
    /// # Errors
    /// As all calls.
    pub async fn log_lines(&self) -> Answer<String> {
        self.text(routes::LOG_LINES).await
    }

    /// What is counted, as OpenMetrics text.
    ///
    /// # Errors
    /// As all calls.
    pub async fn metrics(&self) -> Answer<String> {
        self.text(routes::METRICS).await
    }

    /// What all nodes are and do together.
    ///
    /// # Errors
    /// As all calls.
    pub async fn cluster(&self) -> Answer<ClusterView> {
        self.get(routes::CLUSTER).await
    }

    async fn text(&self, path: &str) -> Answer<String> {
        let answer = self.send(self.request(Method::GET, path)).await?;
        answer.text().await.map_err(|e| self.unreachable(&e))
    }

    /// Changes what the hub says in its log.
    ///
    /// # Errors
    /// As all calls; the filter is none.
    pub async fn change_log(&self, view: &LogView) -> Answer<LogView> {
        self.json(self.request(Method::PUT, routes::LOG).json(view)).await
    }

    /// How a look at all stored bytes goes, or went.
    ///
    /// # Errors
    /// As all calls.
    pub async fn scrub(&self) -> Answer<ScrubView> {
        self.get(routes::SCRUB).await
    }

    /// Begins one, unless one goes on.
    ///
    /// # Errors
    /// As all calls.
    pub async fn start_scrub(&self) -> Answer<ScrubView> {
        self.post(routes::SCRUB, &()).await
    }

    /// Writes a copy of all that the hub keeps into a file; nothing is at its name before all of it is there. `told` hears how many
    /// bytes there are.
    ///
    /// # Errors
    /// The file cannot be written, or as all calls.
    pub async fn backup(&self, to: &Path, told: impl Fn(u64)) -> Answer<u64> {
        let mut growing = to.as_os_str().to_owned();
        growing.push(".part");
        let growing = Path::new(&growing);
        let mut options = tokio::fs::OpenOptions::new();
        options.write(true).create_new(true);
        let _ = tokio::fs::remove_file(growing).await;
        // It holds secrets.
        #[cfg(unix)]
        options.mode(0o600);
        self.save(routes::BACKUP, (options.open(growing).await, growing), to, told).await
    }
}
