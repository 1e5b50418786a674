//! What the encoders can do: pixel formats, rate scales, presets, how well they thread. Facts of the encoders (from their
//! documentation and from trials); how ffmpeg spells them stands in `media::command::encoder`.

use kinora_protocol::Rational;
use kinora_protocol::encode::{EncodeSettings, Encoder, ExpertParam};
use kinora_protocol::recipe::{Container, Quality, VideoCodec};

use crate::pixel::PixelFormat;

/// How a long encode is best laid out over processors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threading {
    /// Processors that one instance keeps busy.
    pub useful_cores: u32,
    /// Shortest chunk worth its start-up and its first key frame, in seconds.
    pub min_seconds: f64,
    /// Longest chunk, so that an interruption loses little, in seconds.
    pub max_seconds: f64,
}

/// Measured: docs/benchmarks.md.
pub fn threading(encoder: Encoder) -> Threading {
    let (useful_cores, min_seconds, max_seconds) = match encoder {
        Encoder::X264 => (6, 5.0, 60.0),
        Encoder::X265 => (5, 8.0, 60.0),
        Encoder::SvtAv1 => (6, 8.0, 60.0),
        // These two leave most processors idle however many threads they are given.
        Encoder::Aom | Encoder::Vp9 => (1, 4.0, 30.0),
        Encoder::Ffv1 | Encoder::Prores => (4, 4.0, 60.0),
        // A card has a few encoding units; two instances keep one busy.
        _ => (u32::MAX, 10.0, 60.0),
    };
    Threading { useful_cores, min_seconds, max_seconds }
}

/// Where an encoder puts key frames: a chunk begins with one, which costs nothing where there would have been one anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFrames {
    /// Every few seconds and at scene changes.
    Often,
    /// At scene changes, and seldom elsewhere.
    AtScenes,
    /// After so many frames, wherever scenes change.
    Every(u64),
}

/// Where an encoder puts key frames with these settings.
pub fn key_frames(settings: &EncodeSettings) -> KeyFrames {
    let told = |param: &ExpertParam| {
        matches!(param.option.as_str(), "g" | "keyint_min" | "force_key_frames")
            || param.value.contains("keyint")
    };
    if settings.params.iter().any(told) {
        return KeyFrames::Often;
    }
    match settings.encoder {
        Encoder::Aom | Encoder::X265 => KeyFrames::AtScenes,
        Encoder::SvtAv1 => KeyFrames::Every(svt_interval(settings.nominal_rate)),
        Encoder::Vp9 => KeyFrames::Every(VP9_INTERVAL),
        _ => KeyFrames::Often,
    }
}

/// libvpx's interval when it is not told one (`kf_max_dist`); it sees no scene changes in one pass.
const VP9_INTERVAL: u64 = 128;

/// SVT-AV1's interval when it is not told one: five seconds, each of as many frames as the rate rounded up to groups of 16, and
/// the key frame itself. Seen with 1.4 at 12 to 120 frames a second; where another version has another rule, cuts are only
/// dearer.
fn svt_interval(rate: Rational) -> u64 {
    const GROUP: i64 = 16;
    let group = rate.den().max(1) * GROUP;
    let whole = (rate.num().max(1) + group - 1) / group * GROUP;
    u64::try_from(5 * whole + 1).unwrap_or(u64::MAX)
}

/// Software encoders of a codec, best first.
pub fn candidates(codec: VideoCodec) -> &'static [Encoder] {
    match codec {
        VideoCodec::H264 => &[Encoder::X264],
        VideoCodec::Hevc => &[Encoder::X265],
        VideoCodec::Av1 => &[Encoder::SvtAv1, Encoder::Aom],
        VideoCodec::Vp9 => &[Encoder::Vp9],
        VideoCodec::Ffv1 => &[Encoder::Ffv1],
        VideoCodec::Prores => &[Encoder::Prores],
        VideoCodec::Copy | VideoCodec::None => &[],
    }
}

/// Pixel formats that an encoder takes, in no order.
// tidy: long because it is a table
pub fn pixel_formats(encoder: Encoder) -> &'static [&'static str] {
    match encoder {
        Encoder::X264 => &[
            "yuv420p",
            "yuvj420p",
            "yuv422p",
            "yuvj422p",
            "yuv444p",
            "yuvj444p",
            "gray",
            "yuv420p10le",
            "yuv422p10le",
            "yuv444p10le",
            "gray10le",
        ],
        Encoder::X265 => &[
            "yuv420p",
            "yuvj420p",
            "yuv422p",
            "yuvj422p",
            "yuv444p",
            "yuvj444p",
            "gbrp",
            "gray",
            "yuv420p10le",
            "yuv422p10le",
            "yuv444p10le",
            "gbrp10le",
            "gray10le",
            "yuv420p12le",
            "yuv422p12le",
            "yuv444p12le",
            "gbrp12le",
            "gray12le",
        ],
        Encoder::SvtAv1 => &["yuv420p", "yuv420p10le"],
        Encoder::Aom => &[
            "yuv420p",
            "yuv422p",
            "yuv444p",
            "gbrp",
            "yuv420p10le",
            "yuv422p10le",
            "yuv444p10le",
            "gbrp10le",
            "yuv420p12le",
            "yuv422p12le",
            "yuv444p12le",
        ],
        Encoder::Vp9 => &[
            "yuv420p",
            "yuv422p",
            "yuv440p",
            "yuv444p",
            "gbrp",
            "yuv420p10le",
            "yuv422p10le",
            "yuv444p10le",
            "yuv420p12le",
            "yuv422p12le",
            "yuv444p12le",
        ],
        Encoder::Ffv1 => &[
            "yuv420p",
            "yuv422p",
            "yuv444p",
            "yuv440p",
            "yuv411p",
            "yuv410p",
            "gray",
            "yuva420p",
            "yuva422p",
            "yuva444p",
            "bgra",
            "gbrp10le",
            "gbrp12le",
            "gbrp16le",
            "gray10le",
            "gray12le",
            "gray16le",
            "yuv420p10le",
            "yuv422p10le",
            "yuv444p10le",
            "yuv420p12le",
            "yuv422p12le",
            "yuv444p12le",
            "yuv420p16le",
            "yuv422p16le",
            "yuv444p16le",
            "bgr0",
            "rgb48le",
        ],
        Encoder::Prores => &["yuv422p10le", "yuv444p10le", "yuva444p10le"],
        Encoder::H264Nvenc => &["yuv420p", "yuv444p", "nv12"],
        Encoder::HevcNvenc | Encoder::Av1Nvenc => &["yuv420p", "yuv444p", "nv12", "p010le"],
        Encoder::H264Qsv | Encoder::H264Amf | Encoder::H264Vaapi => &["nv12"],
        Encoder::HevcQsv | Encoder::Av1Qsv | Encoder::HevcAmf | Encoder::HevcVaapi => &["nv12", "p010le"],
        Encoder::H264VideoToolbox => &["nv12", "yuv420p"],
        Encoder::HevcVideoToolbox => &["nv12", "yuv420p", "p010le"],
    }
}

/// Whether it can code so that every decoded sample equals the source's.
pub fn has_lossless(encoder: Encoder) -> bool {
    matches!(
        encoder,
        Encoder::X264
            | Encoder::X265
            | Encoder::Vp9
            | Encoder::Ffv1
            | Encoder::H264Nvenc
            | Encoder::HevcNvenc
    )
}

/// Whether it codes pictures whose width or height is not a multiple of what the chroma sampling asks for.
pub fn takes_odd_sizes(encoder: Encoder) -> bool {
    matches!(encoder, Encoder::Aom | Encoder::Vp9 | Encoder::Ffv1 | Encoder::Prores)
}

/// How many times slower a stream of `hz` ticks per second must seem to an encoder for no tick to be lost in it. libvpx and
/// libaom count time in units of 100 ns (`TICKS_PER_SEC` in both) and round down on the way in: a tick must be two of them.
pub fn stretch(encoder: Encoder, hz: i64) -> i64 {
    const TICKS_PER_SECOND: i64 = 10_000_000;
    match encoder {
        Encoder::Vp9 | Encoder::Aom if TICKS_PER_SECOND % hz.max(1) != 0 => {
            (2 * hz - 1) / TICKS_PER_SECOND + 1
        }
        _ => 1,
    }
}

/// Constant-quality scale: least and greatest value, in hundredths.
pub fn quality_range(encoder: Encoder) -> (u32, u32) {
    match encoder {
        Encoder::X264 | Encoder::X265 | Encoder::H264Nvenc | Encoder::HevcNvenc | Encoder::Av1Nvenc => {
            (0, 5100)
        }
        Encoder::SvtAv1 | Encoder::Aom | Encoder::Vp9 => (0, 6300),
        Encoder::Prores => (0, 500),
        Encoder::Ffv1 => (0, 0),
        Encoder::H264VideoToolbox | Encoder::HevcVideoToolbox => (100, 10_000),
        _ => (100, 5100),
    }
}

/// Whether its quality scale has steps between whole numbers.
pub fn takes_fractions(encoder: Encoder) -> bool {
    matches!(
        encoder,
        Encoder::X264 | Encoder::X265 | Encoder::H264Nvenc | Encoder::HevcNvenc | Encoder::Av1Nvenc
    )
}

/// The value that a named quality stands for, in hundredths of the encoder's scale.
pub fn named_quality(encoder: Encoder, quality: Quality) -> u32 {
    let (low, medium, high) = match encoder {
        Encoder::X264 => (28, 23, 18),
        Encoder::X265 => (32, 28, 22),
        Encoder::SvtAv1 => (45, 35, 25),
        Encoder::Aom | Encoder::Vp9 => (42, 32, 24),
        Encoder::Prores => (1, 2, 3),
        Encoder::Ffv1 => (0, 0, 0),
        Encoder::H264VideoToolbox | Encoder::HevcVideoToolbox => (45, 60, 75),
        _ => (32, 26, 20),
    };
    let value = match quality {
        Quality::Low => low,
        Quality::Medium => medium,
        Quality::High | Quality::Lossless => high,
    };
    value * 100
}

/// Whether a preset is one of the encoder's; the error lists them.
///
/// # Errors
/// The words or numbers that it takes.
pub fn check_preset(encoder: Encoder, preset: &str) -> Result<(), String> {
    const X26: [&str; 10] = [
        "ultrafast",
        "superfast",
        "veryfast",
        "faster",
        "fast",
        "medium",
        "slow",
        "slower",
        "veryslow",
        "placebo",
    ];
    const NVENC: [&str; 10] = ["p1", "p2", "p3", "p4", "p5", "p6", "p7", "fast", "medium", "slow"];
    let number = |top: u32| {
        let ok = preset.parse::<u32>().is_ok_and(|n| n <= top);
        if ok { Ok(()) } else { Err(format!("a number from 0 to {top}")) }
    };
    let word = |words: &[&str]| if words.contains(&preset) { Ok(()) } else { Err(words.join(", ")) };
    match encoder {
        Encoder::X264 | Encoder::X265 => word(&X26),
        Encoder::SvtAv1 => number(13),
        Encoder::Aom | Encoder::Vp9 => number(8),
        Encoder::H264Nvenc | Encoder::HevcNvenc | Encoder::Av1Nvenc => word(&NVENC),
        Encoder::H264Qsv | Encoder::HevcQsv | Encoder::Av1Qsv => word(&X26[2..9]),
        Encoder::H264Amf | Encoder::HevcAmf => word(&["speed", "balanced", "quality"]),
        _ => Err("none: it has no presets".to_owned()),
    }
}

/// The preset used when none is asked for.
pub fn default_preset(encoder: Encoder) -> Option<&'static str> {
    match encoder {
        Encoder::X264 | Encoder::X265 => Some("medium"),
        Encoder::SvtAv1 => Some("8"),
        Encoder::Aom => Some("6"),
        Encoder::Vp9 => Some("4"),
        _ => None,
    }
}

/// Whether a container can hold a codec.
pub fn fits(codec: VideoCodec, container: Container) -> bool {
    match container {
        Container::Mp4 => {
            matches!(codec, VideoCodec::H264 | VideoCodec::Hevc | VideoCodec::Av1 | VideoCodec::Vp9)
        }
        Container::Mov => {
            matches!(codec, VideoCodec::H264 | VideoCodec::Hevc | VideoCodec::Prores | VideoCodec::Ffv1)
        }
        Container::Mkv => !matches!(codec, VideoCodec::Copy | VideoCodec::None),
        Container::Webm => matches!(codec, VideoCodec::Vp9 | VideoCodec::Av1),
        Container::Hls => matches!(codec, VideoCodec::H264 | VideoCodec::Hevc),
        Container::M4a | Container::Mka | Container::Opus => false,
    }
}

/// The format closest to `wanted` among those that the encoder takes: never less depth or chroma than wanted where that is
/// possible, and as little more as possible.
pub fn closest_format(encoder: Encoder, wanted: &str) -> &'static str {
    let formats = pixel_formats(encoder);
    if let Some(same) = formats.iter().find(|f| **f == wanted) {
        return same;
    }
    let wanted = PixelFormat::parse(wanted);
    formats.iter().copied().min_by_key(|f| PixelFormat::parse(f).distance_from(wanted)).unwrap_or("yuv420p")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fine_clocks_are_stretched_to_two_encoder_ticks() {
        for hz in [1, 25, 90_000, 1_000_000, 4_999_999, 5_000_000, 10_000_000] {
            assert_eq!(stretch(Encoder::Vp9, hz), 1, "{hz}");
        }
        for hz in [5_000_001, 9_999_999, 14_112_000, 23_040_000, 1_000_000_000] {
            let by = stretch(Encoder::Aom, hz);
            assert!(by * 10_000_000 >= 2 * hz && (by - 1) * 10_000_000 < 2 * hz, "{hz}: {by}");
        }
        assert_eq!(stretch(Encoder::X264, 23_040_000), 1);
    }

    #[test]
    fn svt_av1_has_a_key_frame_every_five_long_seconds() {
        // As found in its streams.
        let seen = [(12, 81), (20, 161), (24, 161), (25, 161), (30, 161), (50, 321), (60, 321), (120, 641)];
        for (rate, interval) in seen {
            assert_eq!(svt_interval(Rational::new(rate, 1).unwrap()), interval, "{rate}");
        }
        assert_eq!(svt_interval(Rational::new(30_000, 1001).unwrap()), 161);
    }

    #[test]
    fn the_closest_format_keeps_depth_and_chroma() {
        let cases = [
            (Encoder::X264, "yuv420p", "yuv420p"),
            (Encoder::X264, "yuv422p12le", "yuv422p10le"),
            (Encoder::X264, "rgb24", "yuv444p"),
            (Encoder::X265, "rgb24", "gbrp"),
            (Encoder::SvtAv1, "yuv444p12le", "yuv420p10le"),
            (Encoder::SvtAv1, "yuvj420p", "yuv420p"),
            (Encoder::Prores, "yuv420p", "yuv422p10le"),
            (Encoder::HevcQsv, "yuv420p10le", "p010le"),
            (Encoder::Vp9, "yuv411p", "yuv422p"),
        ];
        for (encoder, wanted, expected) in cases {
            assert_eq!(closest_format(encoder, wanted), expected, "{} {wanted}", encoder.name());
        }
    }
}
