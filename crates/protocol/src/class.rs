//! Classes of work: what a task asks of the node that may take it. A store holds few of them and many tasks of each, so that
//! looking for work never walks over tasks that a node cannot do. Which node serves which class is decided in `jobs`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::encode::Encoder;
use crate::node::SlotClass;

/// What a task asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Class {
    /// Which slot it takes.
    pub slot: SlotClass,
    /// The encoder it needs.
    pub encoder: Option<Encoder>,
    /// The ffmpeg build it needs, by its short name: chunks of one job must be made alike.
    pub build: Option<String>,
}

impl Class {
    /// Work that any node can do.
    pub const LIGHT: Self = Self { slot: SlotClass::Other, encoder: None, build: None };

    /// Chunks for one encoder of one build.
    pub fn chunk(encoder: Encoder, build: String) -> Self {
        Self { slot: SlotClass::Chunk, encoder: Some(encoder), build: Some(build) }
    }
}

/// The text is no class.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no class of work")]
pub struct BadClass(String);

/// Marks what is not asked for.
const ANY: &str = "-";

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slot.name())?;
        if self.encoder.is_some() || self.build.is_some() {
            let encoder = self.encoder.map_or(ANY, Encoder::name);
            write!(f, " {encoder} {}", self.build.as_deref().unwrap_or(ANY))?;
        }
        Ok(())
    }
}

impl FromStr for Class {
    type Err = BadClass;

    fn from_str(text: &str) -> Result<Self, BadClass> {
        let bad = || BadClass(text.to_owned());
        let words: Vec<&str> = text.split(' ').collect();
        let slot = |name: &str| [SlotClass::Chunk, SlotClass::Other].into_iter().find(|s| s.name() == name);
        match words[..] {
            [name] => Ok(Self { slot: slot(name).ok_or_else(bad)?, encoder: None, build: None }),
            [name, encoder, build] => Ok(Self {
                slot: slot(name).ok_or_else(bad)?,
                encoder: match encoder {
                    ANY => None,
                    name => Some(Encoder::from_name(name).ok_or_else(bad)?),
                },
                build: (build != ANY).then(|| build.to_owned()),
            }),
            _ => Err(bad()),
        }
    }
}

impl TryFrom<String> for Class {
    type Error = BadClass;
    fn try_from(text: String) -> Result<Self, BadClass> {
        text.parse()
    }
}

impl From<Class> for String {
    fn from(class: Class) -> Self {
        class.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_its_text() {
        let classes = [
            (Class::LIGHT, "other"),
            (Class { slot: SlotClass::Chunk, encoder: None, build: None }, "chunk"),
            (Class::chunk(Encoder::Vp9, "0f3a".to_owned()), "chunk libvpx-vp9 0f3a"),
            (Class { encoder: Some(Encoder::Aom), ..Class::LIGHT }, "other libaom-av1 -"),
        ];
        for (class, text) in classes {
            assert_eq!(class.to_string(), text);
            assert_eq!(text.parse::<Class>().unwrap(), class);
        }
        for text in ["", "heavy", "chunk libx264", "chunk nothing 0f3a", "chunk libx264 0f3a more"] {
            assert!(text.parse::<Class>().is_err(), "{text}");
        }
    }
}
