//! Nodes: what people do to them, and those that only register.

use kinora_protocol::NodeId;
use kinora_protocol::node::ToNode;
use kinora_store::NodeRow;

use crate::{Hub, Result, now_ms};

impl Hub {
    /// Lets a node finish what it has and take nothing more, until it is undrained, also if it is away. Whether it is known.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn drain_node(&self, node: &NodeId) -> Result<bool> {
        let known = self.store().nodes().await?.iter().any(|row| row.id == *node);
        if known {
            self.inner.nodes.drain(node);
            self.keep_standing(node).await?;
        }
        Ok(known)
    }

    /// Gives a draining or quarantined node work again. Whether it is known.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn undrain_node(&self, node: &NodeId) -> Result<bool> {
        let known = self.inner.nodes.undrain(node);
        self.keep_standing(node).await?;
        self.ring();
        Ok(known)
    }

    /// Writes whether a node gets work as it is decided now: of two changes at once, whichever is written last, the store
    /// ends up with what holds.
    pub(crate) async fn keep_standing(&self, node: &NodeId) -> Result<()> {
        let _one_at_a_time = self.inner.standings.lock().await;
        Ok(self.store().withhold(node, self.inner.nodes.withheld(node).as_ref()).await?)
    }

    /// Takes up what was decided of nodes before this start.
    pub(crate) async fn remember_nodes(&self) -> Result<()> {
        for row in self.store().nodes().await? {
            if let Some(withheld) = row.withheld {
                self.inner.nodes.remember(row.id, withheld);
            }
        }
        Ok(())
    }

    /// Forgets a node that is not connected; `None` when it is, else whether it was known.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_node(&self, node: &NodeId) -> Result<Option<bool>> {
        if self.inner.nodes.with(node, |_| ()).is_some() {
            return Ok(None);
        }
        self.inner.nodes.undrain(node);
        Ok(Some(self.store().forget_node(node).await?))
    }

    /// Notes a node that does not speak the node protocol.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn note_node(&self, row: &NodeRow) -> Result<()> {
        Ok(self.store().put_node(row).await?)
    }

    /// A node says that it lives. Whether it is known.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn seen_node(&self, node: &NodeId) -> Result<bool> {
        let Some(row) = self.store().nodes().await?.into_iter().find(|row| row.id == *node) else {
            return Ok(false);
        };
        self.store().put_node(&NodeRow { last_seen_ms: now_ms(), ..row }).await?;
        Ok(true)
    }

    /// Sends a node away. Whether it is there.
    pub fn disconnect_node(&self, node: &NodeId) -> bool {
        // The node in the hub's own process cannot go without it.
        if self.inner.settings.own_node.as_ref() == Some(node) {
            return false;
        }
        self.inner.nodes.with(node, |node| node.tell(ToNode::Disconnect)).is_some()
    }
}
