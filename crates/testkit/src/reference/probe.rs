//! Packets and time bases as ffprobe prints them.
//!
//! It must not know what frames or comparisons are.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::ffmpeg;

/// Seconds per tick as numerator and denominator.
pub type TimeBase = (i64, i64);

/// One packet, in the order of the file.
#[derive(Clone, Debug, Deserialize)]
pub struct Packet {
    pub pts: Option<i64>,
    pub dts: Option<i64>,
    pub duration: Option<i64>,
    /// Place in the file, in bytes.
    #[serde(default, deserialize_with = "number")]
    pub pos: Option<u64>,
    /// In bytes.
    #[serde(default, deserialize_with = "number")]
    pub size: Option<u64>,
    #[serde(default)]
    flags: String,
    /// MD5 of the payload as ffprobe writes it.
    #[serde(default)]
    pub data_hash: String,
}

impl Packet {
    pub fn is_key(&self) -> bool {
        self.flags.contains('K')
    }

    /// Decoded but not shown, by the edit list.
    pub fn is_discarded(&self) -> bool {
        self.flags.contains('D')
    }

    pub fn is_corrupt(&self) -> bool {
        self.flags.contains('C')
    }
}

/// Packets of one stream, chosen as in `v:0`.
pub fn packets(path: &Path, stream: &str) -> Result<Vec<Packet>> {
    #[derive(Deserialize)]
    struct Printed {
        packets: Vec<Packet>,
    }
    let mut command = ffmpeg::ffprobe();
    command.args(["-select_streams", stream, "-show_packets", "-show_data_hash", "md5"]);
    let value = ffmpeg::json(command.args(["-of", "json"]).arg(ffmpeg::file_arg(path)))?;
    Ok(serde_json::from_value::<Printed>(value)?.packets)
}

/// Time base of the first video stream.
pub fn video_time_base(path: &Path) -> Result<TimeBase> {
    let text = stream_entry(path, "v:0", "time_base")?;
    let (num, den) = text.split_once('/').with_context(|| format!("time base {text} is no ratio"))?;
    Ok((num.parse()?, den.parse()?))
}

/// Frames that come out of the decoder; packets are not counted, for they can be more or fewer.
pub fn frame_count(path: &Path) -> Result<u64> {
    let mut command = ffmpeg::ffprobe();
    command.args(["-count_frames", "-select_streams", "v:0", "-show_entries", "stream=nb_read_frames"]);
    let value = ffmpeg::json(command.args(["-of", "json"]).arg(ffmpeg::file_arg(path)))?;
    let count = value["streams"][0]["nb_read_frames"].as_str().context("ffprobe counted no frames")?;
    Ok(count.parse()?)
}

/// One entry of one stream as text.
pub(super) fn stream_entry(path: &Path, stream: &str, entry: &str) -> Result<String> {
    let mut command = ffmpeg::ffprobe();
    command.args(["-select_streams", stream, "-show_entries", &format!("stream={entry}"), "-of", "json"]);
    let value = ffmpeg::json(command.arg(ffmpeg::file_arg(path)))?;
    let value = &value["streams"][0][entry];
    match value {
        serde_json::Value::String(text) => Ok(text.clone()),
        serde_json::Value::Number(number) => Ok(number.to_string()),
        _ => anyhow::bail!("{} has no {entry} for {stream}", path.display()),
    }
}

fn number<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.and_then(|text| text.parse().ok()))
}
