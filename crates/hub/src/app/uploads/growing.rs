//! The file of an upload while bytes come. What is safe is decided here; when it has to be, by the caller.

use std::io;
use std::path::PathBuf;

use kinora_store::UploadRow;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

use super::{Fit, KEPT_MS, Unfit, disk};
use crate::{Hub, now_ms};

/// A file that grows, and how much of it is safe.
pub(super) struct Growing<'a> {
    hub: &'a Hub,
    pub(super) row: UploadRow,
    path: PathBuf,
    file: File,
    /// Bytes that were written.
    pub(super) at: u64,
    hasher: &'a mut blake3::Hasher,
}

impl<'a> Growing<'a> {
    pub(super) async fn open(hub: &'a Hub, row: UploadRow, hasher: &'a mut blake3::Hasher) -> Fit<Self> {
        let path = hub.upload_path(row.id);
        let open = async || {
            let fresh = row.offset == 0;
            let mut file = File::options().write(true).create(fresh).truncate(fresh).open(&path).await?;
            if file.metadata().await?.len() < row.offset {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "bytes that were safe are gone"));
            }
            // What was written and not acknowledged is sent again.
            file.set_len(row.offset).await?;
            file.seek(io::SeekFrom::Start(row.offset)).await?;
            io::Result::Ok(file)
        };
        let file = open().await.map_err(|e| disk(&path, &e))?;
        if hasher.count() != row.offset {
            // It went on in an earlier life of the hub: at its end it is hashed as a whole.
            hasher.reset();
        }
        Ok(Self { hub, at: row.offset, row, path, file, hasher })
    }

    fn is_hashed(&self) -> bool {
        self.hasher.count() == self.at
    }

    pub(super) async fn write(&mut self, piece: &[u8]) -> Fit<()> {
        let hashed = self.is_hashed();
        self.file.write_all(piece).await.map_err(|e| disk(&self.path, &e))?;
        if hashed {
            self.hasher.update(piece);
        }
        self.at += piece.len() as u64;
        Ok(())
    }

    pub(super) fn unsafe_bytes(&self) -> u64 {
        self.at - self.row.offset
    }

    /// Makes everything that was written safe, and says so.
    pub(super) async fn keep(&mut self) -> Fit<()> {
        let synced = match self.file.flush().await {
            Ok(()) => self.file.sync_data().await,
            Err(error) => Err(error),
        };
        synced.map_err(|e| disk(&self.path, &e))?;
        self.row.expires_ms = now_ms() + KEPT_MS;
        let UploadRow { id, length, expires_ms, .. } = self.row;
        let kept = self.hub.store().grow_upload(id, self.at, length, expires_ms).await;
        kept.map_err(|error| Unfit::Disk(crate::HubError::from(error).into()))?;
        self.row.offset = self.at;
        Ok(())
    }

    /// Takes back what was not acknowledged.
    pub(super) async fn take_back(&mut self) {
        let _ = self.file.flush().await;
        let _ = self.file.set_len(self.row.offset).await;
        self.hasher.reset();
        self.at = self.row.offset;
    }
}
