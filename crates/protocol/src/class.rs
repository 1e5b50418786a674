//! Classes of work: what a task asks of the node that may take it. A store holds few of them and many tasks of each, so that
//! looking for work never walks over tasks that a node cannot do. Which node serves which class is decided in `jobs`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::encode::Encoder;
use crate::inference::ModelKey;
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
    /// Tags that the node must have, all of them.
    pub tags: Tags,
    /// Models that it must be able to run.
    pub models: Vec<ModelKey>,
}

/// Longest tag.
const LONGEST_TAG: usize = 32;
/// Most tags of a node or a job.
const MOST_TAGS: usize = 16;

/// Words that nodes carry and jobs ask for; in order, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Tags(Vec<String>);

impl Tags {
    /// None.
    pub const NONE: Self = Self(Vec::new());

    /// Whether all of these are among `others`.
    pub fn are_among(&self, others: &Self) -> bool {
        self.0.iter().all(|tag| others.0.contains(tag))
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

/// What is wrong with tags.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTags {
    /// One of them cannot be one.
    #[error("{0:?} is no tag: 1 to 32 letters, digits, dots, dashes or underscores")]
    Word(String),
    /// There are too many.
    #[error("{0} tags are more than 16")]
    Many(usize),
}

impl TryFrom<Vec<String>> for Tags {
    type Error = BadTags;

    fn try_from(mut tags: Vec<String>) -> Result<Self, BadTags> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
        let good = |tag: &String| (1..=LONGEST_TAG).contains(&tag.len()) && tag.bytes().all(plain);
        if let Some(bad) = tags.iter().find(|tag| !good(tag)) {
            return Err(BadTags::Word(bad.clone()));
        }
        tags.sort();
        tags.dedup();
        if tags.len() > MOST_TAGS {
            return Err(BadTags::Many(tags.len()));
        }
        Ok(Self(tags))
    }
}

impl From<Tags> for Vec<String> {
    fn from(tags: Tags) -> Self {
        tags.0
    }
}

impl Class {
    /// Work that any node with the tags can do.
    pub fn light(tags: Tags) -> Self {
        Self { slot: SlotClass::Other, encoder: None, build: None, tags, models: Vec::new() }
    }

    /// Work that nobody waits for.
    pub fn describe(tags: Tags) -> Self {
        Self { slot: SlotClass::Describe, ..Self::light(tags) }
    }

    /// Frames that are measured: it keeps processors busy as chunks do, and any ffmpeg will do.
    pub fn measure(tags: Tags) -> Self {
        Self { slot: SlotClass::Chunk, ..Self::light(tags) }
    }

    /// Chunks for one encoder of one build.
    pub fn chunk(encoder: Encoder, build: String, tags: Tags) -> Self {
        Self { slot: SlotClass::Chunk, encoder: Some(encoder), build: Some(build), ..Self::light(tags) }
    }

    /// The same with models that a node must be able to run.
    pub fn with_models(self, models: impl IntoIterator<Item = ModelKey>) -> Self {
        let mut models: Vec<ModelKey> = models.into_iter().collect();
        models.sort();
        models.dedup();
        Self { models, ..self }
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
        let (tags, models) = (!self.tags.is_empty(), !self.models.is_empty());
        if self.encoder.is_some() || self.build.is_some() || tags || models {
            let encoder = self.encoder.map_or(ANY, Encoder::name);
            write!(f, " {encoder} {}", self.build.as_deref().unwrap_or(ANY))?;
        }
        match (tags, models) {
            (false, false) => return Ok(()),
            (true, _) => write!(f, " {}", self.tags)?,
            (false, true) => write!(f, " {ANY}")?,
        }
        if models {
            let keys: Vec<&str> = self.models.iter().map(ModelKey::as_str).collect();
            write!(f, " {}", keys.join(","))?;
        }
        Ok(())
    }
}

impl FromStr for Class {
    type Err = BadClass;

    fn from_str(text: &str) -> Result<Self, BadClass> {
        let bad = || BadClass(text.to_owned());
        let words: Vec<&str> = text.split(' ').collect();
        let slot = |name: &str| SlotClass::ALL.into_iter().find(|s| s.name() == name);
        let (name, encoder, build, tags, models) = match words[..] {
            [name] => (name, ANY, ANY, None, None),
            [name, encoder, build] => (name, encoder, build, None, None),
            [name, encoder, build, tags] => (name, encoder, build, Some(tags), None),
            [name, encoder, build, ANY, models] => (name, encoder, build, None, Some(models)),
            [name, encoder, build, tags, models] => (name, encoder, build, Some(tags), Some(models)),
            _ => return Err(bad()),
        };
        let tags: Vec<String> = tags.into_iter().flat_map(|t| t.split(',')).map(str::to_owned).collect();
        let models = models.into_iter().flat_map(|keys| keys.split(','));
        Ok(Self {
            slot: slot(name).ok_or_else(bad)?,
            encoder: match encoder {
                ANY => None,
                name => Some(Encoder::from_name(name).ok_or_else(bad)?),
            },
            build: (build != ANY).then(|| build.to_owned()),
            tags: Tags::try_from(tags).map_err(|_| bad())?,
            models: models.map(|key| ModelKey::parse(key).ok_or_else(bad)).collect::<Result<_, _>>()?,
        })
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
        let light = || Class::light(Tags::NONE);
        let keys = || {
            ["00000000000000ff", "0000000000000001", "00000000000000ff"].map(|k| ModelKey::parse(k).unwrap())
        };
        let tags = || tags(&["gpu", "attic", "gpu"]).expect("tags");
        let classes = [
            (light(), "other"),
            (Class { slot: SlotClass::Chunk, ..light() }, "chunk"),
            (Class::chunk(Encoder::Vp9, "0f3a".to_owned(), Tags::NONE), "chunk libvpx-vp9 0f3a"),
            (Class { encoder: Some(Encoder::Aom), ..light() }, "other libaom-av1 -"),
            (Class::light(tags()), "other - - attic,gpu"),
            (Class::chunk(Encoder::Vp9, "0f3a".to_owned(), tags()), "chunk libvpx-vp9 0f3a attic,gpu"),
            (
                Class::chunk(Encoder::Vp9, "0f3a".to_owned(), tags()).with_models(keys()),
                "chunk libvpx-vp9 0f3a attic,gpu 0000000000000001,00000000000000ff",
            ),
            (light().with_models(keys()), "other - - - 0000000000000001,00000000000000ff"),
        ];
        for (class, text) in classes {
            assert_eq!(class.to_string(), text);
            assert_eq!(text.parse::<Class>().unwrap(), class);
        }
        for text in [
            "",
            "heavy",
            "chunk libx264",
            "chunk nothing 0f3a",
            "chunk libx264 0f3a a b",
            "chunk - - ö",
            "other - - - 12",
        ] {
            assert!(text.parse::<Class>().is_err(), "{text}");
        }
    }

    fn tags(words: &[&str]) -> Result<Tags, BadTags> {
        Tags::try_from(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn tags_are_plain_words() {
        let of = |words: &[&str]| tags(words).expect("tags");
        assert_eq!(of(&["b", "a", "b"]), of(&["a", "b"]));
        assert!(Tags::NONE.are_among(&Tags::NONE) && of(&["a"]).are_among(&of(&["a", "b"])));
        assert!(!of(&["a", "c"]).are_among(&of(&["a", "b"])));
        for word in ["", "a b", "a,b", "ä", &"x".repeat(33)] {
            assert_eq!(tags(&[word]), Err(BadTags::Word(word.to_owned())));
        }
        let many: Vec<String> = (0..17).map(|n| n.to_string()).collect();
        assert_eq!(Tags::try_from(many), Err(BadTags::Many(17)));
    }
}
