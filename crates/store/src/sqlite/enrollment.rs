//! How machines are let in, and by what they are known then.

use kinora_protocol::{EnrollmentId, NodeId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fault::Fault;
use super::{Store, convert};
use crate::access::{Enrolled, EnrollmentRow, NodeKeyRow};
use crate::error::Result;

fn enrollment_row(row: &Row<'_>) -> rusqlite::Result<EnrollmentRow> {
    Ok(EnrollmentRow {
        id: convert::parsed(row, "id")?,
        hash: row.get("hash")?,
        name: row.get("name")?,
        made_by: row.get("made_by")?,
        created_ms: row.get("created_ms")?,
        expires_ms: row.get("expires_ms")?,
        used_ms: row.get("used_ms")?,
        node: row.get::<_, Option<String>>("node")?.map(NodeId::from),
    })
}

fn node_key(conn: &Connection, node: &NodeId) -> Result<Option<NodeKeyRow>, Fault> {
    let mut query = conn.prepare_cached("SELECT * FROM node_keys WHERE node = ?1")?;
    let row = |row: &Row<'_>| {
        Ok(NodeKeyRow {
            node: NodeId::from(row.get::<_, String>("node")?),
            public_key: row.get("public_key")?,
            enrollment: convert::parsed(row, "enrollment")?,
            enrolled_ms: row.get("enrolled_ms")?,
            revoked_ms: row.get("revoked_ms")?,
        })
    };
    Ok(query.query_row([node.as_str()], row).optional()?)
}

impl Store {
    /// Keeps what lets a machine in.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn put_enrollment(&self, row: &EnrollmentRow) -> Result<()> {
        let row = row.clone();
        self.write(move |conn| {
            conn.prepare_cached(
                "INSERT INTO enrollments (id, hash, name, made_by, created_ms, expires_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                row.id.to_string(),
                row.hash,
                row.name,
                row.made_by,
                row.created_ms,
                row.expires_ms
            ])?;
            Ok(())
        })
        .await
    }

    /// What lets a machine in, or did.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn enrollment(&self, id: EnrollmentId) -> Result<Option<EnrollmentRow>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached("SELECT * FROM enrollments WHERE id = ?1")?;
            Ok(query.query_row([id.to_string()], enrollment_row).optional()?)
        })
        .await
    }

    /// What lets machines in, or did, newest first.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn enrollments(&self) -> Result<Vec<EnrollmentRow>> {
        self.read(|conn| {
            let mut query = conn.prepare_cached("SELECT * FROM enrollments ORDER BY created_ms DESC, id")?;
            Ok(query.query_map([], enrollment_row)?.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// Forgets what lets a machine in; one that is in stays in. Whether there was such a thing.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn drop_enrollment(&self, id: EnrollmentId) -> Result<bool> {
        self.write(move |conn| {
            let mut delete = conn.prepare_cached("DELETE FROM enrollments WHERE id = ?1")?;
            Ok(delete.execute([id.to_string()])? == 1)
        })
        .await
    }

    /// Lets a machine in, which is known by its key from then on. It takes what nobody has used, and uses it up.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn enroll(&self, hash: &str, key: &NodeKeyRow) -> Result<Enrolled> {
        let (hash, key) = (hash.to_owned(), key.clone());
        self.write(move |conn| {
            let (id, now_ms) = (key.enrollment.to_string(), key.enrolled_ms);
            let found = conn
                .prepare_cached("SELECT expires_ms, used_ms FROM enrollments WHERE id = ?1 AND hash = ?2")?
                .query_row([&id, &hash], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?)))
                .optional()?;
            match found {
                None => return Ok(Enrolled::Unknown),
                Some((_, Some(_))) => return Ok(Enrolled::Used),
                Some((expires_ms, None)) if expires_ms <= now_ms => return Ok(Enrolled::Expired),
                Some(_) => {}
            }
            let known = node_key(conn, &key.node)?;
            if known.is_some_and(|known| known.revoked_ms.is_none() && known.public_key != key.public_key) {
                return Ok(Enrolled::Taken);
            }
            conn.prepare_cached("UPDATE enrollments SET used_ms = ?2, node = ?3 WHERE id = ?1")?
                .execute(params![id, now_ms, key.node.as_str()])?;
            conn.prepare_cached(
                "INSERT INTO node_keys (node, public_key, enrollment, enrolled_ms) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (node) DO UPDATE SET public_key = excluded.public_key, enrollment = excluded.enrollment,
                   enrolled_ms = excluded.enrolled_ms, revoked_ms = NULL",
            )?
            .execute(params![key.node.as_str(), key.public_key, id, now_ms])?;
            Ok(Enrolled::In)
        })
        .await
    }

    /// By what a machine is known.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn node_key(&self, node: &NodeId) -> Result<Option<NodeKeyRow>> {
        let node = node.clone();
        self.read(move |conn| node_key(conn, &node)).await
    }

    /// Lets a machine do nothing any more. Whether it was let in.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn revoke_node(&self, node: &NodeId, now_ms: i64) -> Result<bool> {
        let node = node.clone();
        self.write(move |conn| {
            let mut revoke = conn.prepare_cached(
                "UPDATE node_keys SET revoked_ms = ?2 WHERE node = ?1 AND revoked_ms IS NULL",
            )?;
            Ok(revoke.execute(params![node.as_str(), now_ms])? == 1)
        })
        .await
    }
}
