//! A gain, and a limiter that gives way where peaks would become greater than they may be: floats in, as many out, each where it
//! was. It must not know how loud sound is to be.
//!
//! Peaks are true peaks: between samples, too (ITU-R BS.1770-5, annex 2, its filter of 4 × 12 coefficients). The gain that a
//! peak needs is there before it and goes slowly, so that nothing clicks.

use std::collections::VecDeque;

use super::Stage;

/// Frames that the gain takes to come down: 5 ms.
const LOOK: usize = 240;
/// What of the way back to no limiting is gone in each frame: 63 % in 100 ms.
const RELEASE: f32 = 1.0 / 4_800.0;
/// Coefficients of a phase.
const TAPS: usize = 12;
/// The coefficients of the standard, for values at and between samples.
#[rustfmt::skip]
const PHASES: [[f32; TAPS]; 4] = [
    [0.001_708_984_4, 0.010_986_328, -0.019_653_32, 0.033_203_125, -0.059_448_242, 0.137_329_1, 0.972_167_97, -0.102_294_92, 0.047_607_422, -0.026_611_328, 0.014_892_578, -0.008_300_781],
    [-0.029_174_805, 0.029_296_875, -0.051_757_812, 0.089_111_33, -0.166_503_9, 0.465_087_9, 0.779_785_16, -0.200_317_38, 0.101_562_5, -0.058_227_54, 0.033_081_055, -0.018_920_898],
    [-0.018_920_898, 0.033_081_055, -0.058_227_54, 0.101_562_5, -0.200_317_38, 0.779_785_16, 0.465_087_9, -0.166_503_9, 0.089_111_33, -0.051_757_812, 0.029_296_875, -0.029_174_805],
    [-0.008_300_781, 0.014_892_578, -0.026_611_328, 0.047_607_422, -0.102_294_92, 0.972_167_97, 0.137_329_1, -0.059_448_242, 0.033_203_125, -0.019_653_32, 0.010_986_328, 0.001_708_984_4],
];

/// A stream on its way.
#[derive(Debug)]
pub(super) struct Limiter {
    channels: usize,
    gain: f32,
    ceiling: f32,
    /// The last samples of each channel, for what is between them.
    history: Vec<[f32; TAPS]>,
    /// Frames that have not come out.
    waiting: VecDeque<Vec<f32>>,
    /// Gains that frames need, of the window: position and gain, ascending.
    least: VecDeque<(u64, f32)>,
    /// The least gains of the windows whose mean is next.
    mean: VecDeque<f32>,
    released: f32,
    /// Frames that came in, with the ones that push out the last.
    position: u64,
    left_out: usize,
}

impl Limiter {
    /// For interleaved frames of so many channels: a gain as a factor, and the greatest peak that comes out.
    pub(super) fn new(channels: u32, gain: f32, ceiling: f32) -> Self {
        let channels = channels.max(1) as usize;
        Self {
            channels,
            gain,
            ceiling,
            history: vec![[0.0; TAPS]; channels],
            waiting: VecDeque::new(),
            least: VecDeque::new(),
            mean: VecDeque::from(vec![1.0; LOOK]),
            released: 1.0,
            position: 0,
            left_out: TAPS / 2 + LOOK - 1,
        }
    }

    /// Notes what gain the frame half a filter ago needs.
    fn step(&mut self, frame: &[f32]) {
        let mut peak = 0.0_f32;
        for (history, sample) in self.history.iter_mut().zip(frame) {
            history.rotate_right(1);
            history[0] = *sample;
            for phase in &PHASES {
                let value: f32 = phase.iter().zip(history.iter()).map(|(c, x)| c * x).sum();
                peak = peak.max(value.abs());
            }
            // A sample at least is what it is.
            peak = peak.max(history[TAPS / 2].abs());
        }
        let needed = if peak > self.ceiling { self.ceiling / peak } else { 1.0 };
        self.released = needed.min(self.released + (1.0 - self.released) * RELEASE);
        while self.least.back().is_some_and(|(_, gain)| *gain >= self.released) {
            self.least.pop_back();
        }
        self.least.push_back((self.position, self.released));
        let from = (self.position + 1).saturating_sub(LOOK as u64);
        while self.least.front().is_some_and(|(at, _)| *at < from) {
            self.least.pop_front();
        }
        self.mean.pop_front();
        self.mean.push_back(self.least.front().map_or(1.0, |(_, gain)| *gain));
        self.position += 1;
    }

    /// Gives the frame whose gain is known now.
    fn give(&mut self, out: &mut Vec<f32>) {
        if self.left_out > 0 {
            self.left_out -= 1;
            return;
        }
        let Some(frame) = self.waiting.pop_front() else { return };
        // Summed anew each time: a running sum would drift over hours.
        let gain = self.mean.iter().sum::<f32>() / LOOK as f32;
        out.extend(frame.iter().map(|sample| sample * gain));
    }
}

impl Stage for Limiter {
    fn push(&mut self, samples: &[f32]) -> Vec<f32> {
        let mut out = Vec::with_capacity(samples.len());
        for frame in samples.chunks_exact(self.channels) {
            let louder: Vec<f32> = frame.iter().map(|sample| sample * self.gain).collect();
            self.step(&louder);
            self.waiting.push_back(louder);
            self.give(&mut out);
        }
        out
    }

    fn finish(mut self) -> Vec<f32> {
        let mut out = Vec::new();
        let silence = vec![0.0; self.channels];
        while !self.waiting.is_empty() {
            self.step(&silence);
            self.give(&mut out);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(mut limiter: Limiter, sound: &[f32]) -> Vec<f32> {
        let mut out: Vec<f32> = sound.chunks(514).flat_map(|piece| limiter.push(piece)).collect();
        out.extend(limiter.finish());
        out
    }

    #[test]
    fn what_is_not_too_loud_is_only_made_louder() {
        let sound: Vec<f32> =
            (0..20_001).map(|n| 0.2 * (n as f32 * 0.05).sin()).flat_map(|s| [s, -s]).collect();
        let out = through(Limiter::new(2, 2.0, 0.89), &sound);
        assert_eq!(out.len(), sound.len());
        assert!(sound.iter().zip(&out).all(|(a, b)| (a * 2.0 - b).abs() < 1e-6));
        assert_eq!(through(Limiter::new(2, 2.0, 0.89), &[0.1, 0.2]), [0.2, 0.4]);
        assert_eq!(through(Limiter::new(6, 2.0, 0.89), &[]), [0.0; 0]);
    }

    #[test]
    fn no_true_peak_is_greater_than_it_may_be() {
        // A quarter of the sampling rate, between whose samples the peaks are, and bursts.
        let burst = |n: usize| if (n / 3_000).is_multiple_of(2) { 0.9 } else { 0.05 };
        let sound: Vec<f32> = (0..48_000)
            .map(|n| burst(n) * (std::f32::consts::TAU * (n as f32 / 4.0 + 0.125)).sin())
            .collect();
        let out = through(Limiter::new(1, 4.0, 0.89), &sound);
        let mut meter = ebur128::EbuR128::new(1, 48_000, ebur128::Mode::TRUE_PEAK).unwrap();
        meter.add_frames_f32(&out).unwrap();
        let peak = meter.true_peak(0).unwrap();
        assert!((0.8..0.9).contains(&peak), "{peak}");
    }
}
