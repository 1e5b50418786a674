//! ONNX Runtime, loaded from a shared library while Kinora runs: nothing is linked against it. There is one library for a process.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::session::Session as OrtSession;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;

use crate::check;
use crate::session::{Backend, InferError, Session, Tensor};

/// The library.
#[derive(Debug, Clone)]
pub struct Onnx {
    version: String,
    environment: Environment,
}

impl Onnx {
    /// Loads the library from a file. The first file that is loaded stays for as long as the process lives.
    ///
    /// # Errors
    /// [`InferError::Library`] when there is none, or it is another one.
    pub fn open(path: &Path) -> Result<Self, InferError> {
        static LOADED: Mutex<Option<Onnx>> = Mutex::new(None);
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        match loaded.as_ref() {
            Some(known) => Ok(known.clone()),
            None => Ok(loaded.insert(Self::load(path)?).clone()),
        }
    }

    fn load(path: &Path) -> Result<Self, InferError> {
        let refused = |reason: String| InferError::Library { path: path.display().to_string(), reason };
        // The loader would look for what is not there in folders of its own.
        if !path.is_file() {
            return Err(refused("there is no such file".to_owned()));
        }
        let environment = ort::init_from(path).map_err(|e| refused(e.to_string()))?;
        let environment = environment.with_telemetry(false).build().map_err(|e| refused(e.to_string()))?;
        Ok(Self { version: version(ort::info()), environment })
    }
}

/// What tells builds of the library apart in its description of itself: the commit that it was made from.
fn version(info: &str) -> String {
    let commit = info.split("git-commit-id=").nth(1).and_then(|rest| rest.split([',', ' ']).next());
    commit.map_or_else(|| "of an unknown version".to_owned(), |commit| format!("(build {commit})"))
}

impl Backend for Onnx {
    fn name(&self) -> String {
        format!("ONNX Runtime {} on the processor", self.version)
    }

    fn load(&self, name: &str, model: &[u8]) -> Result<Box<dyn Session>, InferError> {
        let refused = |reason: String| InferError::Model { name: name.to_owned(), reason };
        check::model(model).map_err(|bad| refused(bad.to_string()))?;
        let session = built(&self.environment, model).map_err(|e| refused(e.to_string()))?;
        let one = |ports: Vec<String>, what: &str| match <[String; 1]>::try_from(ports) {
            Ok([port]) => Ok(port),
            Err(ports) => Err(refused(format!("it has {} {what}, and one is known here", ports.len()))),
        };
        let input = one(session.inputs().iter().map(|port| port.name().to_owned()).collect(), "inputs")?;
        let output = one(session.outputs().iter().map(|port| port.name().to_owned()).collect(), "outputs")?;
        Ok(Box::new(Loaded { session, name: name.to_owned(), input, output }))
    }
}

/// One thread for each session: several run side by side, and one that spins would take time from the others.
fn built(environment: &Environment, model: &[u8]) -> Result<OrtSession, ort::Error> {
    let mut builder = OrtSession::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::Level3)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_deterministic_compute(true)?;
    builder.commit_from_memory(model)
}

struct Loaded {
    session: OrtSession,
    name: String,
    input: String,
    output: String,
}

impl Session for Loaded {
    fn run(&mut self, input: &Tensor) -> Result<Tensor, InferError> {
        let name = self.name.clone();
        let failed = |reason: String| InferError::Run { name: name.clone(), reason };
        let view = TensorRef::from_array_view((input.shape, input.data.as_slice()))
            .map_err(|e| failed(e.to_string()))?;
        let outputs =
            self.session.run(ort::inputs![self.input.as_str() => view]).map_err(|e| failed(e.to_string()))?;
        let value = outputs.get(self.output.as_str()).ok_or_else(|| failed("nothing came out".to_owned()))?;
        let (shape, data) = value.try_extract_tensor::<f32>().map_err(|e| failed(e.to_string()))?;
        let sides: Vec<usize> = shape.iter().filter_map(|side| usize::try_from(*side).ok()).collect();
        let shape = <[usize; 4]>::try_from(sides)
            .map_err(|sides| failed(format!("{sides:?} came out, and four sides are known here")))?;
        if shape.iter().product::<usize>() != data.len() {
            return Err(failed(format!("{} numbers came out for {shape:?}", data.len())));
        }
        Ok(Tensor { shape, data: data.to_vec() })
    }
}
