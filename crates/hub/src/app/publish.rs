//! A checked result gets its name: one rename, after its completion was judged and before it is stored. A hub that dies in
//! between makes the result again.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kinora_protocol::task::{PackageOutput, is_part_of, part_name};
use kinora_protocol::{ErrorCode, Failure, JobId};
use kinora_store::Claimed;

use super::chunks::holds;
use super::tasks::package_spec;
use crate::Hub;

impl Hub {
    /// Puts the result of an attempt in place. It may be there already, from before the hub died or a connection was cut.
    pub(crate) async fn publish(&self, claimed: &Claimed, made: &PackageOutput) -> Result<(), Failure> {
        let Some(spec) = package_spec(&claimed.spec) else {
            return Err(Failure::new(ErrorCode::Internal, "what is to be published is no package"));
        };
        let part = part_name(&spec.output, claimed.job, claimed.lease.attempt);
        let output = spec.output.clone();
        let (size, digest) = (made.size, made.digest.clone());
        let vault = self.vault().clone();
        let renamed = tokio::task::spawn_blocking(move || match rename(&part, &output) {
            Err(error) if error.kind() == ErrorKind::NotFound && holds(&vault, &output, size, &digest) => {
                Ok(())
            }
            outcome => outcome,
        })
        .await;
        let why = match renamed {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        Err(Failure::new(ErrorCode::Disk, format!("{}: {why}", spec.output.display())))
    }

    /// Where a result goes that the hub keeps is there, also when nothing was there yet that a copy of the hub could have held.
    pub(crate) async fn make_place(&self, claimed: &Claimed) {
        let Some(spec) = package_spec(&claimed.spec) else { return };
        let folder = folder_of(&spec.output);
        if folder == self.outputs_of(claimed.job)
            && let Err(error) = tokio::fs::create_dir_all(&folder).await
        {
            tracing::warn!("{}: {error}", folder.display());
        }
    }

    /// Removes what attempts of an ended job left beside its output.
    pub(crate) async fn drop_parts(&self, job: JobId) {
        let Ok(Some(row)) = self.store().job(job).await else { return };
        let folder = folder_of(&row.request.output);
        let dropped = tokio::task::spawn_blocking(move || {
            let Ok(entries) = std::fs::read_dir(&folder) else { return };
            let parts =
                entries.flatten().filter(|e| e.file_name().to_str().is_some_and(|n| is_part_of(n, job)));
            for part in parts {
                let _ = std::fs::remove_file(part.path());
            }
        });
        let _ = dropped.await;
    }
}

fn folder_of(output: &Path) -> PathBuf {
    let folder = output.parent().filter(|f| !f.as_os_str().is_empty());
    folder.unwrap_or(Path::new(".")).to_owned()
}

fn rename(part: &Path, output: &Path) -> std::io::Result<()> {
    std::fs::rename(part, output)?;
    // The rename itself has to survive a power cut, too.
    #[cfg(unix)]
    if let Ok(folder) = std::fs::File::open(folder_of(output)) {
        let _ = folder.sync_all();
    }
    Ok(())
}
