//! What Kinora is compared with: one plain ffmpeg process with the same encoder settings, written as its manual tells.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::{process, setup};

/// Settings of an encode.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// ffmpeg's name of the encoder.
    pub encoder: String,
    /// Rate control.
    pub rate: Rate,
    /// Preset in the encoder's own words; the speed number of libaom and libvpx.
    pub preset: Option<String>,
    /// Pixel format; the source's when absent.
    pub pix_fmt: Option<String>,
    /// More options of the encoder, without their hyphen.
    pub params: Vec<(String, String)>,
    /// Output size.
    pub scale: Option<(u64, u64)>,
    /// Constant frame rate; every frame of the source when absent.
    pub fps: Option<String>,
    /// Sound.
    pub audio: Audio,
}

/// Rate control.
#[derive(Debug, Clone, PartialEq)]
pub enum Rate {
    /// Constant quality on the encoder's scale.
    Quality(f64),
    /// Bit/s on average.
    Bitrate(u64),
    /// Every sample as it was.
    Lossless,
}

/// Sound.
#[derive(Debug, Clone, PartialEq)]
pub enum Audio {
    /// None.
    None,
    /// With the codec, or `copy`.
    Codec {
        /// aac, opus or copy.
        name: String,
        /// Bit/s per stream; the encoder's default when absent.
        bitrate: Option<u64>,
    },
}

/// The ffmpeg command that does the same in one process.
pub fn ffmpeg(settings: &Settings, input: &Path, output: &Path) -> Result<Command> {
    let mut command = process::command("ffmpeg", ["-y", "-nostdin", "-hide_banner", "-loglevel", "error"]);
    // The option that keeps every frame and its time got its present name in 5.1.
    let every_frame = if setup::ffmpeg_is_at_least(5, 1) { "fps_mode" } else { "vsync" };
    command.arg("-i").arg(input).args(arguments(settings, every_frame)?).arg(output);
    Ok(command)
}

fn arguments(settings: &Settings, every_frame: &str) -> Result<Vec<String>> {
    let mut words = vec!["-map".to_owned(), "0:v:0".to_owned()];
    let mut add = |name: &str, value: &str| words.extend([format!("-{name}"), value.to_owned()]);
    if settings.audio != Audio::None {
        add("map", "0:a?");
    }
    if let Some((width, height)) = settings.scale {
        add("vf", &format!("scale={width}:{height}"));
    }
    match &settings.fps {
        Some(rate) => add("r", rate),
        None => add(every_frame, "passthrough"),
    }
    add("c:v", &settings.encoder);
    for (name, value) in rate_options(&settings.encoder, &settings.rate)? {
        add(name, &value);
    }
    for (name, value) in preset_options(&settings.encoder, settings.preset.as_deref()) {
        add(name, value);
    }
    if let Some(format) = &settings.pix_fmt {
        add("pix_fmt", format);
    }
    for (name, value) in &settings.params {
        add(name, value);
    }
    if let Audio::Codec { name, bitrate } = &settings.audio {
        add("c:a", if name == "opus" { "libopus" } else { name });
        if let Some(bitrate) = bitrate {
            add("b:a", &bitrate.to_string());
        }
    }
    Ok(words)
}

fn preset_options<'a>(encoder: &str, preset: Option<&'a str>) -> Vec<(&'static str, &'a str)> {
    match (encoder, preset) {
        ("libaom-av1", speed) => vec![("cpu-used", speed.unwrap_or("6"))],
        ("libvpx-vp9", speed) => vec![("cpu-used", speed.unwrap_or("4")), ("row-mt", "1")],
        (_, Some(preset)) => vec![("preset", preset)],
        (_, None) => Vec::new(),
    }
}

fn rate_options(encoder: &str, rate: &Rate) -> Result<Vec<(&'static str, String)>> {
    Ok(match (encoder, rate) {
        (_, Rate::Bitrate(bits)) => vec![("b:v", bits.to_string())],
        ("libx264" | "libx265" | "libsvtav1", Rate::Quality(crf)) => vec![("crf", crf.to_string())],
        ("libaom-av1" | "libvpx-vp9", Rate::Quality(crf)) => {
            vec![("crf", crf.to_string()), ("b:v", "0".to_owned())]
        }
        ("libx264", Rate::Lossless) => vec![("qp", "0".to_owned())],
        ("libx265", Rate::Lossless) => vec![("x265-params", "lossless=1".to_owned())],
        ("libvpx-vp9", Rate::Lossless) => vec![("lossless", "1".to_owned())],
        ("prores_ks", Rate::Quality(profile)) => vec![("profile:v", profile.to_string())],
        ("ffv1", _) => Vec::new(),
        (encoder, rate) => bail!("there is no plain comparison for {encoder} with {rate:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(encoder: &str, preset: &str) -> Settings {
        Settings {
            encoder: encoder.to_owned(),
            rate: Rate::Quality(23.0),
            preset: Some(preset.to_owned()),
            pix_fmt: None,
            params: Vec::new(),
            scale: None,
            fps: None,
            audio: Audio::Codec { name: "aac".to_owned(), bitrate: Some(128_000) },
        }
    }

    fn line(settings: &Settings) -> String {
        arguments(settings, "fps_mode").expect("arguments").join(" ")
    }

    #[test]
    fn each_encoder_has_its_own_words() {
        let start = "-map 0:v:0 -map 0:a? -fps_mode passthrough";
        let end = "-c:a aac -b:a 128000";
        for (encoder, preset, middle) in [
            ("libx264", "medium", "-c:v libx264 -crf 23 -preset medium"),
            ("libsvtav1", "8", "-c:v libsvtav1 -crf 23 -preset 8"),
            ("libaom-av1", "6", "-c:v libaom-av1 -crf 23 -b:v 0 -cpu-used 6"),
            ("libvpx-vp9", "4", "-c:v libvpx-vp9 -crf 23 -b:v 0 -cpu-used 4 -row-mt 1"),
        ] {
            assert_eq!(line(&settings(encoder, preset)), format!("{start} {middle} {end}"));
        }
    }

    #[test]
    fn everything_else_follows_the_settings() {
        let settings = Settings {
            rate: Rate::Bitrate(2_000_000),
            pix_fmt: Some("yuv420p10le".to_owned()),
            params: vec![("tune".to_owned(), "film".to_owned())],
            scale: Some((640, 360)),
            fps: Some("25/1".to_owned()),
            audio: Audio::None,
            ..settings("libx264", "fast")
        };
        assert_eq!(
            line(&settings),
            "-map 0:v:0 -vf scale=640:360 -r 25/1 -c:v libx264 -b:v 2000000 -preset fast -pix_fmt yuv420p10le -tune film"
        );
    }

    #[test]
    fn an_unknown_pair_is_refused() {
        assert!(rate_options("h264_nvenc", &Rate::Quality(20.0)).is_err());
    }
}
