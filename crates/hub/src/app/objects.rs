//! The things in a film, told beside its result: in JSON, and in WebVTT for players.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use kinora_jobs::objects;
use kinora_protocol::task::{TaskOutput, part_name};
use kinora_protocol::{ErrorCode, Failure, JobId};
use kinora_store::Claimed;
use kinora_vault::Vault;

use super::media::{Asked, Output};
use super::tasks::package_spec;
use crate::{Hub, HubError, Result};

/// A file that tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// By frame and by thing.
    Json,
    /// A cue for each frame.
    Vtt,
}

impl Told {
    const ALL: [Self; 2] = [Self::Json, Self::Vtt];

    /// Where it is: beside a result, with its whole name in front.
    pub fn beside(self, result: &Path) -> PathBuf {
        let mut name = OsString::from(result.as_os_str());
        name.push(match self {
            Self::Json => ".objects.json",
            Self::Vtt => ".objects.vtt",
        });
        PathBuf::from(name)
    }
}

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
        let part = part_name(&spec.output, claimed.job, claimed.lease.attempt);
        let (clock, detector, output) = (spec.clock, detector.name.clone(), spec.output.clone());
        let vault = self.vault().clone();
        let written = tokio::task::spawn_blocking(move || {
            let view = objects::view(&survey, clock, &detector);
            for told in Told::ALL {
                let text = match told {
                    Told::Json => serde_json::to_string(&view)?,
                    Told::Vtt => objects::vtt(&view),
                };
                write(&vault, &told.beside(&part), &told.beside(&output), &text)?;
            }
            Ok(())
        });
        let written = written.await.unwrap_or_else(|e| Err(std::io::Error::other(e)));
        Ok(written.map_err(|error: std::io::Error| {
            let beside = spec.output.display();
            Failure::new(
                ErrorCode::Disk,
                format!("what was found cannot be written beside {beside}: {error}"),
            )
        }))
    }

    /// Where what was found in the film of a completed job is told, and the result that it is told of.
    ///
    /// # Errors
    /// When the store cannot be read; that nothing was looked for is the inner error.
    pub async fn objects_of(&self, job: JobId, told: Told) -> Result<Asked<(PathBuf, Output)>> {
        let looked = self.job(job).await?.is_some_and(|row| row.request.recipe.enhance.detect == Some(true));
        match self.output_of(job).await? {
            Ok(output) if looked => Ok(Ok((told.beside(&output.path), output))),
            Ok(_) => {
                let why = format!("job {job} looked for nothing in its film (detect)");
                Ok(Err(Failure::new(ErrorCode::BadInput, why)))
            }
            Err(failure) => Ok(Err(failure)),
        }
    }
}

fn write(vault: &Vault, growing: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    let file = vault.create(growing)?;
    file.write_all(text.as_bytes())?;
    file.finish()?;
    std::fs::rename(growing, path)
}

/// Brings what is told of a result along to where that is now.
pub(super) fn bring_along(from: &Path, to: &Path) -> std::io::Result<()> {
    for told in Told::ALL {
        match std::fs::rename(told.beside(from), told.beside(to)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
