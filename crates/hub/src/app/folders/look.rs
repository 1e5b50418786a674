//! A look at a folder: what was done is put where it belongs, what came becomes jobs. Stopped anywhere, it goes on with the next
//! look: a file is noted before its job is made, and the job has the content for a key.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use kinora_protocol::access::Sight;
use kinora_protocol::folder::{Delivery, FileState, NewFolder};
use kinora_protocol::node::FileMark;
use kinora_protocol::{Digest, FolderId, fault};
use kinora_store::{FolderFileRow, FolderRow, Undertaking};
use tokio_util::sync::CancellationToken;

use super::deliver::place;
use super::replace;
use super::scan::{self, Sightings};
use crate::{Hub, HubError, Result, now_ms};

/// How often folders are thought of.
const TICK: Duration = Duration::from_secs(1);
/// Longest time between two looks that take no time.
const RAREST_MS: i64 = 30_000;
/// Looks take no more than this part of the time: a share with a million files is looked at more rarely,
const SHARE: i64 = 10;
/// and at least so often.
const RAREST_OF_ALL_MS: i64 = 600_000;
/// Files are read for so long in one look at the most, and the last of them to its end.
const READING: Duration = Duration::from_secs(30);

/// What is known of a folder besides what is stored.
#[derive(Debug, Default)]
pub(crate) struct Look {
    sightings: Sightings,
    /// Contents of files that wait.
    hashed: BTreeMap<String, (FileMark, Digest)>,
    next_ms: i64,
    pub(super) waiting: u64,
    pub(super) error: Option<String>,
    /// Held while it is looked at.
    pub(super) looking: Arc<tokio::sync::Mutex<()>>,
    /// Nobody is to look at it any more.
    pub(super) gone: CancellationToken,
}

impl Look {
    /// Lets the next look come soon.
    pub(super) fn at_once(&mut self) {
        self.next_ms = 0;
    }
}

impl Hub {
    /// Looks at all folders, until `stop`.
    pub async fn watch_folders(&self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        let (mut busy, mut looks) = (BTreeSet::new(), FuturesUnordered::new());
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(id) = looks.next() => { busy.remove(&id); }
                _ = tick.tick() => match self.store().folders(&Sight::All).await {
                    Ok(rows) => {
                        for row in rows {
                            if busy.insert(row.id) {
                                looks.push(self.look_at_folder(row.id));
                            }
                        }
                    }
                    Err(error) => tracing::error!("watched folders cannot be looked at: {error}"),
                },
            }
        }
    }

    async fn look_at_folder(&self, id: FolderId) -> FolderId {
        let (looking, gone) = {
            let mut looks = self.looks();
            let look = looks.entry(id).or_default();
            (Arc::clone(&look.looking), look.gone.clone())
        };
        let _nobody_deletes = looking.lock().await;
        let outcome = tokio::select! {
            () = gone.cancelled() => return id,
            outcome = self.look(id) => outcome,
        };
        let error = outcome.unwrap_or_else(|error| Some(error.to_string()));
        if let Some(look) = self.looks().get_mut(&id) {
            if look.error != error
                && let Some(why) = &error
            {
                tracing::warn!(folder = %id, "{why}");
            }
            look.error = error;
        }
        id
    }

    /// One look; what is wrong with the folder is said in words.
    async fn look(&self, id: FolderId) -> Result<Option<String>> {
        let Some(row) = self.store().folder(id).await? else { return Ok(None) };
        if let Err(failure) = self.is_still_there(&row.folder) {
            return Ok(Some(failure.message));
        }
        for undertaking in self.undertakings(id).await? {
            self.go_on(&row, undertaking).await?;
        }
        if !row.enabled {
            if let Some(look) = self.looks().get_mut(&id) {
                (look.sightings, look.waiting) = (Sightings::default(), 0);
            }
            return Ok(None);
        }
        let due = self.looks().get(&id).map(|look| (look.next_ms <= now_ms(), look.error.clone()));
        let Some((true, _)) = due else { return Ok(due.and_then(|(_, error)| error)) };
        match self.settled_files(&row).await? {
            Ok(settled) => self.take_up_some(&row, settled).await,
            Err(error) => Ok(Some(format!("it cannot be read: {error}"))),
        }
    }

    /// Files that came, or changed, and that nobody writes to any more.
    async fn settled_files(&self, row: &FolderRow) -> Result<std::io::Result<Vec<(String, FileMark)>>> {
        let folder = row.folder.clone();
        let extensions = folder.extensions.clone().unwrap_or_default();
        let started = Instant::now();
        let read = tokio::task::spawn_blocking(move || scan::files(&folder.path, &extensions)).await;
        let read = read.map_err(|e| HubError::Inconsistent(format!("reading a folder stopped ({e})")))?;
        let took = i64::try_from(started.elapsed().as_millis()).unwrap_or(RAREST_OF_ALL_MS);
        let marks = self.store().folder_marks(row.id).await?;
        let settle_ms = i64::from(row.folder.settle_seconds.unwrap_or(1)) * 1000;
        let mut looks = self.looks();
        let Some(look) = looks.get_mut(&row.id) else { return Ok(Ok(Vec::new())) };
        let wait = (settle_ms / 2).clamp(1000, RAREST_MS).max(took.saturating_mul(SHARE));
        look.next_ms = now_ms() + wait.min(RAREST_OF_ALL_MS);
        Ok(read.map(|mut there| {
            there.retain(|name, mark| marks.get(name) != Some(mark));
            look.waiting = there.len() as u64;
            look.hashed.retain(|name, (mark, _)| there.get(name) == Some(mark));
            look.sightings.settled(&there, now_ms(), settle_ms)
        }))
    }

    /// Makes as many jobs of settled files as there may be at once. Gives why one of them cannot be read.
    async fn take_up_some(
        &self,
        row: &FolderRow,
        settled: Vec<(String, FileMark)>,
    ) -> Result<Option<String>> {
        let most = row.folder.jobs.unwrap_or(1) as usize;
        let (started, mut unreadable) = (Instant::now(), None);
        for (name, mark) in settled {
            let working = self.undertakings(row.id).await?;
            if working.len() >= most || started.elapsed() > READING {
                break;
            }
            if let Err(why) = self.take_up(row, &name, mark, &working).await? {
                unreadable.get_or_insert(format!("{name}: {why}"));
            }
        }
        Ok(unreadable)
    }

    pub(super) async fn undertakings(&self, folder: FolderId) -> Result<Vec<Undertaking>> {
        Ok(self.store().folder_undertakings(folder).await?)
    }

    /// The content of a file; `None` when it is written to again.
    async fn content(&self, row: &FolderRow, name: &str, mark: FileMark) -> std::io::Result<Option<Digest>> {
        let known = self.looks().get(&row.id).and_then(|look| look.hashed.get(name).cloned());
        if let Some((_, digest)) = known.filter(|(then, _)| *then == mark) {
            return Ok(Some(digest));
        }
        let path = row.folder.path.join(name);
        let digest = replace::digest(&path).await?;
        if replace::mark(&path).await? != mark {
            return Ok(None);
        }
        if let Some(look) = self.looks().get_mut(&row.id) {
            look.hashed.insert(name.to_owned(), (mark, digest.clone()));
        }
        Ok(Some(digest))
    }

    /// Makes a file that settled a job, unless its content had one. The inner error is why it cannot be read.
    async fn take_up(
        &self,
        row: &FolderRow,
        name: &str,
        mark: FileMark,
        working: &[Undertaking],
    ) -> Result<std::io::Result<()>> {
        let digest = match self.content(row, name, mark).await {
            Ok(Some(digest)) => digest,
            Ok(None) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error)),
        };
        match self.was_dealt_with(row, name, &digest).await? {
            Dealt::Yes => {}
            Dealt::NotYet => return Ok(Ok(())),
            Dealt::No => {
                let result = place(&row.folder, name);
                let taken = self.is_taken(row, name, result.as_deref(), working).await?;
                let file = FolderFileRow {
                    folder: row.id,
                    digest,
                    name: name.to_owned(),
                    mark,
                    state: if taken.is_none() { FileState::Working } else { FileState::Failed },
                    job: None,
                    result: result.filter(|_| taken.is_none()),
                    error: taken,
                    updated_ms: now_ms(),
                };
                self.store().put_folder_file(&file, None).await?;
                fault::point("folder.noted");
                if file.state == FileState::Working {
                    self.submit_file(row, file).await?;
                }
            }
        }
        self.store().put_folder_mark(row.id, name, mark).await?;
        Ok(Ok(()))
    }

    /// Whether content was taken up before, or made here.
    async fn was_dealt_with(&self, row: &FolderRow, name: &str, digest: &Digest) -> Result<Dealt> {
        let Some(before) = self.store().folder_file(row.id, digest).await? else {
            return Ok(if self.store().is_folder_result(digest).await? { Dealt::Yes } else { Dealt::No });
        };
        if before.name == name || before.state == FileState::Done {
            return Ok(Dealt::Yes);
        }
        // It was moved while it was worked on, or another file is the same.
        let there = replace::mark(&row.folder.path.join(&before.name)).await.ok() == Some(before.mark);
        Ok(match before.state {
            _ if there => Dealt::Yes,
            FileState::Failed => Dealt::No,
            FileState::Working | FileState::Done => Dealt::NotYet,
        })
    }

    /// Why a result cannot be where it belongs.
    async fn is_taken(
        &self,
        row: &FolderRow,
        name: &str,
        result: Option<&Path>,
        working: &[Undertaking],
    ) -> Result<Option<String>> {
        if let Delivery::Replace { originals: Some(originals) } = &row.folder.result {
            let kept = originals.join(name);
            if tokio::fs::symlink_metadata(&kept).await.is_ok() {
                return Ok(Some(format!("there is a {} already", kept.display())));
            }
        }
        let Some(result) = result.filter(|result| *result != row.folder.path.join(name)) else {
            return Ok(None);
        };
        let promised = working.iter().any(|other| other.file.result.as_deref() == Some(result));
        let there = tokio::fs::symlink_metadata(result).await.is_ok();
        let ours = there && {
            let former = self.former_results(row, name, result).await?;
            !former.is_empty() && replace::digest(result).await.is_ok_and(|digest| former.contains(&digest))
        };
        let taken = promised || (there && !ours);
        Ok(taken.then(|| format!("there is a {} already", result.display())))
    }

    /// Drops what was under way in a folder that is watched no more, where nobody would find it.
    pub(super) async fn drop_leftovers(&self, row: &FolderRow) -> Result<()> {
        if row.folder.result == Delivery::Hub {
            return Ok(());
        }
        let failed = self.store().folder_failures(row.id).await?;
        for Undertaking { file, job } in self.undertakings(row.id).await?.into_iter().chain(failed) {
            if let (Some(id), Some((phase, _))) = (file.job, job)
                && !phase.is_final()
            {
                self.cancel(id).await?;
            }
            self.drop_waiting(&row.folder, &file).await?;
        }
        Ok(())
    }

    /// The folder and those that have to do with it are where they were, and still allowed.
    fn is_still_there(&self, folder: &NewFolder) -> super::Asked<()> {
        for path in [Some(folder.path.as_path()), folder.result.folder()].into_iter().flatten() {
            let real: PathBuf = self.allowed_folder(path)?;
            if real != path {
                return Err(super::bad(format!("{} leads elsewhere now", path.display())));
            }
        }
        Ok(())
    }
}

/// Whether a file needs a job.
enum Dealt {
    /// It had one, or is a result.
    Yes,
    /// It needs one.
    No,
    /// Another job has to end first.
    NotYet,
}
