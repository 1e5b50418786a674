//! Media that the hub keeps, and files on its machine that jobs may name. A name is for people: nothing is found by it.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::Stream;
use kinora_access::{Action, Actor};
use kinora_plan::{params, presets, sizing};
use kinora_protocol::access::{Kind, Sight};
use kinora_protocol::api::{MediaView, NewJob, Source};
use kinora_protocol::job::{JobRequest, Work};
use kinora_protocol::recipe::{Container, Recipe};
use kinora_protocol::task::PackageOutput;
use kinora_protocol::{Digest, ErrorCode, Failure, JobId, UserId};
use kinora_store::{LibraryRow, Owner, Submitted};

use super::expand::container_of;
use super::incoming::{self, Lost};
use super::metrics::Flow;
use super::quota::{Allowance, Besides, Room};
use super::uploads::{self, Unfit};
use crate::{Hub, HubError, Result, now_ms, off_thread};

/// Longest name of a result, in bytes.
const LONGEST_NAME: usize = 200;
/// Bytes of a form beside its file.
const FORM: u64 = 1 << 20;
/// Longest extension that is kept with media.
const LONGEST_EXTENSION: usize = 5;

/// A decision of the hub's about what it was asked for.
pub(super) type Asked<T> = std::result::Result<T, Failure>;

/// What it was asked for makes no sense.
pub(super) fn bad(why: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::BadInput, why)
}

impl Hub {
    /// The media that somebody gets to see, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn media_views(&self, sight: &Sight) -> Result<Vec<MediaView>> {
        Ok(self.store().library(sight).await?.into_iter().map(|row| self.shown_media(row)).collect())
    }

    /// One of them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn media_view(&self, media: &Digest) -> Result<Option<MediaView>> {
        Ok(self.media_row(media).await?.map(|row| self.shown_media(row)))
    }

    /// One of them, with the place of its bytes.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn media_row(&self, media: &Digest) -> Result<Option<LibraryRow>> {
        Ok(self.store().find_library(media).await?)
    }

    /// Media as it is shown.
    pub(crate) fn shown_media(&self, row: LibraryRow) -> MediaView {
        let scan = self.scan_of(&row);
        let LibraryRow { digest, name, size, created_ms, verdict, .. } = row;
        MediaView { id: digest, name, size, created_ms, verdict, scan }
    }

    /// Where results of a job go that are kept by the hub.
    pub(super) fn outputs_of(&self, job: JobId) -> PathBuf {
        self.inner.data.join("outputs").join(job.to_string())
    }

    pub(super) fn media_folder(&self) -> PathBuf {
        self.inner.data.join("media")
    }

    /// Takes a file in: hashed while it comes, durable before it is answered. The same content is kept once. With the form around
    /// it, it has `announced` bytes, where that is known before.
    ///
    /// # Errors
    /// When it ends early, is empty, is longer than files may be, or cannot be kept; nothing of it is left then.
    pub async fn take_media(
        &self,
        owner: Option<UserId>,
        name: &str,
        announced: Option<u64>,
        pieces: impl Stream<Item = std::result::Result<Bytes, String>> + Unpin,
    ) -> std::result::Result<MediaView, Unfit> {
        let folder = self.media_folder();
        let disk = |e: std::io::Error| uploads::disk(Path::new(name), &e);
        tokio::fs::create_dir_all(&folder).await.map_err(disk)?;
        let MadeRoom { most, takes, allowance, room } = self.make_room(owner, announced.unwrap_or(0)).await?;
        let growing = tempfile::Builder::new().prefix(".incoming-").tempfile_in(&folder).map_err(disk)?;
        let (vault, place) = (self.vault().clone(), growing.path().to_owned());
        let file = off_thread(move || vault.create(&place)).await.map_err(disk)?;
        let (size, digest) = incoming::fill(file, pieces, takes).await.map_err(|lost| match lost {
            Lost::Cut(why) => Unfit::Broken(format!("{name} was cut off: {why}")),
            Lost::TooLong => {
                allowance.filter(|_| takes < most).map_or(Unfit::TooLong(most), Allowance::unfit)
            }
            Lost::Disk(error) => disk(error),
        })?;
        self.metrics().bytes(Flow::Uploaded).inc_by(size);
        if size == 0 {
            return Err(Unfit::Empty(format!("{name} is empty")));
        }
        let path = folder.join(media_name(&digest, name));
        let nobody_deletes = self.inner.library.lock().await;
        drop(room);
        let besides = Besides { media: Some(digest.clone()), ..Besides::default() };
        self.within_quota(owner, besides, size).await.map_err(|e| Unfit::Disk(e.into()))??;
        growing.persist(&path).map_err(|e| disk(e.error))?;
        let row = LibraryRow {
            digest,
            name: shown(name),
            size,
            path,
            created_ms: now_ms(),
            verdict: None,
            scan: None,
        };
        let stored = self.store().put_library(&row, owner).await;
        let kept = stored.map_err(|e| Unfit::Disk(crate::HubError::from(e).into()))?;
        unite(&row, &kept).await;
        drop(nobody_deletes);
        self.scan_arrived();
        self.describe_arrived(&kept.digest).await;
        Ok(self.shown_media(kept))
    }

    /// Looks whether there is room for what is announced, with the form around it, and keeps it.
    async fn make_room(
        &self,
        owner: Option<UserId>,
        announced: u64,
    ) -> std::result::Result<MadeRoom<'_>, Unfit> {
        let most = self.longest_upload();
        if announced > most.saturating_add(FORM) {
            return Err(Unfit::TooLong(most));
        }
        self.room_for(announced.min(most))?;
        let _one_by_one = self.inner.library.lock().await;
        let allowance = self.allowance(owner, Besides::default()).await;
        let allowance = allowance.map_err(|e| Unfit::Disk(e.into()))?;
        // A form has some bytes around its file.
        if let Some(allowance) = allowance.filter(|one| announced > one.left().saturating_add(FORM)) {
            return Err(allowance.unfit());
        }
        let left = allowance.map_or(u64::MAX, Allowance::left);
        // Never more than there is, or who has no room would take it from those who have.
        let bytes = if announced == 0 { left } else { announced.min(left) };
        let room = allowance.and_then(|_| self.inner.coming.keep(owner, bytes));
        Ok(MadeRoom { most, takes: most.min(left), allowance, room })
    }

    /// Takes a job of somebody's, whose key is one among its own.
    ///
    /// # Errors
    /// When the store fails; what is wrong with the job is the inner error.
    pub async fn submit_api(
        &self,
        actor: &Actor,
        job: NewJob,
        key: Option<String>,
    ) -> Result<Asked<Submitted>> {
        if let Source::Media(media) = &job.source
            && let Err(failure) = self.may(actor, Action::Read, (Kind::Media, media.as_str())).await?
        {
            return Ok(Err(failure));
        }
        let owner = actor.owner();
        let key = key.map(|key| owner.map_or_else(|| key.clone(), |owner| format!("{owner} {key}")));
        self.submit_for(owner.into(), job, key).await
    }

    /// Takes a job as the API has it, for an owner who may see its source.
    ///
    /// # Errors
    /// As [`Hub::submit_api`].
    pub(crate) async fn submit_for(
        &self,
        owner: Owner,
        job: NewJob,
        key: Option<String>,
    ) -> Result<Asked<Submitted>> {
        let id = JobId::generate();
        let job = match with_preset(job) {
            Ok(job) => self.inner.settings.job_defaults.fill(job),
            Err(failure) => return Ok(Err(failure)),
        };
        if let Err(failure) = check_recipe(&job.recipe) {
            return Ok(Err(failure));
        }
        let (input, source_name) = match &job.source {
            Source::Media(digest) => match self.store().find_library(digest).await? {
                // What is being looked at is waited for; what was found out is not.
                Some(row) => match self.barred(&row).filter(|why| why.code == ErrorCode::Forbidden) {
                    None => (row.path, row.name),
                    Some(failure) => return Ok(Err(failure)),
                },
                None => return Ok(Err(bad(format!("there is no media {digest}")))),
            },
            Source::Path(path) => match self.allowed_file(path) {
                Ok(path) => {
                    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    (path, name)
                }
                Err(failure) => return Ok(Err(failure)),
            },
        };
        let output = match self.output_place(id, &job, &source_name) {
            Ok(output) => output,
            Err(failure) => return Ok(Err(failure)),
        };
        if let Some(folder) = output.parent()
            && let Err(error) = tokio::fs::create_dir_all(folder).await
        {
            let why = format!("{}: {error}", folder.display());
            return Ok(Err(Failure::new(ErrorCode::Disk, why)));
        }
        let deadline_ms = job.deadline_seconds.map(|seconds| now_ms() + i64::from(seconds) * 1000);
        let request = JobRequest {
            input,
            work: Work::Encode,
            output,
            recipe: job.recipe,
            idempotency_key: key,
            priority: job.priority,
            required_nodes: job.required_nodes.unwrap_or(0),
            deadline_ms,
            tags: job.tags,
        };
        Ok(Ok(self.submit_as(id, request, owner).await?))
    }

    /// A file that may be named: a regular one below an allowed folder, symbolic links followed first.
    fn allowed_file(&self, path: &Path) -> Asked<PathBuf> {
        let real = path.canonicalize().map_err(|e| bad(format!("{}: {e}", path.display())))?;
        self.ensure_allowed(path, &real)?;
        if !real.is_file() {
            return Err(bad(format!("{}: it is not a regular file", path.display())));
        }
        Ok(real)
    }

    pub(super) fn ensure_allowed(&self, asked: &Path, real: &Path) -> Asked<()> {
        let folders = &self.inner.settings.allowed_folders;
        if folders.iter().any(|folder| real.starts_with(folder)) {
            return Ok(());
        }
        let hint = if folders.is_empty() {
            "the hub allows no folder; start it with --allow-dir".to_owned()
        } else {
            let named: Vec<_> = folders.iter().map(|f| f.display().to_string()).collect();
            format!("allowed: {}", named.join(", "))
        };
        Err(bad(format!("{}: it is not below an allowed folder ({hint})", asked.display())))
    }

    /// Where a job's result goes.
    fn output_place(&self, id: JobId, job: &NewJob, source_name: &str) -> Asked<PathBuf> {
        if let Some(path) = &job.output {
            let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
                return Err(bad(format!("{}: it names no file", path.display())));
            };
            let real = folder.canonicalize().map_err(|e| bad(format!("{}: {e}", folder.display())))?;
            self.ensure_allowed(path, &real)?;
            return Ok(real.join(name));
        }
        let name = match &job.name {
            Some(name) => name.clone(),
            None => {
                let stem =
                    Path::new(source_name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
                format!("{stem}.{}", container(&job.recipe).extension())
            }
        };
        let plain =
            !name.contains(['/', '\\']) && !name.starts_with('.') && !name.chars().any(char::is_control);
        if name.is_empty() || name.len() > LONGEST_NAME || !plain {
            return Err(bad(format!(
                "{name:?} is no name for a result: 1 to {LONGEST_NAME} bytes, no slashes"
            )));
        }
        Ok(self.outputs_of(id).join(name))
    }

    /// The media that a job reads; `None` when there is no such job or it reads a file of somebody else's.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn media_of(&self, job: JobId) -> Result<Option<Digest>> {
        let Some(row) = self.store().job(job).await? else { return Ok(None) };
        Ok(self.media_at(&row.request.input))
    }

    /// The media that a file of the hub's holds.
    pub(super) fn media_at(&self, path: &Path) -> Option<Digest> {
        let ours = path.parent() == Some(&self.media_folder());
        // As `media_name` has it.
        let stem = path.file_stem().filter(|_| ours)?;
        Digest::try_from(stem.to_str()?.to_owned()).ok()
    }

    /// The result of a completed job, with what was counted of it.
    ///
    /// # Errors
    /// When the store cannot be read; that there is none is the inner error.
    pub async fn output_of(&self, job: JobId) -> Result<Asked<Output>> {
        let Some(row) = self.store().job(job).await? else {
            return Ok(Err(bad(format!("there is no job {job}"))));
        };
        if row.request.work != Work::Encode {
            return Ok(Err(bad(format!("job {job} finds out about media: it has no file for a result"))));
        }
        // Copied streams and attachments are what they were.
        if let Some(failure) = self.barred_file(&row.request.input).await?
            && failure.code == ErrorCode::Forbidden
        {
            return Ok(Err(failure));
        }
        if row.phase != kinora_protocol::job::JobPhase::Completed {
            return Ok(Err(bad(format!("job {job} is {}: there is no result", row.phase.name()))));
        }
        let made = self.store().package_of(job).await?;
        let made = made.ok_or_else(|| HubError::Inconsistent(format!("job {job} has no result")))?;
        let container = row.request.recipe.container.or(container_of(&row.request.output).ok());
        Ok(Ok(Output { path: row.request.output, container, made }))
    }
}

/// Room for a file that comes.
struct MadeRoom<'a> {
    /// Bytes of the longest file.
    most: u64,
    /// Bytes of the longest file from this one.
    takes: u64,
    allowance: Option<Allowance>,
    room: Option<Room<'a>>,
}

/// The result of a completed job.
#[derive(Debug, Clone)]
pub struct Output {
    /// Where it is.
    pub path: PathBuf,
    /// What it is put into, where that can be told.
    pub container: Option<Container>,
    /// What was counted of it.
    pub made: PackageOutput,
}

/// What a result is put into that nobody gave a name.
fn container(recipe: &Recipe) -> Container {
    let usual = if recipe.ladder.is_some() { Container::Hls } else { Container::Mp4 };
    recipe.container.unwrap_or(usual)
}

/// What can be said of a recipe before its source is known.
pub(super) fn check_recipe(recipe: &Recipe) -> Asked<()> {
    sizing::check(&recipe.chunks)?;
    let bad = |why| Failure::new(ErrorCode::BadRecipe, format!("ffmpeg parameters: {why}"));
    params::parse(recipe.video.ffmpeg_params.as_deref().unwrap_or("")).map(drop).map_err(bad)
}

/// A job with what its preset says where it says nothing itself.
fn with_preset(job: NewJob) -> Asked<NewJob> {
    let Some(name) = &job.preset else { return Ok(job) };
    let preset = presets::find(name).map_err(|why| Failure::new(ErrorCode::BadRecipe, why))?;
    // A name that says what the container is counts for more.
    let named = job.output.is_some() || job.name.is_some();
    let container = preset.recipe.container.filter(|_| !named);
    let base = Recipe { container, ..preset.recipe };
    Ok(NewJob { recipe: job.recipe.over(base), preset: None, ..job })
}

/// Media whose content came before, under a name with another extension, is one file. The new one takes the place: the old one
/// may be damaged.
pub(super) async fn unite(new: &LibraryRow, kept: &LibraryRow) {
    if kept.path != new.path
        && let Err(error) = tokio::fs::rename(&new.path, &kept.path).await
    {
        tracing::warn!("{}: {error}", new.path.display());
    }
}

/// Content names the file; the extension stays, as some demuxers go by it.
pub(super) fn media_name(digest: &Digest, name: &str) -> String {
    let extension = Path::new(name).extension().and_then(|e| e.to_str()).unwrap_or("");
    let plain = extension.len() <= LONGEST_EXTENSION && extension.bytes().all(|b| b.is_ascii_alphanumeric());
    if plain && !extension.is_empty() {
        format!("{digest}.{}", extension.to_ascii_lowercase())
    } else {
        digest.to_string()
    }
}

/// A name as it is shown: without what could move a cursor.
pub(super) fn shown(name: &str) -> String {
    let short: String = name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    Path::new(&short).file_name().unwrap_or_default().to_string_lossy().into_owned()
}
