//! Less noise around speech, by RNNoise, sample for sample where it was: interleaved floats at 48 kHz in, as many out. It must
//! not know where they come from.
//!
//! Method: J.-M. Valin, A Hybrid DSP/Deep Learning Approach to Real-Time Full-Band Speech Enhancement, 2018
//! (arXiv:1709.08243), as the crate `nnnoiseless` has it, with its model.

use nnnoiseless::DenoiseState;

use super::Stage;

/// Samples of a channel that are worked on at once.
const FRAME: usize = DenoiseState::FRAME_SIZE;
/// It counts samples as 16-bit numbers do.
const SCALE: f32 = 32_768.0;

/// A channel on its way.
enum Channel {
    /// With its memory.
    Denoised(Box<DenoiseState<'static>>),
    /// As it is, as late as the others: the frame before.
    Kept(Vec<f32>),
}

/// All channels of a stream.
pub(super) struct Denoiser {
    channels: Vec<Channel>,
    /// Samples of all channels that do not fill a frame yet.
    rest: Vec<f32>,
    /// Frames that went in.
    frames: u64,
    /// Samples of each channel that went in.
    samples: u64,
    /// And came out.
    given: u64,
}

impl Denoiser {
    /// For so many channels, of which one may hold nothing but low frequencies: no speech is in it.
    pub(super) fn new(channels: u32, low: Option<u32>) -> Self {
        let channel = |n| match low == Some(n) {
            true => Channel::Kept(vec![0.0; FRAME]),
            false => Channel::Denoised(DenoiseState::new()),
        };
        Self {
            channels: (0..channels.max(1)).map(channel).collect(),
            rest: Vec::new(),
            frames: 0,
            samples: 0,
            given: 0,
        }
    }

    fn counted(&mut self, mut out: Vec<f32>) -> Vec<f32> {
        let channels = self.channels.len();
        let left = usize::try_from(self.samples - self.given).unwrap_or(usize::MAX);
        out.truncate(left.saturating_mul(channels));
        self.given += (out.len() / channels) as u64;
        out
    }
}

impl Stage for Denoiser {
    fn push(&mut self, samples: &[f32]) -> Vec<f32> {
        self.samples += (samples.len() / self.channels.len()) as u64;
        self.rest.extend_from_slice(samples);
        let whole = FRAME * self.channels.len();
        let mut out = Vec::with_capacity(samples.len() + whole);
        let mut taken = 0;
        while let Some(frame) = self.rest.get(taken..taken + whole) {
            out.extend(denoised(&mut self.channels, frame, self.frames == 0));
            self.frames += 1;
            taken += whole;
        }
        self.rest.drain(..taken);
        self.counted(out)
    }

    fn finish(mut self) -> Vec<f32> {
        let whole = FRAME * self.channels.len();
        let mut out = Vec::new();
        // One frame more: what comes out is a frame late.
        for _ in 0..2 {
            let mut frame = std::mem::take(&mut self.rest);
            frame.resize(whole, 0.0);
            out.extend(denoised(&mut self.channels, &frame, self.frames == 0));
            self.frames += 1;
        }
        self.counted(out)
    }
}

/// A frame of all channels through the model; what comes out of the first is what was before it, which is nothing.
fn denoised(channels: &mut [Channel], frame: &[f32], first: bool) -> Vec<f32> {
    let count = channels.len();
    let mut out = vec![0.0; frame.len()];
    let mut one = vec![0.0; FRAME];
    let mut made = vec![0.0; FRAME];
    for (n, channel) in channels.iter_mut().enumerate() {
        for (sample, from) in one.iter_mut().zip(frame.iter().skip(n).step_by(count)) {
            *sample = *from;
        }
        match channel {
            Channel::Denoised(state) => {
                one.iter_mut().for_each(|sample| *sample *= SCALE);
                state.process_frame(&mut made, &one);
                made.iter_mut().for_each(|sample| *sample /= SCALE);
            }
            Channel::Kept(before) => {
                made.copy_from_slice(before);
                before.copy_from_slice(&one);
            }
        }
        for (sample, from) in out.iter_mut().skip(n).step_by(count).zip(&made) {
            *sample = *from;
        }
    }
    if first { Vec::new() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::audio::WORK_RATE as RATE;

    /// Something like a voice: a buzz with its harmonics that comes and goes.
    fn voice(n: usize) -> f32 {
        let t = n as f32 / RATE as f32;
        let loud = (std::f32::consts::TAU * 3.0 * t).sin().max(0.0);
        (1..12).map(|k| (std::f32::consts::TAU * 140.0 * k as f32 * t).sin() / k as f32).sum::<f32>()
            * 0.2
            * loud
    }

    fn through(mut denoiser: Denoiser, samples: &[f32], piece: usize) -> Vec<f32> {
        let mut out: Vec<f32> = samples.chunks(piece).flat_map(|piece| denoiser.push(piece)).collect();
        out.extend(denoiser.finish());
        out
    }

    #[test]
    fn every_sample_has_its_place() {
        for (samples, piece) in [(0, 2), (1, 2), (479, 100), (480, 960), (481, 6), (48_123, 1_000)] {
            let sound: Vec<f32> = (0..samples).flat_map(|n| [voice(n), n as f32]).collect();
            let out = through(Denoiser::new(2, Some(1)), &sound, piece);
            assert_eq!(out.len(), sound.len(), "{samples} samples in pieces of {piece}");
            // What is kept as it is shows the places.
            assert!(out.iter().skip(1).step_by(2).enumerate().all(|(n, value)| *value == n as f32));
        }
    }

    #[test]
    fn speech_stays_where_it_was() {
        let sound: Vec<f32> = (0..96_000).map(voice).collect();
        let out = through(Denoiser::new(1, None), &sound, 777);
        let match_at = |late: i64| -> f32 {
            let pairs = (4_800..90_000_i64).map(|n| sound[n as usize] * out[(n + late) as usize]);
            pairs.sum()
        };
        let best = (-960..=960).max_by(|a, b| match_at(*a).total_cmp(&match_at(*b))).unwrap();
        // The model's filter against rumble turns phases a little.
        assert!(best.abs() <= 4, "{best} samples late");
    }
}
