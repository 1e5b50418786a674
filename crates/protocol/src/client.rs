//! The typed client of a hub's HTTP surface: the command line, workers and tests talk to a hub by it and by nothing else.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt as _;

use crate::api::{
    EventView, Import, JobView, LogView, MediaView, MetadataView, NewJob, NodeView, Page, PresetView,
    Problem, TaskView,
};
use crate::error::{ErrorCode, Failure};
use crate::id::{Digest, JobId, NodeId};
use crate::inference::ModelView;
use crate::proof::Proof;
use crate::routes;

mod access;
mod folders;
mod link;
mod objects;
mod proxies;
mod system;
mod trust;
mod upload;
mod webhooks;
mod work;

pub use crate::api::{JobVerb, NodeVerb};
pub use access::Shared;
pub use link::NodeLink;
use trust::Trust;
pub use work::Pieces;

/// How long a hub may take to answer at all.
const CONNECT: Duration = Duration::from_secs(10);

/// A connection that nobody uses for so long is closed, before the hub does that.
const IDLE: Duration = Duration::from_secs(20);

/// So often a request is made that comes too soon after others.
const PATIENT: u32 = 5;
/// Longer than this nobody waits without being told.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How long to wait before a request that came too soon after others is made again; not at all when that is long.
fn wait(answer: &Response) -> Option<Duration> {
    let seconds = answer.headers().get(reqwest::header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    let wait = Duration::from_secs(seconds);
    (answer.status() == reqwest::StatusCode::TOO_MANY_REQUESTS && wait <= LONGEST_WAIT).then_some(wait)
}

/// A hub, as seen from elsewhere. Clones share connections.
#[derive(Clone)]
pub struct Client {
    base: String,
    http: reqwest::Client,
    /// How connections are encrypted, for those that the HTTP library does not make.
    tls: Arc<rustls::ClientConfig>,
    /// Whom it believes.
    trust: Arc<Trust>,
    /// What goes with each request to show from whom it is.
    shown: Arc<RwLock<Option<String>>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.base)
    }
}

type Answer<T> = Result<T, Failure>;

/// How a hub is reached.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// By a proxy, where the system names one.
    AsTheSystemSays,
    /// Without one.
    Direct,
}

impl Client {
    /// For a hub at an address such as `http://127.0.0.1:8000`.
    ///
    /// # Errors
    /// When the address is none.
    pub fn new(hub: &str) -> Answer<Self> {
        let bad =
            |why: String| Failure::new(ErrorCode::BadInput, format!("{hub:?} is no address of a hub: {why}"));
        let base = hub.trim_end_matches('/').to_owned();
        if !["http://", "https://"].iter().any(|scheme| base.starts_with(scheme)) {
            return Err(bad("write http://HOST:PORT or https://HOST:PORT".to_owned()));
        }
        let url = reqwest::Url::parse(&base).map_err(|e| bad(e.to_string()))?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(bad("it names no host".to_owned()));
        }
        Self::believing(base, Trust::system(), Way::AsTheSystemSays)
    }

    /// The same for a hub on this machine: no proxy is between.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn near(hub: &str) -> Answer<Self> {
        let Self { base, trust, .. } = Self::new(hub)?;
        Self::believing(base, trust, Way::Direct)
    }

    fn believing(base: String, trust: Arc<Trust>, way: Way) -> Answer<Self> {
        // The HTTP library wants to be told whose cryptography it uses, even where nothing is encrypted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = trust.config()?;
        let http = match way {
            Way::AsTheSystemSays => reqwest::Client::builder(),
            Way::Direct => reqwest::Client::builder().no_proxy(),
        };
        let http = http
            .tls_backend_preconfigured(config.clone())
            // What has been asked encrypted is not asked again open.
            .https_only(base.starts_with("https://"))
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .build()
            .map_err(|e| Failure::new(ErrorCode::Internal, format!("no connections can be made: {e}")))?;
        Ok(Self { base, http, tls: Arc::new(config), trust, shown: Arc::default() })
    }

    /// Address of the hub, as it was given.
    pub fn address(&self) -> &str {
        &self.base
    }

    /// Whether what goes to the hub is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.base.starts_with("https://")
    }

    /// Believes this authority, as PEM, and no other from now on, also in clones; without one those that the system knows.
    ///
    /// # Errors
    /// It is no certificate.
    pub fn trust(&self, authority: Option<&str>) -> Answer<()> {
        self.trust.change(authority)
    }

    /// Another client for the same hub that believes whoever answers and shows nothing: for what is proven otherwise.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn unbelieving(&self) -> Answer<Self> {
        Self::believing(self.base.clone(), Trust::anybody(), Way::AsTheSystemSays)
    }

    /// Shows an API key or a token with each request from now on, also of clones.
    pub fn show(&self, key: Option<String>) {
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = key;
    }

    /// The same, as a new client.
    #[must_use]
    pub fn showing(self, key: Option<String>) -> Self {
        Self { shown: Arc::new(RwLock::new(key)), ..self }
    }

    /// What goes with each request.
    fn shown(&self) -> Option<String> {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A request that shows nothing: for when what was shown is over.
    fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.bare(method, path);
        match self.shown() {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    async fn send(&self, mut request: RequestBuilder) -> Answer<Response> {
        let mut tries = 0;
        let answer = loop {
            // What is streamed is there once.
            let again = request.try_clone();
            let answer = request.send().await.map_err(|e| self.unreachable(&e))?;
            if answer.status().is_success() {
                return Ok(answer);
            }
            tries += 1;
            match (again, wait(&answer)) {
                (Some(again), Some(wait)) if tries < PATIENT => {
                    tokio::time::sleep(wait).await;
                    request = again;
                }
                _ => break answer,
            }
        };
        let status = answer.status();
        let said = answer.bytes().await.map_err(|e| self.unreachable(&e))?;
        Err(match serde_json::from_slice::<Problem>(&said) {
            Ok(problem) => Failure::new(problem.code, problem.detail),
            Err(_) => {
                let why = format!("{} answered {status}, and not like a hub of Kinora", self.base);
                Failure::new(ErrorCode::BadInput, why)
            }
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        if let Some(failure) = trust::distrust(&self.base, error) {
            return failure;
        }
        // The outermost words only say that it did not work.
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        Failure::new(ErrorCode::Unreachable, format!("the hub at {} cannot be reached: {cause}", self.base))
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Answer<T> {
        let answer = self.send(request).await?;
        let said = answer.bytes().await.map_err(|e| self.unreachable(&e))?;
        serde_json::from_slice(&said).map_err(|error| {
            let why =
                format!("the hub at {} gave an answer that this version cannot read: {error}", self.base);
            Failure::new(ErrorCode::Internal, why)
        })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Answer<T> {
        self.json(self.request(Method::GET, path)).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Answer<T> {
        self.json(self.request(Method::POST, path).json(body)).await
    }

    /// Forgets a job that has ended, and deletes its result.
    ///
    /// # Errors
    /// It has not ended, or as all calls.
    pub async fn delete_job(&self, job: JobId) -> Answer<()> {
        self.send(self.request(Method::DELETE, &routes::job(job))).await.map(|_| ())
    }

    /// All media.
    ///
    /// # Errors
    /// As all calls.
    pub async fn media(&self) -> Answer<Page<MediaView>> {
        self.get(routes::MEDIA).await
    }

    /// One of them.
    ///
    /// # Errors
    /// As all calls.
    pub async fn one_media(&self, media: &Digest) -> Answer<MediaView> {
        self.get(&routes::media(media)).await
    }

    /// Lets the hub fetch media from the internet; answered when all of it has come.
    ///
    /// # Errors
    /// It is not to be had or not allowed, or as all calls.
    pub async fn import(&self, wanted: &Import) -> Answer<MediaView> {
        self.post(routes::IMPORT, wanted).await
    }

    /// Forgets media; its bytes are deleted.
    ///
    /// # Errors
    /// A job that has not ended works on it, or as all calls.
    pub async fn delete_media(&self, media: &Digest) -> Answer<()> {
        self.send(self.request(Method::DELETE, &routes::media(media))).await.map(|_| ())
    }

    /// What is known about media.
    ///
    /// # Errors
    /// As all calls.
    pub async fn metadata(&self, media: &Digest) -> Answer<MetadataView> {
        self.get(&routes::of_media(media, "metadata")).await
    }

    /// Lets nodes find out what is to be known about media; gives the job that does.
    ///
    /// # Errors
    /// As all calls.
    pub async fn describe(&self, media: &Digest) -> Answer<JobView> {
        self.post(&routes::of_media(media, "metadata"), &()).await
    }

    /// Lets media be looked at for malware once more.
    ///
    /// # Errors
    /// The hub does not look, or as all calls.
    pub async fn scan_again(&self, media: &Digest) -> Answer<MediaView> {
        self.post(&routes::of_media(media, "scan"), &()).await
    }

    /// Recipes with a name.
    ///
    /// # Errors
    /// As all calls.
    pub async fn presets(&self) -> Answer<Page<PresetView>> {
        self.get(routes::PRESETS).await
    }

    /// Submits a job; the same key again gives the same job.
    ///
    /// # Errors
    /// As all calls.
    pub async fn submit(&self, job: &NewJob, key: Option<&str>) -> Answer<JobView> {
        let mut request = self.request(Method::POST, routes::JOBS).json(job);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.json(request).await
    }

    /// A part of the jobs, newest first.
    ///
    /// # Errors
    /// As all calls.
    pub async fn jobs(&self, after: Option<&str>, limit: u32) -> Answer<Page<JobView>> {
        let request = self.request(Method::GET, routes::JOBS).query(&[("limit", limit.to_string())]);
        let request = after.into_iter().fold(request, |request, after| request.query(&[("after", after)]));
        self.json(request).await
    }

    /// One job.
    ///
    /// # Errors
    /// As all calls.
    pub async fn job(&self, job: JobId) -> Answer<JobView> {
        self.get(&routes::job(job)).await
    }

    /// The tasks of a job.
    ///
    /// # Errors
    /// As all calls.
    pub async fn tasks(&self, job: JobId) -> Answer<Page<TaskView>> {
        self.get(&routes::of_job(job, "tasks")).await
    }

    /// What happened to a job, after a position; 0 is before the first event.
    ///
    /// # Errors
    /// As all calls.
    pub async fn events(&self, job: JobId, after: i64) -> Answer<Page<EventView>> {
        let request = self.request(Method::GET, &routes::of_job(job, "events"));
        self.json(request.query(&[("after", after)])).await
    }

    /// The proof of a completed job.
    ///
    /// # Errors
    /// As all calls.
    pub async fn proof(&self, job: JobId) -> Answer<Proof> {
        self.get(&routes::of_job(job, "proof")).await
    }

    /// Tells a job something.
    ///
    /// # Errors
    /// As all calls.
    pub async fn tell_job(&self, job: JobId, verb: JobVerb) -> Answer<JobView> {
        self.post(&routes::of_job(job, verb.name()), &()).await
    }

    /// All nodes.
    ///
    /// # Errors
    /// As all calls.
    pub async fn nodes(&self) -> Answer<Page<NodeView>> {
        self.get(routes::NODES).await
    }

    /// The models of its nodes, and what they did.
    ///
    /// # Errors
    /// As the hub says.
    pub async fn models(&self) -> Answer<Page<ModelView>> {
        self.get(routes::MODELS).await
    }

    /// One node.
    ///
    /// # Errors
    /// As all calls.
    pub async fn node(&self, node: &NodeId) -> Answer<NodeView> {
        self.get(&routes::node(node)).await
    }

    /// Forgets a node that is not connected.
    ///
    /// # Errors
    /// As all calls.
    pub async fn forget_node(&self, node: &NodeId) -> Answer<()> {
        self.send(self.request(Method::DELETE, &routes::node(node))).await.map(|_| ())
    }

    /// Tells a node something.
    ///
    /// # Errors
    /// As all calls.
    pub async fn tell_node(&self, node: &NodeId, verb: NodeVerb) -> Answer<()> {
        self.send(self.request(Method::POST, &routes::of_node(node, verb.name()))).await.map(|_| ())
    }

    /// Changes what a node that is connected says in its log.
    ///
    /// # Errors
    /// It is no filter, the node is the hub's own or not connected, or as all calls.
    pub async fn change_node_log(&self, node: &NodeId, view: &LogView) -> Answer<()> {
        self.send(self.request(Method::PUT, &routes::of_node(node, "log")).json(view)).await.map(|_| ())
    }

    /// Writes the result of a completed job into a file; nothing is at its name before all of it is there.
    ///
    /// # Errors
    /// The file cannot be written, or as all calls.
    pub async fn fetch(&self, job: JobId, to: &Path) -> Answer<u64> {
        let growing = to.with_file_name(format!(".kinora-{job}.fetch"));
        let file = tokio::fs::File::create(&growing).await;
        self.save(&routes::of_job(job, "output"), (file, &growing), to, |_| ()).await
    }

    async fn save(
        &self,
        path: &str,
        (file, growing): (std::io::Result<tokio::fs::File>, &Path),
        to: &Path,
        told: impl Fn(u64),
    ) -> Answer<u64> {
        let disk = |e: std::io::Error| Failure::new(ErrorCode::Disk, format!("{}: {e}", to.display()));
        let mut file = file.map_err(disk)?;
        let written = async {
            let answer = self.send(self.request(Method::GET, path)).await?;
            let (mut pieces, mut size) = (answer.bytes_stream(), 0);
            while let Some(piece) = pieces.try_next().await.map_err(|e| self.unreachable(&e))? {
                file.write_all(&piece).await.map_err(disk)?;
                size += piece.len() as u64;
                told(size);
            }
            file.sync_all().await.map_err(disk)?;
            tokio::fs::rename(growing, to).await.map_err(disk)?;
            Ok(size)
        };
        let outcome = written.await;
        if outcome.is_err() {
            let _ = tokio::fs::remove_file(growing).await;
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_looked_at() {
        assert!(Client::new("http://127.0.0.1:8000/").is_ok());
        assert!(Client::new("https://studio.example").is_ok_and(|client| client.is_encrypted()));
        for text in ["", "127.0.0.1:8000", "ftp://x", "http://", "http://:80", "https://"] {
            assert!(Client::new(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_said() {
        let failure = Client::new("http://127.0.0.1:1").unwrap().system().await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::Unreachable);
        assert!(failure.message.contains("127.0.0.1:1"), "{failure}");
    }
}
