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
    let picture = "testsrc2=size=256x144:rate=25";
    let Some(invocation) = invocation(tools, "trying", encoder, picture, &["-frames:v", "10"]) else {
        return Trial::Fails("no frame rate".to_owned());
    };
    match process::run(&invocation, &Control::quiet(TRIAL_LIMIT)).await {
        Ok(_) => Trial::Works,
        Err(MediaError::ToolFailed { tail, .. }) => {
            Trial::Fails(tail.lines().next().unwrap_or("it fails without a word").to_owned())
        }
        Err(error) => Trial::Fails(error.to_string()),
    }
}

/// Encodes a moving picture of 1280x720 with some noise until it is cancelled, and reports its progress four times a second.
///
/// # Errors
/// See [`MediaError`]; cancelled is how it ends when all is well.
pub async fn endless(tools: &Tools, encoder: Encoder, control: &Control) -> Result<(), MediaError> {
    let picture = "testsrc2=size=1280x720:rate=25,noise=alls=12:allf=t";
    let often = ["-progress", "pipe:1", "-stats_period", "0.25"];
    let Some(invocation) = invocation(tools, "measuring", encoder, picture, &often) else { return Ok(()) };
    process::run(&invocation, control).await.map(|_| ())
}

/// An encode of a made-up picture that is thrown away.
fn invocation(
    tools: &Tools,
    what: &str,
    encoder: Encoder,
    picture: &str,
    more: &[&str],
) -> Option<Invocation> {
    let rate = Rational::new(25, 1)?;
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
    args.words(["-f", "lavfi", "-i", picture]).words(more.iter().copied());
    let upload = if vaapi { ",hwupload" } else { "" };
    args.option("-vf", format!("format={}{upload}", settings.pix_fmt));
    args.append(encoder::options(&settings, None, 1)).words(["-f", "null", "-"]);
    Some(tools.ffmpeg(format!("{what} {}", encoder.name()), args.finish()))
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
