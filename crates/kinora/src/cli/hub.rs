//! `kinora hub`: the server. It takes jobs over HTTP and has a worker of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use kinora_access::private;
use kinora_hub::http::listen::Door;
use kinora_hub::{Hub, Settings, http};
use kinora_media::command::Limits;
use kinora_protocol::class::Tags;
use kinora_protocol::client::Client;
use kinora_protocol::machine::Machine;
use kinora_protocol::node::NodeLimits;
use kinora_protocol::{ErrorCode, Failure};
use kinora_tls::{Text, Tls};
use kinora_worker::capability::Trials;
use kinora_worker::machine;
use tokio::net::TcpListener;

use super::interrupt::interruption;
use super::size;
use super::values::{Span, origin, seconds, span, span_or_never, tags};
use crate::config::Config;
use crate::config::credentials::{self, LocalKey};
use crate::config::log::Log;
use crate::config::other::{Other, System};
use crate::config::supervisor;
use crate::local::{Apart, Local, Opened, Policy, Setup};
use crate::{models, tools};
use at_rest::AtRestFlags;
use flags::{AdmissionFlags, ClusterFlags, DefaultFlags, ScanFlags, TraceFlags};
use oidc::OidcFlags;
use tls::TlsFlags;

mod at_rest;
mod flags;
mod oidc;
mod tls;

/// Flags of `kinora hub`.
#[derive(Debug, Args)]
#[command(
    after_help = "On loopback it works at once, for whoever sits at this machine. On any other address it lets nobody in before there \
                  is a user: it prints where to make the first one."
)]
pub struct HubArgs {
    /// Address to listen on; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,
    /// Where jobs, media and results are kept: a folder on a local disk
    #[arg(long, value_name = "DIR", default_value = "kinora-data")]
    pub data: PathBuf,
    /// Let jobs name files below this folder; may be repeated
    #[arg(long, value_name = "DIR")]
    pub allow_dir: Vec<PathBuf>,
    /// Let web pages of this origin (scheme and host, as in the address) talk to the hub; * is any; may be repeated
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    pub allow_origin: Vec<String>,
    /// Name by which browsers may call the hub, besides addresses and localhost; may be repeated. Without it, one that listens on
    /// loopback has no other, and one that listens elsewhere any
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<String>,
    /// How long the identity of a worker is good for that was let in by a token; it renews it before
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = span)]
    pub node_identity: Duration,
    /// Finished chunks kept for later jobs, for example 20G or 500M; those used last stay [default: by the machine, 10G to 100G]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub chunk_cache: Option<u64>,
    /// Forget jobs, with their results, so long after they ended: 30d, 12h, never
    #[arg(long, value_name = "TIME", default_value = "never", value_parser = span_or_never)]
    pub keep_jobs: Span,
    /// Look at all stored bytes every so often, repair what can be made again and report the rest: 30d, 12h, never
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = span_or_never)]
    pub scrub_every: Span,
    /// Longest file that is taken over the network, for example 8T
    ///
    /// [default: 50G]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub max_upload: Option<u64>,
    /// Requests that each key and each login may make in a second, for long: ten times as many at once, and from one address; a user
    /// with all of its own four times as many (0 for any number). Who is at the hub's machine and workers are not counted
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub requests_per_second: u32,
    /// Media that is kept for each user, for example 500G; kinora users quota sets another number for one [default: any]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub user_quota: Option<u64>,
    /// Let the hub fetch media from this host though it is not on the internet; may be repeated
    #[arg(long, value_name = "HOST")]
    pub import_from: Vec<String>,
    /// Whether it is found out what is to be known about media (pictures, colours, scenes, loudness) as soon as it comes, or
    /// when somebody asks
    #[arg(long, value_enum, value_name = "auto|off", default_value_t = Metadata::Auto)]
    pub metadata: Metadata,
    /// Whether this machine works, too: auto (if it has ffmpeg), off, or how many chunks at once at the most
    #[arg(long, value_name = "auto|off|N", default_value = "auto", value_parser = local_worker)]
    pub local_worker: LocalWorker,
    /// Words of this machine that jobs may ask for, separated by commas
    #[arg(long, value_name = "TAG,…", value_parser = tags)]
    pub tags: Option<Tags>,
    /// Chunks that each machine works on at once; chosen from cores and encoder when absent
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub jobs: Option<u32>,
    /// A program that makes no progress for so many seconds is stopped and its task tried again; also on workers that do
    /// not say otherwise
    #[arg(long, value_name = "S", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    pub stall_timeout: u64,
    /// How long workers that do not say otherwise measure each encoder at their first start [default: 1]
    #[arg(long, alias = "benchmark-duration", value_name = "S", value_parser = seconds)]
    pub benchmark_seconds: Option<f64>,
    /// Take what is set in the environment for these systems, separated by commas, where no flag says otherwise
    #[arg(long, value_enum, value_name = "SYSTEM,…", value_delimiter = ',')]
    pub environment_of: Vec<System>,
    /// How what goes to it is encrypted
    #[command(flatten)]
    pub tls: TlsFlags,
    /// Users that sign in elsewhere
    #[command(flatten)]
    pub oidc: OidcFlags,
    /// How what it keeps is encrypted
    #[command(flatten)]
    pub at_rest: AtRestFlags,
    /// What looks for malware
    #[command(flatten)]
    pub scan: ScanFlags,
    /// Who is told what jobs were at
    #[command(flatten)]
    pub traces: TraceFlags,
    /// What files may have
    #[command(flatten)]
    pub admission: AdmissionFlags,
    /// What jobs are made with
    #[command(flatten)]
    pub defaults: DefaultFlags,
    /// Flags of the other system
    #[command(flatten)]
    pub cluster: ClusterFlags,
}

impl HubArgs {
    /// Takes what the environment of other systems says, where these flags say nothing.
    pub fn fill(&mut self, other: Other) {
        for name in &other.unused {
            tell!("kinora hub: {name} is set, and means nothing here");
        }
        self.max_upload = self.max_upload.or(other.max_upload);
        if self.allow_origin.is_empty() {
            self.allow_origin = other.origins;
        }
        self.defaults.deadline = self.defaults.deadline.or(other.deadline);
        self.defaults.chunk_seconds = self.defaults.chunk_seconds.or(other.chunk_seconds);
        if self.listen == usual_listen() && self.cluster.port.is_none() {
            let host = other.host.unwrap_or(self.listen.ip());
            self.listen = SocketAddr::new(host, other.port.unwrap_or(self.listen.port()));
        }
    }

    /// Whether nobody can reach the hub but who sits at this machine. Whoever gives it a name has something before it that leads
    /// others here.
    fn is_near(&self) -> bool {
        let named = !self.allow_host.is_empty() || self.public_host().is_some();
        self.cluster.listen(self.listen, usual_listen()).ip().is_loopback() && !named
    }

    /// By what others find the hub, where that is said.
    fn public_host(&self) -> Option<String> {
        let (_, rest) = self.oidc.public_url.as_deref()?.split_once("://")?;
        let host = rest.split('/').next().unwrap_or_default();
        let name = if host.starts_with('[') { host } else { host.split(':').next().unwrap_or_default() };
        let near = ["127.0.0.1", "localhost"].contains(&name) || name.starts_with("[::1]");
        (!near).then(|| name.to_owned())
    }

    /// Names by which browsers may call the hub; `None` for any. Whoever listens on an address for others cannot know them all.
    fn names(&self) -> Option<Vec<String>> {
        let listen = self.cluster.listen(self.listen, usual_listen());
        let known = listen.ip().is_loopback() || !self.allow_host.is_empty();
        known.then(|| self.allow_host.iter().cloned().chain(self.public_host()).collect())
    }
}

/// Where a hub listens that is told nothing.
fn usual_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8000))
}

/// When it is found out what is to be known about media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Metadata {
    /// As soon as it comes.
    Auto,
    /// When somebody asks.
    Off,
}

/// Whether the hub's machine works, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalWorker {
    /// If ffmpeg is there.
    Auto,
    /// No.
    Off,
    /// On so many chunks at once at the most.
    Chunks(u32),
}

fn local_worker(text: &str) -> Result<LocalWorker, String> {
    match text {
        "auto" => Ok(LocalWorker::Auto),
        "off" | "0" => Ok(LocalWorker::Off),
        number => match number.parse() {
            Ok(chunks @ 1..=1024) => Ok(LocalWorker::Chunks(chunks)),
            _ => Err("write auto, off or a number up to 1024".to_owned()),
        },
    }
}

/// The node in this process, as the flags and the machine have it.
async fn local(args: &HubArgs, config: &Config) -> Result<Option<Local>, Failure> {
    let chunks = match args.local_worker {
        LocalWorker::Off => return Ok(None),
        LocalWorker::Auto => None,
        LocalWorker::Chunks(chunks) => Some(chunks),
    };
    let tools = match tools::find(config).await {
        Ok(tools) => tools,
        Err(error) if args.local_worker == LocalWorker::Auto => {
            tell!("kinora hub: this machine only hands out work: {error}");
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let stall = Duration::from_secs(args.stall_timeout);
    Ok(Some(Local {
        tools,
        models: models::find(config),
        trials: Trials::All,
        chunks: chunks.or(args.jobs),
        tags: args.tags.clone().unwrap_or_default(),
        optional: true,
        stall,
        apart: None,
    }))
}

/// How the node in this process gets at what is encrypted: as any other does.
fn apart(args: &HubArgs, address: SocketAddr, data: &Path) -> Result<Apart, Failure> {
    let work = args.at_rest.work_dir.clone().unwrap_or_else(|| data.to_owned());
    let near: IpAddr = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let hub = Client::near(&format!("http://{}", SocketAddr::new(near, address.port())))?;
    // Hubs that share a folder do not share what they work on.
    let own = blake3::hash(data.as_os_str().as_encoded_bytes()).to_hex();
    let work = std::path::absolute(&work).unwrap_or(work).join(format!("kinora-work-{}", &own[..16]));
    Ok(Apart { hub, work })
}

/// Each node is an open file; many systems allow few unless one asks.
#[cfg(unix)]
fn take_all_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!("the limit of open files stays as it is: {error}");
    }
}

#[cfg(not(unix))]
fn take_all_files() {}

/// The hub, as the flags have it.
fn settings(
    args: &HubArgs,
    allowed_folders: Vec<PathBuf>,
    media: Limits,
    machine: Machine,
) -> Result<Settings, Failure> {
    Ok(Settings {
        jobs: args.jobs,
        allowed_folders,
        allowed_origins: args.allow_origin.clone(),
        names: args.names(),
        open: args.is_near(),
        trusted_proxies: args.tls.trusted_proxy.clone(),
        authority: None,
        node_identity_seconds: u32::try_from(args.node_identity.as_secs()).unwrap_or(u32::MAX),
        remember_sources: true,
        job_defaults: args.defaults.over(&args.cluster)?,
        node_limits: NodeLimits {
            benchmark_seconds: args.benchmark_seconds,
            stall_seconds: Some(args.stall_timeout),
        },
        cluster: args.cluster.defaults()?,
        longest_upload: args.max_upload,
        requests_per_second: NonZeroU32::new(args.requests_per_second),
        quota: args.user_quota,
        oidc: args.oidc.oidc()?,
        log: Some(Arc::new(Log)),
        collector: args.traces.collector()?,
        masters: None,
        clear: None,
        scanner: args.scan.scanner(),
        admission: Some(args.admission.limits(media)),
        describe: args.metadata == Metadata::Auto,
        import_from: args.import_from.clone(),
        machine,
        own_node: None,
    })
}

/// Where a hub is.
struct Place {
    address: SocketAddr,
    /// The authority that signs for it, as PEM, if clients have to be told.
    authority: Option<Text>,
    encrypted: bool,
    /// By what others call it.
    name: String,
    /// Where browsers find it, where that is said.
    public: Option<String>,
}

impl Place {
    fn scheme(&self) -> &'static str {
        if self.encrypted { "https" } else { "http" }
    }

    /// An address for others.
    fn url(&self) -> String {
        if let Some(public) = &self.public {
            return public.trim_end_matches('/').to_owned();
        }
        let ip = self.address.ip();
        let named = if ip.is_unspecified() { self.name.clone() } else { ip.to_string() };
        let named = if named.contains(':') { format!("[{named}]") } else { named };
        format!("{}://{named}:{}", self.scheme(), self.address.port())
    }
}

/// Says where the hub is, and how its first user is made if nobody could use it otherwise.
fn greet(hub: &Hub, args: &HubArgs, place: &Place, data: &Path) -> Result<(), Failure> {
    say!("kinora hub: listening on {}://{}, data in {}", place.scheme(), place.address, data.display());
    if let Some(authority) = &place.authority {
        let authority = authority.read().map(|text| text.clone()).unwrap_or_default();
        let fingerprint = kinora_tls::fingerprint(&authority).unwrap_or_default();
        say!(
            "kinora hub: it signs for itself; on other machines (workers need none of this, browsers warn until they know it):"
        );
        say!("  kinora trust --hub {} --fingerprint {fingerprint}", place.url());
    }
    let is_https = place.public.as_deref().is_some_and(|public| public.starts_with("https://"));
    if is_https && !place.encrypted && args.tls.trusted_proxy.is_empty() {
        tell!(
            "kinora hub: what encrypts before it is not named: give --trusted-proxy with its address, so that cookies stay encrypted"
        );
    }
    if args.is_near() {
        return Ok(());
    }
    if !place.encrypted && !place.address.ip().is_loopback() {
        tell!(
            "kinora hub: what goes to it is not encrypted: whoever is on the way can read passwords and keys"
        );
    }
    let Some(token) = hub.offer_setup()? else { return Ok(()) };
    say!("kinora hub: it has no users yet, and lets nobody in; make the first one once, at");
    say!("  {}/setup?token={token}", place.url());
    if credentials::is_usual(data) {
        say!("or on this machine, as who may read its files, by: kinora users add NAME --role admin");
    }
    Ok(())
}

/// The certificates of a hub, and where that makes it to be found.
fn encryption(
    args: &HubArgs,
    address: SocketAddr,
    data: &Path,
    host: &str,
) -> Result<(Option<Tls>, Place), Failure> {
    let names = args.allow_host.iter().cloned().chain(args.public_host()).chain([host.to_owned()]).collect();
    let certificates = args.tls.certificates(address, data, names);
    let tls = certificates.map(Tls::open).transpose().map_err(tls::failed)?;
    let name = args.tls.acme.first().or(args.allow_host.first()).cloned();
    let place = Place {
        address,
        authority: tls.as_ref().and_then(Tls::authority),
        encrypted: tls.is_some(),
        name: name.unwrap_or_else(|| host.to_owned()),
        public: args.oidc.public_url.clone(),
    };
    Ok((tls, place))
}

/// Folders below which jobs may name files, as they really are.
fn allowed(folders: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let real = |folder: &PathBuf| {
        let wrong = |code, why: String| Failure::new(code, format!("{}: {why}", folder.display()));
        let real = folder.canonicalize().map_err(|e| wrong(ErrorCode::Disk, e.to_string()))?;
        if real.is_dir() { Ok(real) } else { Err(wrong(ErrorCode::BadInput, "it is no folder".to_owned())) }
    };
    folders.iter().map(real).collect()
}

/// Runs until it is asked to end. What runs is stopped then, and goes on with the next start.
pub async fn run(args: &HubArgs, config: &Config) -> Result<(), Failure> {
    let stop = interruption();
    take_all_files();
    let disk = |path: &std::path::Path, e: std::io::Error| {
        Failure::new(ErrorCode::Disk, format!("{}: {e}", path.display()))
    };
    private::folder(&args.data).map_err(|e| disk(&args.data, e))?;
    let data = args.data.canonicalize().map_err(|e| disk(&args.data, e))?;
    let allowed_folders = allowed(&args.allow_dir)?;
    let listen = args.cluster.listen(args.listen, usual_listen());
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|e| Failure::new(ErrorCode::Busy, format!("the hub cannot listen on {listen}: {e}")))?;
    let address = listener.local_addr().unwrap_or(listen);
    let machine = machine::examine();
    let defaults = machine.defaults();
    let settings = settings(args, allowed_folders, config.media, machine)?;
    let (tls, place) = encryption(args, address, &data, &config.host)?;
    let masters = args.at_rest.masters().await?;
    let apart = masters.as_ref().map(|_| apart(args, address, &data)).transpose()?;
    let clear = apart.as_ref().map(|apart| apart.work.join("scans"));
    let settings = Settings { authority: place.authority.clone(), masters, clear, ..settings };
    if let Some(apart) = &apart {
        apart.prepare().map_err(|e| disk(&apart.work, e))?;
    }
    let local = local(args, config).await?.map(|local| Local { apart, ..local });
    let setup = Setup { settings, local };
    let mut engine = Opened::open(&data, setup).await?.start();
    engine.keep_house(Policy {
        chunk_cache: args.chunk_cache.unwrap_or(defaults.cache),
        keep_jobs: args.keep_jobs.into(),
        scrub_every: args.scrub_every.into(),
    });
    let left = LocalKey::leave(&data, address, engine.hub.local_key())?;
    greet(&engine.hub, args, &place, &data)?;
    let config = tls.as_ref().map(Tls::config).transpose().map_err(tls::failed)?;
    if let Some(tls) = tls {
        tokio::spawn(tls.keep(stop.clone()));
    }
    let serving = tokio::spawn(http::serve(engine.hub.clone(), Door::new(listener, config), stop.clone()));
    supervisor::ready(&format!("listening on {}://{}", place.scheme(), place.address));
    let mut look = tokio::time::interval(Duration::from_secs(1));
    let broken = loop {
        tokio::select! {
            () = stop.cancelled() => break None,
            _ = look.tick() => if let Some(failure) = engine.broken().await { break Some(failure) },
        }
    };
    supervisor::stopping();
    stop.cancel();
    drop(left);
    let stopped = engine.stop().await;
    // Those who watch would keep their connections for ever.
    let _ = tokio::time::timeout(Duration::from_secs(2), serving).await;
    match broken {
        Some(failure) => Err(failure),
        None => stopped,
    }
}
