//! The file of an upload while bytes come. What is safe is decided here; when it has to be, by the caller.

use std::io::Error;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use kinora_store::UploadRow;
use tokio::task::JoinHandle;

use super::super::incoming::{self, Sink};
use super::{Fit, KEPT_MS, SYNC_EVERY, Unfit, disk};
use crate::app::metrics::Flow;
use crate::{Hub, now_ms, off_thread};

/// A file that grows, and how much of it is safe.
pub(super) struct Growing<'a> {
    hub: &'a Hub,
    pub(super) row: UploadRow,
    path: PathBuf,
    sink: Sink,
    /// Bytes that were written.
    pub(super) at: u64,
    /// Bytes that were there.
    from: u64,
    hasher: &'a mut blake3::Hasher,
    /// Bytes that are being made safe.
    keeping: Option<JoinHandle<Fit<u64>>>,
}

impl<'a> Growing<'a> {
    pub(super) async fn open(hub: &'a Hub, row: UploadRow, hasher: &'a mut blake3::Hasher) -> Fit<Self> {
        let path = hub.upload_path(row.id);
        let (named, offset) = (path.clone(), row.offset);
        let vault = hub.vault().clone();
        let file = off_thread(move || vault.go_on(&named, offset)).await.map_err(|e| disk(&path, &e))?;
        // It may have gone on in an earlier life of the hub: at its end it is hashed as a whole.
        let hashed = std::mem::take(hasher);
        let sink = Sink::new(file, Some(hashed).filter(|hashed| hashed.count() == row.offset));
        Ok(Self { hub, at: row.offset, from: row.offset, row, path, sink, hasher, keeping: None })
    }

    pub(super) async fn write(&mut self, piece: Bytes) -> Fit<()> {
        self.at += piece.len() as u64;
        self.sink.write(piece).await.map_err(|e| disk(&self.path, &e))
    }

    /// Makes what was written safe every so often, while more comes.
    pub(super) async fn keep_up(&mut self) -> Fit<()> {
        let unsafe_bytes = self.at - self.row.offset;
        if unsafe_bytes < SYNC_EVERY {
            return Ok(());
        }
        match &self.keeping {
            Some(keeping) if !keeping.is_finished() && unsafe_bytes < 2 * SYNC_EVERY => return Ok(()),
            Some(_) => self.kept().await?,
            None => {}
        }
        self.keeping = Some(self.start_to_keep().await?);
        Ok(())
    }

    async fn start_to_keep(&mut self) -> Fit<JoinHandle<Fit<u64>>> {
        let file = Arc::clone(self.sink.written().await.map_err(|e| disk(&self.path, &e))?);
        self.row.expires_ms = now_ms() + KEPT_MS;
        let UploadRow { id, length, expires_ms, .. } = self.row;
        let (hub, path, at) = (self.hub.clone(), self.path.clone(), self.at);
        Ok(tokio::spawn(async move {
            incoming::keep(file).await.map_err(|e| disk(&path, &e))?;
            let kept = hub.store().grow_upload(id, at, length, expires_ms).await;
            kept.map_err(|error| Unfit::Disk(crate::HubError::from(error).into()))?;
            Ok(at)
        }))
    }

    /// Waits until what was to be kept is.
    async fn kept(&mut self) -> Fit<()> {
        if let Some(keeping) = self.keeping.take() {
            self.row.offset = keeping.await.map_err(|e| disk(&self.path, &Error::other(e)))??;
        }
        Ok(())
    }

    /// Makes everything that was written safe, and says so.
    pub(super) async fn keep(&mut self) -> Fit<()> {
        self.kept().await?;
        self.keeping = Some(self.start_to_keep().await?);
        self.kept().await
    }

    /// Nothing more comes: what was hashed counts for the next request.
    pub(super) async fn end(self) -> UploadRow {
        self.hub.metrics().bytes(Flow::Uploaded).inc_by(self.at.saturating_sub(self.from));
        *self.hasher = self.sink.into_hasher().await.unwrap_or_default();
        self.row
    }

    /// Takes back what was not acknowledged.
    pub(super) async fn take_back(&mut self) {
        let _ = self.kept().await;
        // What could not be written is told once, and does not keep the rest from being taken back.
        let _ = self.sink.written().await;
        if let Ok(file) = self.sink.written().await {
            let (file, to) = (Arc::clone(file), self.row.offset);
            let _ = tokio::task::spawn_blocking(move || file.cut(to)).await;
        }
        self.sink.forget_hash().await;
        self.at = self.row.offset;
    }
}
