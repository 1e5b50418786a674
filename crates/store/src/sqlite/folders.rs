//! Folders that are watched: what is in them, and what became of that.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kinora_protocol::access::{Kind, Sight};
use kinora_protocol::folder::{FileCounts, FileState};
use kinora_protocol::node::FileMark;
use kinora_protocol::{Digest, FolderId, UserId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fault::Fault;
use super::{Store, convert, grants};
use crate::error::Result;
use crate::folder::{FolderFileRow, FolderResult, FolderRow, Undertaking};

const SELECT: &str = "SELECT id, folder, enabled, created_ms FROM folders";
const FILES: &str = "SELECT f.folder, f.digest, f.name, f.size, f.modified_ns, f.state, f.job, f.result, f.error, f.updated_ms";

fn folder_row(row: &Row<'_>) -> rusqlite::Result<FolderRow> {
    Ok(FolderRow {
        id: convert::parsed(row, "id")?,
        folder: convert::from_json(row, "folder")?,
        enabled: row.get("enabled")?,
        created_ms: row.get("created_ms")?,
    })
}

fn mark(row: &Row<'_>) -> rusqlite::Result<FileMark> {
    let number = |column| row.get::<_, i64>(column).map(|number| u64::try_from(number).unwrap_or(0));
    Ok(FileMark { size: number("size")?, modified_ns: number("modified_ns")? })
}

fn file_row(row: &Row<'_>) -> rusqlite::Result<FolderFileRow> {
    Ok(FolderFileRow {
        folder: convert::parsed(row, "folder")?,
        digest: convert::digest(row, "digest")?,
        name: row.get("name")?,
        mark: mark(row)?,
        state: convert::named(row, "state", &FileState::ALL, FileState::name)?,
        job: convert::parsed_opt(row, "job")?,
        result: row.get::<_, Option<String>>("result")?.map(PathBuf::from),
        error: row.get("error")?,
        updated_ms: row.get("updated_ms")?,
    })
}

/// A path as a column; those of watched folders are text.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Files of a folder for which a condition holds, with their jobs.
fn undertakings(
    conn: &Connection,
    folder: FolderId,
    condition: &str,
) -> std::result::Result<Vec<Undertaking>, Fault> {
    let mut query = conn.prepare_cached(&format!(
        "{FILES}, j.phase, j.failure FROM folder_files f LEFT JOIN jobs j ON j.id = f.job
         WHERE f.folder = ?1 AND {condition} ORDER BY f.updated_ms, f.digest"
    ))?;
    let rows = query.query_map([folder.to_string()], |row| {
        let there = row.get::<_, Option<String>>("phase")?.is_some();
        let job = match there {
            true => Some((convert::phase(row)?, convert::from_json_opt(row, "failure")?)),
            false => None,
        };
        Ok(Undertaking { file: file_row(row)?, job })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

impl Store {
    /// Keeps a folder.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn put_folder(&self, row: &FolderRow, owner: Option<UserId>) -> Result<()> {
        let (id, enabled, created_ms) = (row.id.to_string(), row.enabled, row.created_ms);
        let folder = convert::json(&row.folder)?;
        self.write(move |conn| {
            conn.prepare_cached(
                "INSERT INTO folders (id, folder, enabled, created_ms) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![id, folder, enabled, created_ms])?;
            grants::own(conn, (Kind::Folder, &id), owner)?;
            Ok(())
        })
        .await
    }

    /// All folders that somebody gets to see, oldest first.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn folders(&self, sight: &Sight) -> Result<Vec<FolderRow>> {
        let seen_by = grants::seen_by(sight)?;
        self.read(move |conn| {
            let seen = grants::seen(Kind::Folder, "folders.id", 1);
            let mut query = conn.prepare_cached(&format!("{SELECT} WHERE {seen} ORDER BY id"))?;
            Ok(query.query_map([seen_by], folder_row)?.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// One folder.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn folder(&self, folder: FolderId) -> Result<Option<FolderRow>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?;
            Ok(query.query_row([folder.to_string()], folder_row).optional()?)
        })
        .await
    }

    /// Forgets a folder and what became of its files. Whether there was one.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn drop_folder(&self, folder: FolderId) -> Result<bool> {
        self.write(move |conn| {
            let mut delete = conn.prepare_cached("DELETE FROM folders WHERE id = ?1")?;
            Ok(delete.execute([folder.to_string()])? == 1)
        })
        .await
    }

    /// Sets whether files are taken up. Whether there is such a folder.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn enable_folder(&self, folder: FolderId, enabled: bool) -> Result<bool> {
        self.write(move |conn| {
            let mut update = conn.prepare_cached("UPDATE folders SET enabled = ?2 WHERE id = ?1")?;
            Ok(update.execute(params![folder.to_string(), enabled])? == 1)
        })
        .await
    }

    /// What files were when they were last dealt with, by their paths below the folder.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn folder_marks(&self, folder: FolderId) -> Result<BTreeMap<String, FileMark>> {
        self.read(move |conn| {
            let sql = "SELECT name, size, modified_ns FROM folder_marks WHERE folder = ?1";
            let mut query = conn.prepare_cached(sql)?;
            let rows = query.query_map([folder.to_string()], |row| Ok((row.get("name")?, mark(row)?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// Notes that a file was dealt with as it is.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn put_folder_mark(&self, folder: FolderId, name: &str, mark: FileMark) -> Result<()> {
        let name = name.to_owned();
        self.write(move |conn| {
            conn.prepare_cached(
                "INSERT INTO folder_marks (folder, name, size, modified_ns)
                 SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM folders WHERE id = ?1)
                 ON CONFLICT (folder, name) DO UPDATE SET size = excluded.size, modified_ns = excluded.modified_ns",
            )?
            .execute(params![folder.to_string(), name, convert::signed(mark.size), convert::signed(mark.modified_ns)])?;
            Ok(())
        })
        .await
    }

    /// What became of content in a folder.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn folder_file(&self, folder: FolderId, digest: &Digest) -> Result<Option<FolderFileRow>> {
        let digest = digest.to_string();
        self.read(move |conn| {
            let sql = format!("{FILES} FROM folder_files f WHERE f.folder = ?1 AND f.digest = ?2");
            let mut query = conn.prepare_cached(&sql)?;
            Ok(query.query_row(params![folder.to_string(), digest], file_row).optional()?)
        })
        .await
    }

    /// Whether content was made of a file in any folder, even one that is forgotten.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn is_folder_result(&self, digest: &Digest) -> Result<bool> {
        let digest = digest.to_string();
        self.read(move |conn| {
            let sql = "SELECT EXISTS (SELECT 1 FROM folder_results WHERE digest = ?1)";
            Ok(conn.prepare_cached(sql)?.query_row([digest], |row| row.get(0))?)
        })
        .await
    }

    /// What results of a source with this place were, also where the folder was forgotten and is watched anew.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn folder_results_at(&self, place: &Path, source: &Path) -> Result<Vec<Digest>> {
        let (place, source) = (text(place), text(source));
        self.read(move |conn| {
            let sql = "SELECT digest FROM folder_results WHERE place = ?1 AND source = ?2";
            let mut query = conn.prepare_cached(sql)?;
            let rows = query.query_map(params![place, source], |row| convert::digest(row, "digest"))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// Keeps what became of content, over what was kept of it before, and what was `made` of it.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn put_folder_file(&self, file: &FolderFileRow, made: Option<&FolderResult>) -> Result<()> {
        let (file, made) = (file.clone(), made.cloned());
        self.write(move |conn| {
            let place = file.result.as_deref().map(text);
            if let Some(made) = &made {
                conn.prepare_cached(
                    "INSERT INTO folder_results (digest, place, source) VALUES (?1, ?2, ?3)
                     ON CONFLICT (digest) DO UPDATE SET place = excluded.place, source = excluded.source",
                )?
                .execute(params![made.digest.to_string(), place, text(&made.source)])?;
            }
            conn.prepare_cached(
                "INSERT INTO folder_files
                   (folder, digest, name, size, modified_ns, state, job, result, error, updated_ms)
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 WHERE EXISTS (SELECT 1 FROM folders WHERE id = ?1)
                 ON CONFLICT (folder, digest) DO UPDATE SET name = excluded.name, size = excluded.size,
                   modified_ns = excluded.modified_ns, state = excluded.state, job = excluded.job,
                   result = excluded.result, error = excluded.error, updated_ms = excluded.updated_ms",
            )?
            .execute(params![
                file.folder.to_string(),
                file.digest.to_string(),
                file.name,
                convert::signed(file.mark.size),
                convert::signed(file.mark.modified_ns),
                file.state.name(),
                file.job.map(|job| job.to_string()),
                place,
                file.error,
                file.updated_ms
            ])?;
            Ok(())
        })
        .await
    }

    /// Files whose jobs are to be looked at: those that are worked on, and failed ones whose jobs were started again.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn folder_undertakings(&self, folder: FolderId) -> Result<Vec<Undertaking>> {
        const OPEN: &str = "(f.state = 'working'
            OR (f.state = 'failed' AND j.phase NOT IN ('Completed', 'Failed', 'Cancelled'))
            OR (f.state = 'failed' AND j.phase = 'Completed' AND j.updated_ms > f.updated_ms))";
        self.read(move |conn| undertakings(conn, folder, OPEN)).await
    }

    /// Files with which something went wrong.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn folder_failures(&self, folder: FolderId) -> Result<Vec<Undertaking>> {
        self.read(move |conn| undertakings(conn, folder, "f.state = 'failed'")).await
    }

    /// Forgets that content was taken up, and that the file was dealt with.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn drop_folder_file(&self, file: &FolderFileRow) -> Result<()> {
        let (folder, digest, name) = (file.folder.to_string(), file.digest.to_string(), file.name.clone());
        self.write(move |conn| {
            conn.prepare_cached("DELETE FROM folder_files WHERE folder = ?1 AND digest = ?2")?
                .execute(params![folder, digest])?;
            conn.prepare_cached("DELETE FROM folder_marks WHERE folder = ?1 AND name = ?2")?
                .execute(params![folder, name])?;
            Ok(())
        })
        .await
    }

    /// What became of files of a folder, those that changed last first.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn folder_files(&self, folder: FolderId, limit: u32) -> Result<Vec<FolderFileRow>> {
        self.read(move |conn| {
            let sql = format!(
                "{FILES} FROM folder_files f WHERE f.folder = ?1 ORDER BY f.updated_ms DESC, f.digest LIMIT ?2"
            );
            let mut query = conn.prepare_cached(&sql)?;
            let rows = query.query_map(params![folder.to_string(), limit], file_row)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// How many files of a folder are in which state.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn folder_counts(&self, folder: FolderId) -> Result<FileCounts> {
        self.read(move |conn| {
            let sql = "SELECT state, count(*) AS count FROM folder_files WHERE folder = ?1 GROUP BY state";
            let mut query = conn.prepare_cached(sql)?;
            let mut counts = FileCounts::default();
            let mut rows = query.query([folder.to_string()])?;
            while let Some(row) = rows.next()? {
                let count = u64::try_from(row.get::<_, i64>("count")?).unwrap_or(0);
                match convert::named(row, "state", &FileState::ALL, FileState::name)? {
                    FileState::Working => counts.working = count,
                    FileState::Done => counts.done = count,
                    FileState::Failed => counts.failed = count,
                }
            }
            Ok(counts)
        })
        .await
    }
}
