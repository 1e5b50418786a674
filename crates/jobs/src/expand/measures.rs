//! What is measured of a film before its chunks can be made: stretches that are measured side by side.

use kinora_plan::chunk::{PlannedChunk, Timeline};
use kinora_plan::index::PacketIndex;
use kinora_plan::pixel::{Chroma, PixelFormat};
use kinora_plan::settle;
use kinora_plan::time;
use kinora_plan::window::Planner;
use kinora_protocol::enhance::{self, Enhancement, Support};
use kinora_protocol::survey::Wanted;
use kinora_protocol::task::{Levels, MeasureSpec, Preroll, SourceTask, SurveySpec};

use super::{Known, decodes_all};

/// Frames before one that it is compared with when it is measured: another scene is told by them, and the camera's movement.
const COMPARED: usize = 2;
/// No side of what is measured is longer, in samples: a movement of a tenth of a sample is still seen.
const LONGEST_SIDE: u32 = 640;
/// A stretch is not worth less than this, in seconds.
const SHORTEST: f64 = 4.0;
/// Nor is more than this done at once, in seconds: it would be lost with its machine.
const LONGEST: f64 = 60.0;
/// Stretches for each that is measured at once.
const ROUNDS: f64 = 2.0;
/// How far around one frame a preview looks, in seconds.
const AROUND: f64 = 3.0;

/// The stretches of a film, and what is made of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Measures {
    /// In order.
    pub stretches: Vec<SourceTask<MeasureSpec>>,
    /// Without the measures, which are not there yet.
    pub survey: SurveySpec,
}

/// What has to be measured of a film; nothing where no survey is needed.
pub fn measures(known: &Known<'_>) -> Option<Measures> {
    let film = Film::of(known)?;
    let seconds = film.timeline.seconds();
    let at_once = f64::from(known.capacity.jobs.unwrap_or(known.capacity.cores).max(1));
    // Alone, one is as good as several.
    let rounds = if at_once > 1.0 { at_once * ROUNDS } else { 1.0 };
    let wished = (seconds / LONGEST).ceil().max((seconds / SHORTEST).floor().min(rounds)).max(1.0);
    let mut wished = film.timeline.wished(wished as u32);
    if decodes_all(known, &wished) {
        // Each would decode all that is before it again.
        wished.clear();
    }
    let planned = film.timeline.split(&film.timeline.cuts(&wished, &[]));
    Some(film.measured(known, planned))
}

/// The same for what is around a time after the film's start, in microseconds: enough to show one frame by.
pub fn around(known: &Known<'_>, at_us: i64) -> Option<Measures> {
    let film = Film::of(known)?;
    let reach = (AROUND * known.index.clock.hz as f64) as i64;
    let at = time::us_to_ticks(known.index.clock.start_us + at_us, known.index.clock.hz);
    let times = film.timeline.times();
    // The frame that is shown then, also when it is the last.
    let shown = times.partition_point(|time| *time <= at).saturating_sub(1);
    let at = times.get(shown).copied()?;
    let place = |tick: i64| times.partition_point(|time| *time < tick);
    let planned = film.timeline.split(&[place(at - reach), place(at + reach)]);
    let holds = planned.into_iter().filter(|part| (part.a..part.b).contains(&at)).collect();
    Some(film.measured(known, holds))
}

/// A stretch of which frames are missing, decoded from further back; nothing where they are not, or where that was the start already.
pub fn measured_again(spec: &MeasureSpec, frames: u64, index: &PacketIndex) -> Option<MeasureSpec> {
    let preroll = spec.preroll.deeper().filter(|_| frames < spec.frames.count())?;
    let window = Planner::new(index).window(spec.seen.0, spec.seen.1, preroll);
    Some(MeasureSpec { window, preroll, ..spec.clone() })
}

/// A film that is to be measured.
struct Film {
    timeline: Timeline,
    through: Vec<Enhancement>,
    size: (u32, u32),
    wanted: Wanted,
}

impl Film {
    fn of(known: &Known<'_>) -> Option<Self> {
        let wanted = known.settled.surveyed()?;
        let chain = known.settled.video.encoded().map_or(&[][..], |video| &video.enhance);
        let through = enhance::measured_through(chain);
        let Support { before, after } = Support::of(&through);
        let support = Support { before: before + COMPARED, after };
        let timeline = Timeline::new(known.index, None).supported(support);
        Some(Self { timeline, through, size: size(known, chain), wanted })
    }

    fn measured(&self, known: &Known<'_>, planned: Vec<PlannedChunk>) -> Measures {
        let planner = Planner::new(known.index);
        let whole = |part: &PlannedChunk| part.frames.count() == self.timeline.source_frames();
        let stretch = |(ordinal, part): (u32, PlannedChunk)| {
            let seen = part.context.map_or((part.a, part.b), |seen| (seen.from, seen.to));
            let preroll = if whole(&part) { Preroll::FromStart } else { Preroll::Normal };
            let work = MeasureSpec {
                ordinal,
                stream: known.facts.video().map_or(0, |(stream, _)| stream.index),
                frames: part.frames,
                a: part.a,
                b: part.b,
                seen,
                clock: known.index.clock,
                window: planner.window(seen.0, seen.1, preroll),
                preroll,
                through: self.through.clone(),
                size: self.size,
                levels: levels(known, &self.through),
                wanted: self.wanted,
                detector: known.settled.detect.clone(),
            };
            SourceTask { source: known.source.to_owned(), size: known.index.size, work }
        };
        let survey = SurveySpec {
            measures: Vec::new(),
            hz: known.index.clock.hz,
            size: self.size,
            wanted: self.wanted,
            detector: known.settled.detect.clone(),
        };
        Measures { stretches: (0..).zip(planned).map(stretch).collect(), survey }
    }
}

/// How samples stand for brightness in what is measured.
fn levels(known: &Known<'_>, through: &[Enhancement]) -> Levels {
    let Some((_, video)) = known.facts.video() else { return Levels::Limited };
    let full = video.color.range.as_deref() == Some("pc") || video.pix_fmt.starts_with("yuvj");
    match PixelFormat::parse(&video.pix_fmt).chroma {
        // Tone mapped, they are as television has them.
        _ if through.iter().any(|one| matches!(one, Enhancement::ToneMap { .. })) => Levels::Limited,
        Chroma::Rgb => Levels::Rgb,
        _ if full => Levels::Full,
        Chroma::Gray => Levels::LimitedGray,
        _ => Levels::Limited,
    }
}

/// The size in which frames are measured: that of the pictures that are worked on, or smaller.
fn size(known: &Known<'_>, chain: &[Enhancement]) -> (u32, u32) {
    let picture = chain.iter().find_map(|one| match one {
        Enhancement::Pass(pass) if pass.network().is_none() => {
            Some((pass.picture.width, pass.picture.height))
        }
        _ => None,
    });
    let shown = || known.facts.video().map(|(_, video)| settle::upright(video));
    let (width, height) = picture.or_else(shown).unwrap_or((2, 2));
    let longest = width.max(height);
    if longest <= LONGEST_SIDE {
        return (width, height);
    }
    let side = |length: u32| {
        let scaled = u64::from(length) * u64::from(LONGEST_SIDE) / u64::from(longest);
        u32::try_from(scaled).unwrap_or(LONGEST_SIDE).max(1)
    };
    (side(width), side(height))
}
