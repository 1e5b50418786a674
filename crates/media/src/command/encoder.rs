//! Encoder settings to ffmpeg options. What an encoder can do and which settings a recipe comes to stands in
//! `plan::encoder` and `plan::settle`; here is only how ffmpeg spells it.

use kinora_protocol::encode::{EncodeSettings, Encoder, ExpertParam, Rate, Scan};
use kinora_protocol::media::{HdrStatic, Mastering};

use super::Args;

/// Options for one video encoder, without the output file. `stretch` is how many times slower than it is it sees the video.
pub fn options(settings: &EncodeSettings, threads: Option<u32>, stretch: i64) -> Args {
    let mut args = Args::default();
    args.option("-c:v", settings.encoder.name());
    if !settings.encoder.is_software() {
        args.uses_hardware();
    }
    rate(&mut args, settings, stretch);
    preset(&mut args, settings);
    if let Some(threads) = threads {
        args.option("-threads", threads.to_string());
    }
    scan(&mut args, settings);
    // A user's value for a list of private parameters is merged with ours: ffmpeg keeps only the last of two options.
    let mut private = private_parameters(settings);
    for param in &settings.params {
        if Some(param.option.as_str()) == private_option(settings.encoder) {
            private.push(param.value.clone());
        } else {
            args.option(&format!("-{}", param.option), value(param, stretch));
        }
    }
    if let (Some(option), false) = (private_option(settings.encoder), private.is_empty()) {
        args.option(&format!("-{option}"), private.join(":"));
    }
    color(&mut args, settings);
    if settings.encoder.codec() == kinora_protocol::recipe::VideoCodec::Hevc {
        args.option("-tag:v", "hvc1");
    }
    args
}

/// Limits in bits per second are for the seconds that the encoder sees.
fn value(param: &ExpertParam, stretch: i64) -> String {
    match (param.option.as_str(), kinora_plan::params::bits(&param.value)) {
        ("maxrate" | "minrate", Some(bits)) if stretch > 1 => (bits / stretch.unsigned_abs()).to_string(),
        _ => param.value.clone(),
    }
}

fn hundredths(value: u32) -> String {
    if value.is_multiple_of(100) {
        (value / 100).to_string()
    } else {
        format!("{}.{:02}", value / 100, value % 100)
    }
}

fn rate(args: &mut Args, settings: &EncodeSettings, stretch: i64) {
    match settings.rate {
        Rate::Bitrate(bits) => {
            args.option("-b:v", (bits / stretch.unsigned_abs().max(1)).to_string());
        }
        Rate::Quality(value) => quality(args, settings.encoder, &hundredths(value)),
        Rate::Lossless => match settings.encoder {
            Encoder::X264 => {
                args.option("-qp", "0");
            }
            Encoder::Vp9 => {
                args.option("-lossless", "1");
            }
            Encoder::Aom => {
                args.option("-crf", "0").option("-b:v", "0");
            }
            Encoder::H264Nvenc | Encoder::HevcNvenc => {
                args.option("-tune", "lossless");
            }
            // x265 takes it among its private parameters, FFV1 is never anything else; `plan::settle` refuses the rest.
            _ => {}
        },
    }
}

fn quality(args: &mut Args, encoder: Encoder, value: &str) {
    match encoder {
        Encoder::X264 | Encoder::X265 | Encoder::SvtAv1 => args.option("-crf", value),
        Encoder::Aom | Encoder::Vp9 => args.option("-crf", value).option("-b:v", "0"),
        Encoder::Prores => args.option("-profile:v", value),
        Encoder::Ffv1 => args,
        Encoder::H264Nvenc | Encoder::HevcNvenc | Encoder::Av1Nvenc => {
            args.option("-rc", "vbr").option("-cq", value).option("-b:v", "0")
        }
        Encoder::H264Qsv | Encoder::HevcQsv | Encoder::Av1Qsv => args.option("-global_quality", value),
        Encoder::H264Amf | Encoder::HevcAmf => {
            args.option("-rc", "cqp").option("-qp_i", value).option("-qp_p", value)
        }
        Encoder::H264VideoToolbox | Encoder::HevcVideoToolbox => args.option("-q:v", value),
        Encoder::H264Vaapi | Encoder::HevcVaapi => args.option("-qp", value),
    };
}

fn preset(args: &mut Args, settings: &EncodeSettings) {
    let preset = settings.preset.as_deref();
    match (settings.encoder, preset) {
        (Encoder::Aom, preset) => {
            args.option("-cpu-used", preset.unwrap_or("6")).option("-row-mt", "1");
        }
        (Encoder::Vp9, preset) => {
            args.option("-deadline", "good")
                .option("-cpu-used", preset.unwrap_or("4"))
                .option("-row-mt", "1");
        }
        (Encoder::Ffv1, _) => {
            args.option("-level", "3").option("-slicecrc", "1");
        }
        (_, Some(preset)) => {
            args.option("-preset", preset);
        }
        (_, None) => {}
    }
}

fn scan(args: &mut Args, settings: &EncodeSettings) {
    let top = match settings.scan {
        Scan::Progressive => return,
        Scan::TopFirst => "1",
        Scan::BottomFirst => "0",
    };
    match settings.encoder {
        // The others code interlaced pictures as whole frames; the field order then stands in the container only.
        Encoder::X264 | Encoder::Prores | Encoder::H264Nvenc => {
            args.option("-flags:v", "+ildct+ilme").option("-top", top);
        }
        _ => {}
    }
}

/// The option that takes an encoder's private `key=value:…` list.
fn private_option(encoder: Encoder) -> Option<&'static str> {
    match encoder {
        Encoder::X264 => Some("x264-params"),
        Encoder::X265 => Some("x265-params"),
        Encoder::SvtAv1 => Some("svtav1-params"),
        _ => None,
    }
}

fn private_parameters(settings: &EncodeSettings) -> Vec<String> {
    let rate = settings.nominal_rate;
    let mut list = Vec::new();
    match settings.encoder {
        // Without it the frame rate guessed from the first frames of a chunk goes into its parameter sets, and with
        // variable frame rate no two chunks guess alike.
        Encoder::X264 => list.push(format!("fps={rate}")),
        Encoder::X265 => {
            list.push(format!("fps={rate}"));
            list.push("log-level=error".to_owned());
            if settings.rate == Rate::Lossless {
                list.push("lossless=1".to_owned());
            }
            if let Some(hdr) = &settings.hdr {
                list.push("hdr10=1:repeat-headers=1".to_owned());
                list.extend(x265_hdr(hdr));
            }
        }
        Encoder::SvtAv1 => {
            if let Some(hdr) = &settings.hdr {
                list.push("enable-hdr=1".to_owned());
                list.extend(svt_hdr(hdr));
            }
        }
        _ => {}
    }
    list
}

fn scaled(value: kinora_protocol::Rational, unit: i64) -> i64 {
    kinora_plan::time::rescale(value.num(), unit, value.den())
}

/// `G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min)` in units of 0.00002 and 0.0001 cd/m² (x265 documentation).
fn x265_hdr(hdr: &HdrStatic) -> Vec<String> {
    let mut list = Vec::new();
    if let Some(m) = &hdr.mastering {
        let [rx, ry, gx, gy, bx, by, wx, wy] = m.chromaticity.map(|c| scaled(c, 50_000));
        let (max, min) = (scaled(m.max_luminance, 10_000), scaled(m.min_luminance, 10_000));
        list.push(format!("master-display=G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({max},{min})"));
    }
    if let Some(light) = &hdr.light {
        list.push(format!("max-cll={},{}", light.max_content, light.max_average));
    }
    list
}

/// The same with decimal fractions, as SVT-AV1 takes it.
fn svt_hdr(hdr: &HdrStatic) -> Vec<String> {
    let mut list = Vec::new();
    if let Some(Mastering { chromaticity, min_luminance, max_luminance }) = &hdr.mastering {
        let [rx, ry, gx, gy, bx, by, wx, wy] = chromaticity.map(|c| format!("{:.5}", c.approx()));
        let (max, min) = (max_luminance.approx(), min_luminance.approx());
        list.push(format!(
            "mastering-display=G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({max:.4},{min:.4})"
        ));
    }
    if let Some(light) = &hdr.light {
        list.push(format!("content-light={},{}", light.max_content, light.max_average));
    }
    list
}

fn color(args: &mut Args, settings: &EncodeSettings) {
    let color = &settings.color;
    let tags = [
        ("-color_range", &color.range),
        ("-colorspace", &color.space),
        ("-color_trc", &color.transfer),
        ("-color_primaries", &color.primaries),
        ("-chroma_sample_location", &color.chroma_location),
    ];
    for (option, value) in tags {
        // The names come from ffprobe, not from a user; still, only words of ffmpeg's own vocabulary may pass.
        let word = |v: &&String| v.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if let Some(value) = value.as_ref().filter(word) {
            args.option(option, value.as_str());
        }
    }
}
