//! What a recipe wants to become better meets a file: which enhancements it comes to, in which order, and what the pictures are
//! after them. Pure; it must not know how an enhancement is done.
//!
//! The order: whole frames first, as all else needs them; noise before anything that would make more of it; a steady camera;
//! the smaller range and its colours; frames in between and then size, so that the slow ones work on as few samples as possible; the larger range at
//! the end, as everything before is made for pictures that are coded by BT.709 or alike.

use kinora_protocol::enhance::{Colors, Enhancement, Matrix, Primaries, REFERENCE_WHITE, Transfer};
use kinora_protocol::inference::{Inference, Network};
use kinora_protocol::media::{Color, ContentLight, HdrStatic, Mastering, MediaFacts, StreamKind, VideoFacts};
use kinora_protocol::planes::By;
use kinora_protocol::recipe::{ColorChange, Denoise, EnhanceRecipe, HdrChange, Recipe, VideoCodec};
use kinora_protocol::{Failure, Rational};

use crate::network;
use crate::pixel::{Chroma, PixelFormat};
use crate::planes;
use crate::settle::{is_interlaced, refuse, upright};

/// How many times a side may become longer at once.
const UPSCALE: std::ops::RangeInclusive<u32> = 2..=4;
/// More samples on a side than encoders take.
const LONGEST_SIDE: u32 = 16_384;
/// The motion search needs some blocks to look at.
const LEAST_INTERPOLATED: u32 = 32;
/// A deinterlacer needs lines of both fields above and below.
const LEAST_DEINTERLACED: u32 = 4;
/// What the brightest parts of HDR have where a file does not say, in cd/m².
const USUAL_PEAK: u32 = 1000;

/// A file as it is after its enhancements.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Enhanced {
    /// What is done, in order.
    pub(crate) chain: Vec<Enhancement>,
    /// The facts of what comes out of it.
    pub(crate) facts: MediaFacts,
    /// The model that finds things.
    pub(crate) detect: Option<Network>,
    /// What the user should know.
    pub(crate) notes: Vec<String>,
}

/// Settles what becomes better.
///
/// # Errors
/// [`kinora_protocol::ErrorCode::BadRecipe`] for what cannot be done with these pictures.
pub(crate) fn settle(
    recipe: &Recipe,
    facts: &MediaFacts,
    inference: &Inference,
) -> Result<Enhanced, Failure> {
    let wanted = &recipe.enhance;
    let mut enhanced = Enhanced { chain: Vec::new(), facts: facts.clone(), detect: None, notes: Vec::new() };
    if wanted.is_empty() {
        return Ok(enhanced);
    }
    if recipe.video.codec == Some(VideoCodec::Copy) {
        return Err(of_a_copy());
    }
    let found = enhanced.facts.streams.iter_mut().find_map(|stream| match &mut stream.kind {
        StreamKind::Video(video) => Some(video),
        _ => None,
    });
    let Some(video) = found else { return Err(refuse("there are no pictures that could be enhanced")) };
    let made = (video.width, video.height);
    let (width, height) = upright(video);
    // Turned, a sample is as high as it was wide.
    let turned = matches!(video.rotation, 90 | 270);
    let aspect = video.sample_aspect;
    let sample_aspect =
        if turned { aspect.and_then(|aspect| Rational::new(aspect.den(), aspect.num())) } else { aspect };
    *video = VideoFacts { width, height, rotation: 0, sample_aspect, ..video.clone() };
    let (chain, notes) = (&mut enhanced.chain, &mut enhanced.notes);
    check_models(wanted)?;
    if wanted.detect == Some(true) {
        enhanced.detect = Some(network::detector(wanted.detector.as_deref(), inference)?);
    }
    chain.extend(deinterlace(wanted, video, notes)?);
    chain.extend(denoise(wanted, video, inference, notes)?);
    chain.extend(boxes(wanted, video, notes));
    chain.extend(stabilize(wanted, video, notes)?);
    let maps = match wanted.hdr {
        Some(HdrChange::Hdr2Sdr) => true,
        Some(HdrChange::Auto) => is_hdr(video),
        Some(HdrChange::Sdr2Hdr) | None => false,
    };
    chain.extend(if maps { Some(tone_map(video, made)?) } else { None });
    chain.extend(color(wanted, video, notes)?);
    chain.extend(interpolate(wanted, video)?);
    chain.extend(upscale(wanted, video, inference, notes)?);
    chain.extend(if wanted.hdr == Some(HdrChange::Sdr2Hdr) { Some(expand(video, made)?) } else { None });
    Ok(enhanced)
}

fn is_hdr(video: &VideoFacts) -> bool {
    matches!(video.color.transfer.as_deref(), Some("smpte2084" | "arib-std-b67"))
}

/// A copy is no place for enhancements.
pub(crate) fn of_a_copy() -> Failure {
    refuse("a copy has the source's pictures: enhancements need a codec")
}

fn deinterlace(
    wanted: &EnhanceRecipe,
    video: &mut VideoFacts,
    notes: &mut Vec<String>,
) -> Result<Option<Enhancement>, Failure> {
    let needs = [
        (wanted.denoise == Some(Denoise::Strong), "denoise = strong"),
        (wanted.denoise == Some(Denoise::Neural), "denoise = neural"),
        (wanted.detect == Some(true) && wanted.draw == Some(true), "draw"),
        (wanted.stabilize == Some(true), "stabilize"),
        (wanted.hdr.is_some_and(|hdr| hdr != HdrChange::Auto || is_hdr(video)), "hdr"),
        (wanted.interpolate.is_some(), "interpolate"),
        (wanted.upscale.is_some(), "upscale"),
    ];
    let needed: Vec<&str> = needs.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    match (is_interlaced(video), wanted.deinterlace) {
        (false, Some(true)) => {
            notes.push("the source says that its frames are whole: nothing is deinterlaced".to_owned());
            return Ok(None);
        }
        (false, _) => return Ok(None),
        (true, Some(false)) if !needed.is_empty() => {
            return Err(refuse(format!(
                "the source is interlaced, and {} needs whole frames: leave out deinterlace = false",
                needed.join(" and ")
            )));
        }
        (true, None) if !needed.is_empty() => {
            notes.push(format!(
                "the source is interlaced and is deinterlaced, as {} needs whole frames",
                needed.join(" and ")
            ));
        }
        (true, None | Some(false)) => return Ok(None),
        (true, Some(true)) => {}
    }
    least("deinterlaced", LEAST_DEINTERLACED, video)?;
    video.field_order = Some("progressive".to_owned());
    Ok(Some(Enhancement::Deinterlace))
}

/// Models that are named for what is not asked for are a mistake.
fn check_models(wanted: &EnhanceRecipe) -> Result<(), Failure> {
    if wanted.denoiser.is_some() && wanted.denoise != Some(Denoise::Neural) {
        return Err(refuse("denoiser names the model of denoise = neural, which is not asked for"));
    }
    if wanted.detect != Some(true) && (wanted.detector.is_some() || wanted.draw == Some(true)) {
        let what = if wanted.detector.is_some() { "detector" } else { "draw" };
        return Err(refuse(format!("{what} says how detect is done, which is not asked for")));
    }
    if wanted.upscaler.is_some() && wanted.upscale.is_none() {
        return Err(refuse(
            "upscaler says by what pictures are upscaled, and upscale does not say how many times",
        ));
    }
    Ok(())
}

fn denoise(
    wanted: &EnhanceRecipe,
    video: &mut VideoFacts,
    inference: &Inference,
    notes: &mut Vec<String>,
) -> Result<Option<Enhancement>, Failure> {
    if wanted.denoise.is_some() && is_interlaced(video) {
        notes.push("interlaced pictures are denoised as whole frames".to_owned());
    }
    Ok(match wanted.denoise {
        None => None,
        Some(Denoise::Light) => Some(Enhancement::DenoiseLight),
        Some(Denoise::Strong) => {
            Some(Enhancement::DenoiseStrong { deep: PixelFormat::parse(&video.pix_fmt).depth > 8 })
        }
        Some(Denoise::Neural) => Some(network::denoise(wanted.denoiser.as_deref(), video, inference, notes)?),
    })
}

/// What is found is drawn where it is, before the picture is moved or made larger.
fn boxes(wanted: &EnhanceRecipe, video: &mut VideoFacts, notes: &mut Vec<String>) -> Option<Enhancement> {
    let draws = wanted.detect == Some(true) && wanted.draw == Some(true);
    draws.then(|| {
        notes.extend(planes::opaque(video));
        Enhancement::Pass(Box::new(planes::pass(By::Boxes { objects: Vec::new() }, video)))
    })
}

/// How long a movement takes that is meant, in seconds.
const SMOOTHING: std::ops::RangeInclusive<f64> = 0.1..=5.0;
const USUAL_SMOOTHING: f64 = 0.7;
/// A camera's path cannot be seen in less.
const LEAST_STEADY: u32 = 64;

fn stabilize(
    wanted: &EnhanceRecipe,
    video: &mut VideoFacts,
    notes: &mut Vec<String>,
) -> Result<Option<Enhancement>, Failure> {
    if wanted.stabilize != Some(true) {
        return match wanted.smoothing {
            Some(_) => Err(refuse("smoothing says how stabilize is done, which is not asked for")),
            None => Ok(None),
        };
    }
    let seconds = wanted.smoothing.unwrap_or(USUAL_SMOOTHING);
    if !SMOOTHING.contains(&seconds) {
        let (least, most) = (SMOOTHING.start(), SMOOTHING.end());
        return Err(refuse(format!("smoothing is {least} to {most} seconds, not {seconds}")));
    }
    least("stabilized", LEAST_STEADY, video)?;
    notes.extend(planes::opaque(video));
    let smoothing_ms = (seconds * 1000.0).round() as u32;
    let by = By::Steady { smoothing_ms, poses: Vec::new() };
    Ok(Some(Enhancement::Pass(Box::new(planes::pass(by, video)))))
}

fn color(
    wanted: &EnhanceRecipe,
    video: &mut VideoFacts,
    notes: &mut Vec<String>,
) -> Result<Option<Enhancement>, Failure> {
    let Some(ColorChange::Auto) = wanted.color else { return Ok(None) };
    if let Some(transfer @ ("smpte2084" | "arib-std-b67")) = video.color.transfer.as_deref() {
        return Err(refuse(format!(
            "color = auto is for a standard dynamic range, and the source says {transfer}: tone map it (hdr2sdr), or leave it out"
        )));
    }
    notes.extend(planes::opaque(video));
    let by = By::Grade { corrections: Vec::new() };
    Ok(Some(Enhancement::Pass(Box::new(planes::pass(by, video)))))
}

fn tone_map(video: &mut VideoFacts, made: (u32, u32)) -> Result<Enhancement, Failure> {
    let from = colors(video, made)?;
    if !matches!(from.transfer, Transfer::Pq | Transfer::Hlg) {
        let told = video.color.transfer.as_deref().unwrap_or("nothing");
        return Err(refuse(format!(
            "hdr2sdr is for HDR10 and HLG, and the source says {told} of its transfer characteristics"
        )));
    }
    let peak = peak(video, from.transfer);
    let format = becomes(video, &from, 8);
    video.color = described("bt709", "bt709", "bt709");
    video.hdr = None;
    Ok(Enhancement::ToneMap { from, peak, format })
}

/// What is brightest, as the file says: its content, else the screen that it was made on.
fn peak(video: &VideoFacts, transfer: Transfer) -> u32 {
    if transfer == Transfer::Hlg {
        // Its nominal peak on the screen that it is defined with.
        return USUAL_PEAK;
    }
    let told = video.hdr.as_ref().and_then(|hdr| {
        let content = hdr.light.map(|light| light.max_content).filter(|nits| *nits > 0);
        let screen = hdr.mastering.as_ref().map(|screen| screen.max_luminance.approx().round() as u32);
        content.or(screen.filter(|nits| *nits > 0))
    });
    told.unwrap_or(USUAL_PEAK).clamp(REFERENCE_WHITE, 10_000)
}

fn expand(video: &mut VideoFacts, made: (u32, u32)) -> Result<Enhancement, Failure> {
    let from = colors(video, made)?;
    if matches!(from.transfer, Transfer::Pq | Transfer::Hlg) {
        return Err(refuse("sdr2hdr is for pictures that are not HDR yet, and the source is"));
    }
    let format = becomes(video, &from, 10);
    video.color = described("bt2020nc", "smpte2084", "bt2020");
    // White comes to the reference white, and nothing is brighter: that is the volume that it was made for.
    video.hdr = Some(HdrStatic {
        mastering: reference_screen(),
        light: Some(ContentLight { max_content: REFERENCE_WHITE, max_average: REFERENCE_WHITE }),
    });
    Ok(Enhancement::Expand { from, format })
}

/// BT.709 primaries and D65, up to the reference white.
fn reference_screen() -> Option<Mastering> {
    let of = |thousands: i64| Rational::new(thousands, 10_000);
    let [rx, ry, gx, gy, bx, by, wx, wy] = [6400, 3300, 3000, 6000, 1500, 600, 3127, 3290].map(of);
    Some(Mastering {
        chromaticity: [rx?, ry?, gx?, gy?, bx?, by?, wx?, wy?],
        min_luminance: of(50)?,
        max_luminance: Rational::new(i64::from(REFERENCE_WHITE), 1)?,
    })
}

fn interpolate(wanted: &EnhanceRecipe, video: &VideoFacts) -> Result<Option<Enhancement>, Failure> {
    if wanted.interpolate.is_none() {
        return Ok(None);
    }
    if PixelFormat::parse(&video.pix_fmt).depth > 8 {
        return Err(refuse(
            "frames are interpolated with 8 bits per sample, and the source has more: tone map it (hdr2sdr), or leave interpolation out",
        ));
    }
    least("interpolated", LEAST_INTERPOLATED, video)?;
    Ok(Some(Enhancement::Interpolate))
}

fn upscale(
    wanted: &EnhanceRecipe,
    video: &mut VideoFacts,
    inference: &Inference,
    notes: &mut Vec<String>,
) -> Result<Vec<Enhancement>, Failure> {
    let Some(factor) = wanted.upscale else { return Ok(Vec::new()) };
    if !UPSCALE.contains(&factor) {
        let (least, most) = (UPSCALE.start(), UPSCALE.end());
        return Err(refuse(format!("pictures are upscaled {least} to {most} times, not {factor} times")));
    }
    let (width, height) = (video.width.saturating_mul(factor), video.height.saturating_mul(factor));
    if width.max(height) > LONGEST_SIDE {
        return Err(refuse(format!(
            "{factor} times {}x{} is {width}x{height}: no side may have more than {LONGEST_SIDE} samples",
            video.width, video.height
        )));
    }
    let named = wanted.upscaler.as_deref();
    let chain = network::upscale((factor, (width, height)), named, video, inference, notes)?;
    (video.width, video.height) = (width, height);
    Ok(chain)
}

fn least(what: &str, least: u32, video: &VideoFacts) -> Result<(), Failure> {
    let (width, height) = (video.width, video.height);
    if width.min(height) >= least {
        return Ok(());
    }
    Err(refuse(format!(
        "pictures of {width}x{height} are too small to be {what}: {least}x{least} is the least"
    )))
}

/// How samples stand for colours. What a file does not say is what players take it for, by the size that it was made in.
fn colors(video: &VideoFacts, (width, lines): (u32, u32)) -> Result<Colors, Failure> {
    let color = &video.color;
    let odd =
        |what: &str, name: &str| refuse(format!("{what} {name} cannot be changed to another dynamic range"));
    let rgb = PixelFormat::parse(&video.pix_fmt).chroma == Chroma::Rgb;
    let transfer = match color.transfer.as_deref() {
        Some("smpte2084") => Transfer::Pq,
        Some("arib-std-b67") => Transfer::Hlg,
        Some("iec61966-2-1") => Transfer::Srgb,
        Some("bt709" | "smpte170m" | "bt2020-10" | "bt2020-12" | "bt470bg" | "gamma28" | "gamma22") => {
            Transfer::Bt709
        }
        None if rgb => Transfer::Srgb,
        None => Transfer::Bt709,
        Some(other) => return Err(odd("the transfer characteristics", other)),
    };
    let hdr = matches!(transfer, Transfer::Pq | Transfer::Hlg);
    // Without a word, small pictures are those of old television.
    let low = width < 1280 && lines <= 576;
    let matrix = match color.space.as_deref() {
        _ if rgb => Matrix::Rgb,
        Some("gbr") => Matrix::Rgb,
        Some("bt709") => Matrix::Bt709,
        Some("smpte170m" | "bt470bg") => Matrix::Bt601,
        Some("bt2020nc") => Matrix::Bt2020,
        None if hdr => Matrix::Bt2020,
        None if low => Matrix::Bt601,
        None => Matrix::Bt709,
        Some(other) => return Err(odd("the colour matrix", other)),
    };
    let primaries = match color.primaries.as_deref() {
        Some("bt709") => Primaries::Bt709,
        Some("smpte170m" | "smpte240m") => Primaries::Smpte170,
        Some("bt470bg") => Primaries::Bt470Bg,
        Some("bt2020") => Primaries::Bt2020,
        Some("smpte432") => Primaries::DisplayP3,
        None if hdr => Primaries::Bt2020,
        None if low && !rgb && matches!(lines, 480 | 486) => Primaries::Smpte170,
        None if low && !rgb && lines == 576 => Primaries::Bt470Bg,
        None => Primaries::Bt709,
        Some(other) => return Err(odd("the colour primaries", other)),
    };
    let full_range = rgb || color.range.as_deref() == Some("pc") || video.pix_fmt.starts_with("yuvj");
    let odd = !rgb && (video.width % 2 == 1 || video.height % 2 == 1);
    Ok(Colors { matrix, transfer, primaries, full_range, odd })
}

/// Gives pictures a depth; the format in which they come out of the change.
fn becomes(video: &mut VideoFacts, from: &Colors, depth: u32) -> String {
    let chroma = PixelFormat::parse(&video.pix_fmt).chroma;
    video.pix_fmt = planar(chroma, depth);
    planar(if from.odd { Chroma::Yuv444 } else { chroma }, depth)
}

fn described(space: &str, transfer: &str, primaries: &str) -> Color {
    let said = |name: &str| Some(name.to_owned());
    Color {
        range: said("tv"),
        space: said(space),
        transfer: said(transfer),
        primaries: said(primaries),
        chroma_location: said("left"),
    }
}

/// A planar format in limited range with this chroma and depth, as HDR and its opposite have.
fn planar(chroma: Chroma, depth: u32) -> String {
    let chroma = match chroma {
        Chroma::Gray | Chroma::Yuv410 | Chroma::Yuv411 | Chroma::Yuv420 | Chroma::Yuv440 => "420",
        Chroma::Yuv422 => "422",
        Chroma::Yuv444 | Chroma::Rgb => "444",
    };
    match depth {
        8 => format!("yuv{chroma}p"),
        depth => format!("yuv{chroma}p{depth}le"),
    }
}

#[cfg(test)]
mod tests {
    use kinora_protocol::encode::Encoder;
    use kinora_protocol::enhance::Support;
    use kinora_protocol::recipe::{Container, VideoRecipe};

    use super::*;
    use crate::made;
    use crate::settle::Available;

    fn wanted(enhance: EnhanceRecipe) -> Recipe {
        Recipe { enhance, ..Recipe::default() }
    }

    fn all() -> EnhanceRecipe {
        EnhanceRecipe {
            deinterlace: Some(true),
            denoise: Some(Denoise::Light),
            hdr: Some(HdrChange::Sdr2Hdr),
            interpolate: Rational::new(50, 1),
            upscale: Some(2),
            ..EnhanceRecipe::default()
        }
    }

    /// What settles without any model.
    fn settle(recipe: &Recipe, facts: &MediaFacts) -> Result<Enhanced, Failure> {
        super::settle(recipe, facts, &Inference::default())
    }

    fn refused(recipe: &Recipe, facts: &MediaFacts) -> String {
        let available = Available { encoders: &Encoder::ALL, inference: &Inference::default() };
        crate::settle::settle(recipe, facts, Container::Mp4, available).unwrap_err().message
    }

    #[test]
    fn the_order_is_always_the_same() {
        let mut facts = made::facts(720, 576, 90);
        made::video(&mut facts).field_order = Some("tt".to_owned());
        let enhanced = settle(&wanted(all()), &facts).unwrap();
        let Enhanced { chain, facts, notes, .. } = enhanced;
        let [
            Enhancement::Deinterlace,
            Enhancement::DenoiseLight,
            Enhancement::Interpolate,
            Enhancement::Upscale { width: 1152, height: 1440 },
            Enhancement::Expand { from, .. },
        ] = chain.as_slice()
        else {
            panic!("{chain:?}")
        };
        assert_eq!((from.matrix, from.transfer, from.full_range), (Matrix::Bt601, Transfer::Bt709, false));
        let (_, after) = facts.video().unwrap();
        assert_eq!((after.width, after.height, after.rotation), (1152, 1440, 0), "turned upright before");
        assert_eq!(
            (after.pix_fmt.as_str(), after.color.transfer.as_deref()),
            ("yuv420p10le", Some("smpte2084"))
        );
        assert_eq!(after.hdr.as_ref().unwrap().light.unwrap().max_content, 203);
        assert_eq!(Support::of(&chain), Support { before: 7, after: 7 });
        assert!(
            notes.len() == 1 && notes[0].contains("upscaled by Lanczos, and not by a model"),
            "{notes:?}"
        );
    }

    #[test]
    fn fields_that_something_needs_as_frames() {
        let mut facts = made::facts(720, 576, 0);
        made::video(&mut facts).field_order = Some("bb".to_owned());
        let upscale =
            |deinterlace| wanted(EnhanceRecipe { deinterlace, upscale: Some(2), ..EnhanceRecipe::default() });
        let enhanced = settle(&upscale(None), &facts).unwrap();
        assert_eq!(enhanced.chain[0], Enhancement::Deinterlace);
        assert!(enhanced.notes[0].contains("upscale needs whole frames"), "{:?}", enhanced.notes);
        assert!(refused(&upscale(Some(false)), &facts).contains("leave out deinterlace"));
        let light = wanted(EnhanceRecipe { denoise: Some(Denoise::Light), ..EnhanceRecipe::default() });
        assert_eq!(settle(&light, &facts).unwrap().chain, [Enhancement::DenoiseLight]);
        let whole = settle(&upscale(Some(true)), &made::facts(720, 576, 0)).unwrap();
        assert_eq!(whole.chain.len(), 1);
        assert!(whole.notes[0].contains("nothing is deinterlaced"));
    }

    #[test]
    fn tone_mapping_follows_what_the_file_says() {
        let to_sdr = wanted(EnhanceRecipe { hdr: Some(HdrChange::Hdr2Sdr), ..EnhanceRecipe::default() });
        let mut facts = made::facts(641, 360, 0);
        assert!(refused(&to_sdr, &facts).contains("HDR10 and HLG"));
        let video = made::video(&mut facts);
        video.pix_fmt = "yuv420p10le".to_owned();
        video.color.transfer = Some("smpte2084".to_owned());
        let tone = |facts: &MediaFacts| {
            let Enhanced { chain, facts, .. } = settle(&to_sdr, facts).unwrap();
            match chain.as_slice() {
                [Enhancement::ToneMap { from, peak, format }] => {
                    (*from, *peak, format.clone(), facts.video().unwrap().1.clone())
                }
                other => panic!("{other:?}"),
            }
        };
        let (from, peak, format, after) = tone(&facts);
        assert_eq!(
            (from.matrix, from.primaries, from.odd, peak),
            (Matrix::Bt2020, Primaries::Bt2020, true, 1000)
        );
        assert_eq!(
            (format.as_str(), after.pix_fmt.as_str()),
            ("yuv444p", "yuv420p"),
            "halved chroma has no odd sides"
        );
        assert_eq!((after.color.space.as_deref(), after.hdr), (Some("bt709"), None));
        let light = Some(ContentLight { max_content: 400, max_average: 100 });
        made::video(&mut facts).hdr = Some(HdrStatic { mastering: reference_screen(), light });
        assert_eq!(tone(&facts).1, 400);
        made::video(&mut facts).hdr = Some(HdrStatic { mastering: reference_screen(), light: None });
        assert_eq!(tone(&facts).1, 203);
        made::video(&mut facts).color.space = Some("ycgco".to_owned());
        assert!(refused(&to_sdr, &facts).contains("colour matrix ycgco"));
    }

    #[test]
    fn what_cannot_be() {
        let with = |change: fn(&mut EnhanceRecipe)| {
            let mut enhance = EnhanceRecipe::default();
            change(&mut enhance);
            wanted(enhance)
        };
        let sd = made::facts(640, 360, 0);
        let refuses = |recipe: &Recipe, facts: &MediaFacts, word: &str| {
            let why = refused(recipe, facts);
            assert!(why.contains(word), "{why}");
        };
        refuses(&with(|e| e.upscale = Some(5)), &sd, "2 to 4 times, not 5");
        refuses(&with(|e| e.upscale = Some(4)), &made::facts(7680, 4320, 0), "30720x17280");
        refuses(&with(|e| e.interpolate = Rational::new(60, 1)), &made::facts(1, 1, 0), "too small");
        refuses(&with(|e| e.interpolate = Rational::new(6000, 1)), &sd, "at most 1000");
        let mut deep = made::facts(640, 360, 0);
        made::video(&mut deep).pix_fmt = "yuv420p10le".to_owned();
        refuses(&with(|e| e.interpolate = Rational::new(60, 1)), &deep, "8 bits per sample");
        let twice = Recipe {
            video: VideoRecipe { fps: Rational::new(30, 1), ..VideoRecipe::default() },
            ..with(|e| e.interpolate = Rational::new(60, 1))
        };
        refuses(&twice, &sd, "one frame rate");
        let copy = Recipe {
            video: VideoRecipe { codec: Some(VideoCodec::Copy), ..VideoRecipe::default() },
            ..with(|e| e.upscale = Some(2))
        };
        refuses(&copy, &sd, "need a codec");
        let alone = Recipe {
            video: VideoRecipe { codec: Some(VideoCodec::None), ..VideoRecipe::default() },
            ..with(|e| e.upscale = Some(2))
        };
        assert!(!refused(&alone, &sd).is_empty());
    }
}
