//! Uploads that are made from others (tus, concatenation).

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use kinora_protocol::UploadId;
use kinora_store::{Part, UploadRow};
use kinora_vault::Vault;

use super::super::quota::Besides;
use super::{Fit, NewUpload, Unfit, disk};
use crate::{Hub, Result, off_thread};

/// Bytes that are copied at once.
const PIECE: usize = 1 << 20;
/// Uploads that one is made from, at the most.
const MOST_PARTS: usize = 1000;

impl Hub {
    /// Puts parts together, in order.
    pub(super) async fn join_uploads(&self, new: &NewUpload, parts: Vec<UploadId>) -> Result<Fit<UploadRow>> {
        let unfit = |why: String| Ok(Err(Unfit::Parts(why)));
        if parts.is_empty() || parts.len() > MOST_PARTS {
            return unfit(format!("an upload is made from 1 to {MOST_PARTS} others, not {}", parts.len()));
        }
        let mut lengths = Vec::new();
        for (place, part) in parts.iter().enumerate() {
            if parts[..place].contains(part) {
                return unfit(format!("upload {part} is there twice"));
            }
            match self.upload(*part).await? {
                Some(row) if row.part == Part::Partial && row.is_complete() => {
                    lengths.push((row.id, row.offset));
                }
                Some(_) => return unfit(format!("upload {part} is not a complete part")),
                None => return unfit(format!("there is no upload {part}")),
            }
        }
        let length = lengths.iter().map(|(_, bytes)| bytes).sum();
        if let Err(unfit) = self.room_for(length) {
            return Ok(Err(unfit));
        }
        // The parts go when they are joined.
        let besides = Besides { uploads: parts.clone(), ..Besides::default() };
        if let Err(unfit) = self.within_quota(new.owner, besides, length).await? {
            return Ok(Err(unfit));
        }
        let mut row = self.new_row(NewUpload { length: Some(length), ..new.clone() });
        let to = self.upload_path(row.id);
        let from: Vec<(PathBuf, u64)> =
            lengths.into_iter().map(|(part, bytes)| (self.upload_path(part), bytes)).collect();
        let (written, vault) = (to.clone(), self.vault().clone());
        let joined = match off_thread(move || join(&vault, &from, &written)).await {
            Ok(size) if size == length => Ok(()),
            Ok(size) => Err(Unfit::Parts(format!("the parts have {size} bytes in place of {length}"))),
            Err(error) => Err(disk(&to, &error)),
        };
        if let Err(unfit) = joined {
            let _ = tokio::fs::remove_file(&to).await;
            return Ok(Err(unfit));
        }
        row.offset = length;
        let id = row.id;
        self.store().put_upload(&row).await?;
        let made = self.make_media(row, None, &parts).await?;
        match &made {
            // Nobody was told where it is: nobody else could drop it.
            Err(_) => drop(self.drop_upload(id).await?),
            Ok(_) => {
                for part in parts {
                    self.drop_upload(part).await?;
                }
            }
        }
        Ok(made)
    }
}

/// Writes parts into one file, in order; gives its length.
fn join(vault: &Vault, parts: &[(PathBuf, u64)], to: &Path) -> io::Result<u64> {
    let (joined, mut length) = (vault.create(to)?, 0);
    let mut piece = vec![0; PIECE];
    for (path, bytes) in parts {
        // Nothing more comes to it.
        vault.finish(path, *bytes)?;
        let mut part = vault.read(path)?.cursor();
        loop {
            let read = part.read(&mut piece)?;
            if read == 0 {
                break;
            }
            joined.write_all(&piece[..read])?;
            length += read as u64;
        }
    }
    joined.finish()?;
    Ok(length)
}
