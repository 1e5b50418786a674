//! The hub: takes jobs, hands out leases, accepts results, decides what follows. It moves bytes and never opens a media
//! file: it does not depend on `media`, so it cannot run ffmpeg. Decisions are made in `jobs`, state is kept in `store`;
//! what is here carries the one to the other.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use kinora_protocol::event::Event;
use kinora_protocol::{ErrorCode, Failure, NodeId};
use kinora_store::{Store, StoreError};
use tokio::sync::{Notify, broadcast};

pub mod app;
pub mod node;
mod reconcile;

/// Events that a slow watcher may be behind before it misses some.
const EVENT_BACKLOG: usize = 4096;

/// Something that the hub cannot do.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A blob cannot be read or is not what it was.
    #[error("{}: {reason}", path.display())]
    Blob {
        /// The blob.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Data that the hub itself wrote makes no sense.
    #[error("{0}: this is a bug in Kinora")]
    Inconsistent(String),
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        let code = match &error {
            HubError::Store(store) => store.code(),
            HubError::Blob { .. } => ErrorCode::Disk,
            HubError::Inconsistent(_) => ErrorCode::Internal,
        };
        Failure::new(code, error.to_string())
    }
}

/// Result of this crate.
pub type Result<T, E = HubError> = std::result::Result<T, E>;

/// The hub. Clones share it.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    blobs: PathBuf,
    events: broadcast::Sender<Event>,
    /// Rung when a task may have become ready.
    work: Notify,
    nodes: Mutex<Vec<node::Connected>>,
    settings: Settings,
}

/// What an operator can set.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Chunks at once per node; chosen by encoder and cores when absent.
    pub jobs: Option<u32>,
    /// The node that lives and dies with this process: what it holds at start is from a process that is gone.
    pub own_node: Option<NodeId>,
}

impl Hub {
    /// Opens the store at `data/store.db` and goes on where it was.
    ///
    /// # Errors
    /// When the store cannot be opened: in use, damaged, from a newer version, or no disk.
    pub async fn open(data: &Path, settings: Settings) -> Result<Self> {
        let store = Store::open(&data.join("store.db")).await?;
        let (events, _) = broadcast::channel(EVENT_BACKLOG);
        let inner = Inner {
            store,
            blobs: data.join("blobs"),
            events,
            work: Notify::new(),
            nodes: Mutex::new(Vec::new()),
            settings,
        };
        let hub = Self { inner: Arc::new(inner) };
        if let Some(node) = &hub.inner.settings.own_node {
            hub.store().release_node(node, now_ms()).await?;
        }
        hub.check_stored_blobs().await?;
        hub.open_waiting_gates().await?;
        Ok(hub)
    }

    /// Lets go of the store.
    ///
    /// # Errors
    /// When its last pages cannot be written.
    pub async fn close(&self) -> Result<()> {
        Ok(self.inner.store.close().await?)
    }

    /// Hears of what happens from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }

    fn emit(&self, event: Event) {
        // Nobody may be listening.
        let _ = self.inner.events.send(event);
    }

    fn store(&self) -> &Store {
        &self.inner.store
    }

    fn nodes(&self) -> MutexGuard<'_, Vec<node::Connected>> {
        self.inner.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a node's connection.
    fn forget(&self, node: &NodeId) {
        self.nodes().retain(|n| n.id != *node);
    }
}

/// Milliseconds since 1970, the store's clock on SQLite.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
