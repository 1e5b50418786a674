//! What runs models on this machine: the library and the models that were found, and sessions for the chunks that need them. It must
//! not know ffmpeg or what a picture is of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kinora_ai::detect::Detector;
use kinora_ai::onnx::Onnx;
use kinora_ai::picture::Enhancer;
use kinora_ai::pool::{Count, Pool};
use kinora_ai::registry::{Entry, Place, Refused, Registry};
use kinora_ai::session::Backend;
use kinora_media::pictures;
use kinora_protocol::inference::{Inference, ModelCount, Network};
use kinora_protocol::planes::Planar;
use kinora_protocol::survey::Seen;

use crate::memory;

/// Part of the free memory that pictures on their way through models may take.
const PART: f64 = 0.75;

/// Where models and the library that runs them are looked for, and how much is kept.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// The library: the first that can be used is taken.
    pub libraries: Vec<PathBuf>,
    /// A folder of the user's own models.
    pub folder: Option<PathBuf>,
    /// Bytes of sessions that wait for the next picture.
    pub cache: u64,
}

/// What runs models here.
#[derive(Debug)]
pub struct Models {
    state: Inference,
    registry: Registry,
    pool: Option<Arc<Pool>>,
}

impl Models {
    /// None, and why.
    pub fn none(reason: impl Into<String>) -> Self {
        let state = Inference::Missing { reason: reason.into() };
        Self { state, registry: Registry::default(), pool: None }
    }

    /// The models that there are, none of which is run, and why.
    pub fn unused(reason: impl Into<String>, look: &Look) -> Self {
        Self { registry: Registry::read(look.folder.as_deref()), ..Self::none(reason) }
    }

    /// Looks for the library and the models. Models of the user's that do not run are left out, and it is told why.
    pub fn find(look: &Look) -> Self {
        let onnx = match library(&look.libraries) {
            Ok(onnx) => onnx,
            Err(reason) => return Self::unused(reason, look),
        };
        let mut registry = Registry::read(look.folder.as_deref());
        let backend: Arc<dyn Backend> = Arc::new(onnx);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let pool = Arc::new(Pool::new(backend, cores, look.cache));
        let entries = std::mem::take(&mut registry.entries);
        for entry in entries {
            let tried = match entry.place {
                Place::Own => Ok(()),
                Place::File(_) => pool.try_out(&entry),
            };
            match tried {
                Ok(()) => registry.entries.push(entry),
                Err(error) => {
                    let what = format!("model {:?}", entry.model.name);
                    registry.refused.push(Refused { what, why: error.to_string() });
                }
            }
        }
        for Refused { what, why } in &registry.refused {
            tracing::warn!("{what} is left out: {why}");
        }
        let models = registry.entries.iter().map(|entry| entry.model.network(entry.usual)).collect();
        let state = Inference::Ready { runtime: pool.backend().name(), models };
        Self { state, registry, pool: Some(pool) }
    }

    /// What it can run, to be told to a hub.
    pub fn state(&self) -> &Inference {
        &self.state
    }

    /// What it can run, as words: others make other pictures.
    pub fn keys(&self) -> Vec<String> {
        let models = self.state.models().iter().filter(|model| model.usual);
        models.map(|model| model.key().as_str().to_owned()).collect()
    }

    /// The models that were found, and those that were left out.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What each model did since the process began.
    pub fn counts(&self) -> BTreeMap<String, ModelCount> {
        let counts = self.pool.as_ref().map(|pool| pool.counts()).unwrap_or_default();
        let told = |(name, count): (String, Count)| {
            let took_us = u64::try_from(count.took.as_micros()).unwrap_or(u64::MAX);
            let Count { pictures, failures, hits, loads, .. } = count;
            (name, ModelCount { pictures, took_us, failures, hits, loads })
        };
        counts.into_iter().map(told).collect()
    }

    /// The sessions, where there is a library.
    pub fn pool(&self) -> Option<&Arc<Pool>> {
        self.pool.as_ref()
    }
}

/// The first library that can be used.
fn library(places: &[PathBuf]) -> Result<Onnx, String> {
    let mut why = Vec::new();
    for place in places.iter().filter(|place| is_there(place)) {
        match Onnx::open(place) {
            Ok(onnx) => return Ok(onnx),
            Err(error) => why.push(error.to_string()),
        }
    }
    let told = if why.is_empty() { "there is no ONNX Runtime".to_owned() } else { why.join("; ") };
    Err(format!("{told}: `kinora models setup` fetches one"))
}

fn is_there(place: &Path) -> bool {
    place.is_file()
}

impl Models {
    /// A model with its weights, and what runs it.
    fn ready(&self, network: &Network) -> Result<(&Entry, &Arc<Pool>), String> {
        // Two names may stand for the same weights.
        let is = |entry: &&Entry| {
            let known = entry.model.network(false);
            (&known.name, known.key(), known.limited) == (&network.name, network.key(), network.limited)
        };
        let found = self.registry.entries.iter().find(is);
        found.zip(self.pool.as_ref()).ok_or_else(|| {
            let why = match &self.state {
                Inference::Missing { reason } => reason.clone(),
                Inference::Ready { .. } => "there is none with these weights here".to_owned(),
            };
            format!("the model {:?} cannot be run: {why}", network.name)
        })
    }
}

impl pictures::Models for Models {
    fn open(&self, network: &Network, picture: &Planar) -> Result<Box<dyn pictures::Makes>, String> {
        let (entry, pool) = self.ready(network)?;
        let enhancer = Enhancer::new(&entry.model, picture);
        let at_once = fit(&enhancer, memory::free()).map_err(|why| {
            let (width, height) = (picture.width, picture.height);
            format!("the model {:?} needs {why} for a picture of {width}x{height}", network.name)
        })?;
        let at_once = pool.at_once().min(at_once);
        Ok(Box::new(Ready { pool: Arc::clone(pool), entry: entry.clone(), enhancer, at_once }))
    }

    fn detector(&self, network: &Network) -> Result<Arc<dyn pictures::Finds>, String> {
        let (entry, pool) = self.ready(network)?;
        let detector = Detector::new(&entry.model);
        Ok(Arc::new(Looking { pool: Arc::clone(pool), entry: entry.clone(), detector }))
    }
}

/// A model that finds things.
struct Looking {
    pool: Arc<Pool>,
    entry: Entry,
    detector: Detector,
}

impl pictures::Finds for Looking {
    fn find(&self, planes: [&[u8]; 3], size: (usize, usize)) -> Result<Vec<Seen>, String> {
        let found = self.pool.with(&self.entry, |session| self.detector.find(session, planes, size));
        found.map_err(|error| error.to_string())
    }
}

/// How many pictures there is memory for.
fn fit(enhancer: &Enhancer, free: u64) -> Result<usize, String> {
    let needs = enhancer.memory();
    match (free as f64 * PART / needs.max(1) as f64) as usize {
        0 => Err(format!(
            "about {} MB of memory (of {} MB that are free, {} % may be used)",
            needs >> 20,
            free >> 20,
            PART * 100.0
        )),
        fit => Ok(fit),
    }
}

/// A model for pictures of one kind.
struct Ready {
    pool: Arc<Pool>,
    entry: Entry,
    enhancer: Enhancer,
    at_once: usize,
}

impl pictures::Makes for Ready {
    fn at_once(&self) -> usize {
        self.at_once
    }

    fn make(&self, _: i64, seen: &[Arc<Vec<u8>>]) -> Result<Vec<u8>, String> {
        let seen: Vec<&[u8]> = seen.iter().map(|bytes| bytes.as_slice()).collect();
        let made = self.pool.with(&self.entry, |session| self.enhancer.make(session, &seen));
        made.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use kinora_protocol::inference::ModelTask;
    use kinora_protocol::media::Color;

    use super::*;

    #[test]
    fn no_more_pictures_than_there_is_memory_for() {
        let registry = Registry::read(None);
        let find = |task: ModelTask| registry.entries.iter().find(|entry| entry.model.task == task);
        let model = &find(ModelTask::Upscale).expect("ours").model;
        let of = |width, height| {
            let format = "yuv420p".to_owned();
            let color = Color::default();
            let halved = Some([1, 1]);
            Enhancer::new(
                model,
                &Planar { width, height, format, halved, depth: 8, color, sample_aspect: None },
            )
        };
        let (small, large) = (of(640, 360), of(7680, 4320));
        assert!(small.memory() < 200 << 20, "{}", small.memory() >> 20);
        assert!((500 << 20..3 << 30).contains(&large.memory()), "{}", large.memory() >> 20);
        assert!(fit(&small, 8 << 30).is_ok_and(|at_once| at_once > 20));
        assert_eq!(fit(&large, 4 * large.memory()), Ok(3));
        let why = fit(&large, 512 << 20).expect_err("too little");
        assert!(why.contains("of 512 MB that are free"), "{why}");
    }

    #[test]
    fn a_model_that_is_not_there() {
        use kinora_media::pictures::Models as _;
        let network = Registry::read(None).entries.first().expect("ours").model.network(true);
        let picture = Planar {
            width: 2,
            height: 2,
            format: "gray".to_owned(),
            halved: None,
            depth: 8,
            color: Color::default(),
            sample_aspect: None,
        };
        let why = Models::none("it was switched off").open(&network, &picture).err().expect("none");
        assert!(why.contains("it was switched off"), "{why}");
    }
}
