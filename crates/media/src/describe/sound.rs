//! Loudness after EBU R 128 and the waveform, from one look at all samples.

use ebur128::{EbuR128, Mode};
use kinora_protocol::describe::{Found, Loudness};

use super::{Files, Findings, Work};
use crate::command::describe;
use crate::error::MediaError;
use crate::loudness::{Sound, meter};
use crate::process::{self, LineMeans};
use crate::samples::Samples;

/// All that is told of loudness.
const MODE: Mode = Mode::I.union(Mode::LRA).union(Mode::TRUE_PEAK);

pub(super) async fn find(
    work: &Work<'_>,
    stream: u32,
    sound: Sound<'_>,
    samples_per_point: u32,
) -> Result<Findings, MediaError> {
    let Sound { sample_rate, channels, .. } = sound;
    let refused = |e: ebur128::Error| {
        MediaError::bad_input(work.source, format!("its loudness cannot be measured: {e}"))
    };
    let mut meter = meter(sound, MODE).map_err(refused)?;
    let mut waveform = Waveform::new(channels, samples_per_point);
    let args = describe::sound(work.source, stream, sample_rate);
    let invocation = work.tools.ffmpeg(format!("{}: listening", work.source.display()), args);
    let mut unread = Samples::of(channels);
    let mut problem = None;
    process::run_bytes(&invocation, work.control, |bytes| {
        let samples = unread.whole(bytes);
        if let Err(error) = meter.add_frames_f32(&samples) {
            problem = Some(error);
        }
        waveform.add(&samples);
        LineMeans::Movement
    })
    .await?;
    if let Some(error) = problem {
        return Err(refused(error));
    }
    let mut files = Files::default();
    let waveform = files.bytes(waveform.json(sample_rate));
    Ok(Findings { found: Found::Sound { loudness: loudness(&meter, channels), waveform }, files })
}

fn loudness(meter: &EbuR128, channels: u32) -> Loudness {
    let audible = |value: f64| value.is_finite().then_some(value);
    let peak = (0..channels).filter_map(|c| meter.true_peak(c).ok()).fold(0.0, f64::max);
    Loudness {
        integrated_lufs: meter.loudness_global().ok().and_then(audible),
        range_lu: meter.loudness_range().ok().and_then(audible),
        true_peak_dbtp: audible(20.0 * peak.log10()),
    }
}

/// Least and greatest value of all channels mixed, for each stretch of samples.
struct Waveform {
    channels: usize,
    samples_per_point: u32,
    /// Least, greatest and how many samples of the point that has begun.
    begun: (f32, f32, u32),
    points: Vec<i8>,
}

impl Waveform {
    fn new(channels: u32, samples_per_point: u32) -> Self {
        let begun = (f32::MAX, f32::MIN, 0);
        Self { channels: channels as usize, samples_per_point, begun, points: Vec::new() }
    }

    fn add(&mut self, samples: &[f32]) {
        for frame in samples.chunks_exact(self.channels.max(1)) {
            let mixed = frame.iter().sum::<f32>() / self.channels as f32;
            let (least, greatest, count) = self.begun;
            self.begun = (least.min(mixed), greatest.max(mixed), count + 1);
            if count + 1 >= self.samples_per_point {
                self.end_point();
            }
        }
    }

    fn end_point(&mut self) {
        let (least, greatest, count) = std::mem::replace(&mut self.begun, (f32::MAX, f32::MIN, 0));
        if count > 0 {
            let scaled = |value: f32| (value.clamp(-1.0, 1.0) * 127.0).round() as i8;
            self.points.extend([scaled(least), scaled(greatest)]);
        }
    }

    /// As players of waveforms read it (`audiowaveform`'s JSON, version 2).
    fn json(mut self, sample_rate: u32) -> Vec<u8> {
        self.end_point();
        let data: Vec<String> = self.points.iter().map(i8::to_string).collect();
        format!(
            "{{\"version\":2,\"channels\":1,\"sample_rate\":{sample_rate},\"samples_per_pixel\":{},\"bits\":8,\"length\":{},\"data\":[{}]}}",
            self.samples_per_point,
            self.points.len() / 2,
            data.join(",")
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waveform_has_the_extremes_of_each_stretch() {
        let mut waveform = Waveform::new(2, 3);
        // The mean of both channels is what counts.
        waveform.add(&[0.5, 0.5, -1.0, 0.0, 0.0, 0.0]);
        waveform.add(&[1.0, 1.0]);
        let text = String::from_utf8(waveform.json(48_000)).unwrap();
        assert_eq!(
            text,
            "{\"version\":2,\"channels\":1,\"sample_rate\":48000,\"samples_per_pixel\":3,\"bits\":8,\"length\":2,\
             \"data\":[-64,64,127,127]}"
        );
    }

    #[test]
    fn a_sine_is_as_loud_as_the_standard_says() {
        // EBU Tech 3341, test 1: a stereo sine of 1 kHz at -23 dBFS is -23 LUFS.
        let amplitude = 10_f64.powf(-23.0 / 20.0);
        let sine = (0..48_000 * 5).flat_map(|n| {
            let value = amplitude * (2.0 * std::f64::consts::PI * 1000.0 * f64::from(n) / 48_000.0).sin();
            [value as f32; 2]
        });
        let mut meter = meter(Sound { sample_rate: 48_000, channels: 2, layout: None }, MODE).unwrap();
        meter.add_frames_f32(&sine.collect::<Vec<_>>()).unwrap();
        let found = loudness(&meter, 2);
        assert!((found.integrated_lufs.unwrap() + 23.0).abs() < 0.1, "{found:?}");
        assert!((found.true_peak_dbtp.unwrap() + 23.0).abs() < 0.1, "{found:?}");
    }

    #[test]
    fn low_frequencies_are_not_heard_and_surround_is_heard_more() {
        let tone = |channel: usize| -> Vec<f32> {
            let sample =
                |n: u16| 0.1 * (2.0 * std::f32::consts::PI * 1000.0 * f32::from(n % 48) / 48_000.0).sin();
            (0..48_000_u16)
                .flat_map(|n| (0..6).map(move |c| if c == channel { sample(n) } else { 0.0 }))
                .collect()
        };
        let heard = |channel: usize| {
            let sound = Sound { sample_rate: 48_000, channels: 6, layout: Some("5.1(side)") };
            let mut meter = meter(sound, MODE).unwrap();
            meter.add_frames_f32(&tone(channel)).unwrap();
            loudness(&meter, 6).integrated_lufs
        };
        assert_eq!(heard(3), None);
        assert!((heard(4).unwrap() - heard(0).unwrap() - 1.5).abs() < 0.05);
    }

    #[test]
    fn silence_has_no_loudness() {
        let mut silent =
            meter(Sound { sample_rate: 44_100, channels: 1, layout: Some("mono") }, MODE).unwrap();
        silent.add_frames_f32(&[0.0; 44_100]).unwrap();
        assert_eq!(loudness(&silent, 1).true_peak_dbtp, None);
        assert_eq!(loudness(&silent, 1).integrated_lufs, None);
    }
}
