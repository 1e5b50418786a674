//! A recipe meets a file: which encoder, format, size and container it comes to, or why it cannot be. Pure; the result is
//! the same wherever it is computed.

use kinora_protocol::encode::{
    EncodeSettings, Encoder, ExpertParam, PictureFilters, Rate, Scan, Settled, VideoSettings, VideoWork,
};
use kinora_protocol::inference::Inference;
use kinora_protocol::media::{MediaFacts, VideoFacts};
use kinora_protocol::recipe::{AudioCodec, Chapters, Container, Quality, Recipe, Scale, VideoCodec};
use kinora_protocol::{ErrorCode, Failure, Rational};

use crate::encoder;
use crate::enhance::{self, Enhanced};
use crate::filters;
use crate::ladder;
use crate::params::{self, Parsed};
use crate::pixel::PixelFormat;
use crate::sound;
use crate::streams;

/// A settled recipe and what the user should know about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The settings.
    pub settled: Settled,
    /// Things left out or changed.
    pub notes: Vec<String>,
}

/// A recipe that cannot be, and why.
pub(crate) fn refuse(reason: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::BadRecipe, reason)
}

/// The recipe with its expert parameters merged in.
struct Wish {
    codec: Option<VideoCodec>,
    encoder: Option<Encoder>,
    rate: Wanted,
    preset: Option<String>,
    pix_fmt: Option<String>,
    scale: Option<Scale>,
    fps: Option<Rational>,
    params: Vec<ExpertParam>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Wanted {
    Crf(f64),
    Bitrate(u64),
    Named(Quality),
}

/// What there is to do a job with.
#[derive(Debug, Clone, Copy)]
pub struct Available<'a> {
    /// Encoders that work.
    pub encoders: &'a [Encoder],
    /// What runs models.
    pub inference: &'a Inference,
}

/// Settles `recipe` for a file with `facts`, given what there is.
///
/// # Errors
/// [`ErrorCode::BadRecipe`] with one sentence that says what cannot be and what would.
pub fn settle(
    recipe: &Recipe,
    facts: &MediaFacts,
    container: Container,
    Available { encoders: available, inference }: Available<'_>,
) -> Result<Outcome, Failure> {
    let enhanced = enhance::settle(recipe, facts, inference)?;
    let outcome = match container {
        Container::Hls => ladder::settle(recipe, &enhanced.facts, available),
        _ if recipe.ladder.is_some() => {
            Err(refuse(format!("a ladder makes an HLS package (.tar), not a .{}", container.extension())))
        }
        _ => one(recipe, &enhanced.facts, container, available),
    }?;
    with_enhancements(outcome, enhanced)
}

/// What a recipe comes to for pictures as they are after their enhancements, with these before it.
fn with_enhancements(outcome: Outcome, enhanced: Enhanced) -> Result<Outcome, Failure> {
    let Outcome { mut settled, mut notes } = outcome;
    let Enhanced { chain, notes: told, detect, .. } = enhanced;
    settled.detect = detect;
    match &mut settled.video {
        VideoWork::Encode(video) => video.enhance = chain,
        VideoWork::Copy | VideoWork::None if chain.is_empty() => {}
        VideoWork::Copy => return Err(enhance::of_a_copy()),
        VideoWork::None => {
            return Err(refuse("the result is sound alone: leave out enhancements of the picture"));
        }
    }
    notes.extend(told);
    Ok(Outcome { settled, notes })
}

/// Whether chapters are made anew.
fn chapters(recipe: &Recipe, container: Container, alone: bool) -> Result<bool, Failure> {
    let Some(Chapters::Auto) = recipe.chapters else { return Ok(false) };
    if alone || container == Container::Hls {
        let what = if alone { "sound alone has no scenes" } else { "an HLS package has no chapters" };
        return Err(refuse(format!("{what}: leave out chapters = auto")));
    }
    Ok(true)
}

/// Settles a recipe for one size.
pub(crate) fn one(
    recipe: &Recipe,
    facts: &MediaFacts,
    container: Container,
    available: &[Encoder],
) -> Result<Outcome, Failure> {
    let expert = recipe.video.ffmpeg_params.as_deref().unwrap_or("");
    let expert = params::parse(expert).map_err(|reason| refuse(format!("ffmpeg parameters: {reason}")))?;
    let alone = sound::is_alone(&recipe.video, &expert, container)?;
    let audio = sound::settle(&recipe.audio, &expert, facts, container)?;
    let chapters = chapters(recipe, container, alone)?;
    let settled = |video| Settled { video, audio, container, verify: recipe.verify, chapters, detect: None };
    let mut notes = streams::left_out(facts, container, alone);
    notes.extend(sound::unheard(&recipe.audio, facts));
    if alone {
        return match (facts.audio().next(), recipe.audio.codec) {
            (Some(_), Some(AudioCodec::None)) => Err(refuse("the recipe leaves out picture and sound")),
            (Some(_), _) => Ok(Outcome { settled: settled(VideoWork::None), notes }),
            (None, _) => Err(refuse("the file has no sound, and the recipe leaves the picture out")),
        };
    }
    let Some((_, video)) = facts.video() else {
        return Err(refuse(
            "the file has no video stream; for its sound alone use --codec none, or an output of .m4a, .opus or .mka",
        ));
    };
    let mut wish = wishes(recipe, expert)?;
    if wish.codec == Some(VideoCodec::Copy) {
        filters::check_copy(&recipe.video)?;
        return Ok(Outcome { settled: settled(VideoWork::Copy), notes });
    }
    let (width, height) = upright(video);
    let size = wish.scale.map(|s| resolve(s, width, height));
    let chosen = choose(&wish, video, size.unwrap_or((width, height)), container, available)?;
    let asked = wish.pix_fmt.take();
    let pix_fmt = pixel_format(chosen, asked.as_deref(), video, &mut notes)?;
    let rate = rate(chosen, wish.rate)?;
    check_picture(chosen, rate, pix_fmt, &video.pix_fmt, size.unwrap_or((width, height)))?;
    check_preset(chosen, wish.preset.as_deref())?;
    notes.extend(check_rate(wish.fps, video)?);
    let settings = EncodeSettings {
        encoder: chosen,
        rate,
        preset: wish.preset.or_else(|| encoder::default_preset(chosen).map(str::to_owned)),
        pix_fmt: pix_fmt.to_owned(),
        nominal_rate: wish.fps.unwrap_or(video.r_frame_rate),
        scan: scan(video),
        color: video.color.clone(),
        hdr: video.hdr.clone().filter(|_| PixelFormat::parse(pix_fmt).depth > 8),
        params: wish.params,
    };
    let sample_aspect = aspect_after(video, (width, height), size);
    let filters = filters::settle(&recipe.video, pix_fmt, size.unwrap_or((width, height)))?;
    let filters = PictureFilters { scale: size, sample_aspect, ..filters };
    if filters.sharpen.is_some() && is_interlaced(video) {
        notes.push("interlaced pictures are sharpened as whole frames".to_owned());
    }
    let video = VideoSettings { encode: settings, filters, fps: wish.fps, enhance: Vec::new(), ladder: None };
    Ok(Outcome { settled: settled(VideoWork::Encode(Box::new(video))), notes })
}

fn check_preset(chosen: Encoder, preset: Option<&str>) -> Result<(), Failure> {
    let Some(preset) = preset else { return Ok(()) };
    encoder::check_preset(chosen, preset)
        .map_err(|takes| refuse(format!("{} has no preset {preset:?}; it takes {takes}", chosen.name())))
}

/// Whether a constant frame rate makes sense, and what should be known about it.
fn check_rate(fps: Option<Rational>, video: &VideoFacts) -> Result<Option<String>, Failure> {
    let Some(fps) = fps else { return Ok(None) };
    if !fps.is_positive() || fps.approx() > 1000.0 || fps.num() > 100_000_000 {
        return Err(refuse("the frame rate must be above 0 and at most 1000"));
    }
    Ok(is_interlaced(video)
        .then(|| "the frame rate of interlaced pictures is changed without deinterlacing them".to_owned()))
}

/// The format handed to the encoder: the one asked for or none, else the one closest to the source's.
fn pixel_format(
    chosen: Encoder,
    asked: Option<&str>,
    video: &VideoFacts,
    notes: &mut Vec<String>,
) -> Result<&'static str, Failure> {
    let takes = encoder::pixel_formats(chosen);
    if let Some(asked) = asked {
        // ffmpeg's own short names leave the byte order of this machine out.
        let found = takes.iter().find(|f| **f == asked || f.strip_suffix("le") == Some(asked));
        return found.copied().ok_or_else(|| {
            refuse(format!("{} does not take {asked}; it takes {}", chosen.name(), takes.join(", ")))
        });
    }
    let closest = encoder::closest_format(chosen, &video.pix_fmt);
    let (depth, before) = (PixelFormat::parse(closest).depth, PixelFormat::parse(&video.pix_fmt).depth);
    if depth < before {
        notes.push(format!("{} stores {depth} bits per sample, the source has {before}", chosen.name()));
    }
    Ok(closest)
}

/// Width and height as shown: ffmpeg turns the picture upright.
pub fn upright(video: &VideoFacts) -> (u32, u32) {
    match video.rotation {
        90 | 270 => (video.height, video.width),
        _ => (video.width, video.height),
    }
}

fn scan(video: &VideoFacts) -> Scan {
    match video.field_order.as_deref() {
        Some("tt" | "bt") => Scan::TopFirst,
        Some("bb" | "tb") => Scan::BottomFirst,
        _ => Scan::Progressive,
    }
}

/// Whether frames are made of two fields.
pub(crate) fn is_interlaced(video: &VideoFacts) -> bool {
    scan(video) != Scan::Progressive
}

fn resolve(scale: Scale, width: u32, height: u32) -> (u32, u32) {
    match scale {
        Scale::AtMost(most) if height <= most => (width, height),
        Scale::AtMost(most) => resolve(Scale::Height(most), width, height),
        Scale::Exact { width, height } => (width, height),
        Scale::Height(wanted) => {
            let exact = u64::from(width) * u64::from(wanted);
            let even = (exact + u64::from(height)) / (2 * u64::from(height.max(1))) * 2;
            (u32::try_from(even.max(2)).unwrap_or(u32::MAX), wanted)
        }
    }
}

/// Scaling to a height keeps the shape of samples; scaling to an exact size keeps the shape of the picture.
fn aspect_after(video: &VideoFacts, from: (u32, u32), to: Option<(u32, u32)>) -> Option<Rational> {
    let (to_w, to_h) = to?;
    let sar = video.sample_aspect.or_else(|| Rational::new(1, 1))?;
    let num = i64::from(from.0) * i64::from(to_h) * sar.num();
    let den = i64::from(from.1) * i64::from(to_w) * sar.den();
    let exact = Rational::new(num, den)?;
    // Rounding the width to even is no reason to stretch the samples.
    let near = (exact.approx() / sar.approx() - 1.0).abs() < 0.02;
    let result = if near { sar } else { exact };
    (result.num() < 65_536 && result.den() < 65_536).then_some(result)
}

fn wishes(recipe: &Recipe, parsed: Parsed) -> Result<Wish, Failure> {
    let video = &recipe.video;
    let mut codec = video.codec;
    let mut encoder = None;
    for name in video.encoder.iter().chain(&parsed.encoder) {
        match (name.as_str(), Encoder::from_name(name)) {
            ("copy", _) => codec = Some(VideoCodec::Copy),
            (_, Some(known)) => encoder = Some(known),
            (_, None) => {
                let known: Vec<&str> = Encoder::ALL.iter().map(|e| e.name()).collect();
                return Err(refuse(format!("unknown encoder {name:?}; known are {}", known.join(", "))));
            }
        }
    }
    let given = [
        parsed.crf.or(video.crf).map(Wanted::Crf),
        parsed.bitrate.or(video.bitrate).map(Wanted::Bitrate),
        if parsed.lossless {
            Some(Wanted::Named(Quality::Lossless))
        } else {
            video.quality.map(Wanted::Named)
        },
    ];
    let mut given = given.into_iter().flatten();
    let rate = given.next().unwrap_or(Wanted::Named(Quality::Medium));
    if given.next().is_some() {
        return Err(refuse("give only one of a CRF, a bit rate and a quality"));
    }
    let repeated = parsed.fps.or(video.fps);
    let fps = match (repeated, recipe.enhance.interpolate) {
        (Some(_), Some(_)) => {
            return Err(refuse(
                "give one frame rate: either for interpolation, or for frames that are repeated (fps)",
            ));
        }
        (repeated, interpolated) => repeated.or(interpolated),
    };
    Ok(Wish {
        codec,
        encoder,
        rate,
        preset: parsed.preset.or_else(|| video.preset.clone()),
        pix_fmt: parsed.pix_fmt,
        scale: parsed.scale.or(video.scale),
        fps,
        params: parsed.params,
    })
}

fn choose(
    wish: &Wish,
    video: &VideoFacts,
    size: (u32, u32),
    container: Container,
    available: &[Encoder],
) -> Result<Encoder, Failure> {
    let missing = |encoder: Encoder| {
        refuse(format!(
            "{} does not work with this ffmpeg; `kinora doctor` lists those that do",
            encoder.name()
        ))
    };
    let in_container = |encoder: Encoder| {
        if encoder::fits(encoder.codec(), container) {
            return Ok(encoder);
        }
        let fits: Vec<&str> =
            [Container::Mp4, Container::Mov, Container::Mkv, Container::Webm, Container::Hls]
                .into_iter()
                .filter(|c| encoder::fits(encoder.codec(), *c))
                .map(Container::extension)
                .collect();
        let (codec, extension) = (encoder.codec().name(), container.extension());
        Err(refuse(format!("{codec} does not fit into .{extension}; use .{}", fits.join(" or ."))))
    };
    if let Some(encoder) = wish.encoder {
        if wish.codec.is_some_and(|c| c != encoder.codec()) {
            let wanted = wish.codec.map_or("", VideoCodec::name);
            return Err(refuse(format!("{} does not write {wanted}", encoder.name())));
        }
        return if available.contains(&encoder) { in_container(encoder) } else { Err(missing(encoder)) };
    }
    if let Some(codec) = wish.codec {
        let lossless = wish.rate == Wanted::Named(Quality::Lossless);
        let able = |e: &&Encoder| available.contains(e) && (!lossless || encoder::has_lossless(**e));
        let candidates = encoder::candidates(codec);
        return match (candidates.iter().find(able), candidates.first()) {
            (Some(encoder), _) => in_container(*encoder),
            (None, Some(first)) if available.contains(first) => Err(refuse(format!(
                "no encoder of {} is lossless; use h264, hevc, vp9 or ffv1",
                codec.name()
            ))),
            (None, Some(first)) => Err(missing(*first)),
            (None, None) => Err(refuse("nothing encodes a copy")),
        };
    }
    automatic(wish, video, size, container, available)
}

/// The codec that plays most widely among those that can hold this picture.
fn automatic(
    wish: &Wish,
    video: &VideoFacts,
    size: (u32, u32),
    container: Container,
    available: &[Encoder],
) -> Result<Encoder, Failure> {
    let deep = PixelFormat::parse(&video.pix_fmt).depth > 8;
    // Hardly anything but software plays 10-bit H.264, while 10-bit HEVC is what HDR screens expect.
    let order: &[Encoder] = match (container, deep) {
        (Container::Webm, _) => &[Encoder::Vp9, Encoder::SvtAv1, Encoder::Aom],
        (_, false) => &[Encoder::X264, Encoder::X265, Encoder::Vp9, Encoder::Ffv1, Encoder::SvtAv1],
        (_, true) => &[Encoder::X265, Encoder::X264, Encoder::Vp9, Encoder::Ffv1, Encoder::SvtAv1],
    };
    let lossless = wish.rate == Wanted::Named(Quality::Lossless);
    let source = wish.pix_fmt.as_deref().unwrap_or(&video.pix_fmt);
    let able = |encoder: &&Encoder| {
        let format = encoder::closest_format(**encoder, source);
        let (w, h) = PixelFormat::parse(format).granularity();
        let whole = size.0.is_multiple_of(w) && size.1.is_multiple_of(h);
        available.contains(encoder)
            && encoder::fits(encoder.codec(), container)
            && (whole || encoder::takes_odd_sizes(**encoder))
            && (!lossless || (encoder::has_lossless(**encoder) && same_samples(format, source)))
    };
    order.iter().find(able).copied().ok_or_else(|| {
        let quality = if lossless { " without loss" } else { "" };
        let (w, h) = size;
        let extension = container.extension();
        refuse(format!(
            "no encoder here writes {w}x{h} {source} pictures{quality} into .{extension}; try .mkv"
        ))
    })
}

/// Whether two formats store the same samples: `yuvj` only marks a range that is stored apart.
fn same_samples(a: &str, b: &str) -> bool {
    let plain = |f: &str| f.replacen("yuvj", "yuv", 1);
    plain(a) == plain(b)
}

fn rate(chosen: Encoder, wanted: Wanted) -> Result<Rate, Failure> {
    if chosen == Encoder::Ffv1 {
        return Ok(Rate::Lossless);
    }
    match wanted {
        Wanted::Bitrate(bits) if chosen == Encoder::Prores => {
            Err(refuse(format!("prores_ks takes a quality, not a bit rate of {bits} bit/s")))
        }
        Wanted::Bitrate(bits) if (1_000..=2_000_000_000).contains(&bits) => Ok(Rate::Bitrate(bits)),
        Wanted::Bitrate(bits) => {
            Err(refuse(format!("a bit rate of {bits} bit/s is out of range (1k to 2000M)")))
        }
        Wanted::Named(Quality::Lossless) if encoder::has_lossless(chosen) => Ok(Rate::Lossless),
        Wanted::Named(Quality::Lossless) => {
            Err(refuse(format!("{} cannot code without loss; use h264, hevc, vp9 or ffv1", chosen.name())))
        }
        Wanted::Named(quality) => Ok(Rate::Quality(encoder::named_quality(chosen, quality))),
        Wanted::Crf(crf) => {
            let (least, most) = encoder::quality_range(chosen);
            let hundredths = (crf * 100.0).round();
            if crf.fract() != 0.0 && !encoder::takes_fractions(chosen) {
                return Err(refuse(format!("{} takes whole numbers for CRF, not {crf}", chosen.name())));
            }
            if hundredths >= f64::from(least) && hundredths <= f64::from(most) {
                return Ok(Rate::Quality(hundredths as u32));
            }
            let (least, most) = (least / 100, most / 100);
            Err(refuse(format!("CRF {crf} is out of range for {} ({least} to {most})", chosen.name())))
        }
    }
}

fn check_picture(
    chosen: Encoder,
    rate: Rate,
    pix_fmt: &str,
    source: &str,
    (width, height): (u32, u32),
) -> Result<(), Failure> {
    let (w, h) = PixelFormat::parse(pix_fmt).granularity();
    let whole = width.is_multiple_of(w) && height.is_multiple_of(h);
    if !whole && !encoder::takes_odd_sizes(chosen) {
        let (even_w, even_h) = (width / w * w, height / h * h);
        return Err(refuse(format!(
            "{} cannot code {width}x{height} pictures as {pix_fmt}: use --scale {even_w}x{even_h}, or --codec vp9",
            chosen.name()
        )));
    }
    if rate == Rate::Lossless && !same_samples(pix_fmt, source) {
        return Err(refuse(format!(
            "{} cannot keep {source} pictures without loss (it would take {pix_fmt}): use --codec ffv1 and .mkv",
            chosen.name()
        )));
    }
    Ok(())
}
