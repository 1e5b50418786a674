//! Where a video is cut: chunks `[a, b)` in ticks that cover every frame exactly once. Pure and exact.

use kinora_protocol::Rational;
use kinora_protocol::enhance::Support;
use kinora_protocol::task::{Clock, Context, Expect, FrameRange, Resample};

use crate::digest;
use crate::encoder::KeyFrames;
use crate::index::PacketIndex;
use crate::time::{self, GUARD_SECONDS};

/// Frames past a chunk's end that are hashed for the seam check.
const SEAM_FRAMES: usize = 6;

/// Where cuts go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Places {
    /// To a scene change close by. Where key frames come every few seconds anyway, one more costs little, and chunks of equal
    /// length end together.
    Near,
    /// To a scene change, even from far, and each chunk's length is counted from there: where key frames come at scene changes,
    /// each one elsewhere costs half a percent of a minute's bytes.
    Scenes,
    /// After so many output frames each.
    Every(u64),
}

/// How far from the wished place a cut may move to meet a scene change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reach {
    /// In percent of the chunk length: less than 50, so that no two cuts meet.
    percent: i64,
    /// And at most, in seconds.
    seconds: i64,
}

const NEAR: Reach = Reach { percent: 25, seconds: 2 };
const FAR: Reach = Reach { percent: 40, seconds: 10 };

/// What can be cut and where: the frames of a source in display order.
#[derive(Debug, Clone)]
pub struct Timeline {
    times: Vec<i64>,
    keys: Vec<i64>,
    clock: Clock,
    fps: Option<Rational>,
    support: Support,
    places: Places,
}

/// A planned chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedChunk {
    /// Output frames.
    pub frames: FrameRange,
    /// First source time.
    pub a: i64,
    /// End of source times.
    pub b: i64,
    /// End of the frames hashed for the seam check.
    pub seam_end: i64,
    /// What its filters look at around it.
    pub context: Option<Context>,
    /// Frame rate conversion.
    pub resample: Option<Resample>,
    /// What must come out.
    pub expect: Expect,
}

impl Timeline {
    /// The timeline of an index; `fps` is the constant output rate, if one is asked for.
    pub fn new(index: &PacketIndex, fps: Option<Rational>) -> Self {
        let mut keys: Vec<i64> = index.packets.iter().filter(|p| p.is_key()).map(|p| p.pts).collect();
        keys.sort_unstable();
        Self {
            times: index.times(),
            keys,
            clock: index.clock,
            fps,
            support: Support::NONE,
            places: Places::Near,
        }
    }

    /// The same for filters that look at so many source frames around each one.
    pub fn supported(self, support: Support) -> Self {
        Self { support, ..self }
    }

    /// The same to be cut at `wished` for an encoder that puts key frames there. Chunks come out unequal by that, so it is for
    /// several rounds of them. A length that is wished is kept to within two fifths.
    pub fn cut_for(self, keys: KeyFrames, wished: &[i64]) -> Self {
        let places = match keys {
            KeyFrames::Often => Places::Near,
            KeyFrames::AtScenes => Places::Scenes,
            KeyFrames::Every(frames) => self.every(frames, wished).map_or(Places::Near, Places::Every),
        };
        Self { places, ..self }
    }

    /// Output frames of a chunk that takes up whole intervals between key frames.
    fn every(&self, interval: u64, wished: &[i64]) -> Option<u64> {
        let wish = wished.first()?;
        let length = self.frame_at(self.times.partition_point(|t| t < wish))?;
        let interval = interval.max(1);
        let (below, above) = (length / interval * interval, (length / interval + 1) * interval);
        // The nearer one by its ratio.
        let frames = if length * length < below * above { below } else { above };
        (length.abs_diff(frames) * 5 <= length * 2).then_some(frames)
    }

    /// The output frame that a source frame becomes; `None` behind the last.
    fn frame_at(&self, position: usize) -> Option<u64> {
        let Some(rate) = self.fps else { return Some(position as u64) };
        let first = self.output(*self.times.first()?, rate);
        u64::try_from(self.output(*self.times.get(position)?, rate) - first).ok()
    }

    /// Source frames that the index promises.
    pub fn source_frames(&self) -> u64 {
        self.times.len() as u64
    }

    /// Times of all source frames in display order, in ticks.
    pub fn times(&self) -> &[i64] {
        &self.times
    }

    /// From the first frame to the end of the last, in seconds: an estimate for sizing.
    pub fn seconds(&self) -> f64 {
        match (self.times.first(), self.times.last()) {
            (Some(first), Some(last)) => time::seconds(last - first + self.last_duration(), self.clock.hz),
            _ => 0.0,
        }
    }

    fn last_duration(&self) -> i64 {
        match self.times.as_slice() {
            [.., before, last] if last > before => last - before,
            _ => 1,
        }
    }

    /// The places where `count` chunks of equal length would be cut, in ticks.
    pub fn wished(&self, count: u32) -> Vec<i64> {
        let (Some(&first), Some(&last)) = (self.times.first(), self.times.last()) else { return Vec::new() };
        let span = last - first + self.last_duration();
        (1..i64::from(count)).map(|i| first + time::rescale(span, i, i64::from(count))).collect()
    }

    /// The length of a chunk as it is wished, in ticks.
    fn length(&self, wished: &[i64]) -> i64 {
        let first = self.times.first().copied().unwrap_or(0);
        wished.first().map_or(0, |w| w - first)
    }

    /// How far around a wished cut it is worth to know the scene changes, in ticks.
    pub fn look(&self, wished: &[i64]) -> i64 {
        match self.places {
            Places::Near => self.within_reach(wished, NEAR),
            Places::Scenes => self.length(wished) / 2,
            Places::Every(_) => 0,
        }
    }

    /// How far a cut may move, in ticks.
    fn within_reach(&self, wished: &[i64], reach: Reach) -> i64 {
        (self.length(wished) * reach.percent / 100).min(reach.seconds * self.clock.hz)
    }

    /// Whether a cut may be made before the frame at this position.
    fn is_legal(&self, position: usize) -> bool {
        let (Some(&at), Some(&before)) =
            (self.times.get(position), position.checked_sub(1).and_then(|p| self.times.get(p)))
        else {
            return false;
        };
        // Before the first key frame nothing can be decoded from anywhere but the start.
        let decodable = self.keys.first().is_some_and(|key| at > *key);
        let own_output = self.fps.is_none_or(|rate| {
            let shows_at = self.output(at, rate);
            shows_at > self.output(before, rate) && shows_at < self.output_end(rate)
        });
        at > before && decodable && own_output
    }

    /// The legal position nearest to `tick`, at least `from`.
    fn nearest(&self, tick: i64, from: usize) -> Option<usize> {
        let there = self.times.partition_point(|t| *t < tick).max(from);
        let after = (there..self.times.len()).find(|p| self.is_legal(*p));
        let before = (from..there).rev().find(|p| self.is_legal(*p));
        let distance = |p: &usize| self.times.get(*p).map_or(i64::MAX, |t| (t - tick).abs());
        [after, before].into_iter().flatten().min_by_key(distance)
    }

    /// The cuts: positions in display order, ascending, without repetition.
    pub fn cuts(&self, wished: &[i64], scenes: &[i64]) -> Vec<usize> {
        match self.places {
            Places::Every(frames) => self.cuts_every(frames),
            Places::Near => self.cuts_at(wished, scenes, NEAR),
            Places::Scenes => self.cuts_at(wished, scenes, FAR),
        }
    }

    /// Cuts after so many output frames each. What is left over at the end joins the last chunk when it is less than a third of
    /// one.
    fn cuts_every(&self, frames: u64) -> Vec<usize> {
        let end = (0..self.times.len()).rev().find_map(|p| self.frame_at(p)).map_or(0, |last| last + 1);
        let mut cuts: Vec<usize> = Vec::new();
        let mut wish = frames;
        while wish + frames / 3 <= end {
            let position = self.first_at(wish);
            let from = cuts.last().map_or(1, |last| last + 1);
            let cut = self.times.get(position).and_then(|tick| self.nearest(*tick, from));
            cuts.extend(cut);
            wish += frames;
        }
        cuts
    }

    /// Position of the first source frame that is shown as this output frame, or later.
    fn first_at(&self, frame: u64) -> usize {
        let Some(rate) = self.fps else { return usize::try_from(frame).unwrap_or(usize::MAX) };
        let first = self.times.first().map_or(0, |t| self.output(*t, rate));
        self.times.partition_point(|t| u64::try_from(self.output(*t, rate) - first).is_ok_and(|n| n < frame))
    }

    /// Each wish moved to the nearest scene change within reach, else to a key frame close by, else to the
    /// nearest frame.
    fn cuts_at(&self, wished: &[i64], scenes: &[i64], reach: Reach) -> Vec<usize> {
        let (length, reach) = (self.length(wished), self.within_reach(wished, reach));
        let close = self.within_reach(wished, NEAR) / 2;
        let end = self.times.last().map_or(0, |last| last + self.last_duration());
        let mut cuts: Vec<usize> = Vec::with_capacity(wished.len());
        let mut from = 1;
        let mut own = wished.iter().copied();
        let mut next = own.next();
        while let Some(wish) = next {
            let within = |marks: &[i64], reach: i64| {
                let low = marks.partition_point(|m| *m < wish - reach);
                let near = marks.iter().skip(low).take_while(|m| **m <= wish + reach);
                let position = |m: &i64| self.times.partition_point(|t| t < m);
                near.map(|m| (*m, position(m)))
                    .filter(|(m, p)| *p >= from && self.times.get(*p) == Some(m) && self.is_legal(*p))
                    .min_by_key(|(m, _)| (m - wish).abs())
                    .map(|(_, p)| p)
            };
            let cut = within(scenes, reach)
                .or_else(|| within(&self.keys, close))
                .or_else(|| self.nearest(wish, from));
            if let Some(cut) = cut {
                cuts.push(cut);
                from = cut + 1;
            }
            next = match self.places {
                Places::Near | Places::Every(_) => own.next(),
                // What is left over at the end joins the last chunk when it is less than a third of one.
                Places::Scenes => cut
                    .and_then(|cut| Some(self.times.get(cut)? + length))
                    .filter(|wish| *wish + length / 3 <= end && cuts.len() < 2 * wished.len()),
            };
        }
        cuts
    }

    /// Wished cuts that have no irregular key frame nearby: an encoder puts one at a scene change, so where there is one
    /// nobody needs to look for it.
    pub fn unsure(&self, wished: &[i64]) -> Vec<i64> {
        let reach = match self.places {
            Places::Near => NEAR,
            Places::Scenes => FAR,
            Places::Every(_) => return Vec::new(),
        };
        let reach = self.within_reach(wished, reach);
        let scenes = self.irregular_keys();
        let near = |w: &i64| {
            let low = scenes.partition_point(|s| *s < w - reach);
            scenes.get(low).is_some_and(|s| *s <= w + reach)
        };
        wished.iter().copied().filter(|w| !near(w)).collect()
    }

    /// Key frames that do not stand on the source's regular grid: most likely scene changes.
    pub fn irregular_keys(&self) -> Vec<i64> {
        let gaps: Vec<i64> = self.keys.windows(2).filter_map(|w| Some(w.get(1)? - w.first()?)).collect();
        let longest = gaps.iter().copied().max().unwrap_or(0);
        let regular = gaps.iter().filter(|g| **g == longest).count();
        if gaps.is_empty() || (gaps.len() > 2 && regular * 10 > gaps.len() * 9) {
            return Vec::new();
        }
        let next = self.keys.iter().skip(1);
        next.zip(&gaps).filter(|(_, gap)| **gap < longest).map(|(key, _)| *key).collect()
    }

    fn origin(&self) -> i64 {
        time::us_to_ticks(self.clock.start_us, self.clock.hz)
    }

    fn output(&self, tick: i64, rate: Rational) -> i64 {
        time::frame_at(tick - self.origin(), self.clock.hz, rate)
    }

    /// One past the last output frame: the end of the last source frame is rounded as its start is, so that a last frame
    /// that begins less than half an output frame before it is not shown.
    fn output_end(&self, rate: Rational) -> i64 {
        self.times.last().map_or(0, |last| self.output(last + self.last_duration(), rate))
    }

    /// Cuts the timeline. The chunks cover every frame exactly once and none is empty.
    pub fn split(&self, cuts: &[usize]) -> Vec<PlannedChunk> {
        let mut bounds = vec![0];
        bounds.extend(cuts.iter().copied().filter(|c| *c < self.times.len()));
        bounds.push(self.times.len());
        bounds.dedup();
        bounds.windows(2).filter_map(|w| self.chunk(*w.first()?, *w.get(1)?)).collect()
    }

    /// The frame that is shown at a time after the film's start, in microseconds, as a chunk of its own; where it has no place at
    /// the output's rate, the one before. `None` after the end.
    pub fn shown_at(&self, us: i64) -> Option<PlannedChunk> {
        let tick = self.origin() + time::us_to_ticks(us, self.clock.hz);
        let end = self.times.last()? + self.last_duration();
        let position = self.times.partition_point(|t| *t <= tick).saturating_sub(1);
        let one = |position| self.chunk(position, position + 1).filter(|chunk| chunk.frames.count() > 0);
        if tick >= end { None } else { (0..=position).rev().find_map(one) }
    }

    fn chunk(&self, start: usize, end: usize) -> Option<PlannedChunk> {
        let own = self.times.get(start..end)?;
        let (a, last) = (*own.first()?, *own.last()?);
        let b = self.times.get(end).copied().unwrap_or(last + 1);
        let end_after = |frames: usize| match self.times.get(end + frames) {
            Some(time) => Some(*time),
            None => Some(self.times.last()? + 1),
        };
        let seam_end = end_after(SEAM_FRAMES.max(self.support.after))?;
        let context = match self.support {
            Support::NONE => None,
            Support { before, after } => {
                let from = start.saturating_sub(before);
                let before = u32::try_from(start - from).ok()?;
                Some(Context { from: *self.times.get(from)?, before, to: end_after(after)? })
            }
        };
        let source_times = digest::times(own.iter().copied());
        let source_frames = own.len() as u64;
        let Some(rate) = self.fps else {
            let shift = time::shift(self.clock.start_us, self.clock.hz);
            let times = digest::times(own.iter().map(|t| t + shift));
            let frames = FrameRange { start: start as u64, end: end as u64 };
            let expect = Expect { source_frames, source_times, frames: source_frames, times };
            return Some(PlannedChunk { frames, a, b, seam_end, context, resample: None, expect });
        };
        let zero = self.output(*self.times.first()?, rate);
        let first = self.output(a, rate);
        let past = match self.times.get(end) {
            Some(next) => self.output(*next, rate),
            None => self.output_end(rate).max(first + 1),
        };
        let guard = GUARD_SECONDS * rate.num();
        let times = digest::times((first..past).map(|n| n * rate.den() + guard));
        let frames =
            FrameRange { start: u64::try_from(first - zero).ok()?, end: u64::try_from(past - zero).ok()? };
        let expect = Expect { source_frames, source_times, frames: frames.count(), times };
        let resample = Some(Resample { rate, frames, origin: self.origin() });
        Some(PlannedChunk { frames, a, b, seam_end, context, resample, expect })
    }
}

#[cfg(test)]
#[path = "chunk/tests.rs"]
mod tests;
