//! Nodes as they last said hello.

use kinora_protocol::NodeId;
use rusqlite::{OptionalExtension as _, params};

use super::{Store, convert};
use crate::error::Result;
use crate::node::{NodeRow, Withheld};

impl Store {
    /// Notes what a node said of itself. Whether it gets work stays as it was.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn put_node(&self, node: &NodeRow) -> Result<()> {
        let (capabilities, slots) = (convert::json(&node.capabilities)?, convert::json(&node.slots)?);
        let (id, name, seen) = (node.id.clone(), node.name.clone(), node.last_seen_ms);
        let sandbox = node.capabilities.sandbox.name();
        self.write(move |conn| {
            conn.prepare_cached(
                "INSERT INTO nodes (id, capabilities, slots, last_seen_ms, name, sandbox) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name, capabilities = excluded.capabilities, slots = excluded.slots,
                   sandbox = excluded.sandbox, last_seen_ms = max(last_seen_ms, excluded.last_seen_ms)",
            )?
            .execute(params![id.as_str(), capabilities, slots, seen, name, sandbox])?;
            Ok(())
        })
        .await
    }

    /// Notes that a node gets no work, or again gets it.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn withhold(&self, node: &NodeId, withheld: Option<&Withheld>) -> Result<()> {
        let (id, withheld) = (node.clone(), withheld.map(convert::json).transpose()?);
        self.write(move |conn| {
            conn.prepare_cached("UPDATE nodes SET withheld = ?2 WHERE id = ?1")?
                .execute(params![id.as_str(), withheld])?;
            Ok(())
        })
        .await
    }

    /// What a node that is known is called.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn node_name(&self, node: &NodeId) -> Result<Option<String>> {
        let id = node.clone();
        self.read(move |conn| {
            let mut query = conn.prepare_cached("SELECT name FROM nodes WHERE id = ?1")?;
            Ok(query.query_row([id.as_str()], |row| row.get(0)).optional()?)
        })
        .await
    }

    /// Drops what is known of a node. Its attempts stay in the history of their tasks. Whether it was known.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn forget_node(&self, node: &NodeId) -> Result<bool> {
        let id = node.clone();
        self.write(move |conn| {
            // Nor is it let in any more.
            conn.prepare_cached("DELETE FROM node_keys WHERE node = ?1")?.execute([id.as_str()])?;
            let gone = conn.prepare_cached("DELETE FROM nodes WHERE id = ?1")?.execute([id.as_str()])?;
            Ok(gone == 1)
        })
        .await
    }

    /// All nodes, by id.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn nodes(&self) -> Result<Vec<NodeRow>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT id, name, capabilities, slots, last_seen_ms, withheld FROM nodes ORDER BY id",
            )?;
            let rows = query.query_map([], |row| {
                Ok(NodeRow {
                    id: NodeId::from(row.get::<_, String>("id")?),
                    name: row.get("name")?,
                    capabilities: convert::from_json(row, "capabilities")?,
                    slots: convert::from_json(row, "slots")?,
                    last_seen_ms: row.get("last_seen_ms")?,
                    withheld: convert::from_json_opt(row, "withheld")?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}
