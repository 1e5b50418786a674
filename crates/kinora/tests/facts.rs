//! What is told of a file is what ffprobe tells: of made clips, and of real ones with traps where they are there.

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use kinora_testkit::{clips, ffmpeg};
use serde_json::Value;
use support::{eight, kinora, long_gops, run, short};

/// A value that ffprobe leaves out, calls unknown or has as 0/0 is none.
fn known(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!["unknown", "0/0", "N/A"].contains(&text.as_str())).then_some(text)
}

/// Seconds with a fraction, in microseconds.
fn micros(value: &Value) -> Result<Option<i64>> {
    let Some(text) = known(value) else { return Ok(None) };
    Ok(Some((text.parse::<f64>()? * 1e6).round() as i64))
}

/// Fractions are equal whatever they are in.
fn ratio(value: &Value) -> Result<Option<f64>> {
    let Some(text) = known(value) else { return Ok(None) };
    let (num, den) = text.split_once(['/', ':']).context("no fraction")?;
    Ok(Some(num.parse::<f64>()? / den.parse::<f64>()?))
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: T, theirs: T) -> Result<()> {
    ensure!(ours == theirs, "{what}: {ours:?}, but ffprobe has {theirs:?}");
    Ok(())
}

fn stream(ours: &Value, theirs: &Value) -> Result<()> {
    same("codec", known(&ours["codec"]), known(&theirs["codec_name"]))?;
    same("time base", ratio(&ours["time_base"])?, ratio(&theirs["time_base"])?)?;
    same("start", ours["start_us"].as_i64(), micros(&theirs["start_time"])?)?;
    let set: BTreeSet<&str> = theirs["disposition"]
        .as_object()
        .context("no dispositions")?
        .iter()
        .filter(|(_, on)| **on == 1)
        .map(|(name, _)| name.as_str())
        .collect();
    let told = ours["dispositions"].as_array().context("no list")?.iter().filter_map(Value::as_str).collect();
    same("dispositions", told, set)?;
    for name in ["language", "title"] {
        let theirs = theirs["tags"].as_object().and_then(|tags| {
            tags.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        });
        let told = ours["tags"].as_object().and_then(|tags| {
            tags.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        });
        same(name, told, theirs)?;
    }
    let kind = &ours["kind"];
    match kind["type"].as_str().context("no kind")? {
        "video" => video(kind, theirs),
        "audio" => {
            same("rate", known(&kind["sample_rate"]), known(&theirs["sample_rate"]))?;
            same("channels", known(&kind["channels"]), known(&theirs["channels"]))?;
            same("layout", known(&kind["layout"]), known(&theirs["channel_layout"]))
        }
        "cover" => same("type", theirs["codec_type"].as_str(), Some("video")),
        other => same("type", Some(other), theirs["codec_type"].as_str()),
    }
}

fn video(ours: &Value, theirs: &Value) -> Result<()> {
    for (name, other) in [("width", "width"), ("height", "height"), ("pix_fmt", "pix_fmt")] {
        same(name, known(&ours[name]), known(&theirs[other]))?;
    }
    same("r_frame_rate", ratio(&ours["r_frame_rate"])?, ratio(&theirs["r_frame_rate"])?)?;
    same("avg_frame_rate", ratio(&ours["avg_frame_rate"])?, ratio(&theirs["avg_frame_rate"])?)?;
    same("field order", known(&ours["field_order"]), known(&theirs["field_order"]))?;
    let square =
        |value: Option<f64>| value.filter(|ratio| *ratio != 1.0 && ratio.is_finite() && *ratio > 0.0);
    let theirs_aspect = square(ratio(&theirs["sample_aspect_ratio"])?);
    same("sample aspect", square(ratio(&ours["sample_aspect"])?), theirs_aspect)?;
    for (name, other) in [
        ("range", "color_range"),
        ("space", "color_space"),
        ("transfer", "color_transfer"),
        ("primaries", "color_primaries"),
        ("chroma_location", "chroma_location"),
    ] {
        let plain = |value: Option<String>| value.filter(|text| text != "unspecified");
        same(other, plain(known(&ours["color"][name])), plain(known(&theirs[other])))?;
    }
    // ffprobe has the angle of the matrix, counter-clockwise; a player turns the other way.
    let turned =
        theirs["side_data_list"].as_array().into_iter().flatten().find_map(|s| s["rotation"].as_i64());
    same("rotation", ours["rotation"].as_i64(), Some((-turned.unwrap_or(0)).rem_euclid(360)))
}

fn check(path: &Path) -> Result<()> {
    let mut command = ffmpeg::ffprobe();
    command.args(["-show_format", "-show_streams", "-show_chapters", "-of", "json"]).arg(path);
    let theirs = ffmpeg::json(&mut command)?;
    let told = run(kinora().args(["probe", "--json"]).arg(path))?.done()?;
    let ours = &told["facts"];
    same("format", known(&ours["format"]), known(&theirs["format"]["format_name"]))?;
    same("size", known(&ours["size"]), known(&theirs["format"]["size"]))?;
    same("duration", ours["duration_us"].as_i64(), micros(&theirs["format"]["duration"])?)?;
    same("start", ours["start_us"].as_i64(), micros(&theirs["format"]["start_time"])?)?;
    same("bit rate", known(&ours["bit_rate"]), known(&theirs["format"]["bit_rate"]))?;
    let chapters = theirs["chapters"].as_array().map(|list| list.len() as u64);
    same("chapters", ours["chapters"].as_u64(), chapters)?;
    let list = |value: &Value| value["streams"].as_array().cloned().unwrap_or_default();
    let (ours, theirs) = (list(ours), list(&theirs));
    same("streams", ours.len(), theirs.len())?;
    for (ours, theirs) in ours.iter().zip(&theirs) {
        stream(ours, theirs).with_context(|| format!("stream {}", theirs["index"]))?;
    }
    Ok(())
}

#[test]
fn of_made_clips() -> Result<()> {
    for path in [short()?, eight()?, long_gops()?] {
        check(&path).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

#[test]
fn of_real_clips() -> Result<()> {
    for clip in clips::shared().unwrap_or_default() {
        check(&clip.path).with_context(|| clip.name)?;
    }
    Ok(())
}
