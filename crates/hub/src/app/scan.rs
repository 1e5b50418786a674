//! Media that is looked at for malware before anybody gets any of it. What cannot be looked at is not given out either. How it is
//! looked at is not known here.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use kinora_protocol::api::ScannerView;
use kinora_protocol::media::Scan;
use kinora_protocol::{Digest, ErrorCode, Failure, JobId, TaskId};
use kinora_store::LibraryRow;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Hub, Result};

/// What a scanner found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Nothing.
    Clean,
    /// This.
    Found(String),
}

/// Looks at files.
pub trait Scanner: fmt::Debug + Send + Sync {
    /// What is in a file; an error says why that cannot be found out.
    fn scan<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, std::result::Result<Finding, String>>;
}

/// Files that are looked at at once.
const AT_ONCE: usize = 2;
/// Files that are taken from the store at once.
const BATCH: u32 = 10_000;
/// The first wait after a file could not be looked at; each is twice as long as the one before.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// How often it is looked for files that nobody has told of.
const LOOK: Duration = Duration::from_secs(60);
/// Longest words of a scanner, in characters.
const LONGEST: usize = 200;

/// What is known of the looks.
#[derive(Default)]
pub(crate) struct Scans {
    /// Rung when media comes.
    arrived: Notify,
    /// What could not be looked at: how often, when it is tried again, and why.
    troubles: Mutex<HashMap<Digest, Trouble>>,
}

#[derive(Clone)]
struct Trouble {
    wait: Duration,
    again: Instant,
    why: String,
}

impl Scans {
    fn troubles(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Trouble>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, media: &Digest, why: String) {
        let mut troubles = self.troubles();
        let wait = troubles.get(media).map_or(FIRST_WAIT, |before| (2 * before.wait).min(LONGEST_WAIT));
        troubles.insert(media.clone(), Trouble { wait, again: Instant::now() + wait, why });
    }

    fn is_due(&self, media: &Digest) -> bool {
        self.troubles().get(media).is_none_or(|trouble| trouble.again <= Instant::now())
    }

    /// How long until something is tried again.
    fn next(&self) -> Duration {
        let first = self.troubles().values().map(|trouble| trouble.again).min();
        first.map_or(LOOK, |at| at.saturating_duration_since(Instant::now()).min(LOOK))
    }
}

impl Hub {
    /// What is known about whether media is malware; nothing when nobody looks.
    pub(crate) fn scan_of(&self, row: &LibraryRow) -> Option<Scan> {
        match &row.scan {
            // Whoever has been found out stays that, also when nobody looks any more.
            Some(blocked @ Scan::Blocked { .. }) => Some(blocked.clone()),
            other => self.inner.settings.scanner.as_ref().map(|_| other.clone().unwrap_or(Scan::Pending)),
        }
    }

    /// Why nobody gets media, if nobody does.
    pub(crate) fn barred(&self, row: &LibraryRow) -> Option<Failure> {
        match self.scan_of(row)? {
            Scan::Clean => None,
            Scan::Pending => {
                let why = format!("{} is looked at for malware: try again soon", row.name);
                Some(Failure::new(ErrorCode::Busy, why))
            }
            Scan::Blocked { found } => Some(Failure::new(
                ErrorCode::Forbidden,
                format!("{} is blocked: {found} was found in it", row.name),
            )),
        }
    }

    /// The same of a file that a job reads, if that is media of the hub.
    pub(crate) async fn barred_file(&self, path: &Path) -> Result<Option<Failure>> {
        let Some(media) = self.media_at(path) else { return Ok(None) };
        let row = self.store().find_library(&media).await?;
        Ok(row.and_then(|row| self.barred(&row)))
    }

    /// A job begins when what it reads has been looked at.
    pub(super) async fn gate_of_probe(&self, job: JobId, probe: TaskId) -> Result<()> {
        let Some(row) = self.store().job(job).await? else { return Ok(()) };
        match self.barred_file(&row.request.input).await? {
            None => {
                self.store().open_gate(probe, None).await?;
                self.ring();
                Ok(())
            }
            Some(failure) if failure.code == ErrorCode::Busy => Ok(()),
            Some(failure) => self.fail_job(job, failure).await,
        }
    }

    /// Media has come.
    pub(super) fn scan_arrived(&self) {
        self.inner.scans.arrived.notify_one();
    }

    /// Lets media be looked at once more. `None` when there is none.
    ///
    /// # Errors
    /// When the store fails; the inner error says that nobody looks.
    pub(crate) async fn scan_again(
        &self,
        media: &Digest,
    ) -> Result<Option<std::result::Result<LibraryRow, Failure>>> {
        if self.inner.settings.scanner.is_none() {
            let why = "this hub has no scanner: start it with --scan-clamd or --scan-command";
            return Ok(Some(Err(Failure::new(ErrorCode::BadInput, why))));
        }
        self.store().put_scan(media, None).await?;
        self.inner.scans.troubles().remove(media);
        self.scan_arrived();
        Ok(self.store().find_library(media).await?.map(Ok))
    }

    /// How the looking goes; nothing when nobody looks.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn scanner_view(&self) -> Result<Option<ScannerView>> {
        if self.inner.settings.scanner.is_none() {
            return Ok(None);
        }
        let waiting = self.store().count_unscanned().await?;
        let trouble = self.inner.scans.troubles().values().next().map(|trouble| trouble.why.clone());
        Ok(Some(ScannerView { waiting, trouble }))
    }

    /// Looks at what comes until `stop`.
    pub async fn watch_scans(&self, stop: CancellationToken) {
        let Some(scanner) = self.inner.settings.scanner.clone() else { return stop.cancelled().await };
        loop {
            let work = async {
                if let Err(error) = self.scan_waiting(&scanner).await {
                    tracing::error!("media cannot be looked at: {error}");
                }
                let wait = self.inner.scans.next();
                let _ = tokio::time::timeout(wait, self.inner.scans.arrived.notified()).await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = work => {}
            }
        }
    }

    async fn scan_waiting(&self, scanner: &Arc<dyn Scanner>) -> Result<()> {
        loop {
            let mut waiting = self.store().unscanned(BATCH).await?;
            // What was deleted is nobody's trouble any more.
            self.inner.scans.troubles().retain(|media, _| waiting.iter().any(|row| row.digest == *media));
            waiting.retain(|row| self.inner.scans.is_due(&row.digest));
            if waiting.is_empty() {
                return Ok(());
            }
            let looks = waiting.into_iter().map(|row| self.scan_one(scanner, row));
            let mut looks = futures_util::stream::iter(looks).buffer_unordered(AT_ONCE);
            while let Some(look) = looks.next().await {
                look?;
            }
        }
    }

    async fn scan_one(&self, scanner: &Arc<dyn Scanner>, row: LibraryRow) -> Result<()> {
        match scanner.scan(&row.path).await {
            Ok(Finding::Clean) => {
                self.inner.scans.troubles().remove(&row.digest);
                self.store().put_scan(&row.digest, Some(&Scan::Clean)).await?;
                self.open_waiting_gates().await
            }
            Ok(Finding::Found(found)) => {
                self.inner.scans.troubles().remove(&row.digest);
                let found: String = found.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
                self.block(&row, found).await
            }
            Err(why) => {
                tracing::warn!("{}: it cannot be looked at for malware: {why}", row.name);
                self.inner.scans.note(&row.digest, why);
                Ok(())
            }
        }
    }

    /// Nobody gets this media, and what is made of it ends.
    async fn block(&self, row: &LibraryRow, found: String) -> Result<()> {
        tracing::warn!("{} ({}) is blocked: {found} was found in it", row.name, row.digest);
        let detail = format!("media {}: {found}", row.digest);
        self.store().put_scan(&row.digest, Some(&Scan::Blocked { found })).await?;
        self.record_own("malware", &detail).await;
        let Some(failure) = self.barred_file(&row.path).await? else { return Ok(()) };
        for job in self.store().open_jobs().await? {
            if job.request.input == row.path {
                self.fail_job(job.id, failure.clone()).await?;
            }
        }
        Ok(())
    }
}
