//! The proof report that `kinora encode --proof` writes, read as plain JSON: what the tasks check and compare with.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::baseline::{Audio, Rate, Settings};

/// What the report says.
#[derive(Debug, PartialEq)]
pub struct Proof {
    /// Whether every check that was asked for held.
    pub verified: bool,
    /// Which checks: fast, full or off.
    pub verify: String,
    /// Output frames planned.
    pub planned: u64,
    /// Video packets counted in the output.
    pub packets: u64,
    /// How many chunks.
    pub chunks: usize,
    /// How many of them came from an earlier run.
    pub reused: usize,
    /// Settings; `None` when the video was copied.
    pub settings: Option<Settings>,
}

/// Reads the file.
pub fn read(path: &Path) -> Result<Proof> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("there is no proof at {}", path.display()))?;
    let value: Value = serde_json::from_str(&text).context("the proof is not JSON")?;
    parse(&value).context("the proof has another shape than expected")
}

impl Proof {
    /// Fails unless it proves an encode that is whole.
    pub fn ensure_whole(&self) -> Result<()> {
        ensure!(self.verified, "the proof says that not every check held");
        ensure!(self.chunks > 0, "the proof names no chunks");
        let (planned, packets) = (self.planned, self.packets);
        ensure!(planned == packets, "{planned} frames were planned, but {packets} packets came out");
        Ok(())
    }
}

fn parse(value: &Value) -> Option<Proof> {
    let chunks = value["chunks"].as_array()?;
    Some(Proof {
        verified: value["verified"].as_bool()?,
        verify: value["verify"].as_str()?.to_owned(),
        planned: value["output"]["planned"].as_u64()?,
        packets: value["output"]["packets"].as_u64()?,
        chunks: chunks.len(),
        reused: chunks.iter().filter(|chunk| chunk["reused"] == Value::Bool(true)).count(),
        settings: match &value["settings"]["video"]["encode"] {
            Value::Null => None,
            video => Some(settings(video, &value["settings"]["audio"])?),
        },
    })
}

fn settings(video: &Value, audio: &Value) -> Option<Settings> {
    let encode = &video["encode"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let scale = &video["filters"]["scale"];
    Some(Settings {
        encoder: text(&encode["encoder"])?,
        rate: rate(&encode["rate"])?,
        preset: text(&encode["preset"]),
        pix_fmt: text(&encode["pix_fmt"]),
        params: encode["params"].as_array().into_iter().flatten().map(param).collect::<Option<Vec<_>>>()?,
        scale: scale[0].as_u64().zip(scale[1].as_u64()),
        fps: text(&video["fps"]),
        audio: match audio["codec"].as_str()? {
            "none" => Audio::None,
            codec => Audio::Codec { name: codec.to_owned(), bitrate: audio["bitrate"].as_u64() },
        },
    })
}

fn param(value: &Value) -> Option<(String, String)> {
    Some((value["option"].as_str()?.to_owned(), value["value"].as_str()?.to_owned()))
}

fn rate(value: &Value) -> Option<Rate> {
    if value == "lossless" {
        return Some(Rate::Lossless);
    }
    let quality = value["quality"].as_u64().map(|hundredths| Rate::Quality(hundredths as f64 / 100.0));
    quality.or_else(|| value["bitrate"].as_u64().map(Rate::Bitrate))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Value {
        serde_json::json!({
            "verified": true, "verify": "fast",
            "settings": {
                "video": {"encode": {
                    "encode": {
                        "encoder": "libx264", "rate": {"quality": 2350}, "preset": "medium", "pix_fmt": "yuv420p",
                        "params": [{"option": "tune", "value": "film"}],
                    },
                    "filters": {"scale": [640, 360]},
                    "fps": null,
                }},
                "audio": {"codec": "aac", "bitrate": null},
            },
            "chunks": [{"reused": true}, {"reused": false}],
            "output": {"planned": 750, "packets": 750},
        })
    }

    #[test]
    fn a_report_is_read() {
        let proof = parse(&report()).expect("a proof");
        assert!(proof.ensure_whole().is_ok());
        assert_eq!((proof.planned, proof.chunks, proof.reused), (750, 2, 1));
        let settings = proof.settings.expect("settings");
        assert_eq!(settings.rate, Rate::Quality(23.5));
        assert_eq!(settings.scale, Some((640, 360)));
        assert_eq!(settings.params, [("tune".to_owned(), "film".to_owned())]);
        assert_eq!(settings.audio, Audio::Codec { name: "aac".to_owned(), bitrate: None });
    }

    /// A test of `kinora` sees to it that this is what it writes.
    #[test]
    fn one_that_kinora_wrote_is_read() {
        let text = include_str!("../../crates/kinora/tests/proof.example.json");
        let value: Value = serde_json::from_str(text).expect("JSON");
        let proof = parse(&value).expect("a proof");
        assert!(proof.ensure_whole().is_ok());
        let settings = proof.settings.expect("settings");
        assert_eq!((settings.encoder.as_str(), settings.rate), ("libx264", Rate::Quality(23.0)));
    }

    #[test]
    fn a_report_that_proves_nothing_is_refused() {
        let with = |change: fn(&mut Value)| {
            let mut value = report();
            change(&mut value);
            parse(&value).expect("a proof").ensure_whole().expect_err("refused").to_string()
        };
        assert!(with(|v| v["verified"] = false.into()).contains("not every check"));
        assert!(with(|v| v["chunks"] = Value::Array(Vec::new())).contains("no chunks"));
        assert!(with(|v| v["output"]["packets"] = 749.into()).contains("749 packets"));
    }

    #[test]
    fn rates_are_told_apart() {
        assert_eq!(rate(&serde_json::json!({"bitrate": 5000})), Some(Rate::Bitrate(5000)));
        assert_eq!(rate(&serde_json::json!("lossless")), Some(Rate::Lossless));
        assert_eq!(rate(&serde_json::json!(null)), None);
    }
}
