//! The node's main loop: grants in, reports out. One task of its own runs each attempt; this loop only keeps the books, which
//! outlive a connection.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kinora_media::{Control, Tools};
use kinora_protocol::class::Tags;
use kinora_protocol::inference::ModelCount;
use kinora_protocol::node::{
    Capabilities, Grant, Hello, NodeLimits, PROTOCOL, Progress, Renewal, Shared, Slots, Speed, ToHub, ToNode,
};
use kinora_protocol::step::Step;
use kinora_protocol::task::TaskOutput;
use kinora_protocol::{Attempt, ErrorCode, Failure, NodeId, TaskId, fault};
use tokio::sync::{OnceCell, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::load::{self, Watching};
use crate::models::Models;
use crate::reach::Reach;
use crate::scratch::Folders;
use crate::steps::Steps;
use crate::{benchmark, run};

/// How often progress is reported and leases are renewed.
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// The two directions between a node and its hub.
#[derive(Debug)]
pub struct Link {
    /// To the hub.
    pub to_hub: mpsc::Sender<ToHub>,
    /// From the hub.
    pub from_hub: mpsc::UnboundedReceiver<ToNode>,
}

/// A node.
#[derive(Debug)]
pub struct Worker {
    /// Its id.
    pub node: NodeId,
    /// Its name for people.
    pub name: String,
    /// Its programs.
    pub tools: Tools,
    /// What runs models here.
    pub models: Arc<Models>,
    /// What it can do.
    pub capabilities: Capabilities,
    /// How much at once.
    pub slots: Slots,
    /// What jobs may ask for.
    pub tags: Tags,
    /// Greater gets work first.
    pub priority: i32,
    /// Its folders.
    pub folders: Folders,
    /// How it gets at the hub's files.
    pub reach: Reach,
    /// A program that makes no progress for so long is stopped; as the hub says when absent.
    pub stall: Option<Duration>,
    /// How long each encoder is measured, not at all when zero; as the hub says when absent.
    pub benchmark: Option<Duration>,
    /// Changes what its process says in its log, by a filter, where the hub may.
    pub log: Option<ChangeLog>,
}

/// Takes a filter, and says why it is none.
pub type ChangeLog = fn(&str) -> Result<(), String>;

/// A program that makes no progress for so long is stopped, when nobody says otherwise.
const STALL: Duration = Duration::from_secs(300);
/// How long each encoder is measured, when nobody says otherwise.
const BENCHMARK: Duration = Duration::from_secs(1);

/// What a node is told by its machine.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// Stop at once; what runs is given up.
    pub stop: CancellationToken,
    /// Take nothing more, finish what runs, and go.
    pub drain: CancellationToken,
}

/// Why a conversation with a hub ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// This machine said so.
    Stopped,
    /// Everything was finished, as this machine said.
    Drained,
    /// The connection is gone.
    Cut,
    /// The hub said so.
    SentAway,
    /// The hub does not take this node.
    Refused(Failure),
}

/// An attempt in progress.
struct Running {
    cancel: CancellationToken,
    progress: Arc<Mutex<Progress>>,
}

type Key = (TaskId, Attempt);
type Outcome = (Key, Result<TaskOutput, Failure>, Vec<Step>);

/// What a node is at, whoever it talks to.
#[derive(Default)]
pub(crate) struct Desk {
    running: HashMap<Key, Running>,
    attempts: JoinSet<Outcome>,
    /// What the hub has not noted yet.
    untold: BTreeMap<Key, ToHub>,
    speeds: OnceCell<Vec<Speed>>,
    /// What the hub said last.
    limits: NodeLimits,
    /// What was said so far of what models did.
    counted: BTreeMap<String, ModelCount>,
}

impl Desk {
    fn is_clear(&self) -> bool {
        self.running.is_empty() && self.untold.is_empty()
    }

    fn holding(&self) -> Vec<Key> {
        self.running.keys().chain(self.untold.keys()).copied().collect()
    }

    /// The hub has no use for an attempt.
    fn drop_attempt(&mut self, key: Key) {
        self.untold.remove(&key);
        if let Some(found) = self.running.remove(&key) {
            found.cancel.cancel();
        }
    }

    /// An attempt has ended; what is to be said of it, unless nobody wants to hear it.
    fn end(&mut self, (key, result, steps): Outcome) -> Option<ToHub> {
        self.running.remove(&key)?;
        let (task, attempt) = key;
        let message = match result {
            Ok(output) => ToHub::Complete { task, attempt, output: Box::new(output), steps },
            Err(failure) => ToHub::Fail { task, attempt, failure, steps },
        };
        self.untold.insert(key, message.clone());
        Some(message)
    }

    fn renewals(&self) -> Vec<Renewal> {
        let renewal = |(key, attempt): (&Key, &Running)| {
            let progress = *attempt.progress.lock().unwrap_or_else(PoisonError::into_inner);
            Renewal { task: key.0, attempt: key.1, progress }
        };
        self.running.iter().map(renewal).collect()
    }

    /// Stops all that runs and waits for it.
    pub(crate) async fn close(mut self) {
        for attempt in self.running.values() {
            attempt.cancel.cancel();
        }
        while self.attempts.join_next().await.is_some() {}
    }
}

impl Worker {
    /// Works until `stop` is cancelled or the hub goes away. Running programs are stopped before it returns; their leases go back
    /// to the hub, which gives them to this node again or to another.
    pub async fn run(self, link: Link, stop: CancellationToken) {
        let mut desk = Desk::default();
        let signals = Signals { stop, drain: CancellationToken::new() };
        if let Ended::Refused(failure) = Arc::new(self).converse(&mut desk, link, &signals).await {
            tracing::error!("the hub does not take this node: {failure}");
        }
        desk.close().await;
    }

    /// Talks with a hub until one of them ends it. What runs goes on.
    pub(crate) async fn converse(self: &Arc<Self>, desk: &mut Desk, link: Link, signals: &Signals) -> Ended {
        let load = load::watch();
        let mut talk = Conversation { worker: self, desk, link, signals, load, draining: false };
        let hello = ToHub::Hello(Box::new(self.hello(talk.desk.holding())));
        if let Err(ended) = talk.say(hello).await {
            return ended;
        }
        let mut report = tokio::time::interval(REPORT_EVERY);
        loop {
            if let Err(ended) = talk.step(&mut report).await {
                return ended;
            }
        }
    }

    fn hello(&self, holding: Vec<Key>) -> Hello {
        Hello {
            protocol: PROTOCOL,
            node: self.node.clone(),
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capabilities: self.capabilities.clone(),
            slots: self.slots,
            tags: self.tags.clone(),
            priority: self.priority,
            holding,
        }
    }
}

/// Says how an attempt went, and how long it took.
async fn telling(attempt: impl Future<Output = Result<TaskOutput, Failure>>) -> Result<TaskOutput, Failure> {
    let began = std::time::Instant::now();
    let outcome = attempt.await;
    let seconds = began.elapsed().as_secs_f64();
    match &outcome {
        Ok(_) => tracing::info!(seconds, "an attempt is done"),
        Err(failure) if failure.code == ErrorCode::Cancelled => {
            tracing::info!(seconds, "an attempt is cancelled")
        }
        Err(failure) => tracing::warn!(seconds, "an attempt failed: {}", failure.message),
    }
    outcome
}

struct Conversation<'a> {
    worker: &'a Arc<Worker>,
    desk: &'a mut Desk,
    link: Link,
    signals: &'a Signals,
    load: Watching,
    draining: bool,
}

impl Conversation<'_> {
    async fn say(&mut self, message: ToHub) -> Result<(), Ended> {
        self.link.to_hub.send(message).await.map_err(|_| Ended::Cut)
    }

    /// Does the next thing.
    async fn step(&mut self, report: &mut tokio::time::Interval) -> Result<(), Ended> {
        if self.draining && self.desk.is_clear() {
            self.say(ToHub::Bye).await?;
            return Err(Ended::Drained);
        }
        tokio::select! {
            // What ends because this machine stops is no failure of the task.
            biased;
            () = self.signals.stop.cancelled() => {
                // The hub need not wait for the leases to end. If it does not hear this, it will.
                let _ = self.say(ToHub::Bye).await;
                Err(Ended::Stopped)
            }
            () = self.signals.drain.cancelled(), if !self.draining => {
                self.draining = true;
                self.say(ToHub::Draining).await
            }
            message = self.link.from_hub.recv() => self.hear(message.ok_or(Ended::Cut)?).await,
            Some(ended) = self.desk.attempts.join_next(), if !self.desk.attempts.is_empty() => {
                match ended.ok().and_then(|outcome| self.desk.end(outcome)) {
                    Some(message) => {
                        self.say(message).await?;
                        fault::point("told.after");
                        Ok(())
                    }
                    None => Ok(()),
                }
            }
            Ok(()) = self.load.seen.changed() => {
                let load = self.load.seen.borrow_and_update().clone();
                self.say(ToHub::Load(load)).await
            }
            _ = report.tick() => self.report().await,
        }
    }

    /// What runs is still wanted, and what models did since it was said last.
    async fn report(&mut self) -> Result<(), Ended> {
        let running = self.desk.renewals();
        if !running.is_empty() {
            self.say(ToHub::Renew { running }).await?;
        }
        let counts = self.worker.models.counts();
        let since = |(name, count): (&String, &ModelCount)| {
            (name.clone(), count.since(self.desk.counted.get(name).copied().unwrap_or_default()))
        };
        let mut added: BTreeMap<String, ModelCount> = counts.iter().map(since).collect();
        added.retain(|_, count| *count != ModelCount::default());
        if added.is_empty() {
            return Ok(());
        }
        self.say(ToHub::Models { added }).await?;
        self.desk.counted = counts;
        Ok(())
    }

    async fn hear(&mut self, message: ToNode) -> Result<(), Ended> {
        match message {
            ToNode::Welcome { shared, limits, .. } => {
                self.desk.limits = limits;
                self.arrive(shared.as_ref()).await?;
            }
            ToNode::Lease(grant) => self.start(*grant),
            ToNode::Cancel { task, attempt } => self.desk.drop_attempt((task, attempt)),
            ToNode::Noted { task, attempt } => drop(self.desk.untold.remove(&(task, attempt))),
            // Grants stop coming; what runs is finished.
            ToNode::Drain => {}
            ToNode::Log { filter } => match self.worker.log.map(|change| change(&filter)) {
                None => {}
                Some(Ok(())) => tracing::info!("the log says {filter:?} from now on, as the hub was told"),
                Some(Err(why)) => tracing::warn!("the log stays as it is: {why}"),
            },
            ToNode::Refused(failure) => return Err(Ended::Refused(failure)),
            ToNode::Disconnect => {
                // What runs is stopped, and the hub need not wait for its leases to end.
                self.say(ToHub::Bye).await?;
                return Err(Ended::SentAway);
            }
        }
        Ok(())
    }

    /// Gets ready for work, and tells again what may have been lost with an earlier connection.
    async fn arrive(&mut self, shared: Option<&Shared>) -> Result<(), Ended> {
        let shares_files = self.worker.reach.look(shared);
        let Worker { tools, capabilities, benchmark, folders, .. } = self.worker.as_ref();
        let kept = folders.benchmark.as_deref();
        let told = self.desk.limits.benchmark_seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
        let length = benchmark.or(told).unwrap_or(BENCHMARK);
        let measure = || benchmark::speeds(tools, capabilities, length, kept, &self.signals.stop);
        let speeds = self.desk.speeds.get_or_init(measure).await.clone();
        self.say(ToHub::Ready { shares_files, speeds }).await?;
        if self.draining {
            self.say(ToHub::Draining).await?;
        }
        for message in self.desk.untold.values().cloned().collect::<Vec<_>>() {
            self.say(message).await?;
        }
        Ok(())
    }

    fn start(&mut self, grant: Grant) {
        let key = (grant.task, grant.attempt);
        let cancel = self.signals.stop.child_token();
        let progress = Arc::new(Mutex::new(Progress::default()));
        let latest = Arc::clone(&progress);
        let told = self.desk.limits.stall_seconds.map(Duration::from_secs);
        let control = Control {
            cancel: cancel.clone(),
            progress: Arc::new(move |now| *latest.lock().unwrap_or_else(PoisonError::into_inner) = now),
            stall: self.worker.stall.or(told).unwrap_or(STALL),
        };
        self.desk.running.insert(key, Running { cancel, progress });
        let worker = Arc::clone(self.worker);
        let steps = Arc::new(Steps::begin());
        self.desk.attempts.spawn(async move {
            let span = tracing::info_span!(
                "task", job = %grant.job, task = %grant.task, attempt = %grant.attempt, kind = grant.spec.kind().name()
            );
            let noted = Arc::clone(&steps);
            // In a task of its own: what breaks there must not look like an attempt that never ends.
            let attempt = tokio::spawn(tracing::Instrument::instrument(
                async move { telling(run::run(&worker, &grant, &control, &noted)).await },
                span,
            ));
            let broke = |error: JoinError| {
                Err(Failure::new(ErrorCode::Internal, format!("an attempt broke off ({error}): this is a bug")))
            };
            let result = attempt.await.unwrap_or_else(broke);
            (key, result, steps.told())
        });
    }
}

/// A file of the node itself cannot be read or written.
pub(crate) fn disk(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(ErrorCode::Disk, format!("{what}: {error}"))
}
