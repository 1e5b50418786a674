//! Frames of one stretch, measured while they are decoded.

use std::path::Path;
use std::time::Instant;

use kinora_protocol::node::Progress;
use kinora_protocol::survey::Measured;
use kinora_protocol::task::MeasureSpec;
use kinora_vision::measure::Measurer;
use tokio::sync::mpsc::Receiver;

use crate::command::measure;
use crate::encode;
use crate::error::MediaError;
use crate::nut;
use crate::pictures::ticks;
use crate::process::{self, Control};
use crate::tools::Tools;

/// Measures the frames of a stretch; gives them in order, with the processor seconds of ffmpeg. What cannot be decoded is not there.
///
/// # Errors
/// See [`MediaError`]: when nothing at all could be decoded, too.
pub async fn measure(
    tools: &Tools,
    spec: &MeasureSpec,
    (source, size): (&Path, u64),
    scratch: &Path,
    control: &Control,
) -> Result<(Vec<Measured>, f64), MediaError> {
    let input = encode::input(&spec.window, source, size, scratch).await?;
    let line = measure::pictures(spec, tools.passthrough(), &input);
    let what = format!("measuring stretch {}", spec.ordinal);
    let progress = control.progress.clone();
    let measuring = Measuring {
        measurer: Measurer::new((spec.size.0 as usize, spec.size.1 as usize), spec.wanted),
        hz: spec.clock.hz,
        zero: measure::zero(spec),
        told: Box::new(move |frames, fps| progress(Progress { frames, fps })),
        keep: Some((spec.a, spec.b)),
    };
    let work = move |pieces| measure_pipe(measuring, pieces);
    let (measured, finished) = process::taken(tools.ffmpeg(what, line), work, control).await?;
    match finished {
        Err(error) if measured.is_empty() => Err(error),
        Err(error @ (MediaError::Cancelled { .. } | MediaError::Stalled { .. })) => Err(error),
        Err(_) => Ok((measured, 0.0)),
        Ok(finished) => Ok((measured, finished.cpu_seconds)),
    }
}

/// How far it is: frames that were measured, and how many a second.
type Told = Box<dyn Fn(u64, f32) + Send>;

/// Pictures of a pipe that are measured.
pub(crate) struct Measuring {
    /// What measures them.
    pub(crate) measurer: Measurer,
    /// Ticks a second of their times.
    pub(crate) hz: i64,
    /// What these have more than they should.
    pub(crate) zero: i64,
    /// Hears how far it is.
    pub(crate) told: Told,
    /// Times of the frames that are wanted, and the end, which is not included; all when absent.
    pub(crate) keep: Option<(i64, i64)>,
}

/// Measures pictures as they come. Where the pipe is broken off, so is what comes of it.
pub(crate) fn measure_pipe(measuring: Measuring, mut pieces: Receiver<Vec<u8>>) -> Vec<Measured> {
    let Measuring { mut measurer, hz, zero, told, keep } = measuring;
    let mut nut = nut::Reader::new(measurer.bytes());
    let (mut measured, begun) = (Vec::new(), Instant::now());
    while let Some(piece) = pieces.blocking_recv() {
        let Ok(pictures) = nut.push(&piece) else { break };
        for picture in pictures {
            let tick = nut.unit().and_then(|unit| ticks(picture.pts, unit, hz));
            let Some(at) = tick.map(|tick| tick - zero) else { continue };
            let frame = measurer.next(at, &picture.bytes);
            if keep.is_none_or(|(from, to)| (from..to).contains(&at)) {
                measured.push(frame);
                let frames = measured.len() as u64;
                told(frames, frames as f32 / begun.elapsed().as_secs_f32().max(0.001));
            }
        }
    }
    measured
}
