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
use crate::process::{self, Control, OnProgress};
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
    let (work, progress) = (spec.clone(), control.progress.clone());
    let taken = move |pieces| taken(&work, pieces, &progress);
    let (measured, finished) = process::taken(tools.ffmpeg(what, line), taken, control).await?;
    match finished {
        Err(error) if measured.is_empty() => Err(error),
        Err(error @ (MediaError::Cancelled { .. } | MediaError::Stalled { .. })) => Err(error),
        Err(_) => Ok((measured, 0.0)),
        Ok(finished) => Ok((measured, finished.cpu_seconds)),
    }
}

/// Measures pictures as they come.
fn taken(spec: &MeasureSpec, mut pieces: Receiver<Vec<u8>>, progress: &OnProgress) -> Vec<Measured> {
    let (width, height) = (spec.size.0 as usize, spec.size.1 as usize);
    let mut measurer = Measurer::new((width, height), spec.wanted);
    let mut nut = nut::Reader::new(measurer.bytes());
    let (mut measured, begun) = (Vec::new(), Instant::now());
    while let Some(piece) = pieces.blocking_recv() {
        // Where the pipe is broken off, so is what comes of it.
        let Ok(pictures) = nut.push(&piece) else { break };
        for picture in pictures {
            let tick = nut.unit().and_then(|unit| ticks(picture.pts, unit, spec.clock.hz));
            let Some(at) = tick.map(|tick| tick - measure::zero(spec)) else { continue };
            let frame = measurer.next(at, &picture.bytes);
            if (spec.a..spec.b).contains(&at) {
                measured.push(frame);
                let frames = measured.len() as u64;
                let fps = frames as f32 / begun.elapsed().as_secs_f32().max(0.001);
                progress(Progress { frames, fps });
            }
        }
    }
    measured
}
