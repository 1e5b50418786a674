//! The frames of a chunk with all that becomes better about them: filters, and models between the programs that have the filters.

use std::fmt::Write as _;

use kinora_plan::time;
use kinora_protocol::Rational;
use kinora_protocol::enhance::Enhancement;
use kinora_protocol::planes::Pass;
use kinora_protocol::task::{ChunkSpec, Resample};

use super::{clocked, cut, out_hz};
use crate::command::enhance;

/// Pictures through a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Through {
    /// The model, and the pictures.
    pub pass: Pass,
    /// Times of the frames that are wanted, in ticks: from, and the end, which is not included; all when absent.
    pub keep: Option<(i64, i64)>,
    /// What the frames' times have more than those of the source.
    pub zero: i64,
    /// Ticks a second of the frames' times.
    pub hz: i64,
    /// Frames a second, as encoders are told.
    pub rate: Rational,
}

/// What is done to frames in a row of programs.
#[derive(Debug, Default)]
pub(super) struct Stages {
    /// Filters of the first program, from the decoder on.
    pub(super) first: String,
    /// What frames go through between a program and the next, and the filters of that one.
    pub(super) rest: Vec<(Vec<Through>, String)>,
}

impl Stages {
    /// The filters of the last program so far.
    fn filters(&mut self) -> &mut String {
        self.rest.last_mut().map_or(&mut self.first, |(_, filters)| filters)
    }

    fn add(&mut self, one: &Enhancement, (zero, hz): (i64, i64), rate: Rational) {
        match one {
            Enhancement::Pass(pass) => {
                self.model(Through { pass: Pass::clone(pass), keep: None, zero, hz, rate });
            }
            filters => self.filters().push_str(&enhance::filters(filters, hz)),
        }
    }

    fn model(&mut self, through: Through) {
        match self.rest.last_mut() {
            // Nothing has to be done in between.
            Some((models, filters)) if filters.is_empty() => models.push(through),
            _ => {
                let planes = enhance::planes(&through.pass);
                self.filters().push_str(&planes);
                self.rest.push((vec![through], String::new()));
            }
        }
    }
}

/// The stages of a chunk; `[y]` in the first has what leaves the decoder.
pub(super) fn of(spec: &ChunkSpec) -> Stages {
    let (clock, seen) = (&spec.clock, spec.seen());
    let mut stages = Stages::default();
    let rate = spec.encode.nominal_rate;
    let first = &mut stages.first;
    let _ = write!(first, "[0:{}]{}split[x][y];[x]", spec.stream, clocked(clock, spec.a));
    let (before, motion, after) = enhance::around_rate(&spec.enhance);
    let zero = spec.resample.map_or(spec.shift, |resample| -resample.origin);
    let (look, alone) = enhance::looking_around(before);
    first.push_str(&cut(clock, spec.a, seen, zero));
    look.iter().for_each(|one| stages.add(one, (zero, clock.hz), rate));
    if spec.context.is_some() && !motion {
        // What was only looked at goes.
        let (from, to) = (spec.a + zero, spec.b + zero);
        match stages.rest.last_mut() {
            Some((models, filters)) if filters.is_empty() => {
                models.iter_mut().rev().take(1).for_each(|model| model.keep = Some((from, to)));
            }
            _ => {
                let _ = write!(stages.filters(), ",trim=start_pts={from}:end_pts={to}");
            }
        }
    }
    alone.iter().for_each(|one| stages.add(one, (zero, clock.hz), rate));
    if let Some(resample) = spec.resample {
        let constant = at_rate(spec, resample, motion);
        stages.filters().push_str(&constant);
    }
    after.iter().for_each(|one| stages.add(one, (0, out_hz(spec)), rate));
    stages
}

/// The chunk's frames at a constant rate.
fn at_rate(spec: &ChunkSpec, resample: Resample, motion: bool) -> String {
    let (rate, hz, count) = (resample.rate, resample.rate.num(), resample.frames.count());
    let first = time::frame_at(spec.a - resample.origin, spec.clock.hz, rate);
    let mut stage = match motion {
        // Its frames count from the job's first; those around the chunk go.
        true => {
            format!("{},trim=start_pts={first}:end_pts={}", enhance::interpolate(rate), first + count as i64)
        }
        false => format!(",fps=fps={rate}:round=near"),
    };
    // The last frame is held until the plan's end; what is beyond it belongs to the next chunk.
    let _ = write!(
        stage,
        ",tpad=stop=-1:stop_mode=clone,trim=end_frame={count},settb=1/{hz},setpts={}+N*{}",
        first * rate.den() + time::GUARD_SECONDS * hz,
        rate.den(),
    );
    stage
}
