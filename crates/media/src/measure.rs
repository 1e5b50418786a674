//! Frames of one stretch, measured while they are decoded.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use kinora_protocol::node::Progress;
use kinora_protocol::survey::Measured;
use kinora_protocol::task::MeasureSpec;
use kinora_vision::measure::{Finds, Measurer};
use tokio::sync::mpsc::Receiver;

use crate::command::measure;
use crate::encode;
use crate::error::MediaError;
use crate::nut;
use crate::pictures::{Models, ticks};
use crate::process::{self, Control};
use crate::tools::Tools;

/// Measures the frames of a stretch; gives them in order, with the processor seconds of ffmpeg. What cannot be decoded is not there:
/// whether that may be is for others to say.
///
/// # Errors
/// See [`MediaError`].
pub async fn measure(
    (tools, models): (&Tools, &dyn Models),
    spec: &MeasureSpec,
    (source, size): (&Path, u64),
    scratch: &Path,
    control: &Control,
) -> Result<(Vec<Measured>, f64), MediaError> {
    let input = encode::input(&spec.window, source, size, scratch).await?;
    let line = measure::pictures(spec, tools.passthrough(), &input);
    let what = format!("measuring stretch {}", spec.ordinal);
    let failed = Arc::new(OnceLock::new());
    let finds =
        finder(spec, models, &failed).map_err(|reason| MediaError::Model { what: what.clone(), reason })?;
    let progress = control.progress.clone();
    let measuring = Measuring {
        measurer: Measurer::new(size_of(spec), spec.wanted).finding(finds),
        hz: spec.clock.hz,
        zero: measure::zero(spec),
        told: Box::new(move |frames, fps| progress(Progress { frames, fps })),
        keep: Some((spec.a, spec.b)),
    };
    let work = move |pieces| measure_pipe(measuring, pieces);
    let (measured, finished) = process::taken(tools.ffmpeg(&what, line), work, control).await?;
    if let Some(reason) = failed.get() {
        return Err(MediaError::Model { what, reason: reason.clone() });
    }
    let finished = finished?;
    let measured = measured.map_err(|reason| MediaError::not_exact(what, reason))?;
    Ok((measured, finished.cpu_seconds))
}

fn size_of(spec: &MeasureSpec) -> (usize, usize) {
    (spec.size.0 as usize, spec.size.1 as usize)
}

/// What looks for things, where some are wanted. Why it failed is kept: frames are measured one after the other, and none waits for an
/// answer.
fn finder(
    spec: &MeasureSpec,
    models: &dyn Models,
    failed: &Arc<OnceLock<String>>,
) -> Result<Option<Finds>, String> {
    let Some(network) = &spec.detector else { return Ok(None) };
    let (detector, failed, size) = (models.detector(network)?, Arc::clone(failed), size_of(spec));
    Ok(Some(Box::new(move |planes| {
        if failed.get().is_some() {
            return Vec::new();
        }
        detector.find(planes, size).unwrap_or_else(|reason| {
            let _ = failed.set(reason);
            Vec::new()
        })
    })))
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

/// Measures pictures as they come.
///
/// # Errors
/// In words, when they cannot be read.
pub(crate) fn measure_pipe(
    measuring: Measuring,
    mut pieces: Receiver<Vec<u8>>,
) -> Result<Vec<Measured>, String> {
    let Measuring { mut measurer, hz, zero, told, keep } = measuring;
    let mut nut = nut::Reader::new(measurer.bytes());
    let (mut measured, begun) = (Vec::new(), Instant::now());
    while let Some(piece) = pieces.blocking_recv() {
        for picture in nut.push(&piece).map_err(|garbled| garbled.to_string())? {
            let tick = nut.unit().and_then(|unit| ticks(picture.pts, unit, hz));
            let Some(at) = tick.map(|tick| tick - zero) else {
                return Err(format!("ffmpeg gave a picture a time that is between those of 1/{hz} s"));
            };
            let frame = measurer.next(at, &picture.bytes);
            if keep.is_none_or(|(from, to)| (from..to).contains(&at)) {
                measured.push(frame);
                let frames = measured.len() as u64;
                told(frames, frames as f32 / begun.elapsed().as_secs_f32().max(0.001));
            }
        }
    }
    Ok(measured)
}
