//! Flags that say whether what a hub keeps is encrypted, and where its master key is.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kinora_protocol::{ErrorCode, Failure};
use kinora_vault::Masters;

use crate::config::credentials;
use crate::program::Program;

/// How long a program may take to give the key: somebody may be asked.
const PATIENCE: Duration = Duration::from_secs(120);

/// How what is kept is encrypted.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Encryption of what is kept")]
pub struct AtRestFlags {
    /// Encrypt media, results and all that is made on the way where they lie; what is there already is encrypted first. The master key
    /// is in KINORA_MASTER_KEY, where the next flags say nothing. kinora vault new-key makes one; without it nothing can be read
    #[arg(long)]
    pub encrypt_at_rest: bool,
    /// File with the master key; several lines are several keys, of which the first is used for what is new
    #[arg(long, value_name = "FILE", requires = "encrypt_at_rest")]
    pub master_key_file: Option<PathBuf>,
    /// Program that prints the master key, for example one that asks a key service
    #[arg(
        long,
        value_name = "PROGRAM ARGUMENTS…",
        requires = "encrypt_at_rest",
        conflicts_with = "master_key_file"
    )]
    pub master_key_command: Option<Program>,
    /// Where this machine's own worker keeps, while it works on them, files that are not encrypted: a folder in memory or on an
    /// encrypted disk [default: the folder of --data]
    #[arg(long, value_name = "DIR", requires = "encrypt_at_rest")]
    pub work_dir: Option<PathBuf>,
}

fn bad(why: String) -> Failure {
    Failure::new(ErrorCode::BadInput, why)
}

impl AtRestFlags {
    /// The master keys, where what is kept is to be encrypted.
    pub async fn masters(&self) -> Result<Option<Masters>, Failure> {
        if !self.encrypt_at_rest {
            return Ok(None);
        }
        let (text, from) = match (&self.master_key_file, &self.master_key_command) {
            (Some(path), _) => {
                let unreadable = |e| bad(format!("{}: {e}", path.display()));
                (std::fs::read_to_string(path).map_err(unreadable)?, path.display().to_string())
            }
            (None, Some(program)) => (said(program).await?, program.to_string()),
            (None, None) => {
                let text = credentials::master_key().ok_or_else(|| {
                    bad("--encrypt-at-rest needs a master key: kinora vault new-key > FILE, keep it safe, and give \
                         --master-key-file FILE"
                        .to_owned())
                })?;
                (text, "KINORA_MASTER_KEY".to_owned())
            }
        };
        Masters::parse(&text).map(Some).map_err(|why| bad(format!("{from}: {why}")))
    }
}

async fn said(program: &Program) -> Result<String, Failure> {
    let ended = program.run(&[], PATIENCE).await.map_err(bad)?;
    if ended.code != Some(0) {
        return Err(bad(format!("{program} did not give the master key: {}", ended.complained)));
    }
    String::from_utf8(ended.said)
        .map_err(|_| bad(format!("{program} did not give the master key: it is no text")))
}
