//! Uploads that stop and go on. What is acknowledged is on the disk: bytes are synced before their offset is stored. What is
//! complete is hashed and becomes media. How a client says all that is not known here.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use kinora_protocol::{Digest, ErrorCode, Failure, UploadId, UserId};
use kinora_store::{LibraryRow, Part, UploadRow};
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use super::checksum::Checksum;
use super::chunks::hash;
use super::media::{media_name, shown, unite};
use super::quota::{Allowance, Besides};
use crate::{Hub, LONGEST_UPLOAD, Result, now_ms, off_thread};
use growing::Growing;

mod growing;
mod joined;

/// Bytes that may be lost by a crash and have to be sent again.
const SYNC_EVERY: u64 = 16 << 20;
/// A client that sends nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// An upload that nothing comes for is dropped after this, in milliseconds.
const KEPT_MS: i64 = 24 * 3600 * 1000;
/// Bytes that stay free on the disk: the store needs some.
pub(super) const RESERVE: u64 = 256 << 20;

/// An upload that begins.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// Bytes, if the client knows.
    pub length: Option<u64>,
    /// Name for people.
    pub name: String,
    /// What the client said of it.
    pub metadata: String,
    /// How it stands to others.
    pub part: Part,
    /// Whose it is.
    pub owner: Option<UserId>,
}

/// Why something cannot be done to an upload.
#[derive(Debug)]
pub enum Unfit {
    /// There is none, or none any more.
    Unknown,
    /// The client goes on somewhere else than where it stopped.
    Offset(u64),
    /// It would be longer than it was said to be, or may be.
    TooLong(u64),
    /// There is no room for it.
    NoRoom(String),
    /// More is not kept for whose it is.
    Quota(String),
    /// The bytes are not those that were meant; none of them are kept.
    Checksum,
    /// It is made from others and takes no bytes, or the parts are not there.
    Parts(String),
    /// There is nothing in it.
    Empty(String),
    /// It ended before its end.
    Broken(String),
    /// Another request for the same upload came, or this one broke off; what arrived is kept.
    Interrupted,
    /// The disk fails.
    Disk(Failure),
}

type Fit<T> = std::result::Result<T, Unfit>;

pub(super) fn disk(path: &Path, error: &io::Error) -> Unfit {
    let why = format!("{}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Unfit::NoRoom(why),
        _ => Unfit::Disk(Failure::new(ErrorCode::Disk, why)),
    }
}

/// Who is at which upload.
#[derive(Default)]
pub(crate) struct Uploads {
    turns: Mutex<HashMap<UploadId, Turn>>,
}

#[derive(Default, Clone)]
struct Turn {
    /// What is hashed so far of what arrived in this life of the hub.
    hashed: Arc<tokio::sync::Mutex<blake3::Hasher>>,
    /// Ends what the present request does.
    holder: CancellationToken,
}

/// The right to change an upload; the next one who wants it gets it soon.
struct Held {
    hashed: OwnedMutexGuard<blake3::Hasher>,
    over: CancellationToken,
}

impl Uploads {
    /// Takes an upload over from whoever is at it: a client that comes again has given its older request up.
    async fn take(&self, upload: UploadId) -> Held {
        let over = CancellationToken::new();
        let hashed = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = turns.entry(upload).or_default();
            std::mem::replace(&mut turn.holder, over.clone()).cancel();
            Arc::clone(&turn.hashed)
        };
        Held { hashed: hashed.lock_owned().await, over }
    }

    fn forget(&self, upload: UploadId) {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).remove(&upload);
    }
}

impl Hub {
    fn upload_path(&self, upload: UploadId) -> PathBuf {
        self.uploads_folder().join(upload.to_string())
    }

    /// Longest file that is taken, in bytes.
    pub fn longest_upload(&self) -> u64 {
        self.inner.settings.longest_upload.unwrap_or(LONGEST_UPLOAD)
    }

    /// Begins an upload.
    ///
    /// # Errors
    /// When the store fails; what is wrong with the upload is the inner error.
    pub async fn begin_upload(&self, new: NewUpload) -> Result<Fit<UploadRow>> {
        let folder = self.uploads_folder();
        if let Err(error) = tokio::fs::create_dir_all(&folder).await {
            return Ok(Err(disk(&folder, &error)));
        }
        if let Part::Joined(parts) = &new.part {
            return self.join_uploads(&new, parts.clone()).await;
        }
        if let Err(unfit) = self.room_for(new.length.unwrap_or(0)) {
            return Ok(Err(unfit));
        }
        // Those that begin at once are seen one after another.
        let one_by_one = self.inner.library.lock().await;
        if let Err(unfit) = self.within_quota(new.owner, Besides::default(), new.length.unwrap_or(0)).await? {
            return Ok(Err(unfit));
        }
        let row = self.new_row(new);
        self.store().put_upload(&row).await?;
        drop(one_by_one);
        self.arrived(row, None).await
    }

    fn new_row(&self, new: NewUpload) -> UploadRow {
        let created_ms = now_ms();
        UploadRow {
            id: UploadId::generate(),
            name: shown(&new.name),
            metadata: new.metadata,
            length: new.length,
            offset: 0,
            part: new.part,
            owner: new.owner,
            media: None,
            created_ms,
            expires_ms: created_ms + KEPT_MS,
        }
    }

    /// Whether so many more bytes may come and would fit.
    pub(super) fn room_for(&self, bytes: u64) -> Fit<()> {
        let most = self.longest_upload();
        if bytes > most {
            return Err(Unfit::TooLong(most));
        }
        let folder = &self.inner.data;
        let free = fs4::available_space(folder).map_err(|e| disk(folder, &e))?;
        if bytes.saturating_add(RESERVE) > free {
            let why = format!("{bytes} bytes are to come and {free} are free on the hub's disk");
            return Err(Unfit::NoRoom(why));
        }
        Ok(())
    }

    /// An upload as it stands when whatever an older request was at is kept: where a client that comes again goes on.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn settled_upload(&self, upload: UploadId) -> Result<Option<UploadRow>> {
        let held = self.inner.uploads.take(upload).await;
        let row = self.upload(upload).await?;
        drop(held);
        if row.is_none() {
            self.inner.uploads.forget(upload);
        }
        Ok(row)
    }

    /// An upload as it stands.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn upload(&self, upload: UploadId) -> Result<Option<UploadRow>> {
        let row = self.store().upload(upload).await?;
        Ok(row.filter(|row| row.expires_ms > now_ms()))
    }

    /// Says how long an upload will be, when that was left open.
    ///
    /// # Errors
    /// When the store fails; what is wrong is the inner error.
    pub async fn set_upload_length(&self, upload: UploadId, length: u64) -> Result<Fit<()>> {
        let Some(row) = self.upload(upload).await? else { return Ok(Err(Unfit::Unknown)) };
        if row.length.is_some_and(|known| known != length) || length < row.offset {
            return Ok(Err(Unfit::TooLong(row.length.unwrap_or(row.offset))));
        }
        if let Err(unfit) = self.room_for(length - row.offset) {
            return Ok(Err(unfit));
        }
        let _one_by_one = self.inner.library.lock().await;
        let besides = Besides { uploads: vec![upload], ..Besides::default() };
        if let Err(unfit) = self.within_quota(row.owner, besides, length).await? {
            return Ok(Err(unfit));
        }
        self.store().grow_upload(upload, row.offset, Some(length), row.expires_ms).await?;
        Ok(Ok(()))
    }

    /// Takes bytes from `offset` on. With a checksum, all of them or none; without, what arrived is kept however it ends.
    ///
    /// # Errors
    /// When the store fails; what is wrong is the inner error.
    pub async fn append(
        &self,
        upload: UploadId,
        offset: u64,
        checksum: Option<Checksum>,
        pieces: impl Stream<Item = std::result::Result<Bytes, String>> + Unpin,
    ) -> Result<Fit<UploadRow>> {
        let mut held = self.inner.uploads.take(upload).await;
        let Some(row) = self.upload(upload).await? else {
            self.inner.uploads.forget(upload);
            return Ok(Err(Unfit::Unknown));
        };
        if matches!(row.part, Part::Joined(_)) {
            return Ok(Err(Unfit::Parts("an upload that is made from others takes no bytes".to_owned())));
        }
        if row.offset != offset {
            return Ok(Err(Unfit::Offset(row.offset)));
        }
        if row.media.is_some() {
            return Ok(Ok(row));
        }
        if row.is_complete() && row.offset > 0 {
            // All of it had come, and it could not be kept, or the hub was killed: it is ended and takes no more.
            return self.arrived(row, None).await;
        }
        // Of one with a length it is known that there is room.
        let (allowance, _room) = if row.length.is_some() || row.owner.is_none() {
            (None, None)
        } else {
            let _one_by_one = self.inner.library.lock().await;
            let besides = Besides { uploads: vec![upload], ..Besides::default() };
            let allowance = self.allowance(row.owner, besides).await?;
            let left = allowance.map_or(0, |one| one.left().saturating_sub(row.offset));
            (allowance, self.inner.coming.keep(row.owner, left))
        };
        let row = match self.grow(row, &mut held, checksum, allowance, pieces).await {
            Ok(row) => row,
            Err(unfit) => return Ok(Err(unfit)),
        };
        let all = held.hashed.count() == row.offset;
        let hashed = all.then(|| Digest::from_bytes(held.hashed.finalize().as_bytes()));
        self.arrived(row, hashed).await
    }

    async fn grow(
        &self,
        row: UploadRow,
        held: &mut Held,
        mut checksum: Option<Checksum>,
        allowance: Option<Allowance>,
        mut pieces: impl Stream<Item = std::result::Result<Bytes, String>> + Unpin,
    ) -> Fit<UploadRow> {
        let longest = row.length.unwrap_or(self.longest_upload());
        let mut growing = Growing::open(self, row, &mut held.hashed).await?;
        let ended = loop {
            let piece = tokio::select! {
                biased;
                () = held.over.cancelled() => break Err(Unfit::Interrupted),
                piece = tokio::time::timeout(SILENCE, pieces.next()) => piece,
            };
            let piece = match piece {
                Ok(Some(Ok(piece))) => piece,
                Ok(None) => break Ok(()),
                Ok(Some(Err(_))) | Err(_) => break Err(Unfit::Interrupted),
            };
            if growing.at + piece.len() as u64 > longest {
                break Err(Unfit::TooLong(longest));
            }
            if let Some(allowance) = allowance.filter(|one| growing.at + piece.len() as u64 > one.left()) {
                break Err(allowance.unfit());
            }
            if let Some(checksum) = &mut checksum {
                checksum.update(&piece);
            }
            if let Err(unfit) = growing.write(piece).await {
                break Err(unfit);
            }
            if checksum.is_none()
                && let Err(unfit) = growing.keep_up().await
            {
                break Err(unfit);
            }
        };
        let in_one_piece = checksum.is_some();
        let ended = match (ended, checksum) {
            (Ok(()), Some(checksum)) if checksum.fails() => Err(Unfit::Checksum),
            (ended, _) => ended,
        };
        let ended = match ended {
            Ok(()) => growing.keep().await,
            Err(Unfit::Interrupted) if !in_one_piece => growing.keep().await.and(Err(Unfit::Interrupted)),
            Err(unfit) => Err(unfit),
        };
        if !matches!(ended, Ok(()) | Err(Unfit::Interrupted)) || (in_one_piece && ended.is_err()) {
            // Nothing is under way when the next request comes.
            growing.take_back().await;
        }
        let row = growing.end().await;
        ended.map(|()| row)
    }

    /// Drops an upload and its bytes. Media that it became stays. Whether there was one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn drop_upload(&self, upload: UploadId) -> Result<bool> {
        let _held = self.inner.uploads.take(upload).await;
        let known = self.store().drop_upload(upload).await?;
        self.drop_bytes(upload).await;
        self.inner.uploads.forget(upload);
        Ok(known)
    }

    async fn drop_bytes(&self, upload: UploadId) {
        let _no_copy = self.inner.kept.read().await;
        let (vault, path) = (self.vault().clone(), self.upload_path(upload));
        let _ = tokio::task::spawn_blocking(move || vault.remove(&path)).await;
    }

    /// Drops uploads that nothing came for, and files of none.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn drop_old_uploads(&self) -> Result<()> {
        for row in self.store().expired_uploads(now_ms()).await? {
            self.drop_upload(row.id).await?;
        }
        Ok(())
    }

    /// What follows when bytes have come: a whole file that is complete becomes media.
    async fn arrived(&self, row: UploadRow, hashed: Option<Digest>) -> Result<Fit<UploadRow>> {
        if row.is_complete() && row.part == Part::Whole {
            return self.make_media(row, hashed, &[]).await;
        }
        Ok(Ok(row))
    }

    /// A complete upload becomes media, with the parts that it was made from. The same content is kept once.
    async fn make_media(
        &self,
        mut row: UploadRow,
        hashed: Option<Digest>,
        parts: &[UploadId],
    ) -> Result<Fit<UploadRow>> {
        if row.offset == 0 {
            self.drop_bytes(row.id).await;
            self.store().drop_upload(row.id).await?;
            return Ok(Err(Unfit::Empty(format!("{} is empty", row.name))));
        }
        let path = self.upload_path(row.id);
        let (vault, whole, length) = (self.vault().clone(), path.clone(), row.offset);
        let found = off_thread(move || {
            vault.finish(&whole, length)?;
            hashed.map_or_else(|| hash(&vault, &whole), Ok)
        });
        let digest = match found.await {
            Ok(digest) => digest,
            Err(error) => return Ok(Err(disk(&path, &error))),
        };
        let folder = self.media_folder();
        let place = folder.join(media_name(&digest, &row.name));
        if let Err(error) = tokio::fs::create_dir_all(&folder).await {
            return Ok(Err(disk(&folder, &error)));
        }
        let nobody_deletes = self.inner.library.lock().await;
        let besides = Besides { uploads: [&[row.id], parts].concat(), media: Some(digest.clone()) };
        if let Err(unfit) = self.within_quota(row.owner, besides, row.offset).await? {
            return Ok(Err(unfit));
        }
        // The upload keeps its bytes until the store knows the media: a crash in between finds both. What has the place now has
        // the same content, or had it.
        let beside = folder.join(format!(".incoming-{}", row.id));
        let _ = tokio::fs::remove_file(&beside).await;
        for step in [tokio::fs::hard_link(&path, &beside).await, tokio::fs::rename(&beside, &place).await] {
            if let Err(error) = step {
                return Ok(Err(disk(&place, &error)));
            }
        }
        let (name, size) = (row.name.clone(), row.offset);
        let media =
            LibraryRow { digest, name, size, path: place, created_ms: now_ms(), verdict: None, scan: None };
        let kept = self.store().finish_upload(row.id, &media).await?;
        unite(&media, &kept).await;
        drop(nobody_deletes);
        let _ = tokio::fs::remove_file(&path).await;
        self.inner.uploads.forget(row.id);
        self.scan_arrived();
        self.describe_arrived(&kept.digest).await;
        row.media = Some(kept.digest);
        Ok(Ok(row))
    }
}
