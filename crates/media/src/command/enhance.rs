//! Enhancements in ffmpeg's filters. Each is a function of the frames that it is given and of nothing else: not of frames
//! further away than [`Enhancement::support`] says, and not of the number of threads. docs/enhance.md tells how that was seen.

use std::fmt::Write as _;

use kinora_protocol::Rational;
use kinora_protocol::enhance::{Colors, Enhancement, Matrix, Primaries, REFERENCE_WHITE, Support, Transfer};
use kinora_protocol::inference::ModelTask;
use kinora_protocol::planes::{Pass, Planar};

/// The enhancements of a chain before frames are repeated or interpolated, whether they are interpolated, and what is after that.
pub(super) fn around_rate(chain: &[Enhancement]) -> (&[Enhancement], bool, &[Enhancement]) {
    let late = |one: &Enhancement| match one {
        Enhancement::Interpolate | Enhancement::Upscale { .. } | Enhancement::Expand { .. } => true,
        Enhancement::Pass(pass) => pass.network().is_some_and(|network| network.task == ModelTask::Upscale),
        _ => false,
    };
    let (before, rest) = chain.split_at(chain.iter().position(late).unwrap_or(chain.len()));
    match rest.split_first() {
        Some((Enhancement::Interpolate, after)) => (before, true, after),
        _ => (before, false, rest),
    }
}

/// The enhancements up to the last that looks at other frames than its own, and those after it.
pub(super) fn looking_around(chain: &[Enhancement]) -> (&[Enhancement], &[Enhancement]) {
    let last = chain.iter().rposition(|one| one.support() != Support::NONE);
    chain.split_at(last.map_or(0, |last| last + 1))
}

/// The filters of an enhancement that is made of them, after a comma. Frames keep their times and their unit of `1/hz`.
pub(super) fn filters(one: &Enhancement, hz: i64) -> String {
    let filters = match one {
        // The filter halves the unit of time.
        Enhancement::Deinterlace => format!("bwdif=mode=send_frame:parity=auto:deint=all,settb=1/{hz}"),
        Enhancement::DenoiseLight => LIGHT.to_owned(),
        Enhancement::DenoiseStrong { deep: false } => "nlmeans=s=4:p=5:r=9".to_owned(),
        Enhancement::DenoiseStrong { deep: true } => "vaguedenoiser=threshold=10".to_owned(),
        Enhancement::ToneMap { from, peak, format } => tone_map(from, *peak, format),
        Enhancement::Upscale { width, height } => format!(
            "scale={width}:{height}:flags=lanczos+accurate_rnd+full_chroma_int,cas=strength=0.4:planes=1"
        ),
        Enhancement::Expand { from, format } => expand(from, format),
        // It changes the rate, and so is no filter among others; what works on samples is no filter at all.
        Enhancement::Interpolate | Enhancement::Pass(_) => return String::new(),
    };
    format!(",{filters}")
}

/// Pictures as a model takes them, after a comma.
pub(super) fn planes(pass: &Pass) -> String {
    // Of the one size that the model was made ready for, also where a broadcast goes over to another.
    let Planar { width, height, format, .. } = &pass.picture;
    let matrix = if pass.from_rgb { ":out_color_matrix=bt709:out_range=tv" } else { "" };
    format!(",scale={width}:{height}:flags=bicubic{matrix},format={format}")
}

/// What is said again of pictures that come from a model: names that all versions of the filter know.
const SPACES: [&str; 5] = ["bt709", "bt470bg", "smpte170m", "smpte240m", "bt2020nc"];
const PRIMARIES: [&str; 5] = ["bt709", "bt470bg", "smpte170m", "smpte240m", "bt2020"];
const TRANSFERS: [&str; 6] = ["bt709", "smpte170m", "smpte2084", "arib-std-b67", "bt2020-10", "iec61966-2-1"];

/// What pictures that come from a model do not say of themselves, after commas.
pub(super) fn described(pass: &Pass) -> String {
    let mut filters = String::new();
    let color = &pass.picture.color;
    let range = match color.range.as_deref() {
        Some("pc") => Some("full"),
        Some("tv") => Some("limited"),
        _ => None,
    };
    let named = |names: &[&'static str], said: &Option<String>| {
        names.iter().copied().find(|name| said.as_deref() == Some(name))
    };
    let said = [
        ("range", range),
        ("colorspace", named(&SPACES, &color.space)),
        ("color_primaries", named(&PRIMARIES, &color.primaries)),
        ("color_trc", named(&TRANSFERS, &color.transfer)),
    ];
    let said: Vec<String> =
        said.iter().filter_map(|(option, value)| Some(format!("{option}={}", (*value)?))).collect();
    if !said.is_empty() {
        let _ = write!(filters, ",setparams={}", said.join(":"));
    }
    // These names say the range, too: what follows would change it otherwise.
    if pass.picture.format.starts_with("yuvj") {
        let _ = write!(filters, ",format={}", pass.picture.format);
    }
    if let Some(aspect) = pass.picture.sample_aspect {
        let _ = write!(filters, ",setsar={aspect}");
    }
    filters
}

/// hqdn3d along time remembers everything since the start and is never the same from another one on; so it gets the picture
/// alone, and an average over five frames does what is left.
const LIGHT: &str = "hqdn3d=4:3:0.0001:0.0001,\
    atadenoise=0a=0.06:0b=0.12:1a=0.06:1b=0.12:2a=0.06:2b=0.12:s=5";

/// Frames at `rate`, as motion between the source's frames has them. Those that come out count in `1/rate`. The filter's own
/// search takes what it found for all frames before into account; this one looks at two frames alone, and finds as much.
pub(super) fn interpolate(rate: Rational) -> String {
    format!(
        ",minterpolate=fps={rate}:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:me=hexbs:scd=fdiff:scd_threshold=10"
    )
}

/// With several threads zscale dithers each slice for itself: the picture would depend on the machine.
const ONE_THREAD: &str = "threads=1";

fn linear(from: &Colors) -> String {
    let range = if from.full_range { "full" } else { "limited" };
    // Pictures of odd sizes are not taken with halved chroma.
    let whole = if from.odd { "format=yuv444p|yuv444p10le|yuv444p12le," } else { "" };
    format!(
        "{whole}setparams=range={range}:color_primaries={}:color_trc={}:colorspace={},zscale=t=linear:npl={REFERENCE_WHITE}:{ONE_THREAD},format=gbrpf32le",
        primaries(from.primaries),
        transfer(from.transfer),
        matrix(from.matrix),
    )
}

fn tone_map(from: &Colors, peak: u32, format: &str) -> String {
    format!(
        "{},zscale=p=bt709:{ONE_THREAD},tonemap=tonemap=mobius:param=0.3:desat=0:peak={:.4},zscale=t=bt709:m=bt709:r=limited:d=error_diffusion:{ONE_THREAD},format={format}",
        linear(from),
        f64::from(peak) / f64::from(REFERENCE_WHITE),
    )
}

fn expand(from: &Colors, format: &str) -> String {
    format!(
        "{},zscale=p=bt2020:t=smpte2084:m=bt2020nc:r=limited:npl={REFERENCE_WHITE}:{ONE_THREAD},format={format}",
        linear(from)
    )
}

fn matrix(matrix: Matrix) -> &'static str {
    match matrix {
        Matrix::Rgb => "gbr",
        Matrix::Bt709 => "bt709",
        Matrix::Bt601 => "smpte170m",
        Matrix::Bt2020 => "bt2020nc",
    }
}

fn transfer(transfer: Transfer) -> &'static str {
    match transfer {
        Transfer::Bt709 => "bt709",
        Transfer::Srgb => "iec61966-2-1",
        Transfer::Pq => "smpte2084",
        Transfer::Hlg => "arib-std-b67",
    }
}

fn primaries(primaries: Primaries) -> &'static str {
    match primaries {
        Primaries::Bt709 => "bt709",
        Primaries::Smpte170 => "smpte170m",
        Primaries::Bt470Bg => "bt470bg",
        Primaries::Bt2020 => "bt2020",
        Primaries::DisplayP3 => "smpte432",
    }
}
