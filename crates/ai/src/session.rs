//! What runs a model, whatever it is made of.

/// Numbers in four dimensions: batch, channels, height, width.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Batch, channels, height, width.
    pub shape: [usize; 4],
    /// The numbers, row after row, channel after channel.
    pub data: Vec<f32>,
}

impl Tensor {
    /// Zeros of a shape.
    pub fn zeros(shape: [usize; 4]) -> Self {
        Self { shape, data: vec![0.0; shape.iter().product()] }
    }
}

/// Why a model does not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InferError {
    /// There is no library that could run it.
    #[error("{path}: ONNX Runtime cannot be used: {reason}")]
    Library {
        /// Which library was tried.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The file is not a model that is taken.
    #[error("model {name}: {reason}")]
    Model {
        /// Name of the model.
        name: String,
        /// Why not.
        reason: String,
    },
    /// It ran and failed.
    #[error("model {name} failed: {reason}")]
    Run {
        /// Name of the model.
        name: String,
        /// Why.
        reason: String,
    },
}

/// A model that is loaded. One picture at a time goes through it, on one thread; several run side by side.
pub trait Session: Send {
    /// What comes out.
    ///
    /// # Errors
    /// [`InferError::Run`].
    fn run(&mut self, input: &Tensor) -> Result<Tensor, InferError>;
}

/// A library that runs models.
pub trait Backend: Send + Sync {
    /// What it is called, with its version and what it runs on.
    fn name(&self) -> String;

    /// Loads a model.
    ///
    /// # Errors
    /// [`InferError::Model`] when it cannot be.
    fn load(&self, name: &str, model: &[u8]) -> Result<Box<dyn Session>, InferError>;
}
