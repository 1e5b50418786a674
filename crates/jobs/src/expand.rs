//! From a recipe and the facts of a file to the tasks of a job.

use std::path::Path;

use kinora_plan::chunk::{PlannedChunk, Timeline};
use kinora_plan::encoder::{self, KeyFrames};
use kinora_plan::index::PacketIndex;
use kinora_plan::layout::Layout;
use kinora_plan::sizing::{self, Capacity, Sizing};
use kinora_plan::time;
use kinora_plan::window::Planner;
use kinora_protocol::encode::{Settled, VideoSettings};
use kinora_protocol::enhance::{self, Enhancement, Support};
use kinora_protocol::media::MediaFacts;
use kinora_protocol::recipe::AudioCodec;
use kinora_protocol::survey::Survey;
use kinora_protocol::task::{AnalyzeSpec, AudioSpec, ChunkSpec, Preroll, SourceTask};

mod measures;

pub use measures::{Measures, around, measured_again, measures};

/// A job whose source is known.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The source.
    pub source: &'a Path,
    /// Its facts.
    pub facts: &'a MediaFacts,
    /// Its index.
    pub index: &'a PacketIndex,
    /// The settled recipe.
    pub settled: &'a Settled,
    /// What there is to run on.
    pub capacity: Capacity,
}

/// The tasks that work on the source.
#[derive(Debug, Clone, PartialEq)]
pub struct Expansion {
    /// Chunks in order; empty when no video is encoded.
    pub chunks: Vec<SourceTask<ChunkSpec>>,
    /// The sound, where it is encoded.
    pub audio: Option<SourceTask<AudioSpec>>,
    /// Chunks at once.
    pub jobs: u32,
}

/// The frames of a source, and what is to be looked at around each.
fn timeline(known: &Known<'_>, video: &VideoSettings) -> Timeline {
    Timeline::new(known.index, video.fps).supported(Support::of(&video.enhance))
}

/// A source that is to be cut for the encoder, how that is sized, and where cuts are wished.
fn layout(known: &Known<'_>, video: &VideoSettings) -> (Timeline, Sizing, Vec<i64>) {
    let timeline = timeline(known, video);
    let sizing = sizing::size(video.encode.encoder, timeline.seconds(), known.capacity);
    let mut wished = timeline.wished(sizing.chunks);
    let mut keys = encoder::key_frames(&video.encode);
    if known.capacity.seconds.is_none() && decodes_all(known, &wished) {
        wished = timeline.wished(sizing.chunks.min(sizing.jobs));
    }
    if wished.len() < sizing.jobs as usize {
        // In one round all chunks have to end together: they are of equal length.
        keys = KeyFrames::Often;
    }
    (timeline.cut_for(keys, &wished), sizing, wished)
}

/// Whether each chunk has to be decoded from the start of the file: as many chunks as run at once are all that is worth it then,
/// as more would decode the same again and again.
fn decodes_all(known: &Known<'_>, wished: &[i64]) -> bool {
    let planner = Planner::new(known.index);
    wished.last().is_some_and(|last| {
        let window = planner.window(*last, last + known.index.clock.hz, Preroll::Normal);
        window.seek.is_none() && window.source_serves(known.index.size)
    })
}

/// Cuts that are looked at in one job. A look decodes a few seconds, before anything else can start; a film with more cuts
/// than this is so long that a cut beside its scene change costs nothing that could be measured.
const MOST_STRETCHES: usize = 12;
/// Seconds of source that are looked at in one job.
const MOST_SECONDS: i64 = 120;

/// Where to look for scene changes before cutting; `None` when nothing needs to be looked at.
pub fn analyze(known: &Known<'_>) -> Option<AnalyzeSpec> {
    let video = known.settled.video.encoded()?;
    // A survey finds all of them.
    if known.settled.surveyed().is_some() {
        return None;
    }
    // Looking costs a decode; where seeking is not possible, that of everything before.
    if matches!(known.index.layout, Layout::Opaque { .. } | Layout::Avi { seekable: false, .. }) {
        return None;
    }
    let (timeline, _, wished) = layout(known, video);
    let look = timeline.look(&wished);
    let most = (MOST_SECONDS * known.index.clock.hz).checked_div(2 * look).unwrap_or(0);
    let most = usize::try_from(most).unwrap_or(0);
    let planner = Planner::new(known.index);
    let stretches: Vec<_> = timeline
        .unsure(&wished)
        .into_iter()
        .take(MOST_STRETCHES.min(most))
        .map(|wish| planner.stretch(wish - look, wish + look))
        .collect();
    let worth = look >= known.index.clock.hz;
    (worth && !stretches.is_empty()).then(|| AnalyzeSpec {
        source: known.source.to_owned(),
        size: known.index.size,
        stream: known.facts.video().map_or(0, |(s, _)| s.index),
        clock: known.index.clock,
        stretches,
    })
}

/// Seconds by which the encoded sound of a source is late.
pub fn audio_guard(facts: &MediaFacts) -> i64 {
    time::audio_guard(&facts.audio().map(|(stream, _)| stream.time_base).collect::<Vec<_>>())
}

/// The tasks of a job, cut at scene changes where there are any near, with what is known of the whole film.
pub fn tasks(known: &Known<'_>, survey: &Survey) -> Expansion {
    let size = known.index.size;
    let audio = match known.settled.audio.codec {
        AudioCodec::Aac | AudioCodec::Opus => Some(SourceTask {
            source: known.source.to_owned(),
            size,
            work: AudioSpec {
                settings: known.settled.audio.clone(),
                start_us: known.index.clock.start_us,
                guard_seconds: audio_guard(known.facts),
                streams: known.facts.audio().map(|(_, facts)| facts.clone()).collect(),
                generate: known.index.clock.generate,
            },
        }),
        AudioCodec::Copy | AudioCodec::None => None,
    };
    let Some(video) = known.settled.video.encoded() else {
        return Expansion { chunks: Vec::new(), audio, jobs: 1 };
    };
    let (timeline, sizing, wished) = layout(known, video);
    let planner = Planner::new(known.index);
    let mut marks = timeline.irregular_keys();
    marks.extend_from_slice(&survey.cuts);
    marks.sort_unstable();
    let planned = timeline.split(&timeline.cuts(&wished, &marks));
    let alone = planned.len() == 1;
    let chunks = (0..)
        .zip(planned)
        .map(|(ordinal, chunk)| {
            // Nothing before the first chunk, nothing after the last: alone, it is an unsplit run.
            let preroll = if alone { Preroll::FromStart } else { Preroll::Normal };
            let enhance = enhanced(video, survey, &chunk);
            let chunk = (ordinal, chunk, enhance);
            let work = spec(known, video, chunk, &planner, preroll, sizing.threads);
            SourceTask { source: known.source.to_owned(), size, work }
        })
        .collect();
    Expansion { chunks, audio, jobs: sizing.jobs }
}

/// The enhancements of a chunk, with what is known of its part of the film.
fn enhanced(video: &VideoSettings, survey: &Survey, chunk: &PlannedChunk) -> Vec<Enhancement> {
    let seen = chunk.context.map_or((chunk.a, chunk.b), |seen| (seen.from, seen.to));
    enhance::with_survey(&video.enhance, survey, seen)
}

fn spec(
    known: &Known<'_>,
    video: &VideoSettings,
    (ordinal, chunk, enhance): (u32, PlannedChunk, Vec<Enhancement>),
    planner: &Planner<'_>,
    preroll: Preroll,
    threads: Option<u32>,
) -> ChunkSpec {
    let clock = known.index.clock;
    let (from, to) = chunk.context.map_or((chunk.a, chunk.b), |seen| (seen.from, seen.to));
    ChunkSpec {
        ordinal,
        stream: known.facts.video().map_or(0, |(s, _)| s.index),
        frames: chunk.frames,
        a: chunk.a,
        b: chunk.b,
        seam_end: chunk.seam_end,
        shift: time::shift(clock.start_us, clock.hz),
        clock,
        window: planner.window(from, to, preroll),
        preroll,
        encode: video.encode.clone(),
        enhance,
        context: chunk.context,
        filters: video.filters.clone(),
        resample: chunk.resample,
        ladder: video.ladder.clone(),
        expect: chunk.expect,
        verify: known.settled.verify,
        threads,
    }
}

/// The one chunk that makes the frame which is shown at a time after the film's start, in microseconds; `None` where there is
/// no picture.
pub fn frame(known: &Known<'_>, survey: &Survey, at_us: i64) -> Option<ChunkSpec> {
    let video = known.settled.video.encoded()?;
    let chunk = timeline(known, video).shown_at(at_us)?;
    let enhance = enhanced(video, survey, &chunk);
    Some(spec(known, video, (0, chunk, enhance), &Planner::new(known.index), Preroll::Normal, None))
}

/// The same chunk, decoded from further back.
pub fn deeper(spec: &ChunkSpec, index: &PacketIndex, preroll: Preroll) -> ChunkSpec {
    let (from, to) = spec.seen();
    let window = Planner::new(index).window(from, to, preroll);
    ChunkSpec { window, preroll, ..spec.clone() }
}

/// Order in which chunks are handed out: longest first, so that the last to start are the shortest.
pub fn ranks(chunks: &[SourceTask<ChunkSpec>]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..chunks.len()).collect();
    let frames = |n: &usize| chunks.get(*n).map_or(0, |c| c.work.frames.count());
    // Chunks of about the same length stay in the order of the film: people watch it grow from the start.
    let longest = order.iter().map(frames).max().unwrap_or(0);
    let step = (longest / 4).max(1);
    order.sort_by_key(|n| (u64::MAX - frames(n) / step, *n));
    let mut ranks = vec![0.0; chunks.len()];
    for (rank, n) in order.into_iter().enumerate() {
        if let Some(slot) = ranks.get_mut(n) {
            *slot = rank as f64;
        }
    }
    ranks
}
