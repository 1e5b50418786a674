//! Expert parameters: what a user writes as on an ffmpeg command line, taken apart against an allow-list. Options that name
//! files, devices, filters or muxers are not on it, so none of them can reach ffmpeg.

use kinora_protocol::Rational;
use kinora_protocol::encode::ExpertParam;
use kinora_protocol::recipe::Scale;

/// What an option's value may be.
#[derive(Debug, Clone, Copy)]
enum Value {
    /// A whole number.
    Int(i64, i64),
    /// A decimal number.
    Number,
    /// One word of letters, digits, dot, hyphen and underscore.
    Word,
    /// Bits with an optional k or M.
    Bits,
    /// `key=value:key=value` with keys from a list.
    Private(&'static [&'static str]),
}

const X264_KEYS: &[&str] = &[
    "keyint",
    "min-keyint",
    "scenecut",
    "bframes",
    "b-adapt",
    "b-bias",
    "b-pyramid",
    "ref",
    "no-deblock",
    "deblock",
    "slices",
    "rc-lookahead",
    "vbv-maxrate",
    "vbv-bufsize",
    "crf",
    "crf-max",
    "qpmin",
    "qpmax",
    "qpstep",
    "ipratio",
    "pbratio",
    "aq-mode",
    "aq-strength",
    "mbtree",
    "no-mbtree",
    "qcomp",
    "partitions",
    "direct",
    "weightb",
    "weightp",
    "me",
    "merange",
    "subme",
    "psy",
    "psy-rd",
    "mixed-refs",
    "chroma-me",
    "8x8dct",
    "trellis",
    "fast-pskip",
    "no-fast-pskip",
    "dct-decimate",
    "no-dct-decimate",
    "nr",
    "deadzone-inter",
    "deadzone-intra",
    "level",
    "cabac",
    "no-cabac",
    "open-gop",
    "colorprim",
    "transfer",
    "colormatrix",
    "range",
    "nal-hrd",
    "threads",
    "sliced-threads",
    "lookahead-threads",
    "intra-refresh",
    "aud",
];

const X265_KEYS: &[&str] = &[
    "keyint",
    "min-keyint",
    "scenecut",
    "bframes",
    "b-adapt",
    "b-pyramid",
    "ref",
    "deblock",
    "no-deblock",
    "sao",
    "no-sao",
    "limit-sao",
    "rc-lookahead",
    "vbv-maxrate",
    "vbv-bufsize",
    "crf",
    "crf-max",
    "crf-min",
    "qpmin",
    "qpmax",
    "ipratio",
    "pbratio",
    "aq-mode",
    "aq-strength",
    "cutree",
    "no-cutree",
    "qcomp",
    "rd",
    "rdoq-level",
    "psy-rd",
    "psy-rdoq",
    "me",
    "subme",
    "merange",
    "weightb",
    "weightp",
    "no-weightp",
    "ctu",
    "min-cu-size",
    "max-tu-size",
    "tu-intra-depth",
    "tu-inter-depth",
    "limit-refs",
    "limit-modes",
    "limit-tu",
    "rect",
    "amp",
    "early-skip",
    "rskip",
    "strong-intra-smoothing",
    "no-strong-intra-smoothing",
    "open-gop",
    "no-open-gop",
    "level-idc",
    "high-tier",
    "pmode",
    "pools",
    "frame-threads",
    "wpp",
    "lookahead-slices",
    "selective-sao",
    "hme",
    "tskip",
    "cbqpoffs",
    "crqpoffs",
    "aud",
    "hrd",
    "lossless",
    "hdr10",
    "hdr10-opt",
    "repeat-headers",
];

const SVT_KEYS: &[&str] = &[
    "keyint",
    "irefresh-type",
    "scd",
    "lookahead",
    "hierarchical-levels",
    "pred-struct",
    "tune",
    "film-grain",
    "film-grain-denoise",
    "enable-overlays",
    "enable-tf",
    "enable-cdef",
    "enable-restoration",
    "enable-dlf",
    "enable-qm",
    "qm-min",
    "qm-max",
    "tile-rows",
    "tile-columns",
    "aq-mode",
    "sharpness",
    "lp",
    "scm",
    "fast-decode",
    "variance-boost-strength",
    "variance-octile",
    "enable-variance-boost",
    "mbr",
    "maxrate",
    "bufsize",
];

/// The allow-list: options that go to the encoder as they are.
const OPTIONS: &[(&str, Value)] = &[
    ("tune", Value::Word),
    ("profile:v", Value::Word),
    ("level", Value::Word),
    ("level:v", Value::Word),
    ("g", Value::Int(0, 10_000)),
    ("keyint_min", Value::Int(0, 10_000)),
    ("bf", Value::Int(0, 16)),
    ("refs", Value::Int(0, 16)),
    ("qmin", Value::Int(0, 255)),
    ("qmax", Value::Int(0, 255)),
    ("maxrate", Value::Bits),
    ("minrate", Value::Bits),
    ("bufsize", Value::Bits),
    ("sc_threshold", Value::Int(0, 1_000_000_000)),
    ("rc-lookahead", Value::Int(0, 250)),
    ("aq-mode", Value::Int(0, 8)),
    ("aq_mode", Value::Int(0, 8)),
    ("aq-strength", Value::Number),
    ("psy-rd", Value::Word),
    ("b_strategy", Value::Int(0, 2)),
    ("me_range", Value::Int(0, 1024)),
    ("trellis", Value::Int(0, 2)),
    ("coder", Value::Word),
    ("slices", Value::Int(0, 64)),
    ("row-mt", Value::Int(0, 1)),
    ("tile-columns", Value::Int(0, 6)),
    ("tile-rows", Value::Int(0, 6)),
    ("auto-alt-ref", Value::Int(0, 6)),
    ("lag-in-frames", Value::Int(0, 64)),
    ("arnr-maxframes", Value::Int(0, 15)),
    ("arnr-strength", Value::Int(0, 6)),
    ("deadline", Value::Word),
    ("cpu-used", Value::Int(-8, 13)),
    ("static-thresh", Value::Int(0, 1_000_000)),
    ("denoise-noise-level", Value::Int(0, 50)),
    ("error-resilient", Value::Int(0, 1)),
    ("threads", Value::Int(0, 256)),
    ("rc", Value::Word),
    ("spatial-aq", Value::Int(0, 1)),
    ("temporal-aq", Value::Int(0, 1)),
    ("multipass", Value::Word),
    ("x264-params", Value::Private(X264_KEYS)),
    ("x264opts", Value::Private(X264_KEYS)),
    ("x265-params", Value::Private(X265_KEYS)),
    ("svtav1-params", Value::Private(SVT_KEYS)),
];

/// What the parameters come to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parsed {
    /// `-c:v`.
    pub encoder: Option<String>,
    /// `-c:a`.
    pub audio: Option<String>,
    /// `-b:a`, bit/s.
    pub audio_bitrate: Option<u32>,
    /// `-crf`.
    pub crf: Option<f64>,
    /// `-qp 0`.
    pub lossless: bool,
    /// `-b:v`, bit/s.
    pub bitrate: Option<u64>,
    /// `-preset`.
    pub preset: Option<String>,
    /// `-pix_fmt`.
    pub pix_fmt: Option<String>,
    /// `-r`.
    pub fps: Option<Rational>,
    /// `-s`.
    pub scale: Option<Scale>,
    /// The rest, for the encoder.
    pub params: Vec<ExpertParam>,
}

/// Takes parameters apart.
///
/// # Errors
/// One sentence that names the parameter and the reason.
pub fn parse(text: &str) -> Result<Parsed, String> {
    let words = split(text)?;
    let mut parsed = Parsed::default();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let Some(option) = word.strip_prefix('-') else {
            return Err(format!("{word:?} is not an option: options begin with a hyphen"));
        };
        let value = rest.next().ok_or_else(|| format!("-{option} has no value"))?;
        take(&mut parsed, option, value)?;
    }
    Ok(parsed)
}

fn take(parsed: &mut Parsed, option: &str, value: &str) -> Result<(), String> {
    let wrong = |what: &str| format!("-{option} {value:?}: {what}");
    let word = || is_word(value).then(|| value.to_owned()).ok_or_else(|| wrong("not a plain word"));
    match option {
        "c:v" | "codec:v" | "vcodec" => parsed.encoder = Some(word()?),
        "c:a" | "codec:a" | "acodec" => parsed.audio = Some(word()?),
        "b:a" | "ab" => {
            let bits = bits(value).and_then(|b| u32::try_from(b).ok());
            parsed.audio_bitrate = Some(bits.ok_or_else(|| wrong("not a bit rate"))?);
        }
        "crf" => {
            let crf = value.parse::<f64>().ok().filter(|c| c.is_finite());
            parsed.crf = Some(crf.ok_or_else(|| wrong("not a number"))?);
        }
        "qp" if value == "0" => parsed.lossless = true,
        "b:v" | "b" => parsed.bitrate = Some(bits(value).ok_or_else(|| wrong("not a bit rate"))?),
        "preset" => parsed.preset = Some(word()?),
        "pix_fmt" => parsed.pix_fmt = Some(word()?),
        "r" => parsed.fps = Some(value.parse().map_err(|_| wrong("not a frame rate"))?),
        "s" => parsed.scale = Some(value.parse().map_err(|e: String| wrong(&e))?),
        _ => {
            let known = OPTIONS.iter().find(|(name, _)| *name == option);
            let (name, kind) =
                known.ok_or_else(|| format!("-{option} is not among the parameters that are taken"))?;
            check(*kind, value).map_err(|reason| wrong(&reason))?;
            // libx264 takes both spellings of its private list; one is enough.
            let name = if *name == "x264opts" { "x264-params" } else { name };
            parsed.params.push(ExpertParam { option: name.to_owned(), value: value.to_owned() });
        }
    }
    Ok(())
}

fn check(kind: Value, value: &str) -> Result<(), String> {
    let ok = match kind {
        Value::Int(least, most) => {
            return match value.parse::<i64>() {
                Ok(n) if (least..=most).contains(&n) => Ok(()),
                _ => Err(format!("not a whole number from {least} to {most}")),
            };
        }
        Value::Number => value.parse::<f64>().is_ok_and(f64::is_finite),
        Value::Word => is_word(value),
        Value::Bits => bits(value).is_some(),
        Value::Private(keys) => return private(keys, value),
    };
    if ok { Ok(()) } else { Err("not a value that it takes".to_owned()) }
}

fn private(keys: &[&str], list: &str) -> Result<(), String> {
    for pair in list.split(':') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, "1"));
        if !keys.contains(&key) {
            return Err(format!("{key:?} is not among the keys that are taken"));
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b',' | b'+');
        if value.is_empty() || !value.bytes().all(plain) {
            return Err(format!("the value of {key:?} is not plain"));
        }
    }
    Ok(())
}

fn is_word(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    !text.is_empty() && text.len() <= 64 && !text.starts_with('-') && text.bytes().all(plain)
}

/// `4500k`, `6M`, `800000` as bit/s.
pub fn bits(text: &str) -> Option<u64> {
    let (number, unit) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1_000.0),
        b'm' | b'M' => (&text[..text.len() - 1], 1_000_000.0),
        _ => (text, 1.0),
    };
    let value = number.parse::<f64>().ok()? * unit;
    (1.0..=1e12).contains(&value).then_some(value.round() as u64)
}

/// Splits at white space; quotes of either kind keep it.
fn split(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote, mut open) = (Vec::new(), String::new(), None, false);
    for c in text.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), c) => word.push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                open = true;
            }
            (None, c) if c.is_whitespace() => {
                if open || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                open = false;
            }
            (None, c) => word.push(c),
        }
    }
    if quote.is_some() {
        return Err("a quotation mark is not closed".to_owned());
    }
    if open || !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken() {
        let parsed =
            parse("-c:v libx264 -preset medium -crf 20.5 -x264-params 'keyint=48:me=umh' -g 48").unwrap();
        assert_eq!(parsed.encoder.as_deref(), Some("libx264"));
        assert_eq!(parsed.crf, Some(20.5));
        assert_eq!(parsed.params.len(), 2);
        assert_eq!(bits("1.5M"), Some(1_500_000));
    }

    #[test]
    fn what_is_refused_by_name() {
        let cases = [
            ("-vf movie=/etc/passwd", "-vf"),
            ("-filter_complex x", "-filter_complex"),
            ("-x264-params stats=/tmp/x", "stats"),
            ("-x265-params csv=/tmp/x", "csv"),
            ("-x264-params keyint=1;rm", "keyint"),
            ("-passlogfile /tmp/x", "-passlogfile"),
            ("-attach /etc/passwd", "-attach"),
            ("-report 1", "-report"),
            ("-i http://localhost/", "-i"),
            ("-f tee", "-f"),
            ("-init_hw_device vaapi=/dev/x", "-init_hw_device"),
            ("-preset -y", "-preset"),
            ("-g 12x", "-g"),
            ("-crf nan", "-crf"),
            ("-g", "-g"),
            ("/etc/passwd", "/etc/passwd"),
            ("-tune 'film", "quotation"),
        ];
        for (text, named) in cases {
            let error = parse(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
