//! What becomes better about the sound of a source: each stream is worked on as a whole and put into a file of its own, from
//! which it is encoded. It must not know the codec.

use std::path::{Path, PathBuf};

use ebur128::Mode;
use kinora_protocol::media::AudioFacts;
use kinora_protocol::task::AudioSpec;
use tokio::sync::mpsc::{Receiver, Sender};

use super::Stage;
use super::denoise::Denoiser;
use super::limit::Limiter;
use crate::command::audio::WORK_RATE;
use crate::command::{Line, audio, describe};
use crate::encode::is_written;
use crate::error::MediaError;
use crate::loudness::{Sound, meter};
use crate::process::{self, Control, LineMeans};
use crate::samples::Samples;
use crate::tools::Tools;

/// What all of it works with.
pub(super) struct Work<'a> {
    pub(super) tools: &'a Tools,
    pub(super) spec: &'a AudioSpec,
    /// An existing folder for this attempt only.
    pub(super) scratch: &'a Path,
    pub(super) control: &'a Control,
}

/// All streams of a source, in files below the scratch folder, and the processor seconds that they took.
pub(super) async fn prepare(work: &Work<'_>, source: &Path) -> Result<(Vec<PathBuf>, f64), MediaError> {
    let mut prepared = Vec::with_capacity(work.spec.streams.len());
    let mut seconds = 0.0;
    for (n, facts) in work.spec.streams.iter().enumerate() {
        let path = work.scratch.join(format!("sound{n}.wav"));
        let enhance = &work.spec.settings.enhance;
        let denoiser = enhance.denoise.then(|| Denoiser::new(facts.channels, low(facts)));
        let decode = audio::samples(work.spec, n, facts, source);
        seconds += pass(work, (decode, &path), (n, facts), enhance.speech, denoiser).await?;
        let gain = match enhance.loudness {
            Some(tenths) => gain_for(work, &path, facts, f64::from(tenths) / 10.0).await?,
            None => None,
        };
        let Some(gain) = gain else {
            prepared.push(path);
            continue;
        };
        let level = work.scratch.join(format!("level{n}.wav"));
        let limiter = Limiter::new(facts.channels, factor(gain), CEILING);
        let decode = describe::sound(&path, 0, WORK_RATE);
        seconds += pass(work, (decode, &level), (n, facts), false, Some(limiter)).await?;
        std::fs::remove_file(&path).map_err(MediaError::io(&path))?;
        prepared.push(level);
    }
    Ok((prepared, seconds))
}

/// A stream from a program through a stage, if there is one, into a file; processor seconds of the programs.
async fn pass(
    work: &Work<'_>,
    (decode, out): (Line, &Path),
    (n, facts): (usize, &AudioFacts),
    speech: bool,
    stage: Option<impl Stage + 'static>,
) -> Result<f64, MediaError> {
    let what = format!("enhancing sound stream {n}");
    let from = work.tools.ffmpeg(what.as_str(), decode);
    let to = work.tools.ffmpeg(what.as_str(), audio::keep(facts, speech, out));
    let channels = facts.channels;
    let between: process::Work = Box::new(move |taken, sends| through(stage, channels, taken, sends));
    let finished = process::chain(from, vec![(between, to)], work.control).await?;
    if !is_written(out) {
        return Err(MediaError::not_exact(what, "ffmpeg said it succeeded but wrote no file"));
    }
    Ok(finished.cpu_seconds)
}

/// Which channel of a layout holds nothing but low frequencies.
fn low(facts: &AudioFacts) -> Option<u32> {
    let layout = facts.layout.as_deref()?;
    layout.contains(".1").then(|| 3.min(facts.channels.saturating_sub(1)))
}

/// Samples through a stage.
fn through(
    mut stage: Option<impl Stage>,
    channels: u32,
    mut taken: Receiver<Vec<u8>>,
    sends: Sender<Vec<u8>>,
) -> Result<(), MediaError> {
    let mut samples = Samples::of(channels);
    while let Some(bytes) = taken.blocking_recv() {
        let made = match &mut stage {
            None => bytes,
            Some(stage) => bytes_of(&stage.push(&samples.whole(&bytes))),
        };
        // Who reads it is gone, and tells why.
        if sends.blocking_send(made).is_err() {
            return Ok(());
        }
    }
    let last = stage.map(|stage| bytes_of(&stage.finish()));
    let _ = last.map(|last| sends.blocking_send(last));
    Ok(())
}

fn bytes_of(samples: &[f32]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// The greatest true peak that an encoder is given, as a factor: -1 dBTP (EBU R 128).
const CEILING: f32 = 0.891_25;
/// How near to what was asked loudness has to come, in LU.
const NEAR: f64 = 0.1;
/// How often a stream is listened to for it.
const TRIES: usize = 5;
/// More than this makes noise of what nobody was to hear, in dB.
const MOST_GAIN: f64 = 50.0;

/// The gain in dB at which a stream has a loudness, in LUFS, with its peaks limited; none for silence, which has none.
async fn gain_for(
    work: &Work<'_>,
    path: &Path,
    facts: &AudioFacts,
    target: f64,
) -> Result<Option<f64>, MediaError> {
    let mut gain = 0.0;
    for attempt in 0..TRIES {
        let limiter = (attempt > 0).then(|| Limiter::new(facts.channels, factor(gain), CEILING));
        let loudness = loudness(work, path, facts, limiter).await?;
        if !loudness.is_finite() {
            return Ok(None);
        }
        // What the limiter takes away has to be made up for.
        let wanted = (gain + target - loudness).min(MOST_GAIN);
        if attempt > 0 && (wanted - gain).abs() < NEAR {
            break;
        }
        gain = wanted;
    }
    Ok(Some(gain))
}

fn factor(decibels: f64) -> f32 {
    10.0_f64.powf(decibels / 20.0) as f32
}

/// How loud a stream is, in LUFS, as it is or through a limiter.
async fn loudness(
    work: &Work<'_>,
    path: &Path,
    facts: &AudioFacts,
    mut limiter: Option<Limiter>,
) -> Result<f64, MediaError> {
    let sound = Sound { sample_rate: WORK_RATE, channels: facts.channels, layout: facts.layout.as_deref() };
    let refused =
        |e: ebur128::Error| MediaError::bad_input(path, format!("its loudness cannot be measured: {e}"));
    let mut meter = meter(sound, Mode::I).map_err(refused)?;
    let listening = work.tools.ffmpeg("measuring loudness", describe::sound(path, 0, WORK_RATE));
    let mut samples = Samples::of(facts.channels);
    let mut problem = None;
    process::run_bytes(&listening, work.control, |bytes| {
        let came = samples.whole(bytes);
        let heard = match &mut limiter {
            Some(limiter) => limiter.push(&came),
            None => came,
        };
        problem = meter.add_frames_f32(&heard).err().or(problem.take());
        LineMeans::Movement
    })
    .await?;
    if let Some(rest) = limiter.map(Limiter::finish) {
        problem = meter.add_frames_f32(&rest).err().or(problem);
    }
    match problem {
        Some(error) => Err(refused(error)),
        None => meter.loudness_global().map_err(refused),
    }
}
