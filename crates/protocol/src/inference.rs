//! Models as nodes offer them and as tasks name them, and what runs them on a node. It must not know a runtime's library or where
//! weights are kept.

use serde::{Deserialize, Serialize};

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ModelTask {
    /// Larger pictures.
    Upscale,
    /// Less noise.
    Denoise,
    /// What is in pictures, and where.
    Detect,
}

impl ModelTask {
    /// As it is written in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Upscale => "upscale",
            Self::Denoise => "denoise",
            Self::Detect => "detect",
        }
    }
}

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 8-bit integers.
    Int8,
}

impl Precision {
    /// As it is written in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }
}

/// A model that a node can run: what a plan needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Network {
    /// Name.
    pub name: String,
    /// Which of several with this name.
    pub version: u32,
    /// SHA-256 of its file in hexadecimal digits: with another file, pictures are others.
    pub sha256: String,
    /// What it is for.
    pub task: ModelTask,
    /// Frames that go in for one that comes out, which is the one in their middle.
    pub frames: u32,
    /// So many times the width and height come out.
    pub scale: u32,
    /// Whether what it takes away is held to the noise.
    #[serde(default)]
    pub limited: bool,
    /// Whether it is taken when a recipe names none.
    #[serde(default)]
    pub usual: bool,
}

impl Network {
    /// What nodes and work are matched by.
    pub fn key(&self) -> ModelKey {
        ModelKey(self.sha256.chars().take(ModelKey::LENGTH).collect())
    }
}

/// A model, by the first digits of its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelKey(String);

impl ModelKey {
    const LENGTH: usize = 16;

    /// From its text.
    pub fn parse(text: &str) -> Option<Self> {
        let good = text.len() == Self::LENGTH && text.bytes().all(|b| b.is_ascii_hexdigit());
        good.then(|| Self(text.to_owned()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ModelKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} names no model"))
    }
}

impl From<ModelKey> for String {
    fn from(key: ModelKey) -> Self {
        key.0
    }
}

/// What models did since a process began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ModelCount {
    /// Pictures that went through.
    pub pictures: u64,
    /// What they took in all, in microseconds on one thread.
    pub took_us: u64,
    /// Pictures that failed.
    pub failures: u64,
    /// Times that a loaded model was there already.
    pub hits: u64,
    /// Times that it had to be loaded.
    pub loads: u64,
}

impl ModelCount {
    /// What was added since `before`; all of it where something became less, as then it began anew.
    pub fn since(self, before: Self) -> Self {
        let parts = |count: Self| [count.pictures, count.took_us, count.failures, count.hits, count.loads];
        let (now, then) = (parts(self), parts(before));
        if now.iter().zip(then).any(|(now, then)| *now < then) {
            return self;
        }
        Self {
            pictures: self.pictures - before.pictures,
            took_us: self.took_us - before.took_us,
            failures: self.failures - before.failures,
            hits: self.hits - before.hits,
            loads: self.loads - before.loads,
        }
    }
}

impl std::ops::AddAssign for ModelCount {
    fn add_assign(&mut self, other: Self) {
        self.pictures += other.pictures;
        self.took_us += other.took_us;
        self.failures += other.failures;
        self.hits += other.hits;
        self.loads += other.loads;
    }
}

/// A model, as the nodes of a hub have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ModelView {
    /// The model.
    #[serde(flatten)]
    pub network: Network,
    /// Connected nodes that can run it.
    pub nodes: u32,
    /// What it did on all nodes since the hub was started.
    pub count: ModelCount,
}

/// What runs models on a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Inference {
    /// It can.
    Ready {
        /// The library with its version, and what it computes on.
        runtime: String,
        /// What it can run.
        models: Vec<Network>,
    },
    /// It cannot.
    Missing {
        /// Why, and what to do.
        reason: String,
    },
}

impl Default for Inference {
    fn default() -> Self {
        Self::Missing { reason: "it does not say".to_owned() }
    }
}

impl Inference {
    /// What it can run.
    pub fn models(&self) -> &[Network] {
        match self {
            Self::Ready { models, .. } => models,
            Self::Missing { .. } => &[],
        }
    }

    /// What this machine and another can run together.
    pub fn and(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Ready { models, .. }, other) => {
                for model in other.models() {
                    if !models.contains(model) {
                        models.push(model.clone());
                    }
                }
            }
            (Self::Missing { .. }, Self::Ready { .. }) => self.clone_from(other),
            (Self::Missing { .. }, Self::Missing { .. }) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_grow_or_begin_anew() {
        let count = |pictures| ModelCount { pictures, hits: 1, ..ModelCount::default() };
        assert_eq!(count(7).since(count(3)), ModelCount { pictures: 4, ..ModelCount::default() });
        assert_eq!(count(2).since(count(3)), count(2));
        let mut sum = count(1);
        sum += count(2);
        assert_eq!((sum.pictures, sum.hits), (3, 2));
    }

    #[test]
    fn keys() {
        assert!(ModelKey::parse("0123456789abcdef").is_some());
        for bad in ["", "0123456789abcde", "0123456789abcdeg", "0123456789abcdef0"] {
            assert!(ModelKey::parse(bad).is_none(), "{bad}");
        }
    }
}
