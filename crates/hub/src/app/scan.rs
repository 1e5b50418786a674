//! Media that is looked at for malware before anybody gets any of it. What cannot be looked at is not given out either. How it is
//! looked at is not known here.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use kinora_protocol::api::ScannerView;
use kinora_protocol::media::Scan;
use kinora_protocol::{Digest, ErrorCode, Failure, JobId, TaskId};
use kinora_store::{Claimed, LibraryRow};
use kinora_vault::{Cursor, Vault};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::work::source_of;
use crate::{Hub, Result, now_ms};

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
    fn scan<'a>(&'a self, file: &'a Suspect) -> BoxFuture<'a, std::result::Result<Finding, String>>;
}

/// A file that is to be looked at.
#[derive(Debug, Clone)]
pub struct Suspect {
    vault: Vault,
    path: PathBuf,
    /// Where others may look at it that cannot read what is encrypted.
    scratch: PathBuf,
}

/// A file that any program of this user can read, as long as this is held.
#[derive(Debug)]
pub struct Clear {
    /// Where it is.
    pub path: PathBuf,
    _copy: Option<tempfile::TempPath>,
}

impl Suspect {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its bytes. It waits for the disk.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(&self) -> std::io::Result<Cursor> {
        Ok(self.vault.read(&self.path)?.cursor())
    }

    /// A path for programs: the file itself, or a copy while it is encrypted. It waits for the disk.
    ///
    /// # Errors
    /// It cannot be read, or there is no room.
    pub fn clear(&self) -> std::io::Result<Clear> {
        if !self.vault.seals(&self.path) {
            return Ok(Clear { path: self.path.clone(), _copy: None });
        }
        std::fs::create_dir_all(&self.scratch)?;
        let extension = self.path.extension().map(|e| format!(".{}", e.to_string_lossy()));
        let mut named = tempfile::Builder::new();
        named.prefix("scan-");
        let mut copy = match &extension {
            Some(extension) => named.suffix(extension).tempfile_in(&self.scratch)?,
            None => named.tempfile_in(&self.scratch)?,
        };
        std::io::copy(&mut self.open()?, copy.as_file_mut())?;
        let copy = copy.into_temp_path();
        Ok(Clear { path: copy.to_path_buf(), _copy: Some(copy) })
    }
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
    /// What could not be looked at: when it is tried again, and why.
    troubles: Mutex<HashMap<Digest, Trouble>>,
    /// What somebody wants looked at once more. What was found stands until then.
    again: Mutex<HashSet<Digest>>,
}

#[derive(Clone)]
struct Trouble {
    wait: Duration,
    again: Instant,
    why: String,
}

impl Scans {
    fn troubles(&self) -> MutexGuard<'_, HashMap<Digest, Trouble>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn again(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.again.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It could not be looked at, which took so long. What takes long is not tried again at once: others wait.
    fn note(&self, media: &Digest, why: String, took: Duration) {
        let mut troubles = self.troubles();
        let wait = troubles.get(media).map_or(FIRST_WAIT, |before| (2 * before.wait).min(LONGEST_WAIT));
        let wait = wait.max(took);
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

    /// The same of media by its id.
    pub(crate) async fn barred_media(&self, media: &Digest) -> Result<Option<Failure>> {
        Ok(self.store().find_library(media).await?.and_then(|row| self.barred(&row)))
    }

    /// The same of a file that a job reads, if that is media of the hub.
    pub(crate) async fn barred_file(&self, path: &Path) -> Result<Option<Failure>> {
        match self.media_at(path) {
            Some(media) => self.barred_media(&media).await,
            None => Ok(None),
        }
    }

    /// What reads media begins when that has been looked at.
    pub(super) async fn gate_of_source(&self, job: JobId, task: TaskId) -> Result<()> {
        let Some(row) = self.store().job(job).await? else { return Ok(()) };
        match self.barred_file(&row.request.input).await? {
            None => {
                self.store().open_gate(task, None).await?;
                self.ring();
                Ok(())
            }
            Some(failure) if failure.code == ErrorCode::Busy => Ok(()),
            Some(failure) => self.fail_job(job, failure).await,
        }
    }

    /// Takes back what was claimed if it reads media that nobody gets: jobs may have begun before anybody looked. Whether it was.
    pub(crate) async fn put_off(&self, claimed: &Claimed) -> Result<bool> {
        let Some(path) = source_of(&claimed.spec) else { return Ok(false) };
        let Some(failure) = self.barred_file(path).await? else { return Ok(false) };
        self.store().release(std::slice::from_ref(&claimed.lease), now_ms()).await?;
        if failure.code == ErrorCode::Busy {
            self.store().close_gate(claimed.lease.task).await?;
            // It may have been looked at meanwhile.
            self.open_waiting_gates().await?;
        } else {
            self.fail_job(claimed.job, failure).await?;
        }
        Ok(true)
    }

    /// Ends jobs on media that is blocked: what was begun before a crash is brought to its end.
    pub(crate) async fn end_blocked(&self) -> Result<()> {
        for job in self.store().open_jobs().await? {
            if let Some(failure) = self.barred_file(&job.request.input).await?
                && failure.code == ErrorCode::Forbidden
            {
                self.fail_job(job.id, failure).await?;
            }
        }
        Ok(())
    }

    /// Media has come.
    pub(super) fn scan_arrived(&self) {
        self.inner.scans.arrived.notify_one();
    }

    /// Lets media be looked at once more; what was found stands until then. `None` when there is none.
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
        let Some(row) = self.store().find_library(media).await? else { return Ok(None) };
        self.inner.scans.troubles().remove(media);
        self.inner.scans.again().insert(media.clone());
        self.scan_arrived();
        Ok(Some(Ok(row)))
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
        let mut looks = FuturesUnordered::new();
        let mut at: HashSet<Digest> = HashSet::new();
        loop {
            if looks.len() < AT_ONCE {
                let due = self.due(&at).await.unwrap_or_else(|error| {
                    tracing::error!("media cannot be looked at: {error}");
                    Vec::new()
                });
                for row in due.into_iter().take(AT_ONCE - looks.len()) {
                    at.insert(row.digest.clone());
                    looks.push(self.scan_one(&scanner, row));
                }
            }
            let free = looks.len() < AT_ONCE;
            tokio::select! {
                () = stop.cancelled() => return,
                Some(media) = looks.next(), if !looks.is_empty() => { at.remove(&media); }
                () = self.inner.scans.arrived.notified(), if free => {}
                () = tokio::time::sleep(self.inner.scans.next()), if free => {}
            }
        }
    }

    /// What is to be looked at now, oldest first, but for what is.
    async fn due(&self, at: &HashSet<Digest>) -> Result<Vec<LibraryRow>> {
        let scans = &self.inner.scans;
        let mut waiting = self.store().unscanned(BATCH).await?;
        let again: Vec<Digest> = scans.again().iter().cloned().collect();
        for media in again {
            match self.store().find_library(&media).await? {
                Some(row) => waiting.push(row),
                None => drop(scans.again().remove(&media)),
            }
        }
        // What was deleted is nobody's trouble any more.
        let known: HashSet<&Digest> = waiting.iter().map(|row| &row.digest).collect();
        scans.troubles().retain(|media, _| known.contains(media));
        waiting.retain(|row| !at.contains(&row.digest) && scans.is_due(&row.digest));
        Ok(waiting)
    }

    async fn scan_one(&self, scanner: &Arc<dyn Scanner>, row: LibraryRow) -> Digest {
        if let Err(error) = self.look_at(scanner, &row).await {
            // It is looked at again: nothing of what was found is lost but the time.
            self.inner.scans.note(&row.digest, error.to_string(), Duration::ZERO);
            tracing::error!("{}: what was found cannot be kept: {error}", row.name);
        }
        row.digest
    }

    async fn look_at(&self, scanner: &Arc<dyn Scanner>, row: &LibraryRow) -> Result<()> {
        let began = Instant::now();
        let (vault, path) = (self.vault().clone(), row.path.clone());
        let scratch = self.inner.settings.clear.clone().unwrap_or_else(|| self.inner.data.join("clear"));
        let suspect = Suspect { vault, path, scratch };
        let found = scanner.scan(&suspect).await;
        if found.is_ok() {
            self.inner.scans.troubles().remove(&row.digest);
            self.inner.scans.again().remove(&row.digest);
        }
        match found {
            Ok(Finding::Clean) => {
                self.store().put_scan(&row.digest, &Scan::Clean).await?;
                self.open_waiting_gates().await
            }
            Ok(Finding::Found(found)) => {
                let found: String = found.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
                self.block(row, found).await
            }
            Err(why) => {
                tracing::warn!("{}: it cannot be looked at for malware: {why}", row.name);
                self.inner.scans.note(&row.digest, why, began.elapsed());
                Ok(())
            }
        }
    }

    /// Nobody gets this media, and jobs on it end.
    async fn block(&self, row: &LibraryRow, found: String) -> Result<()> {
        tracing::warn!("{} ({}) is blocked: {found} was found in it", row.name, row.digest);
        let detail = format!("media {}: {found}", row.digest);
        self.store().put_scan(&row.digest, &Scan::Blocked { found }).await?;
        self.record_own("malware", &detail).await;
        self.end_blocked().await
    }
}
