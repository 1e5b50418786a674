//! The hub: takes jobs, hands out leases, accepts results, decides what follows. It moves bytes and never opens a media
//! file: it does not depend on `media`, so it cannot run ffmpeg. Decisions are made in `jobs`, state is kept in `store`;
//! what is here carries the one to the other.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
pub use kinora_jobs::admission::Limits as Admission;
use kinora_protocol::api::{NewJob, ScrubView};
use kinora_protocol::event::Event;
use kinora_protocol::machine::Machine;
use kinora_protocol::node::{NodeLimits, Shared};
use kinora_protocol::{ErrorCode, Failure, JobId, NodeId};
use kinora_store::{Store, StoreError};
use kinora_vault::{Masters, Vault};
use tokio::sync::{Notify, broadcast};

pub use crate::app::access::oidc::Oidc;
pub use crate::app::log;
pub use crate::app::scan;
pub use crate::app::traces::Collector;

use crate::app::conditions::Conditions;
use crate::app::metrics::Flow;

pub mod app;
mod dispatch;
pub mod http;
mod nodes;
mod reconcile;
pub mod session;

/// Longest file that is taken over the network, in bytes, when nobody says otherwise.
pub const LONGEST_UPLOAD: u64 = 50_000_000_000;

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
    /// What is there is encrypted, and there is no key.
    #[error("{0}")]
    Encrypted(String),
    /// Data that the hub itself wrote makes no sense.
    #[error("{0}: this is a bug in Kinora")]
    Inconsistent(String),
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        let code = match &error {
            HubError::Store(store) => store.code(),
            HubError::Blob { .. } => ErrorCode::Disk,
            HubError::Encrypted(_) => ErrorCode::BadInput,
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
    data: PathBuf,
    blobs: PathBuf,
    metrics: app::metrics::Metrics,
    traces: app::traces::Traces,
    vault: Vault,
    /// What was found of older master keys.
    sealing: app::sealing::Sealing,
    /// What capabilities are sealed with.
    secret: [u8; 32],
    /// How nodes find out that they have the same files.
    shared: Mutex<Option<Shared>>,
    started_ms: i64,
    /// Bytes that jobs have moved between machines and the store has not heard of.
    moved: Mutex<HashMap<JobId, u64>>,
    /// Held while these are written, so that none is counted twice or not at all.
    moving: tokio::sync::RwLock<()>,
    /// Held while it is written whether a node gets work.
    standings: tokio::sync::Mutex<()>,
    /// Who is at which upload.
    uploads: app::uploads::Uploads,
    /// What is coming for whom.
    coming: app::quota::Coming,
    /// Whether all is well, as it was last looked at.
    looked: app::health::Looked,
    /// How the looking for malware goes.
    scans: app::scan::Scans,
    /// What jobs wait for.
    conditions: Mutex<BTreeMap<JobId, Conditions>>,
    /// Held by many while files go, and by one while a copy of all is taken.
    kept: tokio::sync::RwLock<()>,
    /// Held while a copy is taken.
    backups: tokio::sync::Mutex<()>,
    /// Held while media comes or goes, so that nobody deletes what another has just brought.
    library: tokio::sync::Mutex<()>,
    /// The look at all stored bytes that goes on, or was the last.
    scrub: Mutex<ScrubView>,
    /// Which webhooks are being told something.
    telling: app::webhooks::send::Busy,
    /// What results that are archives hold.
    packages: app::packages::Packages,
    /// What is known of watched folders besides what is stored.
    folders: app::folders::Looks,
    events: broadcast::Sender<Event>,
    /// Rung when a task may have become ready.
    work: Notify,
    nodes: nodes::Nodes,
    access: app::access::Access,
    settings: Settings,
}

/// What an operator can set.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Chunks at once per node; chosen by encoder and cores when absent.
    pub jobs: Option<u32>,
    /// Folders below which jobs may name files, as they really are.
    pub allowed_folders: Vec<PathBuf>,
    /// Whether what was found out of a source is kept for later jobs, as long as its size and time stay.
    pub remember_sources: bool,
    /// What jobs are made with that do not say it themselves.
    pub job_defaults: JobDefaults,
    /// What holds for nodes whose own machine says nothing else.
    pub node_limits: NodeLimits,
    /// What jobs of `cluster` clients are made with.
    pub cluster: ClusterDefaults,
    /// Longest file that is taken over the network, in bytes; [`LONGEST_UPLOAD`] when absent.
    pub longest_upload: Option<u64>,
    /// Requests that a key or a login may make in a second, for long; any number when absent.
    pub requests_per_second: Option<NonZeroU32>,
    /// Bytes of media that are kept for a user that has no number of its own; any number when absent.
    pub quota: Option<u64>,
    /// Origins whose web pages may talk to the hub, such as `https://studio.example`; `*` is any.
    pub allowed_origins: Vec<String>,
    /// Names by which browsers may call the hub besides addresses and `localhost`; any when absent.
    pub names: Option<Vec<String>>,
    /// Nobody but who sits at this machine can reach the hub: they may do everything while there are no users.
    pub open: bool,
    /// Proxies that are believed for whom they ask, and whether that was encrypted.
    pub trusted_proxies: Vec<IpNet>,
    /// The authority that signs the hub's certificates, as PEM, when clients have to be told; it may change.
    pub authority: Option<Arc<RwLock<String>>>,
    /// Seconds that the identity of a machine that works is good for.
    pub node_identity_seconds: u32,
    /// Where users are known besides.
    pub oidc: Option<Oidc>,
    /// The log of the process, where it can be changed.
    pub log: Option<Arc<dyn log::Log>>,
    /// Who is told what jobs were at and for how long; nobody when absent.
    pub collector: Option<Collector>,
    /// What opens files that are encrypted where they lie; they are not when absent.
    pub masters: Option<Masters>,
    /// Where files that are encrypted are for a moment when a program has to read them. Nobody else may look there.
    pub clear: Option<PathBuf>,
    /// What looks for malware; nobody does when absent.
    pub scanner: Option<Arc<dyn scan::Scanner>>,
    /// What files may have; anything when absent.
    pub admission: Option<Admission>,
    /// Whether nodes find out what is to be known about media as soon as it comes.
    pub describe: bool,
    /// Hosts that media may be fetched from though they are not on the internet.
    pub import_from: Vec<String>,
    /// The hub's machine.
    pub machine: Machine,
    /// The node that lives and dies with this process: what it holds at start is from a process that is gone.
    pub own_node: Option<NodeId>,
}

/// What a job is made with that does not say it itself.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct JobDefaults {
    /// Nodes that have to be there before it starts.
    pub required_nodes: Option<u32>,
    /// Wished length of chunks, in seconds.
    pub chunk_seconds: Option<f64>,
    /// Tries of each task.
    pub max_attempts: Option<u32>,
    /// Seconds before a task that failed is tried again.
    pub retry_delay: Option<f64>,
    /// Seconds after which it fails.
    pub deadline_seconds: Option<u32>,
}

impl JobDefaults {
    /// Fills in what a job does not say.
    pub(crate) fn fill(&self, job: NewJob) -> NewJob {
        // Nodes with certain tags are others than those that the operator counted.
        let required = self.required_nodes.filter(|_| job.tags.is_empty());
        let mut job = NewJob {
            required_nodes: job.required_nodes.or(required),
            deadline_seconds: job.deadline_seconds.or(self.deadline_seconds),
            ..job
        };
        let chunks = &mut job.recipe.chunks;
        chunks.seconds = chunks.seconds.or(self.chunk_seconds);
        chunks.max_attempts = chunks.max_attempts.or(self.max_attempts);
        chunks.retry_delay = chunks.retry_delay.or(self.retry_delay);
        job
    }
}

/// What a job that comes as a bare file name is made with.
#[derive(Debug, Clone, Default)]
pub struct ClusterDefaults {
    /// Parameters as for ffmpeg, from the allow-list.
    pub ffmpeg_params: Option<String>,
    /// Name of the result.
    pub output_name: Option<String>,
}

impl Hub {
    /// Origins whose web pages may talk to the hub.
    pub(crate) fn allowed_origins(&self) -> &[String] {
        &self.inner.settings.allowed_origins
    }

    /// Names by which browsers may call the hub; any when absent.
    pub(crate) fn names(&self) -> Option<&[String]> {
        self.inner.settings.names.as_deref()
    }

    /// Proxies that are believed for whom they ask.
    pub(crate) fn trusted_proxies(&self) -> &[IpNet] {
        &self.inner.settings.trusted_proxies
    }

    /// What jobs of `cluster` clients are made with.
    pub fn cluster_defaults(&self) -> &ClusterDefaults {
        &self.inner.settings.cluster
    }

    /// Opens the store at `data/store.db` and goes on where it was.
    ///
    /// # Errors
    /// When the store cannot be opened: in use, damaged, from a newer version, or no disk.
    pub async fn open(data: &Path, settings: Settings) -> Result<Self> {
        let store = Store::open(&data.join("store.db")).await?;
        let (place, masters) = (data.to_owned(), settings.masters.clone());
        app::backup::drop_left(data);
        let opened = tokio::task::spawn_blocking(move || app::sealing::open(&place, masters)).await;
        let vault = opened.map_err(|e| HubError::Inconsistent(format!("opening files stopped ({e})")))??;
        let access = app::access::Access::open(&store, &settings).await?;
        let (events, _) = broadcast::channel(EVENT_BACKLOG);
        let metrics = app::metrics::Metrics::new();
        let inner = Inner {
            secret: secret(&store).await?,
            shared: Mutex::default(),
            store,
            data: data.to_owned(),
            blobs: data.join("blobs"),
            traces: app::traces::Traces::new(settings.collector.is_some(), metrics.spans()),
            metrics,
            vault,
            sealing: app::sealing::Sealing::default(),
            started_ms: now_ms(),
            moved: Mutex::default(),
            moving: tokio::sync::RwLock::default(),
            standings: tokio::sync::Mutex::default(),
            uploads: app::uploads::Uploads::default(),
            coming: app::quota::Coming::default(),
            looked: app::health::Looked::default(),
            scans: app::scan::Scans::default(),
            conditions: Mutex::default(),
            kept: tokio::sync::RwLock::default(),
            backups: tokio::sync::Mutex::default(),
            library: tokio::sync::Mutex::default(),
            scrub: Mutex::default(),
            telling: app::webhooks::send::Busy::default(),
            packages: app::packages::Packages::default(),
            folders: app::folders::Looks::default(),
            events,
            work: Notify::new(),
            nodes: nodes::Nodes::default(),
            access,
            settings,
        };
        let hub = Self { inner: Arc::new(inner) };
        if let Some(node) = &hub.inner.settings.own_node {
            hub.store().release_node(node, now_ms()).await?;
        }
        hub.remember_nodes().await?;
        for job in hub.store().open_jobs().await? {
            hub.watch_job(job.id, &job.request);
        }
        hub.check_stored_blobs().await?;
        hub.end_blocked().await?;
        hub.open_waiting_gates().await?;
        hub.wait_for_nodes().await?;
        Ok(hub)
    }

    /// Nodes work on while the hub is away, and come back: their leases must not end while nobody could hear them.
    pub(crate) async fn wait_for_nodes(&self) -> Result<()> {
        let until = now_ms() + i64::try_from(RETURN.as_millis()).unwrap_or(0);
        Ok(self.store().extend_leases(until).await?)
    }

    /// Lets go of the store.
    ///
    /// # Errors
    /// When its last pages cannot be written.
    pub async fn close(&self) -> Result<()> {
        let counted = self.write_moved().await;
        self.inner.store.close().await?;
        counted
    }

    /// Hears of what happens from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }

    fn emit(&self, event: Event) {
        app::log::tell(&event);
        self.metrics().note(&event);
        self.traces().note(&event);
        // Nobody may be listening.
        let _ = self.inner.events.send(event);
    }

    fn unwritten(&self) -> MutexGuard<'_, HashMap<JobId, u64>> {
        self.inner.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts bytes that a task moved.
    pub(crate) fn count_moved(&self, claimed: &kinora_store::Claimed, bytes: u64) {
        self.metrics().bytes(Flow::Work).inc_by(bytes);
        *self.unwritten().entry(claimed.job).or_default() += bytes;
    }

    /// Bytes that a job moved and the store has not heard of.
    pub(crate) fn moved(&self, job: JobId) -> u64 {
        self.unwritten().get(&job).copied().unwrap_or(0)
    }

    /// Tells the store what was moved.
    pub(crate) async fn write_moved(&self) -> Result<()> {
        let _nobody_looks = self.inner.moving.write().await;
        let moved = std::mem::take(&mut *self.unwritten());
        if moved.is_empty() {
            return Ok(());
        }
        let written = self.store().add_moved(moved.iter().map(|(job, bytes)| (*job, *bytes)).collect()).await;
        if written.is_err() {
            let mut kept = self.unwritten();
            for (job, bytes) in moved {
                *kept.entry(job).or_default() += bytes;
            }
        }
        Ok(written?)
    }

    /// What tells a process of its own whether it has the hub's files at hand. Written when somebody first asks.
    fn shared(&self) -> Result<Shared> {
        let mut left = self.inner.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = &*left {
            return Ok(shared.clone());
        }
        let shared = leave_mark(&self.inner.data, &self.inner.blobs)?;
        Ok(left.insert(shared).clone())
    }

    fn conditions(&self) -> MutexGuard<'_, BTreeMap<JobId, Conditions>> {
        self.inner.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self) -> &Store {
        &self.inner.store
    }
}

/// Writes what only those can read who have the hub's files at hand.
fn leave_mark(data: &Path, blobs: &Path) -> Result<Shared> {
    let disk = |e: std::io::Error| HubError::Blob { path: data.to_owned(), reason: e.to_string() };
    let absolute = |path: &Path| std::path::absolute(path).map_err(disk);
    let shared = Shared {
        blobs: absolute(blobs)?,
        file: absolute(&data.join("here"))?,
        text: random()?.to_hex().to_string(),
    };
    std::fs::write(&shared.file, &shared.text).map_err(disk)?;
    Ok(shared)
}

fn random() -> Result<blake3::Hash> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|e| HubError::Inconsistent(format!("the system gives no random numbers ({e})")))?;
    Ok(blake3::Hash::from_bytes(bytes))
}

/// The hub's secret, made once.
async fn secret(store: &Store) -> Result<[u8; 32]> {
    const KEY: &str = "capability_secret";
    if let Some(kept) = store.meta(KEY).await? {
        return Ok(*blake3::hash(kept.as_bytes()).as_bytes());
    }
    let text = random()?.to_hex().to_string();
    store.put_meta(KEY, &text).await?;
    Ok(*blake3::hash(text.as_bytes()).as_bytes())
}

/// Does what waits for a disk on a thread for that.
pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

/// How long a lease lasts without being renewed.
pub(crate) const LEASE: Duration = Duration::from_secs(15);

/// How long nodes have to come back to a hub that was started again.
const RETURN: Duration = Duration::from_secs(30);

/// When a lease that is handed out or renewed now ends.
pub(crate) fn lease_until() -> i64 {
    now_ms() + i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since 1970, the store's clock on SQLite.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
