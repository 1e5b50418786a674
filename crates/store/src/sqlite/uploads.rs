//! Uploads: begun, grown, made media of, dropped.

use kinora_protocol::UploadId;
use kinora_protocol::access::Kind;
use rusqlite::{OptionalExtension, Row, params};

use super::{Store, convert, grants, library};
use crate::error::Result;
use crate::media::LibraryRow;
use crate::upload::UploadRow;

const SELECT: &str = "SELECT id, name, metadata, length, offset, part, media, created_ms, expires_ms, (SELECT subject FROM grants
     WHERE kind = 'upload' AND thing = uploads.id AND \"right\" = 'own') AS owner FROM uploads";

fn upload_row(row: &Row<'_>) -> rusqlite::Result<UploadRow> {
    let bytes = |value: i64| u64::try_from(value).unwrap_or(0);
    Ok(UploadRow {
        id: convert::parsed(row, "id")?,
        name: row.get("name")?,
        metadata: row.get("metadata")?,
        length: row.get::<_, Option<i64>>("length")?.map(bytes),
        offset: bytes(row.get("offset")?),
        part: convert::from_json(row, "part")?,
        owner: grants::user(row, "owner")?,
        media: convert::digest_opt(row, "media")?,
        created_ms: row.get("created_ms")?,
        expires_ms: row.get("expires_ms")?,
    })
}

impl Store {
    /// Notes an upload that begins.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn put_upload(&self, upload: &UploadRow) -> Result<()> {
        let part = convert::json(&upload.part)?;
        let upload = upload.clone();
        self.write(move |conn| {
            conn.prepare_cached(
                "INSERT INTO uploads (id, name, metadata, length, offset, part, created_ms, expires_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                upload.id.to_string(),
                upload.name,
                upload.metadata,
                upload.length.map(convert::signed),
                convert::signed(upload.offset),
                part,
                upload.created_ms,
                upload.expires_ms
            ])?;
            grants::own(conn, (Kind::Upload, &upload.id.to_string()), upload.owner)?;
            Ok(())
        })
        .await
    }

    /// One upload.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn upload(&self, upload: UploadId) -> Result<Option<UploadRow>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?;
            Ok(query.query_row([upload.to_string()], upload_row).optional()?)
        })
        .await
    }

    /// Notes that more of an upload is on the disk, and how long it will be, when that was not known. It never shrinks.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn grow_upload(
        &self,
        upload: UploadId,
        offset: u64,
        length: Option<u64>,
        expires_ms: i64,
    ) -> Result<()> {
        self.write(move |conn| {
            conn.prepare_cached(
                "UPDATE uploads SET offset = max(offset, ?2), length = coalesce(length, ?3), expires_ms = ?4
                 WHERE id = ?1 AND media IS NULL",
            )?
            .execute(params![
                upload.to_string(),
                convert::signed(offset),
                length.map(convert::signed),
                expires_ms
            ])?;
            Ok(())
        })
        .await
    }

    /// An upload is media from now on, which is its owners'; gives the media that is there, which may have come before by another way.
    ///
    /// # Errors
    /// As [`Store::put_library`].
    pub async fn finish_upload(&self, upload: UploadId, media: &LibraryRow) -> Result<LibraryRow> {
        let media = library::Kept::new(media, None)?;
        self.write(move |conn| {
            let kept = library::put(conn, &media)?;
            conn.prepare_cached(
                "INSERT INTO grants (kind, thing, subject, \"right\")
                 SELECT 'media', ?2, subject, 'own' FROM grants WHERE kind = 'upload' AND thing = ?1 AND \"right\" = 'own'
                 ON CONFLICT (kind, thing, subject) DO UPDATE SET \"right\" = 'own'",
            )?
            .execute(params![upload.to_string(), kept.digest.as_str()])?;
            conn.prepare_cached("UPDATE uploads SET media = ?2 WHERE id = ?1")?
                .execute(params![upload.to_string(), kept.digest.as_str()])?;
            Ok(kept)
        })
        .await
    }

    /// Forgets an upload. Whether there was one.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn drop_upload(&self, upload: UploadId) -> Result<bool> {
        self.write(move |conn| {
            let gone =
                conn.prepare_cached("DELETE FROM uploads WHERE id = ?1")?.execute([upload.to_string()])?;
            Ok(gone == 1)
        })
        .await
    }

    /// Uploads whose time is over.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn expired_uploads(&self, now_ms: i64) -> Result<Vec<UploadRow>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(&format!("{SELECT} WHERE expires_ms <= ?1 ORDER BY id"))?;
            Ok(query.query_map([now_ms], upload_row)?.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}
