//! Sessions that are kept for the next picture: each model as often as pictures go through it at once, the longest unused ones let go
//! when they are too many. It counts what models do.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kinora_protocol::inference::ModelTask;

use crate::detect::Detector;
use crate::registry::Entry;
use crate::session::{Backend, InferError, Session, Tensor};

/// What a session takes besides its weights, in bytes.
const SESSION: u64 = 4 << 20;
/// How often weights are in memory: as they were read, and as they were made ready.
const COPIES: u64 = 2;

/// What a model did since the process began.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Count {
    /// Pictures that went through it.
    pub pictures: u64,
    /// Time that they took, on one thread each.
    pub took: Duration,
    /// Pictures that failed.
    pub failures: u64,
    /// Times that a session was there already.
    pub hits: u64,
    /// Times that one had to be loaded.
    pub loads: u64,
}

/// A session that waits.
struct Idle {
    since: Instant,
    bytes: u64,
    session: Box<dyn Session>,
}

/// Sessions that wait, and the counts of all.
#[derive(Default)]
struct State {
    /// By SHA-256 of their model. The last ones of a list are used first.
    idle: BTreeMap<String, Vec<Idle>>,
    counts: BTreeMap<String, Count>,
    at_work: usize,
}

/// Sessions for the models of a process.
pub struct Pool {
    backend: Arc<dyn Backend>,
    at_once: usize,
    /// Bytes of waiting sessions.
    most: u64,
    state: Mutex<State>,
    freed: Condvar,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("backend", &self.backend.name()).finish_non_exhaustive()
    }
}

impl Pool {
    /// For so many pictures at once, whatever their models, and so many bytes of sessions that wait.
    pub fn new(backend: Arc<dyn Backend>, at_once: usize, most: u64) -> Self {
        let at_once = at_once.max(1);
        Self { backend, at_once, most, state: Mutex::default(), freed: Condvar::new() }
    }

    /// What runs models.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Pictures at once.
    pub fn at_once(&self) -> usize {
        self.at_once
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What each model did, by its name.
    pub fn counts(&self) -> BTreeMap<String, Count> {
        self.state().counts.clone()
    }

    /// Loads a model and runs it once, on a small picture: whether it does what its manifest says.
    ///
    /// # Errors
    /// When it cannot be loaded, or something else comes out than should.
    pub fn try_out(&self, entry: &Entry) -> Result<(), InferError> {
        let model = &entry.model;
        if model.task == ModelTask::Detect {
            return self.with(entry, |session| Detector::new(model).try_out(session));
        }
        let side = 64_usize.next_multiple_of(model.multiple_of.max(1) as usize);
        let mut input = Tensor::zeros([1, model.frames as usize, side, side]);
        input.data.fill(0.5);
        let out = self.with(entry, |session| model.tiling().run(session, &model.name, &input))?;
        let failed = |reason: String| InferError::Model { name: model.name.clone(), reason };
        if out.shape[1] != 1 {
            return Err(failed(format!("{} planes come out of it, and one is known here", out.shape[1])));
        }
        match out.data.iter().all(|value| value.is_finite()) {
            true => Ok(()),
            false => Err(failed("what comes out of a gray picture is no number".to_owned())),
        }
    }

    /// Runs something with a session of a model, when it is its turn.
    ///
    /// # Errors
    /// When the model cannot be loaded, or as `work` says.
    pub fn with<T>(
        &self,
        entry: &Entry,
        work: impl FnOnce(&mut dyn Session) -> Result<T, InferError>,
    ) -> Result<T, InferError> {
        let _turn = Turn::wait(self);
        let mut session = self.session(entry)?;
        let began = Instant::now();
        let outcome = work(session.as_mut());
        let took = began.elapsed();
        let mut state = self.state();
        let count = state.counts.entry(entry.model.name.clone()).or_default();
        match &outcome {
            Ok(_) => (count.pictures, count.took) = (count.pictures + 1, count.took + took),
            Err(_) => count.failures += 1,
        }
        // One that failed may be in any state.
        if outcome.is_ok() {
            let bytes = entry.model.bytes.saturating_mul(COPIES) + SESSION;
            let list = state.idle.entry(entry.model.sha256.clone()).or_default();
            list.push(Idle { since: Instant::now(), bytes, session });
            state.shrink(self.most);
        }
        outcome
    }

    /// One that waits, else a new one.
    fn session(&self, entry: &Entry) -> Result<Box<dyn Session>, InferError> {
        let model = &entry.model;
        let waiting = {
            let mut state = self.state();
            let found = state.idle.get_mut(&model.sha256).and_then(Vec::pop);
            let count = state.counts.entry(model.name.clone()).or_default();
            match found.is_some() {
                true => count.hits += 1,
                false => count.loads += 1,
            }
            found
        };
        if let Some(idle) = waiting {
            return Ok(idle.session);
        }
        let refused = |reason| InferError::Model { name: model.name.clone(), reason };
        let weights = entry.weights().map_err(refused)?;
        self.backend.load(&model.name, &weights)
    }
}

impl State {
    /// Lets the longest unused sessions go until what waits is no more than `most`.
    fn shrink(&mut self, most: u64) {
        let sum = |state: &Self| state.idle.values().flatten().map(|idle| idle.bytes).sum::<u64>();
        while sum(self) > most {
            let oldest = self
                .idle
                .iter()
                .filter_map(|(key, list)| list.first().map(|idle| (idle.since, key.clone())))
                .min();
            let Some((_, key)) = oldest else { return };
            if let Some(list) = self.idle.get_mut(&key) {
                list.remove(0);
            }
            self.idle.retain(|_, list| !list.is_empty());
        }
    }
}

/// The right to work on a picture.
struct Turn<'a>(&'a Pool);

impl<'a> Turn<'a> {
    fn wait(pool: &'a Pool) -> Self {
        let mut state = pool.state();
        while state.at_work >= pool.at_once {
            state = pool.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.at_work += 1;
        Self(pool)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.state().at_work -= 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::registry::Registry;

    /// Counts what is loaded and what is there.
    #[derive(Default)]
    struct Counts {
        loaded: AtomicUsize,
        there: Arc<AtomicUsize>,
    }

    struct Same(Arc<AtomicUsize>);

    impl Drop for Same {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    impl Session for Same {
        fn run(&mut self, input: &Tensor) -> Result<Tensor, InferError> {
            let [_, _, height, width] = input.shape;
            Ok(Tensor::zeros([1, 1, height, width]))
        }
    }

    impl Backend for Counts {
        fn name(&self) -> String {
            "counts".to_owned()
        }

        fn load(&self, _name: &str, _model: &[u8]) -> Result<Box<dyn Session>, InferError> {
            self.loaded.fetch_add(1, Ordering::SeqCst);
            self.there.fetch_add(1, Ordering::SeqCst);
            Ok(Box::new(Same(Arc::clone(&self.there))))
        }
    }

    #[test]
    fn sessions_are_used_again_and_let_go() {
        let registry = Registry::read(None);
        let counts = Arc::new(Counts::default());
        // Room for one that waits.
        let pool = Pool::new(Arc::clone(&counts) as Arc<dyn Backend>, 2, SESSION + 1_000_000);
        let run = |name: &str| pool.with(registry.get(name).unwrap(), |_| Ok(())).unwrap();
        (0..5).for_each(|_| run("kinora-denoise3"));
        assert_eq!(counts.loaded.load(Ordering::SeqCst), 1);
        run("kinora-upscale2");
        assert_eq!(counts.there.load(Ordering::SeqCst), 1, "the one that was used longer ago went");
        run("kinora-denoise3");
        let told = pool.counts();
        let count = told["kinora-denoise3"];
        assert_eq!((count.pictures, count.hits, count.loads, count.failures), (6, 4, 2, 0));
    }

    #[test]
    fn what_failed_is_not_used_again() {
        let registry = Registry::read(None);
        let counts = Arc::new(Counts::default());
        let pool = Pool::new(Arc::clone(&counts) as Arc<dyn Backend>, 1, 1 << 30);
        let entry = registry.get("kinora-denoise3").unwrap();
        let bad = InferError::Run { name: String::new(), reason: String::new() };
        assert!(pool.with(entry, |_| Err::<(), _>(bad.clone())).is_err());
        assert_eq!(counts.there.load(Ordering::SeqCst), 0);
        assert_eq!(pool.counts()["kinora-denoise3"].failures, 1);
        // It makes pictures of the same size; this one is said to make larger ones.
        let why = pool.try_out(registry.get("kinora-upscale2").unwrap()).unwrap_err().to_string();
        assert!(why.contains("scale of 2"), "{why}");
        assert!(pool.try_out(entry).is_ok());
    }

    #[test]
    fn no_more_at_once_than_said() {
        let registry = Registry::read(None);
        let pool = Pool::new(Arc::new(Counts::default()), 2, 1 << 30);
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let work = |_: &mut dyn Session| {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(5));
                        now.fetch_sub(1, Ordering::SeqCst);
                        Ok(())
                    };
                    pool.with(registry.get("kinora-denoise3").unwrap(), work).unwrap();
                });
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }
}
