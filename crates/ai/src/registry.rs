//! The models that there are: Kinora's own, which are part of the binary, and those of a folder. A model of the folder is a file of
//! weights with a manifest beside it; what is wrong with one of them is told, and the others are there all the same.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kinora_protocol::inference::Precision;
use sha2::{Digest as _, Sha256};

use crate::check;
use crate::model::{Manifest, Model};

/// Kinora's own models.
const OWN: &str = include_str!("../../../models/manifest.toml");
const OWN_FILES: [(&str, &[u8]); 4] = [
    ("kinora-upscale2.onnx", include_bytes!("../../../models/kinora-upscale2.onnx")),
    ("kinora-upscale2-int8.onnx", include_bytes!("../../../models/kinora-upscale2-int8.onnx")),
    ("kinora-denoise3.onnx", include_bytes!("../../../models/kinora-denoise3.onnx")),
    ("kinora-denoise3-int8.onnx", include_bytes!("../../../models/kinora-denoise3-int8.onnx")),
];

/// A model with less precise weights is the usual one when it loses no more than this, in dB.
const NEAR: f64 = 0.2;
/// The greatest file of weights that is taken.
const LARGEST: u64 = 1 << 31;

/// Where the weights of a model are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the binary.
    Own,
    /// In a file.
    File(PathBuf),
}

/// A model that there is.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What is known of it.
    pub model: Model,
    /// Where its weights are.
    pub place: Place,
    /// Whether it is taken when nobody names one for its task.
    pub usual: bool,
}

impl Entry {
    /// Its weights, which are those that its manifest means and refer to nothing outside.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn weights(&self) -> Result<Cow<'static, [u8]>, String> {
        let bytes: Cow<'static, [u8]> = match &self.place {
            Place::Own => {
                let own = OWN_FILES.iter().find(|(name, _)| *name == self.model.file);
                Cow::Borrowed(own.ok_or("it is not part of this binary")?.1)
            }
            Place::File(path) => {
                let failed = |e: std::io::Error| format!("{}: {e}", path.display());
                let length = std::fs::metadata(path).map_err(failed)?.len();
                if length != self.model.bytes || length > LARGEST {
                    return Err(format!(
                        "{} has {length} bytes, and its manifest says {}",
                        path.display(),
                        self.model.bytes
                    ));
                }
                Cow::Owned(std::fs::read(path).map_err(failed)?)
            }
        };
        if !sha256(&bytes).eq_ignore_ascii_case(&self.model.sha256) {
            return Err(format!(
                "{} is not the file that its manifest means: its SHA-256 is another",
                self.model.file
            ));
        }
        check::model(&bytes).map_err(|bad| format!("{}: {bad}", self.model.file))?;
        Ok(bytes)
    }
}

/// SHA-256 in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A manifest or a model that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which.
    pub what: String,
    /// Why.
    pub why: String,
}

/// All models that there are.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    /// Those that can be used, Kinora's own first.
    pub entries: Vec<Entry>,
    /// Those that cannot.
    pub refused: Vec<Refused>,
}

impl Registry {
    /// Kinora's own models, and those of a folder if there is one.
    pub fn read(folder: Option<&Path>) -> Self {
        let mut registry = Self::default();
        match Manifest::read(OWN) {
            Ok(own) => registry.take(own, |_| Place::Own),
            Err(why) => registry.refuse("Kinora's own models", why),
        }
        let mut known = BTreeSet::new();
        for entry in &mut registry.entries {
            let near =
                entry.model.precision == Precision::F32 || entry.model.loss_db.is_some_and(|l| l <= NEAR);
            // The fast one of those that are good enough: int8 stands after f32.
            entry.usual = near;
        }
        for entry in registry.entries.iter_mut().rev().filter(|entry| entry.usual) {
            entry.usual = known.insert(entry.model.task);
        }
        if let Some(folder) = folder {
            registry.look(folder);
        }
        registry
    }

    /// The models of a folder.
    fn look(&mut self, folder: &Path) {
        let files = match std::fs::read_dir(folder) {
            Ok(files) => files,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => return self.refuse(&folder.display().to_string(), error.to_string()),
        };
        let manifest = |path: &PathBuf| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("toml"));
        let mut manifests: Vec<PathBuf> = files.flatten().map(|file| file.path()).filter(manifest).collect();
        manifests.sort();
        for path in manifests {
            let said = std::fs::read_to_string(&path).map_err(|e| e.to_string());
            match said.and_then(|text| Manifest::read(&text)) {
                Ok(manifest) => self.take(manifest, |model| Place::File(folder.join(&model.file))),
                Err(why) => self.refuse(&path.display().to_string(), why),
            }
        }
    }

    fn refuse(&mut self, what: &str, why: String) {
        self.refused.push(Refused { what: what.to_owned(), why });
    }

    /// Takes the models of a manifest whose files are what it says.
    fn take(&mut self, manifest: Manifest, place: impl Fn(&Model) -> Place) {
        for model in manifest.models {
            let entry = Entry { place: place(&model), model, usual: false };
            let name = entry.model.name.clone();
            if self.entries.iter().any(|known| known.model.name == name) {
                self.refuse(&format!("model {name:?}"), "there is one of this name already".to_owned());
                continue;
            }
            match entry.weights() {
                Ok(_) => self.entries.push(entry),
                Err(why) => self.refuse(&format!("model {name:?}"), why),
            }
        }
    }

    /// A model by its name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.model.name == name)
    }
}

/// Puts a model into a folder: its weights, and a manifest beside them.
///
/// # Errors
/// What cannot be written, and why.
pub fn put(folder: &Path, model: &Model, weights: &[u8]) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let text = Manifest { models: vec![model.clone()] }.text()?;
    let (file, manifest) = (folder.join(&model.file), folder.join(format!("{}.toml", model.name)));
    if let Some(there) = [&file, &manifest].into_iter().find(|path| path.exists()) {
        return Err(format!("{} is there already", there.display()));
    }
    // The manifest comes last: without it, nobody looks at the weights.
    write(&file, weights)?;
    write(&manifest, text.as_bytes())
}

/// Takes a model out of a folder.
///
/// # Errors
/// When it is none of the folder's, or cannot be removed.
pub fn remove(folder: &Path, entry: &Entry) -> Result<(), String> {
    let Place::File(weights) = &entry.place else {
        return Err("it is part of Kinora and cannot be removed".to_owned());
    };
    let failed = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    let files = std::fs::read_dir(folder).map_err(|e| failed(folder, e))?;
    // By another model.
    let mut wanted = false;
    for path in files.flatten().map(|file| file.path()) {
        let said =
            std::fs::read_to_string(&path).ok().filter(|_| path.extension().is_some_and(|e| e == "toml"));
        let Some(mut manifest) = said.and_then(|text| Manifest::read(&text).ok()) else { continue };
        let before = manifest.models.len();
        manifest.models.retain(|model| model.name != entry.model.name);
        wanted |= manifest.models.iter().any(|model| model.file == entry.model.file);
        match manifest.models.len() {
            left if left == before => {}
            0 => std::fs::remove_file(&path).map_err(|e| failed(&path, e))?,
            _ => write(&path, manifest.text()?.as_bytes())?,
        }
    }
    if wanted {
        return Ok(());
    }
    std::fs::remove_file(weights).map_err(|e| failed(weights, e))
}

/// Writes a file beside its place and gives it its name then: nobody sees half of it.
fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let part = path.with_extension("part");
    let written = std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, path));
    written.map_err(|e| format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_there() {
        let registry = Registry::read(None);
        assert_eq!((registry.entries.len(), registry.refused.len()), (4, 0), "{:?}", registry.refused);
        let usual: Vec<&str> =
            registry.entries.iter().filter(|e| e.usual).map(|e| e.model.name.as_str()).collect();
        assert_eq!(usual, ["kinora-upscale2-int8", "kinora-denoise3"]);
    }

    #[test]
    fn put_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let own = Registry::read(None);
        let model = |name: &str| Model {
            name: name.to_owned(),
            file: format!("{name}.onnx"),
            ..own.get("kinora-upscale2").unwrap().model.clone()
        };
        let (_, weights) = OWN_FILES[0];
        put(folder.path(), &model("a"), weights).unwrap();
        let both = Manifest { models: vec![model("b"), model("c")] };
        std::fs::write(folder.path().join("both.toml"), both.text().unwrap()).unwrap();
        for name in ["b", "c"] {
            std::fs::write(folder.path().join(format!("{name}.onnx")), weights).unwrap();
        }
        let names = || {
            let registry = Registry::read(Some(folder.path()));
            assert_eq!(registry.refused, []);
            registry.entries.iter().skip(4).map(|entry| entry.model.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(), ["a", "b", "c"]);
        for (name, left) in [("b", vec!["a", "c"]), ("a", vec!["c"]), ("c", vec![])] {
            let registry = Registry::read(Some(folder.path()));
            remove(folder.path(), registry.get(name).unwrap()).unwrap();
            assert_eq!(names(), left);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(remove(folder.path(), own.get("kinora-upscale2").unwrap()).is_err());
    }

    #[test]
    fn a_folder_of_ones_own() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        let (_, weights) = OWN_FILES[0];
        let first = OWN.split("[[model]]").nth(1).unwrap();
        let manifest = |name: &str, file: &str| {
            let text = first.replace("\"kinora-upscale2\"", &format!("{name:?}"));
            format!("[[model]]{}", text.replace("\"kinora-upscale2.onnx\"", &format!("{file:?}")))
        };
        put("mine.toml", manifest("mine", "mine.onnx").as_bytes());
        put("mine.onnx", weights);
        put("cut.toml", manifest("cut", "cut.onnx").as_bytes());
        put("cut.onnx", &weights[..1000]);
        put("other.toml", manifest("other", "other.onnx").as_bytes());
        let mut changed = weights.to_vec();
        changed[5000] ^= 1;
        put("other.onnx", &changed);
        put("gone.toml", manifest("gone", "gone.onnx").as_bytes());
        put("twice.toml", manifest("kinora-upscale2", "mine.onnx").as_bytes());
        put("words.toml", b"these are words");
        put("readme.txt", b"not looked at");
        let registry = Registry::read(Some(folder.path()));
        let entry = registry.get("mine").unwrap();
        assert!(!entry.usual && entry.weights().unwrap() == weights && registry.entries.len() == 5);
        let why = |what: &str| &registry.refused.iter().find(|r| r.what.contains(what)).unwrap().why;
        assert!(why("cut").contains("1000 bytes"), "{}", why("cut"));
        assert!(why("other").contains("SHA-256"), "{}", why("other"));
        assert!(why("gone").contains("gone.onnx"), "{}", why("gone"));
        assert!(why("kinora-upscale2").contains("already"));
        assert!(why("words.toml").contains("TOML parse error"), "{}", why("words.toml"));
        assert_eq!(registry.refused.len(), 5);
        assert!(Registry::read(Some(&folder.path().join("no"))).refused.is_empty());
    }
}
