//! Facts of a media file by ffprobe. It must not plan anything from them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use kinora_protocol::Rational;
use kinora_protocol::media::{
    AudioFacts, Color, ContentLight, HdrStatic, Mastering, MediaFacts, Stream, StreamKind, VideoFacts,
};
use serde::Deserialize;

use crate::command::{Line, inspect};
use crate::error::MediaError;
use crate::process::{self, Control, LineMeans};
use crate::tools::Tools;

/// How long ffprobe may be silent.
const PROBE_LIMIT: Duration = Duration::from_secs(60);
const MAX_JSON: usize = 64 << 20;

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    streams: Vec<RawStream>,
    #[serde(default)]
    chapters: Vec<serde_json::Value>,
    #[serde(default)]
    frames: Vec<RawFrame>,
    format: Option<RawFormat>,
}

#[derive(Deserialize)]
struct RawFormat {
    format_name: String,
    start_time: Option<String>,
    duration: Option<String>,
    bit_rate: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct RawFrame {
    #[serde(default)]
    side_data_list: Vec<RawSideData>,
}

#[derive(Deserialize)]
struct RawStream {
    index: u32,
    codec_name: Option<String>,
    codec_type: Option<String>,
    time_base: Option<String>,
    start_time: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    pix_fmt: Option<String>,
    r_frame_rate: Option<String>,
    avg_frame_rate: Option<String>,
    field_order: Option<String>,
    sample_aspect_ratio: Option<String>,
    color_range: Option<String>,
    color_space: Option<String>,
    color_transfer: Option<String>,
    color_primaries: Option<String>,
    chroma_location: Option<String>,
    sample_rate: Option<String>,
    channels: Option<u32>,
    channel_layout: Option<String>,
    #[serde(default)]
    disposition: BTreeMap<String, u8>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    side_data_list: Vec<RawSideData>,
}

#[derive(Deserialize, Default)]
struct RawSideData {
    #[serde(default)]
    side_data_type: String,
    rotation: Option<f64>,
    red_x: Option<String>,
    red_y: Option<String>,
    green_x: Option<String>,
    green_y: Option<String>,
    blue_x: Option<String>,
    blue_y: Option<String>,
    white_point_x: Option<String>,
    white_point_y: Option<String>,
    min_luminance: Option<String>,
    max_luminance: Option<String>,
    max_content: Option<u32>,
    max_average: Option<u32>,
}

/// Probes a file that has already been opened and found regular.
///
/// # Errors
/// [`MediaError::BadInput`] with ffprobe's reason when it is not media that we take.
pub async fn probe(tools: &Tools, path: &Path, size: u64) -> Result<MediaFacts, MediaError> {
    let raw = ask(tools, path, inspect::facts(path)).await?;
    let format = raw.format.ok_or_else(|| MediaError::bad_input(path, "ffprobe finds no container in it"))?;
    let streams: Vec<Stream> = raw.streams.iter().filter_map(stream).collect();
    let mut facts = MediaFacts {
        format: format.format_name,
        size,
        start_us: micros(format.start_time.as_deref()),
        duration_us: micros(format.duration.as_deref()),
        bit_rate: format.bit_rate.and_then(|b| b.parse().ok()),
        tags: format.tags,
        streams,
        chapters: u32::try_from(raw.chapters.len()).unwrap_or(u32::MAX),
    };
    let wants_hdr = facts.video().is_some_and(|(_, v)| {
        v.hdr.as_ref().is_none_or(|h| h.mastering.is_none() || h.light.is_none())
            && matches!(v.color.transfer.as_deref(), Some("smpte2084" | "arib-std-b67"))
    });
    if wants_hdr {
        // Elementary streams carry it in the pictures, and not every muxer lifts it into the container.
        let index = facts.video().map_or(0, |(s, _)| s.index);
        let first = ask(tools, path, inspect::first_frame(path, index)).await?;
        let found = hdr(first.frames.iter().flat_map(|f| &f.side_data_list));
        for stream in &mut facts.streams {
            if let (true, StreamKind::Video(video)) = (stream.index == index, &mut stream.kind) {
                video.hdr = merge(video.hdr.take(), found.clone());
            }
        }
    }
    Ok(facts)
}

fn merge(container: Option<HdrStatic>, picture: Option<HdrStatic>) -> Option<HdrStatic> {
    match (container, picture) {
        (Some(a), Some(b)) => {
            Some(HdrStatic { mastering: a.mastering.or(b.mastering), light: a.light.or(b.light) })
        }
        (a, b) => a.or(b),
    }
}

async fn ask(tools: &Tools, path: &Path, line: Line) -> Result<Raw, MediaError> {
    let invocation = tools.ffprobe(format!("probing {}", path.display()), line);
    let mut json = String::new();
    let outcome = process::run_lines(&invocation, &Control::quiet(PROBE_LIMIT), |line| {
        if json.len() < MAX_JSON {
            json.push_str(line);
            json.push('\n');
        }
        LineMeans::Movement
    })
    .await;
    if let Err(MediaError::ToolFailed { tail, .. }) = &outcome {
        return Err(MediaError::bad_input(path, reason_of(tail, path)));
    }
    outcome?;
    serde_json::from_str(&json)
        .map_err(|error| MediaError::bad_input(path, format!("ffprobe's answer cannot be read: {error}")))
}

/// ffprobe's last word on a file, without the name that the message starts with anyway.
pub(crate) fn reason_of(tail: &str, path: &Path) -> String {
    let name = path.display().to_string();
    let last = tail.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("not media that ffmpeg can read");
    let last =
        last.trim().trim_start_matches("file:").trim_start_matches(&name).trim_start_matches(':').trim();
    if tail.contains("moov atom not found") {
        return "its index (moov) is missing: it is truncated, was never finished, or is no video at all"
            .to_owned();
    }
    if tail.contains("exceeds max_streams") {
        return "it has more streams than are taken (--max-streams)".to_owned();
    }
    let refused = |line: &&str| line.contains("not on whitelist") || line.contains("not in whitelist");
    if let Some(refused) = tail.lines().find(refused) {
        // `[hls @ 0x5588] Format not on whitelist 'mov,…'`
        let kind = refused.trim_start_matches('[').split_whitespace().next().unwrap_or("unknown");
        return format!("this kind of file is not taken ({kind})");
    }
    if last.contains("Invalid data found") {
        return "not a media file (no container or stream that ffmpeg knows)".to_owned();
    }
    last.to_owned()
}

pub(crate) fn micros(text: Option<&str>) -> Option<i64> {
    let text = text?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let negative = whole.starts_with('-');
    let whole: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain("000000".chars()).take(6).collect();
    let part: i64 = digits.parse().ok()?;
    whole.checked_mul(1_000_000)?.checked_add(if negative { -part } else { part })
}

fn known(text: Option<&String>) -> Option<String> {
    text.filter(|t| !matches!(t.as_str(), "unknown" | "unspecified" | "reserved" | "N/A")).cloned()
}

fn positive(text: Option<&String>) -> Option<Rational> {
    text.and_then(|t| t.parse::<Rational>().ok()).filter(|r| r.is_positive())
}

fn stream(raw: &RawStream) -> Option<Stream> {
    let attached = raw.disposition.get("attached_pic") == Some(&1);
    let kind = match raw.codec_type.as_deref() {
        Some("video") if attached => StreamKind::Cover,
        Some("video") => video(raw).map_or(StreamKind::Data, StreamKind::Video),
        Some("audio") => StreamKind::Audio(AudioFacts {
            sample_rate: raw.sample_rate.as_ref().and_then(|r| r.parse().ok()).unwrap_or(0),
            channels: raw.channels.unwrap_or(0),
            layout: known(raw.channel_layout.as_ref()),
        }),
        Some("subtitle") => StreamKind::Subtitle,
        Some("attachment") => StreamKind::Attachment,
        _ => StreamKind::Data,
    };
    Some(Stream {
        index: raw.index,
        codec: known(raw.codec_name.as_ref()),
        start_us: micros(raw.start_time.as_deref()),
        time_base: positive(raw.time_base.as_ref()).or_else(|| Rational::new(1, 90_000))?,
        tags: raw.tags.clone(),
        dispositions: raw.disposition.iter().filter(|(_, v)| **v == 1).map(|(k, _)| k.clone()).collect(),
        kind,
    })
}

fn video(raw: &RawStream) -> Option<VideoFacts> {
    let (width, height) = (raw.width.filter(|w| *w > 0)?, raw.height.filter(|h| *h > 0)?);
    let turned = raw.side_data_list.iter().find_map(|s| s.rotation).unwrap_or(0.0);
    Some(VideoFacts {
        width,
        height,
        pix_fmt: known(raw.pix_fmt.as_ref())?,
        r_frame_rate: positive(raw.r_frame_rate.as_ref())
            .or_else(|| positive(raw.avg_frame_rate.as_ref()))
            .or_else(|| Rational::new(25, 1))?,
        avg_frame_rate: positive(raw.avg_frame_rate.as_ref()),
        field_order: known(raw.field_order.as_ref()),
        sample_aspect: positive(raw.sample_aspect_ratio.as_ref()).filter(|r| r.num() != r.den()),
        // ffprobe counts counter-clockwise; only quarter turns are turned by players and by ffmpeg.
        rotation: match (-turned).rem_euclid(360.0).round() as u16 {
            quarter @ (90 | 180 | 270) => quarter,
            _ => 0,
        },
        color: Color {
            range: known(raw.color_range.as_ref()),
            space: known(raw.color_space.as_ref()),
            transfer: known(raw.color_transfer.as_ref()),
            primaries: known(raw.color_primaries.as_ref()),
            chroma_location: known(raw.chroma_location.as_ref()),
        },
        hdr: hdr(raw.side_data_list.iter()),
    })
}

fn hdr<'a>(side_data: impl Iterator<Item = &'a RawSideData>) -> Option<HdrStatic> {
    let mut found = HdrStatic { mastering: None, light: None };
    for data in side_data {
        match data.side_data_type.as_str() {
            "Mastering display metadata" => found.mastering = found.mastering.or_else(|| mastering(data)),
            "Content light level metadata" => {
                found.light = found.light.or_else(|| {
                    Some(ContentLight { max_content: data.max_content?, max_average: data.max_average? })
                });
            }
            _ => {}
        }
    }
    (found.mastering.is_some() || found.light.is_some()).then_some(found)
}

fn mastering(data: &RawSideData) -> Option<Mastering> {
    let ratio = |text: &Option<String>| text.as_ref()?.parse::<Rational>().ok();
    Some(Mastering {
        chromaticity: [
            ratio(&data.red_x)?,
            ratio(&data.red_y)?,
            ratio(&data.green_x)?,
            ratio(&data.green_y)?,
            ratio(&data.blue_x)?,
            ratio(&data.blue_y)?,
            ratio(&data.white_point_x)?,
            ratio(&data.white_point_y)?,
        ],
        min_luminance: ratio(&data.min_luminance)?,
        max_luminance: ratio(&data.max_luminance)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_become_microseconds_exactly() {
        for (text, expected) in [
            ("1.469978", Some(1_469_978)),
            ("-0.007000", Some(-7_000)),
            ("5", Some(5_000_000)),
            ("N/A", None),
        ] {
            assert_eq!(micros(Some(text)), expected, "{text}");
        }
    }
}
