//! The things in a film, told beside its result: in JSON, and in WebVTT for players.

use std::path::{Path, PathBuf};

use kinora_jobs::objects;
use kinora_protocol::objects::ObjectsView;
use kinora_protocol::task::{TaskOutput, part_name};
use kinora_protocol::{ErrorCode, Failure, JobId};
use kinora_store::Claimed;
use kinora_vault::Vault;

use super::media::Asked;
use super::tasks::package_spec;
use crate::{Hub, HubError, Result};

/// What the files are called, after the result's name without its own ending.
const JSON: &str = "objects.json";
const VTT: &str = "objects.vtt";

impl Hub {
    /// Writes what was found in a film beside its result, where something was looked for. Done again after a crash, it is the same.
    pub(crate) async fn put_objects(&self, claimed: &Claimed) -> Result<std::result::Result<(), Failure>> {
        let Some(spec) = package_spec(&claimed.spec) else { return Ok(Ok(())) };
        let Some(detector) = &spec.settled.detect else { return Ok(Ok(())) };
        let rows = self.store().tasks(claimed.job).await?;
        let blob = rows.iter().find_map(|row| match &row.output {
            Some(TaskOutput::Survey { blob }) => Some(blob),
            _ => None,
        });
        let Some(blob) = blob else {
            return Err(HubError::Inconsistent(format!("job {} has no survey", claimed.job)));
        };
        let survey = self.survey_of(blob).await?;
        let view = objects::view(&survey, spec.clock, &detector.name);
        let json = serde_json::to_string(&view).map_err(|e| HubError::Inconsistent(e.to_string()))?;
        let part = part_name(&spec.output, claimed.job, claimed.lease.attempt);
        for (ending, text) in [(JSON, json), (VTT, objects::vtt(&view))] {
            let (path, vault) = (spec.output.with_extension(ending), self.vault().clone());
            let growing = part.with_extension(format!("part.{ending}"));
            let into = path.clone();
            let written = tokio::task::spawn_blocking(move || write(&vault, &growing, &into, &text)).await;
            let written = written.unwrap_or_else(|e| Err(std::io::Error::other(e)));
            if let Err(error) = written {
                return Ok(Err(Failure::new(ErrorCode::Disk, format!("{}: {error}", path.display()))));
            }
        }
        Ok(Ok(()))
    }

    /// What was found in the film of a completed job.
    ///
    /// # Errors
    /// When the store cannot be read; that nothing was looked for is the inner error.
    pub async fn objects_of(&self, job: JobId) -> Result<Asked<ObjectsView>> {
        let output = match self.output_of(job).await? {
            Ok(output) => output,
            Err(failure) => return Ok(Err(failure)),
        };
        let (path, vault) = (output.path.with_extension(JSON), self.vault().clone());
        let read = tokio::task::spawn_blocking(move || read(&vault, &path)).await;
        let none = || {
            Failure::new(ErrorCode::BadInput, format!("job {job} looked for nothing in its film (detect)"))
        };
        match read.unwrap_or_else(|e| Err(std::io::Error::other(e))) {
            Ok(view) => Ok(Ok(view)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Err(none())),
            Err(error) => {
                Err(HubError::Inconsistent(format!("what job {job} found cannot be read: {error}")))
            }
        }
    }
}

fn write(vault: &Vault, growing: &Path, path: &PathBuf, text: &str) -> std::io::Result<()> {
    let file = vault.create(growing)?;
    file.write_all(text.as_bytes())?;
    file.finish()?;
    std::fs::rename(growing, path)
}

fn read(vault: &Vault, path: &Path) -> std::io::Result<ObjectsView> {
    let file = std::io::BufReader::new(vault.read(path)?.cursor());
    serde_json::from_reader(file).map_err(std::io::Error::from)
}
