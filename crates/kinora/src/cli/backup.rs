//! `kinora backup` and `kinora restore`: a copy of all that a hub keeps, and a hub from a copy.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;
use kinora_protocol::{ErrorCode, Failure};

use super::print_json;
use super::remote::HubAddress;
use crate::archive;

/// After so many bytes it is said how many there are.
const STEP: u64 = 64 << 20;

/// Flags of `kinora backup`.
#[derive(Debug, Args)]
#[command(
    after_help = "The hub goes on with its work meanwhile. The copy holds secrets: who gets in, and by what; keep it where nobody else reads it. \
                  The master key of a hub that encrypts is not in it. Files below --allow-dir and in watched folders are not, either."
)]
pub struct BackupArgs {
    /// File that the copy is written into
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
    /// Which hub
    #[command(flatten)]
    pub hub: HubAddress,
}

/// Flags of `kinora restore`.
#[derive(Debug, Args)]
#[command(
    after_help = "Then start the hub with --data DIR, and with the same other flags. The hub that it was taken of must not run any more: workers would find two."
)]
pub struct RestoreArgs {
    /// The copy
    pub file: PathBuf,
    /// Where the hub is to keep its files: a folder that is not there yet, or empty
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Takes one.
pub async fn back_up(args: &BackupArgs) -> Result<(), Failure> {
    let (draws, said) = (std::io::stderr().is_terminal(), AtomicU64::new(0));
    let told = |bytes: u64| {
        if draws && bytes - said.load(Ordering::Relaxed) >= STEP {
            said.store(bytes, Ordering::Relaxed);
            eprint!("\r{:.0} MB", bytes as f64 / 1e6);
        }
    };
    let mut part = args.output.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let bytes = args.hub.client()?.backup(&part, told).await?;
    if said.load(Ordering::Relaxed) > 0 {
        eprint!("\r");
    }
    // What has arrived is what was sent, or nobody relies on it.
    let copy = part.clone();
    let checked = tokio::task::spawn_blocking(move || archive::read(&copy, None)).await;
    let manifest = match checked.map_err(archive::broke)? {
        Ok(manifest) => manifest,
        Err(failure) => {
            let _ = std::fs::remove_file(&part);
            return Err(failure);
        }
    };
    // The copy of before stays until there is another.
    std::fs::rename(&part, &args.output)
        .map_err(|e| Failure::new(ErrorCode::Disk, format!("{}: {e}", args.output.display())))?;
    if args.hub.json {
        print_json(&manifest);
    } else {
        say!("{}: {} files, {:.1} MB, checked", args.output.display(), manifest.files, bytes as f64 / 1e6);
    }
    Ok(())
}

/// Puts one back.
pub async fn restore(args: &RestoreArgs) -> Result<(), Failure> {
    let manifest = archive::restore(&args.file, &args.data).await?;
    if args.json {
        print_json(&manifest);
        return Ok(());
    }
    say!("{} files are back, {:.1} MB", manifest.files, manifest.bytes as f64 / 1e6);
    let key = if manifest.encrypted { " --encrypt-at-rest --master-key-file FILE" } else { "" };
    say!("start the hub: kinora hub --data {}{key}", args.data.display());
    Ok(())
}
