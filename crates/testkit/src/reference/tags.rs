//! What a file says beside pictures and sound: colours, HDR, rotation, languages, dispositions, chapters, subtitles,
//! attachments.
//!
//! It must not know which of these the product promises to keep: tests say so by rules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::difference::{Difference, Kind};
use super::probe::packets;
use crate::ffmpeg;

/// A group of facts that a rule can leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tag {
    /// Kinds of streams in their order, with their codecs.
    Streams,
    /// Width, height, sample aspect ratio and pixel format.
    Picture,
    /// Range, space, transfer, primaries and chroma location.
    Colour,
    /// Mastering display and content light level, from the stream or its first frame.
    Hdr,
    /// Other side data of the stream, such as a Dolby Vision record.
    SideData,
    Rotation,
    FieldOrder,
    Language,
    /// Titles and handler-independent names of streams.
    StreamTitle,
    Disposition,
    Chapters,
    /// Time and payload of every subtitle packet.
    Subtitles,
    /// Name, type and bytes.
    Attachments,
    /// Tags of the whole file.
    FileTags,
    CreationTime,
}

/// What `compare_tags` lets pass.
#[derive(Clone, Debug, Default)]
pub struct TagRules {
    pub ignored: BTreeSet<Tag>,
    /// Between times of chapters and subtitles.
    pub time_slack_millis: u32,
}

/// A moment of a chapter or subtitle: ticks and time base.
type Moment = (i64, (i64, i64));

/// A fact: text, or a moment that a rule may loosen.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fact {
    Text(String),
    Time(Moment),
}

/// Facts by group and name.
#[derive(Clone, Debug, Default)]
pub struct Facts(BTreeMap<(Tag, String), Fact>);

impl Facts {
    /// A text fact, for example `get(Tag::Language, "a:0")`.
    pub fn get(&self, tag: Tag, name: &str) -> Option<&str> {
        match self.0.get(&(tag, name.to_owned()))? {
            Fact::Text(text) => Some(text),
            Fact::Time(_) => None,
        }
    }

    /// Names and texts of one group.
    pub fn group(&self, tag: Tag) -> Vec<(String, String)> {
        let group = self.0.iter().filter(|((of, _), _)| *of == tag);
        group.map(|((_, name), fact)| (name.clone(), fact.to_string())).collect()
    }

    fn text(&mut self, tag: Tag, name: impl Into<String>, value: &Value) {
        let text = match value {
            Value::Null => return,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        // ffprobe leaves out what it does not know in some places and writes these in others.
        if !matches!(text.as_str(), "unknown" | "unspecified" | "N/A") {
            self.0.insert((tag, name.into()), Fact::Text(text));
        }
    }

    fn time(&mut self, tag: Tag, name: String, moment: Moment) {
        self.0.insert((tag, name), Fact::Time(moment));
    }
}

impl std::fmt::Display for Fact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fact::Text(text) => f.write_str(text),
            Fact::Time((ticks, (num, den))) => {
                write!(f, "{ticks}*{num}/{den} ({:.6} s)", *ticks as f64 * *num as f64 / *den as f64)
            }
        }
    }
}

/// Every difference of what two files say; the error has a line for each.
pub fn compare_tags(a: &Path, b: &Path, rules: &TagRules) -> Result<(), Difference> {
    let (mine, theirs) = (tags(a)?.0, tags(b)?.0);
    let names: BTreeSet<_> = mine.keys().chain(theirs.keys()).collect();
    let differs = |key: &(Tag, String)| match (mine.get(key), theirs.get(key)) {
        (Some(Fact::Time(x)), Some(Fact::Time(y))) => apart(*x, *y, rules.time_slack_millis),
        (x, y) => x != y,
    };
    let shown = |fact: Option<&Fact>| fact.map_or("nothing".to_owned(), Fact::to_string);
    let lines: Vec<String> = names
        .into_iter()
        .filter(|key| !rules.ignored.contains(&key.0) && differs(key))
        .map(|key| format!("{:?} {}: {} | {}", key.0, key.1, shown(mine.get(key)), shown(theirs.get(key))))
        .collect();
    if lines.is_empty() { Ok(()) } else { Err(Difference::new(Kind::Tags, lines.join("\n"))) }
}

fn apart(x: Moment, y: Moment, millis: u32) -> bool {
    let scaled =
        |(ticks, (num, _)): Moment, other: i64| i128::from(ticks) * i128::from(num) * i128::from(other);
    let (x_den, y_den) = (x.1.1, y.1.1);
    let distance = (scaled(x, y_den) - scaled(y, x_den)).abs();
    distance * 1000 > i128::from(millis) * i128::from(x_den) * i128::from(y_den)
}

/// Everything that ffprobe tells of a file in these groups. Streams are named by kind and number, as in `s:1`.
pub fn tags(path: &Path) -> Result<Facts> {
    let mut command = ffmpeg::ffprobe();
    command.args(["-show_streams", "-show_format", "-show_chapters", "-show_data_hash", "md5"]);
    let value = ffmpeg::json(command.args(["-of", "json"]).arg(ffmpeg::file_arg(path)))?;
    let mut facts = Facts::default();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for stream in value["streams"].as_array().context("ffprobe printed no streams")? {
        let kind = stream["codec_type"].as_str().unwrap_or("other");
        let letter = if kind == "attachment" { "t" } else { kind.get(..1).unwrap_or("o") };
        let number = counts.entry(letter.to_owned()).or_default();
        let name = format!("{letter}:{number}");
        *number += 1;
        stream_facts(&mut facts, &name, stream)?;
        match letter {
            "v" => side_data(&mut facts, &name, path, stream)?,
            "s" => subtitle_facts(&mut facts, &name, path, stream)?,
            _ => {}
        }
    }
    let order: Vec<String> = value["streams"].as_array().into_iter().flatten().map(kind_and_codec).collect();
    facts.text(Tag::Streams, "order", &Value::from(order.join(" ")));
    chapter_facts(&mut facts, &value["chapters"])?;
    file_facts(&mut facts, &value["format"]["tags"]);
    Ok(facts)
}

fn kind_and_codec(stream: &Value) -> String {
    let word = |name: &str| stream[name].as_str().unwrap_or("unknown").to_owned();
    format!("{}/{}", word("codec_type"), word("codec_name"))
}

fn stream_facts(facts: &mut Facts, name: &str, stream: &Value) -> Result<()> {
    for (tag, entries) in [
        (Tag::Picture, &["width", "height", "sample_aspect_ratio", "pix_fmt"][..]),
        (
            Tag::Colour,
            &["color_range", "color_space", "color_transfer", "color_primaries", "chroma_location"][..],
        ),
    ] {
        for entry in entries {
            facts.text(tag, format!("{name} {entry}"), &stream[entry]);
        }
    }
    facts.text(Tag::FieldOrder, name, &stream["field_order"]);
    facts.text(Tag::Language, name, &stream["tags"]["language"]);
    facts.text(Tag::StreamTitle, name, &stream["tags"]["title"]);
    let set = stream["disposition"].as_object().into_iter().flatten();
    let set: Vec<&str> =
        set.filter(|(_, on)| on.as_i64() == Some(1)).map(|(word, _)| word.as_str()).collect();
    facts.text(Tag::Disposition, name, &Value::from(set.join("+")));
    if name.starts_with('t') {
        for entry in ["filename", "mimetype"] {
            facts.text(Tag::Attachments, format!("{name} {entry}"), &stream["tags"][entry]);
        }
        facts.text(Tag::Attachments, format!("{name} bytes"), &stream["extradata_hash"]);
    }
    Ok(())
}

/// Side data of the stream, and what its first frame says of HDR: HEVC and AV1 may keep it in the stream only.
fn side_data(facts: &mut Facts, name: &str, path: &Path, stream: &Value) -> Result<()> {
    let mut command = ffmpeg::ffprobe();
    command.args(["-select_streams", name, "-read_intervals", "%+#4", "-show_frames", "-of", "json"]);
    let frames = ffmpeg::json(command.arg(ffmpeg::file_arg(path)))?;
    let of_frame = frames["frames"][0]["side_data_list"].as_array().into_iter().flatten();
    let of_stream = stream["side_data_list"].as_array().into_iter().flatten();
    for data in of_frame.filter(|data| is_hdr(data)).chain(of_stream) {
        let kind = data["side_data_type"].as_str().unwrap_or("unknown kind");
        let tag = match kind {
            _ if is_hdr(data) => Tag::Hdr,
            "Display Matrix" => Tag::Rotation,
            _ => Tag::SideData,
        };
        for (entry, value) in
            data.as_object().into_iter().flatten().filter(|(key, _)| *key != "side_data_type")
        {
            facts.text(tag, format!("{name} {kind} {entry}"), &reduced(value));
        }
    }
    Ok(())
}

fn is_hdr(data: &Value) -> bool {
    matches!(
        data["side_data_type"].as_str(),
        Some("Mastering display metadata" | "Content light level metadata")
    )
}

/// Fractions in lowest terms, since a box and a bitstream write the same number over other denominators.
fn reduced(value: &Value) -> Value {
    let ratio = value.as_str().and_then(|text| text.split_once('/'));
    let Some((Ok(num), Ok(den))) = ratio.map(|(num, den)| (num.parse::<i64>(), den.parse::<i64>())) else {
        return value.clone();
    };
    let (mut a, mut b) = (num.abs(), den.abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    let divisor = a.max(1);
    Value::from(format!("{}/{}", num / divisor, den / divisor))
}

fn subtitle_facts(facts: &mut Facts, name: &str, path: &Path, stream: &Value) -> Result<()> {
    let base = time_base(stream)?;
    for (n, packet) in packets(path, name)?.iter().enumerate() {
        let name = format!("{name} packet {n:04}");
        facts.text(Tag::Subtitles, format!("{name} payload"), &Value::from(packet.data_hash.as_str()));
        let start = packet.pts.context("a subtitle has no time")?;
        facts.time(Tag::Subtitles, format!("{name} start"), (start, base));
        if let Some(duration) = packet.duration {
            facts.time(Tag::Subtitles, format!("{name} end"), (start + duration, base));
        }
    }
    Ok(())
}

fn chapter_facts(facts: &mut Facts, chapters: &Value) -> Result<()> {
    for (n, chapter) in chapters.as_array().into_iter().flatten().enumerate() {
        let base = time_base(chapter)?;
        for entry in ["start", "end"] {
            let ticks = chapter[entry].as_i64().with_context(|| format!("chapter {n} has no {entry}"))?;
            facts.time(Tag::Chapters, format!("{n:03} {entry}"), (ticks, base));
        }
        facts.text(Tag::Chapters, format!("{n:03} title"), &chapter["tags"]["title"]);
    }
    Ok(())
}

/// Tags that a muxer writes about itself say nothing of the source.
const OF_THE_MUXER: [&str; 5] = ["encoder", "major_brand", "minor_version", "compatible_brands", "duration"];

fn file_facts(facts: &mut Facts, tags: &Value) {
    for (name, value) in tags.as_object().into_iter().flatten() {
        // Matroska writes its names in capitals.
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "creation_time" => facts.text(Tag::CreationTime, name, value),
            own if OF_THE_MUXER.contains(&own) => {}
            _ => facts.text(Tag::FileTags, name, value),
        }
    }
}

fn time_base(value: &Value) -> Result<(i64, i64)> {
    let text = value["time_base"].as_str().context("no time base")?;
    let (num, den) = text.split_once('/').context("the time base is no ratio")?;
    Ok((num.parse()?, den.parse()?))
}
