//! Media that was given to the hub to keep.

use std::path::PathBuf;

use kinora_protocol::access::{Kind, Sight};
use kinora_protocol::media::Scan;
use kinora_protocol::{Digest, UserId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fault::Fault;
use super::{Store, convert, grants};
use crate::error::{Result, StoreError};
use crate::media::LibraryRow;

fn library_row(row: &Row<'_>) -> rusqlite::Result<LibraryRow> {
    Ok(LibraryRow {
        digest: convert::digest(row, "digest")?,
        name: row.get("name")?,
        size: u64::try_from(row.get::<_, i64>("size")?).unwrap_or(0),
        path: PathBuf::from(row.get::<_, String>("path")?),
        created_ms: row.get("created_ms")?,
        verdict: convert::from_json_opt(row, "verdict")?,
        scan: convert::from_json_opt(row, "scan")?,
    })
}

fn find(conn: &Connection, digest: &Digest) -> Result<Option<LibraryRow>, Fault> {
    let mut query = conn.prepare_cached("SELECT * FROM library WHERE digest = ?1")?;
    Ok(query.query_row([digest.as_str()], library_row).optional()?)
}

/// Media made ready on the caller's thread.
pub(super) struct Kept {
    media: LibraryRow,
    path: String,
    owner: Option<UserId>,
}

impl Kept {
    pub(super) fn new(media: &LibraryRow, owner: Option<UserId>) -> Result<Self, StoreError> {
        let path = media.path.to_str().map(str::to_owned);
        let path = path.ok_or_else(|| StoreError::Invalid {
            what: format!("a path that is no text: {:?}", media.path),
        })?;
        Ok(Self { media: media.clone(), path, owner })
    }
}

/// Inserts media, unless the same content is there; gives the row that is there now.
pub(super) fn put(conn: &Connection, Kept { media, path, owner }: &Kept) -> Result<LibraryRow, Fault> {
    conn.prepare_cached(
        "INSERT INTO library (digest, name, size, path, created_ms) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (digest) DO NOTHING",
    )?
    .execute(params![
        media.digest.as_str(),
        media.name,
        convert::signed(media.size),
        path,
        media.created_ms
    ])?;
    grants::own(conn, (Kind::Media, media.digest.as_str()), *owner)?;
    find(conn, &media.digest)?.ok_or_else(|| Fault::NotFound(format!("media {}", media.digest)))
}

impl Store {
    /// Keeps media, unless the same content is there; it is the owner's in either case. Gives the row that is there now.
    ///
    /// # Errors
    /// `Invalid` when its path is no text; the disk fails or the store is closed.
    pub async fn put_library(&self, media: &LibraryRow, owner: Option<UserId>) -> Result<LibraryRow> {
        let media = Kept::new(media, owner)?;
        self.write(move |conn| put(conn, &media)).await
    }

    /// Media by its content.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn find_library(&self, digest: &Digest) -> Result<Option<LibraryRow>> {
        let digest = digest.clone();
        self.read(move |conn| find(conn, &digest)).await
    }

    /// Keeps what a look for malware came to.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn put_scan(&self, media: &Digest, scan: &Scan) -> Result<()> {
        let (media, scan) = (media.clone(), convert::json(scan)?);
        self.write(move |conn| {
            conn.prepare_cached("UPDATE library SET scan = ?2 WHERE digest = ?1")?
                .execute(params![media.as_str(), scan])?;
            Ok(())
        })
        .await
    }

    /// Media that was not looked at for malware, oldest first.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn unscanned(&self, limit: u32) -> Result<Vec<LibraryRow>> {
        self.read(move |conn| {
            let mut query =
                conn.prepare_cached("SELECT * FROM library WHERE scan IS NULL ORDER BY created_ms LIMIT ?1")?;
            Ok(query.query_map([limit], library_row)?.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// How much that is.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn count_unscanned(&self) -> Result<u64> {
        self.read(|conn| {
            let mut query = conn.prepare_cached("SELECT count(*) FROM library WHERE scan IS NULL")?;
            Ok(query.query_row([], |row| row.get::<_, i64>(0))?.unsigned_abs())
        })
        .await
    }

    /// All media that somebody gets to see, newest first.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn library(&self, sight: &Sight) -> Result<Vec<LibraryRow>> {
        let seen_by = grants::seen_by(sight)?;
        self.read(move |conn| {
            let mut query = conn.prepare_cached(&format!(
                "SELECT * FROM library WHERE {} ORDER BY created_ms DESC, digest",
                grants::seen(Kind::Media, "library.digest", 1)
            ))?;
            Ok(query.query_map([seen_by], library_row)?.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}
