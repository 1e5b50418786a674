//! From a noted file to its job, and from the job's end to a result in its place.

use std::path::{Path, PathBuf};

use kinora_protocol::access::Kind;
use kinora_protocol::api::{NewJob, Source};
use kinora_protocol::folder::{Delivery, FileState, NewFolder};
use kinora_protocol::job::JobPhase;
use kinora_protocol::node::FileMark;
use kinora_protocol::proof::Proof;
use kinora_protocol::{Digest, Failure, fault};
use kinora_store::{FolderFileRow, FolderResult, FolderRow, Undertaking};

use super::super::objects::bring_along;
use super::container_of;
use super::replace::{self, Leaving, Placing, Unplaced};
use crate::{Hub, Result, now_ms};

/// Where the result belongs; nowhere in particular when the hub keeps it.
pub(super) fn place(folder: &NewFolder, name: &str) -> Option<PathBuf> {
    let named = |base: &Path| base.join(name).with_extension(container_of(folder, name).extension());
    match &folder.result {
        Delivery::Hub => None,
        Delivery::Folder { path } => Some(named(path)),
        Delivery::Replace { .. } => {
            let (source, other) = (folder.path.join(name), named(&folder.path));
            // A.MOV stays A.MOV.
            let extension = |path: &Path| path.extension().map(std::ffi::OsStr::to_ascii_lowercase);
            Some(if extension(&source) == extension(&other) { source } else { other })
        }
    }
}

/// Where the job leaves the result: beside its place, hidden.
pub(super) fn made(folder: &NewFolder, file: &FolderFileRow) -> Option<PathBuf> {
    let extension = container_of(folder, &file.name).extension();
    let short = &file.digest.as_str()[..16];
    Some(place(folder, &file.name)?.with_file_name(format!(".kinora-{short}.{extension}")))
}

/// Makes the folder that a file is to be in, below `base`, unless something on the way leads elsewhere.
async fn make_folder(base: &Path, file: &Path) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(base);
    let there = folder.ancestors().find(|part| part.exists()).unwrap_or(base);
    if tokio::fs::canonicalize(there).await? != there {
        return Err(std::io::Error::other(format!("{} leads elsewhere", there.display())));
    }
    tokio::fs::create_dir_all(folder).await
}

impl Hub {
    /// Makes the job of a file that was noted.
    pub(super) async fn submit_file(&self, row: &FolderRow, file: FolderFileRow) -> Result<()> {
        let folder = &row.folder;
        let output = made(folder, &file);
        let base = folder.result.folder().unwrap_or(&folder.path);
        if let Some(output) = &output
            && let Err(error) = make_folder(base, output).await
        {
            return self.file_failed(file, format!("{}: {error}", output.display())).await;
        }
        let mut recipe = folder.recipe.clone();
        recipe.container.get_or_insert(container_of(folder, &file.name));
        let job = NewJob {
            recipe,
            preset: folder.preset.clone(),
            output,
            priority: folder.priority,
            tags: folder.tags.clone(),
            ..NewJob::of(Source::Path(folder.path.join(&file.name)))
        };
        // No key of a client's has the first character.
        let key = format!("\nfolder {} {} {}", row.id, file.digest, file.name);
        let owner = self.owner(Kind::Folder, &row.id.to_string()).await?;
        match self.submit_for(owner.into(), job, Some(key)).await? {
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
    pub(super) async fn go_on(&self, row: &FolderRow, undertaking: Undertaking) -> Result<()> {
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
            (Some(_), Some(_)) if file.state == FileState::Failed => self.file_goes_on(file).await,
            (Some(_), Some(_)) => Ok(()),
        }
    }

    pub(super) async fn file_goes_on(&self, file: FolderFileRow) -> Result<()> {
        let file = FolderFileRow { state: FileState::Working, error: None, updated_ms: now_ms(), ..file };
        Ok(self.store().put_folder_file(&file, None).await?)
    }

    /// Puts the result of a completed job where it belongs.
    async fn deliver(&self, row: &FolderRow, file: FolderFileRow) -> Result<()> {
        let Some(job) = file.job else { return Ok(()) };
        let output = match self.output_of(job).await? {
            Ok(output) => output.made,
            Err(failure) => return self.file_failed(file, failure.message).await,
        };
        let source = row.folder.path.join(&file.name);
        let made_of_it = FolderResult { digest: output.digest.clone(), source };
        // It is no source, whatever happens now.
        self.store().put_folder_file(&file, Some(&made_of_it)).await?;
        if let (Some(place), Some(made)) = (file.result.clone(), made(&row.folder, &file)) {
            let proof = self.proof(job).await?;
            let source = match self.leaving(row, &file, proof.as_ref()).await {
                Ok(source) => source,
                Err(why) => return self.file_failed(file, why).await,
            };
            let former = self.former_results(row, &file.name, &place).await?;
            let digest = output.digest.clone();
            let hidden = made.clone();
            let placing = Placing { made, digest, place: place.clone(), former, source };
            match placing.run().await {
                Ok(()) => {}
                Err(Unplaced::Useless(why)) => {
                    placing.drop_made().await;
                    return self.file_failed(file, why).await;
                }
                Err(Unplaced::InTheWay(why)) => {
                    let made = placing.made.display();
                    return self.file_failed(file, format!("{why}; its result is {made}")).await;
                }
                Err(Unplaced::Stranded(why)) => return self.file_failed(file, why).await,
                Err(Unplaced::Disk(error)) => return self.file_failed(file, error.to_string()).await,
            }
            if let Err(error) = bring_along(&hidden, &place) {
                return self.file_failed(file, error.to_string()).await;
            }
            let name = place.strip_prefix(&row.folder.path).ok().and_then(Path::to_str);
            if let (Some(name), Ok(facts)) = (name, tokio::fs::metadata(&place).await) {
                self.store().put_folder_mark(row.id, name, FileMark::from(&facts)).await?;
            }
            self.store().set_output(job, &place).await?;
        }
        let file = FolderFileRow { state: FileState::Done, error: None, updated_ms: now_ms(), ..file };
        Ok(self.store().put_folder_file(&file, Some(&made_of_it)).await?)
    }

    /// Results of ours that a newer one of the same source may take the place of. Where sources go, they are all there is.
    pub(super) async fn former_results(
        &self,
        row: &FolderRow,
        name: &str,
        place: &Path,
    ) -> Result<Vec<Digest>> {
        match row.folder.result {
            Delivery::Folder { .. } => {
                let source = row.folder.path.join(name);
                Ok(self.store().folder_results_at(place, &source).await?)
            }
            Delivery::Hub | Delivery::Replace { .. } => Ok(Vec::new()),
        }
    }

    /// The source, if it goes; or why it must not.
    async fn leaving(
        &self,
        row: &FolderRow,
        file: &FolderFileRow,
        proof: Option<&Proof>,
    ) -> std::result::Result<Option<Leaving>, String> {
        let Delivery::Replace { originals } = &row.folder.result else { return Ok(None) };
        let Some(proof) = proof.filter(|proof| proof.verified) else {
            return Err("its result was not verified".to_owned());
        };
        if proof.source.media != file.digest {
            return Err("it changed before it was worked on".to_owned());
        }
        let path = row.folder.path.join(&file.name);
        let kept = originals.as_ref().map(|folder| folder.join(&file.name));
        let folders = async {
            if let (Some(base), Some(kept)) = (originals, &kept) {
                make_folder(base, kept).await?;
            }
            // A folder on the way may have become a link to somewhere else.
            make_folder(&row.folder.path, &path).await
        };
        folders.await.map_err(|error| error.to_string())?;
        if kept.is_none() && !proof.lost.is_empty() {
            let lost = proof.lost.join("; ");
            return Err(format!(
                "not all of it would be left ({lost}): keep the originals (--keep-originals), or choose another container"
            ));
        }
        Ok(Some(Leaving { path, mark: file.mark, digest: file.digest.clone(), kept }))
    }

    /// Tries once more what failed with a file.
    pub(super) async fn retry_file(&self, row: &FolderRow, undertaking: Undertaking) -> Result<()> {
        let Undertaking { file, job } = undertaking;
        match (file.job, job) {
            (Some(id), Some((JobPhase::Failed | JobPhase::Cancelled, _))) => {
                self.retry(id).await?;
                self.file_goes_on(file).await
            }
            (Some(id), Some((JobPhase::Completed, _))) => {
                if self.result_is_there(&row.folder, &file).await? {
                    return self.file_goes_on(file).await;
                }
                self.delete_job(id).await?;
                Ok(self.store().drop_folder_file(&file).await?)
            }
            (Some(_), Some(_)) => Ok(()),
            // It had no job, or that was forgotten: as if it had just come.
            (None, _) | (Some(_), None) => Ok(self.store().drop_folder_file(&file).await?),
        }
    }

    /// Whether the result of a file is where its job left it, or where it belongs.
    async fn result_is_there(&self, folder: &NewFolder, file: &FolderFileRow) -> Result<bool> {
        let (Some(job), Some(made)) = (file.job, made(folder, file)) else { return Ok(false) };
        let Ok(output) = self.output_of(job).await? else { return Ok(false) };
        let place = place(folder, &file.name);
        for path in [Some(made), place].into_iter().flatten() {
            if replace::digest(&path).await.is_ok_and(|digest| digest == output.made.digest) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Drops a result that waits for its place, and nothing else.
    pub(super) async fn drop_waiting(&self, folder: &NewFolder, file: &FolderFileRow) -> Result<()> {
        let (Some(job), Some(made)) = (file.job, made(folder, file)) else { return Ok(()) };
        if let Ok(output) = self.output_of(job).await? {
            replace::remove_if(&made, &output.made.digest).await;
        }
        Ok(())
    }
}
