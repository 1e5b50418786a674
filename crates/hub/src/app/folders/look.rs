//! A look at a folder: what was done is put where it belongs, what came becomes jobs. Stopped anywhere, it goes on with the next
//! look: a file is noted before its job is made, and the job has the content for a key.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use kinora_protocol::api::{NewJob, Source};
use kinora_protocol::folder::{Delivery, FileState, NewFolder};
use kinora_protocol::job::JobPhase;
use kinora_protocol::node::FileMark;
use kinora_protocol::{Digest, Failure, FolderId, fault};
use kinora_store::{FolderFileRow, FolderRow, Undertaking};
use tokio_util::sync::CancellationToken;

use super::container_of;
use super::replace::{self, Swap};
use super::scan::{self, Sightings};
use crate::{Hub, HubError, Result, now_ms};

/// How often it is thought of folders at all.
const TICK: Duration = Duration::from_secs(1);
/// Longest time between two looks.
const RAREST_MS: i64 = 30_000;
/// Looks take no more than this part of the time: a share with a million files is looked at more rarely.
const SHARE: i64 = 10;

/// What is known of a folder besides what is stored.
#[derive(Debug, Default)]
pub(crate) struct Look {
    sightings: Sightings,
    next_ms: i64,
    pub(super) waiting: u64,
    pub(super) error: Option<String>,
}

impl Look {
    /// Lets the next look come soon.
    pub(super) fn at_once(&mut self) {
        self.next_ms = 0;
    }
}

/// Where the job leaves a result that is to take the place of its source: beside it, hidden.
fn beside(folder: &NewFolder, file: &FolderFileRow) -> PathBuf {
    let extension = container_of(folder, &file.name).extension();
    let short = &file.digest.as_str()[..16];
    folder.path.join(&file.name).with_file_name(format!(".kinora-{short}.{extension}"))
}

/// Where the result belongs; nowhere in particular when the hub keeps it.
fn place(folder: &NewFolder, name: &str) -> Option<PathBuf> {
    let named = |base: &Path| base.join(name).with_extension(container_of(folder, name).extension());
    match &folder.result {
        Delivery::Hub => None,
        Delivery::Folder { path } => Some(named(path)),
        Delivery::Replace { .. } => {
            let (source, other) = (folder.path.join(name), named(&folder.path));
            // A.MOV stays A.MOV.
            let same = |path: &Path| path.extension().map(std::ffi::OsStr::to_ascii_lowercase);
            Some(if same(&source) == same(&other) { source } else { other })
        }
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
                _ = tick.tick() => match self.store().folders().await {
                    Ok(rows) => {
                        for row in rows {
                            if self.is_due(row.id) && busy.insert(row.id) {
                                looks.push(self.look_at_folder(row));
                            }
                        }
                    }
                    Err(error) => tracing::error!("watched folders cannot be looked at: {error}"),
                },
            }
        }
    }

    fn is_due(&self, folder: FolderId) -> bool {
        self.looks().get(&folder).is_none_or(|look| look.next_ms <= now_ms())
    }

    async fn look_at_folder(&self, row: FolderRow) -> FolderId {
        let started = Instant::now();
        let outcome = self.look(&row).await;
        if let Err(why) = &outcome {
            tracing::warn!("{}: {why}", row.folder.path.display());
        }
        let took = i64::try_from(started.elapsed().as_millis()).unwrap_or(RAREST_MS);
        let settle = i64::from(row.folder.settle_seconds.unwrap_or(1)) * 1000;
        let wait = (settle / 2).clamp(1000, RAREST_MS).max(took.saturating_mul(SHARE));
        if let Some(look) = self.looks().get_mut(&row.id) {
            look.next_ms = now_ms() + wait;
            look.error = outcome.err();
        }
        row.id
    }

    /// One look; what went wrong is said in words.
    async fn look(&self, row: &FolderRow) -> std::result::Result<(), String> {
        let stored = |e: HubError| e.to_string();
        self.looks().entry(row.id).or_default();
        for undertaking in self.undertakings(row.id).await.map_err(stored)? {
            self.go_on(row, undertaking).await.map_err(stored)?;
        }
        if !row.enabled {
            if let Some(look) = self.looks().get_mut(&row.id) {
                (look.sightings, look.waiting) = (Sightings::default(), 0);
            }
            return Ok(());
        }
        let folder = row.folder.clone();
        let extensions = folder.extensions.clone().unwrap_or_default();
        let read = tokio::task::spawn_blocking(move || scan::files(&folder.path, &extensions)).await;
        let mut there = read.map_err(|e| e.to_string())?.map_err(|e| format!("it cannot be read: {e}"))?;
        let marks = self.store().folder_marks(row.id).await.map_err(|e| e.to_string())?;
        there.retain(|name, mark| marks.get(name) != Some(mark));
        let settle_ms = i64::from(row.folder.settle_seconds.unwrap_or(1)) * 1000;
        let settled = match self.looks().get_mut(&row.id) {
            Some(look) => {
                look.waiting = there.len() as u64;
                look.sightings.settled(&there, now_ms(), settle_ms)
            }
            // It was deleted meanwhile.
            None => return Ok(()),
        };
        let most = row.folder.jobs.unwrap_or(1) as usize;
        let mut unreadable = None;
        for (name, mark) in settled {
            let working = self.undertakings(row.id).await.map_err(stored)?;
            if working.len() >= most {
                break;
            }
            if let Err(why) = self.take_up(row, &name, mark, &working).await.map_err(stored)? {
                unreadable.get_or_insert(format!("{name}: {why}"));
            }
        }
        unreadable.map_or(Ok(()), Err)
    }

    async fn undertakings(&self, folder: FolderId) -> Result<Vec<Undertaking>> {
        Ok(self.store().folder_undertakings(folder).await?)
    }

    /// Makes a file that settled a job, unless its content had one. The inner error is why it cannot be read.
    async fn take_up(
        &self,
        row: &FolderRow,
        name: &str,
        mark: FileMark,
        working: &[Undertaking],
    ) -> Result<std::io::Result<()>> {
        let source = row.folder.path.join(name);
        let read = async {
            let digest = replace::digest(&source).await?;
            let now = FileMark::from(&tokio::fs::metadata(&source).await?);
            Ok::<_, std::io::Error>((digest, now))
        };
        let (digest, now) = match read.await {
            Ok(read) => read,
            Err(error) => return Ok(Err(error)),
        };
        if now != mark {
            // It was not so settled after all.
            return Ok(Ok(()));
        }
        if !self.store().folder_knows(row.id, &digest).await? {
            let result = place(&row.folder, name);
            let taken = self.is_taken(&source, result.as_deref(), working).await;
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
        self.store().put_folder_mark(row.id, name, mark).await?;
        Ok(Ok(()))
    }

    /// Why a result cannot be where it belongs.
    async fn is_taken(
        &self,
        source: &Path,
        result: Option<&Path>,
        working: &[Undertaking],
    ) -> Option<String> {
        let result = result.filter(|result| *result != source)?;
        let promised = working.iter().any(|other| other.file.result.as_deref() == Some(result));
        let there = promised || tokio::fs::try_exists(result).await.unwrap_or(false);
        there.then(|| format!("there is a {} already", result.display()))
    }

    /// Makes the job of a file that was noted.
    async fn submit_file(&self, row: &FolderRow, file: FolderFileRow) -> Result<()> {
        let folder = &row.folder;
        let output = match &folder.result {
            Delivery::Hub => None,
            Delivery::Folder { .. } => file.result.clone(),
            Delivery::Replace { .. } => Some(beside(folder, &file)),
        };
        if let Some(parent) = output.as_deref().and_then(Path::parent)
            && let Err(error) = tokio::fs::create_dir_all(parent).await
        {
            return self.file_failed(file, format!("{}: {error}", parent.display())).await;
        }
        let container = container_of(folder, &file.name);
        let mut recipe = folder.recipe.clone();
        recipe.container.get_or_insert(container);
        let job = NewJob {
            recipe,
            preset: folder.preset.clone(),
            output,
            priority: folder.priority,
            tags: folder.tags.clone(),
            ..NewJob::of(Source::Path(folder.path.join(&file.name)))
        };
        let key = format!("folder {} {}", row.id, file.digest);
        match self.submit_api(job, Some(key)).await? {
            Ok(submitted) => {
                fault::point("folder.submitted");
                let file = FolderFileRow { job: Some(submitted.id()), updated_ms: now_ms(), ..file };
                Ok(self.store().put_folder_file(&file, None).await?)
            }
            Err(failure) => self.file_failed(file, failure.message).await,
        }
    }

    async fn file_failed(&self, file: FolderFileRow, why: String) -> Result<()> {
        tracing::warn!(folder = %file.folder, "{}: {why}", file.name);
        let file = FolderFileRow { state: FileState::Failed, error: Some(why), updated_ms: now_ms(), ..file };
        Ok(self.store().put_folder_file(&file, None).await?)
    }

    /// Looks what became of a file's job.
    async fn go_on(&self, row: &FolderRow, undertaking: Undertaking) -> Result<()> {
        let Undertaking { file, job } = undertaking;
        match (file.job, job) {
            (None, _) => self.submit_file(row, file).await,
            (Some(_), None) => self.file_failed(file, "its job was deleted".to_owned()).await,
            (Some(_), Some((JobPhase::Completed, _))) => self.deliver(row, file).await,
            (Some(_), Some((JobPhase::Cancelled, _))) => {
                self.file_failed(file, "its job was cancelled".to_owned()).await
            }
            (Some(_), Some((JobPhase::Failed, failure))) => {
                let why = failure.map_or_else(|| "its job failed".to_owned(), |f: Failure| f.message);
                self.file_failed(file, why).await
            }
            // Somebody tries it again.
            (Some(_), Some(_)) if file.state == FileState::Failed => {
                let file =
                    FolderFileRow { state: FileState::Working, error: None, updated_ms: now_ms(), ..file };
                Ok(self.store().put_folder_file(&file, None).await?)
            }
            (Some(_), Some(_)) => Ok(()),
        }
    }

    /// Puts the result of a completed job where it belongs.
    async fn deliver(&self, row: &FolderRow, file: FolderFileRow) -> Result<()> {
        let Some(job) = file.job else { return Ok(()) };
        let made = match self.output_of(job).await? {
            Ok(output) => output.made,
            Err(failure) => return self.file_failed(file, failure.message).await,
        };
        if let (Delivery::Replace { originals }, Some(place)) = (&row.folder.result, file.result.clone()) {
            if !self.proof(job).await?.is_some_and(|proof| proof.verified) {
                return self.file_failed(file, "its result was not verified".to_owned()).await;
            }
            let originals = originals.as_ref().map(|folder| folder.join(&file.name));
            if let Err(error) = self.swap(&row.folder, &file, &made.digest, place.clone(), originals).await {
                return self.file_failed(file, error.to_string()).await;
            }
            // Before anybody sees it there.
            let name = place.strip_prefix(&row.folder.path).ok().and_then(Path::to_str);
            if let (Some(name), Ok(facts)) = (name, tokio::fs::metadata(&place).await) {
                self.store().put_folder_mark(row.id, name, FileMark::from(&facts)).await?;
            }
        }
        let file = FolderFileRow { state: FileState::Done, error: None, updated_ms: now_ms(), ..file };
        Ok(self.store().put_folder_file(&file, Some(&made.digest)).await?)
    }

    async fn swap(
        &self,
        folder: &NewFolder,
        file: &FolderFileRow,
        digest: &Digest,
        place: PathBuf,
        kept: Option<PathBuf>,
    ) -> std::io::Result<()> {
        let source = folder.path.join(&file.name);
        // A folder on the way may have become a link to somewhere else.
        let parent = source.parent().unwrap_or(&folder.path);
        if tokio::fs::canonicalize(parent).await? != parent {
            return Err(std::io::Error::other(format!("{} is not where it was", parent.display())));
        }
        let made = beside(folder, file);
        Swap { source, mark: file.mark, made, digest: digest.clone(), place, kept }.run().await
    }

    /// Drops what was under way in a folder that is watched no more, where nobody would find it.
    pub(super) async fn drop_undertakings(&self, row: &FolderRow) -> Result<()> {
        if !matches!(row.folder.result, Delivery::Replace { .. }) {
            return Ok(());
        }
        for Undertaking { file, .. } in self.undertakings(row.id).await? {
            if let Some(job) = file.job {
                self.cancel(job).await?;
            }
            let _ = tokio::fs::remove_file(beside(&row.folder, &file)).await;
        }
        Ok(())
    }
}
