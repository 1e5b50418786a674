//! Folders that are watched: which there are, and what may be asked for. What is done with them stands in `look`.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kinora_plan::presets;
use kinora_protocol::access::Sight;
use kinora_protocol::folder::{
    Delivery, FolderFile, FolderView, NewFolder, USUAL_EXTENSIONS, USUAL_JOBS, USUAL_SETTLE_SECONDS,
};
use kinora_protocol::recipe::{Container, Verify};
use kinora_protocol::{ErrorCode, Failure, FolderId, UserId};
use kinora_store::{FolderFileRow, FolderRow};

use super::media::{Asked, bad, check_recipe};
use crate::{Hub, Result, now_ms};

mod deliver;
mod look;
mod replace;
mod scan;

pub(crate) use look::Look;

/// Folders of a hub at the most.
const MOST: usize = 100;
/// Files that a list shows.
const SHOWN: u32 = 500;
/// Extensions of a folder at the most.
const MOST_EXTENSIONS: usize = 100;
/// Longest extension.
const LONGEST_EXTENSION: usize = 16;

/// What is known of folders besides what is stored.
pub(crate) type Looks = Mutex<BTreeMap<FolderId, Look>>;

fn bad_recipe(why: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::BadRecipe, why)
}

/// What results of a folder are put into: what the recipe says, or else the source's own container, or else MP4.
fn container_of(folder: &NewFolder, source: &str) -> Container {
    let preset = || presets::find(folder.preset.as_deref()?).ok()?.recipe.container;
    let own = || Container::from_extension(Path::new(source).extension()?.to_str()?);
    let packages = folder.recipe.ladder.is_some().then_some(Container::Hls);
    folder.recipe.container.or(packages).or_else(preset).or_else(own).unwrap_or(Container::Mp4)
}

/// Fills in what is usual, and refuses what makes no sense.
fn settled(asked: NewFolder) -> Asked<NewFolder> {
    let settle_seconds = asked.settle_seconds.unwrap_or(USUAL_SETTLE_SECONDS);
    if !(1..=86_400).contains(&settle_seconds) {
        return Err(bad(format!("settle_seconds is {settle_seconds}, but it has to be 1 to 86400")));
    }
    let jobs = asked.jobs.unwrap_or(USUAL_JOBS);
    if !(1..=1000).contains(&jobs) {
        return Err(bad(format!("jobs is {jobs}, but it has to be 1 to 1000")));
    }
    let extensions = asked.extensions.unwrap_or_else(|| USUAL_EXTENSIONS.map(str::to_owned).to_vec());
    let plain = |e: &String| {
        !e.is_empty() && e.len() <= LONGEST_EXTENSION && e.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    if extensions.is_empty() || extensions.len() > MOST_EXTENSIONS || !extensions.iter().all(plain) {
        return Err(bad(format!(
            "extensions are 1 to {MOST_EXTENSIONS} words such as mp4, without dots, not {extensions:?}"
        )));
    }
    let extensions = extensions.iter().map(|e| e.to_ascii_lowercase()).collect();
    if let Some(name) = &asked.preset {
        presets::find(name).map_err(bad_recipe)?;
    }
    check_recipe(&asked.recipe)?;
    let mut folder = NewFolder {
        settle_seconds: Some(settle_seconds),
        jobs: Some(jobs),
        extensions: Some(extensions),
        ..asked
    };
    if matches!(folder.result, Delivery::Replace { .. }) {
        if container_of(&folder, "") == Container::Hls {
            return Err(bad_recipe("an archive of segments cannot take the place of a video"));
        }
        if folder.recipe.verify == Verify::Off {
            return Err(bad_recipe("what is not verified cannot take the place of its source"));
        }
        // The source is about to go: its successor is decoded first.
        folder.recipe.verify = Verify::Full;
    }
    Ok(folder)
}

fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

fn file_view(row: FolderFileRow) -> FolderFile {
    let FolderFileRow { digest, name, mark, state, job, result, error, updated_ms, .. } = row;
    FolderFile { name, digest, size: mark.size, state, job, result, error, updated_ms }
}

impl Hub {
    fn looks(&self) -> MutexGuard<'_, BTreeMap<FolderId, Look>> {
        self.inner.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A folder that may be named, as it really is.
    pub(super) fn allowed_folder(&self, path: &Path) -> Asked<PathBuf> {
        let real = path.canonicalize().map_err(|e| bad(format!("{}: {e}", path.display())))?;
        self.ensure_allowed(path, &real)?;
        if real.to_str().is_none() {
            return Err(bad(format!("{}: its name is not UTF-8", path.display())));
        }
        if real.is_dir() { Ok(real) } else { Err(bad(format!("{}: it is no folder", path.display()))) }
    }

    /// A folder that may not be there yet; it is made.
    fn folder_to_be(&self, path: &Path) -> Asked<PathBuf> {
        let refuse = |e: std::io::Error| bad(format!("{}: {e}", path.display()));
        if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
            return Err(bad(format!("{}: write the whole path, without ..", path.display())));
        }
        // What is there of it decides whether the rest may be made.
        let there = path.ancestors().find(|part| part.exists()).unwrap_or(path);
        self.ensure_allowed(path, &there.canonicalize().map_err(refuse)?)?;
        std::fs::create_dir_all(path).map_err(refuse)?;
        self.allowed_folder(path)
    }

    /// Its paths as they really are.
    fn placed(&self, folder: NewFolder) -> Asked<NewFolder> {
        let path = self.allowed_folder(&folder.path)?;
        let result = match folder.result {
            Delivery::Hub => Delivery::Hub,
            Delivery::Folder { path: into } => {
                let into = self.folder_to_be(&into)?;
                if overlap(&into, &path) {
                    return Err(bad(format!(
                        "{} and {}: results would be taken for sources",
                        into.display(),
                        path.display()
                    )));
                }
                Delivery::Folder { path: into }
            }
            Delivery::Replace { originals: None } => Delivery::Replace { originals: None },
            Delivery::Replace { originals: Some(originals) } => {
                let originals = self.folder_to_be(&originals)?;
                if overlap(&originals, &path) {
                    return Err(bad(format!(
                        "{}: originals would be taken up again, choose a folder elsewhere",
                        originals.display()
                    )));
                }
                Delivery::Replace { originals: Some(originals) }
            }
        };
        let data = self.inner.data.canonicalize().unwrap_or_else(|_| self.inner.data.clone());
        for place in [Some(path.as_path()), result.folder()].into_iter().flatten() {
            if overlap(place, &data) {
                let (place, data) = (place.display(), data.display());
                return Err(bad(format!(
                    "{place}: the hub's own files are in {data}; choose a folder elsewhere"
                )));
            }
        }
        Ok(NewFolder { path, result, ..folder })
    }

    /// Watches a folder.
    ///
    /// # Errors
    /// When the store cannot keep it; that it makes no sense is the inner error.
    pub async fn new_folder(&self, owner: Option<UserId>, asked: NewFolder) -> Result<Asked<FolderView>> {
        let folder = match settled(asked).and_then(|folder| self.placed(folder)) {
            Ok(folder) => folder,
            Err(failure) => return Ok(Err(failure)),
        };
        let others = self.store().folders(&Sight::All).await?;
        if others.len() >= MOST {
            return Ok(Err(bad(format!("there are {MOST} folders already"))));
        }
        for FolderRow { id, folder: other, .. } in &others {
            let (theirs, ours) = (other.result.folder(), folder.result.folder());
            let clash = overlap(&other.path, &folder.path)
                || theirs.is_some_and(|theirs| overlap(theirs, &folder.path))
                || ours.is_some_and(|ours| overlap(ours, &other.path));
            if clash {
                let why = format!("{}: folder {id} has to do with it already", folder.path.display());
                return Ok(Err(bad(why)));
            }
        }
        let row = FolderRow { id: FolderId::generate(), folder, enabled: true, created_ms: now_ms() };
        self.store().put_folder(&row, owner).await?;
        Ok(Ok(self.folder_shown(row).await?))
    }

    async fn folder_shown(&self, row: FolderRow) -> Result<FolderView> {
        let FolderRow { id, folder, enabled, created_ms } = row;
        let mut files = self.store().folder_counts(id).await?;
        let looked = self.looks().get(&id).map(|look| (look.waiting, look.error.clone()));
        let (waiting, error) = looked.unwrap_or_default();
        files.waiting = waiting;
        Ok(FolderView { id, folder, enabled, error, files, created_ms })
    }

    /// The folders that somebody gets to see, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn folder_views(&self, sight: &Sight) -> Result<Vec<FolderView>> {
        let mut views = Vec::new();
        for row in self.store().folders(sight).await? {
            views.push(self.folder_shown(row).await?);
        }
        Ok(views)
    }

    /// One folder.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn folder_view(&self, folder: FolderId) -> Result<Option<FolderView>> {
        match self.store().folder(folder).await? {
            Some(row) => Ok(Some(self.folder_shown(row).await?)),
            None => Ok(None),
        }
    }

    /// Files that were taken up, those that changed last first; `None` when there is no such folder.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn folder_files(&self, folder: FolderId) -> Result<Option<Vec<FolderFile>>> {
        if self.store().folder(folder).await?.is_none() {
            return Ok(None);
        }
        let rows = self.store().folder_files(folder, SHOWN).await?;
        Ok(Some(rows.into_iter().map(file_view).collect()))
    }

    /// Watches a folder no more, and forgets what became of its files. What is under way ends, unless the hub keeps the results.
    /// Whether there was one.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn delete_folder(&self, folder: FolderId) -> Result<bool> {
        let Some(row) = self.store().folder(folder).await? else { return Ok(false) };
        let looking = {
            let mut looks = self.looks();
            let look = looks.entry(folder).or_default();
            look.gone.cancel();
            Arc::clone(&look.looking)
        };
        let _nobody_looks = looking.lock().await;
        let dropped = async {
            self.drop_leftovers(&row).await?;
            Ok(self.store().drop_folder(folder).await?)
        };
        let dropped = dropped.await;
        // Of one that is still there a new look is taken.
        self.looks().remove(&folder);
        dropped
    }

    /// Tries again what failed. Whether there is such a folder.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn retry_folder(&self, folder: FolderId) -> Result<bool> {
        let Some(row) = self.store().folder(folder).await? else { return Ok(false) };
        for undertaking in self.store().folder_failures(folder).await? {
            self.retry_file(&row, undertaking).await?;
        }
        if let Some(look) = self.looks().get_mut(&folder) {
            look.at_once();
        }
        Ok(true)
    }

    /// Sets whether files are taken up. Whether there is such a folder.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn enable_folder(&self, folder: FolderId, enabled: bool) -> Result<bool> {
        Ok(self.store().enable_folder(folder, enabled).await?)
    }
}

#[cfg(test)]
mod tests {
    use kinora_protocol::recipe::{LadderRecipe, Recipe};

    use super::*;

    fn folder() -> NewFolder {
        NewFolder::of(PathBuf::from("/films"))
    }

    #[test]
    fn what_is_usual_is_filled_in() {
        let usual = settled(folder()).unwrap();
        assert_eq!((usual.settle_seconds, usual.jobs), (Some(10), Some(2)));
        let mine = NewFolder { extensions: Some(vec!["MKV".to_owned()]), ..folder() };
        assert_eq!(settled(mine).unwrap().extensions, Some(vec!["mkv".to_owned()]));
        let replace = NewFolder { result: Delivery::Replace { originals: None }, ..folder() };
        assert_eq!(settled(replace).unwrap().recipe.verify, Verify::Full);
    }

    #[test]
    fn nonsense_is_refused() {
        let replace = Delivery::Replace { originals: None };
        let unverified = Recipe { verify: Verify::Off, ..Recipe::default() };
        let packages = Recipe { ladder: Some(LadderRecipe::default()), ..Recipe::default() };
        for wrong in [
            NewFolder { settle_seconds: Some(0), ..folder() },
            NewFolder { jobs: Some(0), ..folder() },
            NewFolder { extensions: Some(Vec::new()), ..folder() },
            NewFolder { extensions: Some(vec![".mp4".to_owned()]), ..folder() },
            NewFolder { preset: Some("film".to_owned()), ..folder() },
            NewFolder { result: replace.clone(), recipe: unverified, ..folder() },
            NewFolder { result: replace.clone(), recipe: packages, ..folder() },
            NewFolder { result: replace, preset: Some("ladder".to_owned()), ..folder() },
        ] {
            assert!(settled(wrong.clone()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn results_have_containers() {
        let preset = NewFolder { preset: Some("archive".to_owned()), ..folder() };
        assert_eq!(container_of(&preset, "a.mp4"), Container::Mkv);
        assert_eq!(container_of(&folder(), "a.MOV"), Container::Mov);
        assert_eq!(container_of(&folder(), "a.avi"), Container::Mp4);
        assert!(overlap(Path::new("/a/b"), Path::new("/a")) && !overlap(Path::new("/ab"), Path::new("/a")));
    }
}
