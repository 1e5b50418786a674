//! Which encoders really work here: a short encode of a made-up picture by each. A name in a list proves nothing.

use std::time::Duration;

use kinora_protocol::Rational;
use kinora_protocol::encode::{EncodeSettings, Encoder, Rate, Scan};
use kinora_protocol::media::Color;

use crate::command::{Args, encoder};
use crate::error::MediaError;
use crate::process::{self, Control, Invocation};
use crate::tools::Tools;

/// How long a trial may make no progress.
const TRIAL_LIMIT: Duration = Duration::from_secs(20);

/// The outcome of one trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trial {
    /// It encodes.
    Works,
    /// It does not, and this is ffmpeg's last word.
    Fails(String),
}

/// Encodes ten small frames with one encoder.
pub async fn encoder(tools: &Tools, encoder: Encoder) -> Trial {
    let Some(rate) = Rational::new(25, 1) else { return Trial::Fails("no frame rate".to_owned()) };
    let settings = EncodeSettings {
        encoder,
        rate: if encoder == Encoder::Prores { Rate::Quality(200) } else { Rate::Quality(3000) },
        preset: None,
        pix_fmt: pix_fmt(encoder).to_owned(),
        nominal_rate: rate,
        scan: Scan::Progressive,
        color: Color::default(),
        hdr: None,
        params: Vec::new(),
    };
    let mut args = Args::default();
    args.words(["-hide_banner", "-nostdin", "-v", "error"]);
    let vaapi = matches!(encoder, Encoder::H264Vaapi | Encoder::HevcVaapi);
    if vaapi {
        args.option("-vaapi_device", "/dev/dri/renderD128");
    }
    args.words(["-f", "lavfi", "-i", "testsrc2=size=256x144:rate=25", "-frames:v", "10"]);
    let upload = if vaapi { ",hwupload" } else { "" };
    args.option("-vf", format!("format={}{upload}", settings.pix_fmt));
    args.words(encoder::options(&settings, None, 1).finish()).words(["-f", "null", "-"]);
    let invocation = Invocation {
        what: format!("trying {}", encoder.name()),
        program: tools.ffmpeg.clone(),
        args: args.finish(),
    };
    match process::run(&invocation, &Control::quiet(TRIAL_LIMIT)).await {
        Ok(_) => Trial::Works,
        Err(MediaError::ToolFailed { tail, .. }) => {
            Trial::Fails(tail.lines().next().unwrap_or("it fails without a word").to_owned())
        }
        Err(error) => Trial::Fails(error.to_string()),
    }
}

fn pix_fmt(encoder: Encoder) -> &'static str {
    match encoder {
        Encoder::Prores => "yuv422p10le",
        Encoder::H264Vaapi | Encoder::HevcVaapi | Encoder::H264Qsv | Encoder::HevcQsv | Encoder::Av1Qsv => {
            "nv12"
        }
        _ => "yuv420p",
    }
}
