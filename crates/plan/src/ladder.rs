//! Several sizes of a video for one HLS package: which they are, and settings that put key frames at the same frames of all of
//! them. What one size comes to is settled in `settle`.

use kinora_protocol::Failure;
use kinora_protocol::encode::{
    EncodeSettings, Encoder, ExpertParam, Ladder, Rate, Rendition, Settled, VideoSettings, VideoWork,
};
use kinora_protocol::media::MediaFacts;
use kinora_protocol::recipe::{
    Container, LadderRecipe, Recipe, RenditionRecipe, Scale, VideoCodec, VideoRecipe,
};

use crate::params;
use crate::settle::{self, Outcome, refuse};

/// Wished length of segments, in seconds.
const SEGMENT: f64 = 4.0;
/// More renditions than this are a mistake.
const MOST: usize = 12;
/// Renditions where the recipe names none.
const USUAL: usize = 4;
/// Heights that players and their users know.
const HEIGHTS: [u32; 7] = [2160, 1440, 1080, 720, 480, 360, 240];

/// Settles a recipe for an HLS package.
///
/// # Errors
/// As for one size, and when the sizes make no ladder.
pub(crate) fn settle(recipe: &Recipe, facts: &MediaFacts, available: &[Encoder]) -> Result<Outcome, Failure> {
    let ladder = recipe.ladder.clone().unwrap_or_default();
    let segment_ms = segment_ms(&ladder)?;
    match recipe.video.codec {
        Some(VideoCodec::Copy) => {
            return Err(refuse("an HLS package is encoded: a copy has no key frames where segments begin"));
        }
        Some(VideoCodec::None) => return Err(refuse("an HLS package has pictures: give another codec")),
        _ => {}
    }
    let wanted = match ladder.renditions {
        Some(named) if (1..=MOST).contains(&named.len()) => named,
        Some(named) => return Err(refuse(format!("{} renditions make no ladder: 1 to {MOST}", named.len()))),
        None => usual(recipe, facts),
    };
    let expert = params::parse(recipe.video.ffmpeg_params.as_deref().unwrap_or("")).map_err(refuse)?;
    if expert.scale.is_some() || expert.crf.is_some() || expert.bitrate.is_some() {
        return Err(refuse(
            "sizes, bit rates and CRF of an HLS package belong to its renditions, not to ffmpeg parameters",
        ));
    }
    let source = facts.video().map_or((0, 0), |(_, video)| settle::upright(video));
    let mut notes = Vec::new();
    let mut first: Option<(Settled, VideoSettings)> = None;
    let mut others: Vec<Rendition> = Vec::new();
    let mut seen: Vec<((u32, u32), Rate, bool)> = Vec::new();
    for rendition in wanted {
        let outcome = settle::one(&with(recipe, &rendition), facts, Container::Hls, available)?;
        let VideoWork::Encode(video) = &outcome.settled.video else {
            return Err(refuse("the renditions of an HLS package are encoded: give a codec"));
        };
        let video = VideoSettings::clone(video);
        let size = video.filters.scale.unwrap_or(source);
        // A source that is lower than two rungs comes to the same size twice, and one of them is enough.
        let capped = matches!(rendition.scale, Some(Scale::AtMost(most)) if source.1 < most);
        let same = |(known, rate, other): &((u32, u32), Rate, bool)| {
            *known == size && (capped || *other || *rate == video.encode.rate)
        };
        if seen.iter().any(same) {
            let (width, height) = size;
            notes.push(format!("a rendition is left out: there is one of {width}x{height} already"));
            continue;
        }
        seen.push((size, video.encode.rate, capped));
        let encode = with_keys(video.encode)?;
        match &first {
            None => {
                notes.extend(outcome.notes);
                first = Some((outcome.settled, VideoSettings { encode, ..video }));
            }
            Some(_) => others.push(Rendition { encode, filters: video.filters }),
        }
    }
    let (settled, main) = first.ok_or_else(|| refuse("an HLS package needs a rendition"))?;
    let video = VideoSettings { ladder: Some(Ladder { segment_ms, others }), ..main };
    Ok(Outcome { settled: Settled { video: VideoWork::Encode(Box::new(video)), ..settled }, notes })
}

fn segment_ms(ladder: &LadderRecipe) -> Result<u32, Failure> {
    let seconds = ladder.segment_seconds.unwrap_or(SEGMENT);
    if (1.0..=30.0).contains(&seconds) {
        return Ok((seconds * 1000.0).round() as u32);
    }
    Err(refuse(format!("segments of {seconds} s cannot be made: 1 to 30 s")))
}

/// The recipe for one of the sizes.
fn with(recipe: &Recipe, rendition: &RenditionRecipe) -> Recipe {
    let said = VideoRecipe {
        scale: rendition.scale,
        crf: rendition.crf,
        bitrate: rendition.bitrate,
        ..VideoRecipe::default()
    };
    Recipe { video: said, ..Recipe::default() }.over(recipe.clone())
}

/// The source's size, or the recipe's, and what is usual below it.
fn usual(recipe: &Recipe, facts: &MediaFacts) -> Vec<RenditionRecipe> {
    let source = facts.video().map_or(0, |(_, video)| settle::upright(video).1);
    let top = match recipe.video.scale {
        Some(Scale::Exact { height, .. } | Scale::Height(height)) => height,
        Some(Scale::AtMost(most)) => source.min(most),
        None => source,
    };
    let below = HEIGHTS.into_iter().filter(|height| height * 4 <= top * 3).take(USUAL - 1);
    let lower = below.map(|height| RenditionRecipe {
        scale: Some(Scale::Height(height)),
        bitrate: recipe.video.bitrate.map(|bits| by_area(bits, height, top)),
        crf: None,
    });
    [RenditionRecipe::default()].into_iter().chain(lower).collect()
}

/// The bit rate of a picture of another height.
fn by_area(bits: u64, height: u32, top: u32) -> u64 {
    let (height, top) = (u128::from(height), u128::from(top.max(1)));
    u64::try_from(u128::from(bits) * height * height / (top * top)).unwrap_or(bits).max(50_000)
}

/// Key frames only where they are asked for, and none that a frame before it is predicted across.
fn with_keys(settings: EncodeSettings) -> Result<EncodeSettings, Failure> {
    let param =
        |option: &str, value: &str| ExpertParam { option: option.to_owned(), value: value.to_owned() };
    let wanted = match settings.encoder {
        // What a user says in its private list would count for more than options.
        Encoder::X264 => vec![
            param("sc_threshold", "0"),
            param("g", "10000"),
            param("x264-params", "keyint=10000:scenecut=0:open-gop=0:intra-refresh=0"),
        ],
        Encoder::X265 => vec![
            param("forced-idr", "1"),
            param("x265-params", "open-gop=0:scenecut=0:keyint=10000:min-keyint=1"),
        ],
        other => {
            let name = other.name();
            return Err(refuse(format!("an HLS package is encoded by libx264 or libx265, not by {name}")));
        }
    };
    Ok(EncodeSettings { params: [settings.params, wanted].concat(), ..settings })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made::facts;

    fn video(recipe: &Recipe, facts: &MediaFacts) -> Result<VideoSettings, String> {
        let outcome = settle(recipe, facts, &Encoder::ALL).map_err(|failure| failure.message)?;
        Ok(outcome.settled.video.encoded().unwrap().clone())
    }

    fn heights(recipe: &Recipe, facts: &MediaFacts) -> Vec<Option<u32>> {
        let video = video(recipe, facts).unwrap();
        let others = video.ladder.unwrap().others;
        let all = [video.filters].into_iter().chain(others.into_iter().map(|other| other.filters));
        all.map(|filters| filters.scale.map(|(_, height)| height)).collect()
    }

    fn named(renditions: &[(Scale, f64)], segment_seconds: Option<f64>) -> Recipe {
        let renditions = renditions.iter().map(|&(scale, crf)| RenditionRecipe {
            scale: Some(scale),
            crf: Some(crf),
            bitrate: None,
        });
        let ladder = LadderRecipe { segment_seconds, renditions: Some(renditions.collect()) };
        Recipe { ladder: Some(ladder), ..Recipe::default() }
    }

    #[test]
    fn usual_sizes_are_the_source_and_less() {
        let plain = Recipe::default();
        assert_eq!(heights(&plain, &facts(1920, 1080, 0)), [None, Some(720), Some(480), Some(360)]);
        assert_eq!(heights(&plain, &facts(3840, 2160, 0)), [None, Some(1440), Some(1080), Some(720)]);
        assert_eq!(heights(&plain, &facts(854, 480, 0)), [None, Some(360), Some(240)]);
        assert_eq!(heights(&plain, &facts(320, 180, 0)), [None]);
        // A phone held upright.
        assert_eq!(heights(&plain, &facts(1920, 1080, 90)), [None, Some(1440), Some(1080), Some(720)]);
        let smaller = VideoRecipe { scale: Some(Scale::AtMost(720)), ..VideoRecipe::default() };
        let smaller = Recipe { video: smaller, ..Recipe::default() };
        assert_eq!(heights(&smaller, &facts(1920, 1080, 0)), [Some(720), Some(480), Some(360), Some(240)]);
    }

    #[test]
    fn renditions_are_as_named_and_no_size_comes_twice() {
        let recipe = named(
            &[(Scale::AtMost(1080), 20.0), (Scale::AtMost(720), 22.0), (Scale::Height(360), 24.0)],
            None,
        );
        assert_eq!(heights(&recipe, &facts(854, 480, 0)), [Some(480), Some(360)]);
        let settled = video(&recipe, &facts(1280, 720, 0)).unwrap();
        let ladder = settled.ladder.unwrap();
        assert_eq!(ladder.segment_ms, 4000);
        assert_eq!(ladder.others[0].encode.rate, kinora_protocol::encode::Rate::Quality(2400));
        assert!(ladder.others[0].encode.params.iter().any(|param| param.option == "sc_threshold"));
    }

    #[test]
    fn equal_renditions_are_left_out_and_others_are_not() {
        let rates = |list: &[(Option<Scale>, u64)]| {
            let renditions =
                list.iter().map(|&(scale, bits)| RenditionRecipe { scale, crf: None, bitrate: Some(bits) });
            let ladder = LadderRecipe { segment_seconds: None, renditions: Some(renditions.collect()) };
            Recipe { ladder: Some(ladder), ..Recipe::default() }
        };
        let full = facts(1920, 1080, 0);
        let apple = [
            (Some(Scale::Height(1080)), 6_000_000),
            (Some(Scale::Height(1080)), 4_500_000),
            (Some(Scale::Height(720)), 3_000_000),
            (Some(Scale::Height(720)), 1_500_000),
        ];
        assert_eq!(heights(&rates(&apple), &full), [Some(1080), Some(1080), Some(720), Some(720)]);
        let same = [(None, 2_000_000), (Some(Scale::Height(1080)), 2_000_000)];
        let outcome = settle(&rates(&same), &full, &Encoder::ALL).unwrap();
        assert!(outcome.notes.iter().any(|note| note.contains("1920x1080 already")), "{:?}", outcome.notes);
        let plain = VideoRecipe { bitrate: Some(4_000_000), ..VideoRecipe::default() };
        let settled = video(&Recipe { video: plain, ..Recipe::default() }, &full).unwrap();
        let rates: Vec<Rate> =
            settled.ladder.unwrap().others.into_iter().map(|other| other.encode.rate).collect();
        assert_eq!(rates, [Rate::Bitrate(1_777_777), Rate::Bitrate(790_123), Rate::Bitrate(444_444)]);
    }

    #[test]
    fn what_makes_no_ladder_is_refused() {
        let scale = Scale::Height(360);
        let refused = |recipe: &Recipe| video(recipe, &facts(1280, 720, 0)).unwrap_err();
        assert!(refused(&named(&[(scale, 22.0)], Some(0.5))).contains("1 to 30 s"));
        assert!(refused(&named(&[(scale, 22.0)], Some(f64::NAN))).contains("1 to 30 s"));
        assert!(refused(&named(&[], None)).contains("1 to 12"));
        assert!(refused(&named(&[(scale, 99.0)], None)).contains("CRF 99"));
        let expert = VideoRecipe { ffmpeg_params: Some("-s 640x360".to_owned()), ..VideoRecipe::default() };
        assert!(refused(&Recipe { video: expert, ..Recipe::default() }).contains("belong to its renditions"));
        let codec = |codec| {
            let video = VideoRecipe { codec: Some(codec), ..VideoRecipe::default() };
            refused(&Recipe { video, ..Recipe::default() })
        };
        assert!(codec(VideoCodec::Copy).contains("is encoded"));
        assert!(codec(VideoCodec::None).contains("has pictures"));
        assert!(codec(VideoCodec::Vp9).contains("does not fit into .tar"));
    }
}
