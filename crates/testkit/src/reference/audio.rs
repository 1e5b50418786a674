//! Compares sound: every decoded sample of every stream, and when it is heard.
//!
//! It must not know about pictures or how the files were made.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context, Result};

use super::difference::{Difference, Kind};
use crate::ffmpeg;

/// Samples that follow each other without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// In samples from the file's time 0; may be negative.
    pub start: i64,
    pub samples: i64,
}

/// When one decoded stream is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioTrack {
    pub rate: i64,
    pub channels: String,
    pub segments: Vec<Segment>,
}

/// How far apart two moments may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioSlack {
    Samples(i64),
    Millis(i64),
}

impl AudioSlack {
    fn in_samples(self, rate: i64) -> i64 {
        match self {
            AudioSlack::Samples(samples) => samples,
            // Rounded up: a millisecond of 44100 Hz is 44.1 samples.
            AudioSlack::Millis(millis) => (millis * rate + 999) / 1000,
        }
    }
}

/// What `compare_audio` lets pass.
#[derive(Clone, Copy, Debug)]
pub struct AudioRules {
    /// Between the starts of segments.
    pub start: AudioSlack,
    /// A jump in a stream's own times up to this is rounding of its container, not a gap.
    pub joint: AudioSlack,
}

impl AudioRules {
    /// Two files in the same container: one sample, or one millisecond where the container rounds to it.
    pub fn same_container(container: crate::clips::Container) -> AudioRules {
        if container.is_iso() {
            AudioRules { start: AudioSlack::Samples(1), joint: AudioSlack::Samples(1) }
        } else {
            AudioRules { start: AudioSlack::Millis(1), joint: AudioSlack::Millis(2) }
        }
    }
}

/// The first difference between the sound of two files.
pub fn compare_audio(a: &Path, b: &Path, rules: &AudioRules) -> Result<(), Difference> {
    let (mine, theirs) = (audio_tracks(a, rules.joint)?, audio_tracks(b, rules.joint)?);
    if mine.len() != theirs.len() {
        let text = format!("{} sound streams against {}", mine.len(), theirs.len());
        return Err(Difference::new(Kind::AudioStreams, text));
    }
    for (n, (x, y)) in mine.iter().zip(&theirs).enumerate() {
        let same = (x.rate, &x.channels) == (y.rate, &y.channels);
        if !same {
            return Err(Difference::new(Kind::AudioFormat, format!("stream a:{n}: {x:?} against {y:?}")));
        }
        // Samples first: where they differ, the times are a consequence.
        compare_samples(a, b, n, x)?;
        compare_times(n, x, y, rules.start)?;
    }
    Ok(())
}

fn compare_times(n: usize, x: &AudioTrack, y: &AudioTrack, slack: AudioSlack) -> Result<(), Difference> {
    let slack = slack.in_samples(x.rate);
    let differ = x.segments.len() != y.segments.len();
    let far = |(p, q): (&Segment, &Segment)| (p.start - q.start).abs() > slack;
    if differ || x.segments.iter().zip(&y.segments).any(far) {
        let text = format!("stream a:{n}, {} Hz: {:?} against {:?}", x.rate, x.segments, y.segments);
        return Err(Difference::new(Kind::AudioStart, text));
    }
    Ok(())
}

/// Every sound stream of a file, times as the file has them and skipped samples left out.
pub fn audio_tracks(path: &Path, joint: AudioSlack) -> Result<Vec<AudioTrack>> {
    let mut command = ffmpeg::ffprobe();
    command.args(["-select_streams", "a", "-show_entries", "stream=sample_rate,channels,channel_layout"]);
    let value = ffmpeg::json(command.args(["-of", "json"]).arg(ffmpeg::file_arg(path)))?;
    let streams = value["streams"].as_array().context("ffprobe printed no streams")?;
    let track = |(n, stream): (usize, &serde_json::Value)| {
        let rate = stream["sample_rate"].as_str().context("a sound stream has no sample rate")?.parse()?;
        let layout = stream["channel_layout"].as_str().unwrap_or("no layout");
        let channels = format!("{} ({layout})", stream["channels"]);
        Ok(AudioTrack { rate, channels, segments: segments(path, n, rate, joint)? })
    };
    streams.iter().enumerate().map(track).collect()
}

fn decoder(path: &Path, stream: usize) -> std::process::Command {
    let mut command = ffmpeg::ffmpeg();
    command.args(["-max_error_rate", "1", "-copyts", "-i"]).arg(ffmpeg::file_arg(path));
    // Doubles hold every sample format without loss.
    command.args(["-map", &format!("0:a:{stream}"), "-c:a", "pcm_f64le"]);
    command
}

fn segments(path: &Path, stream: usize, rate: i64, joint: AudioSlack) -> Result<Vec<Segment>> {
    let mut command = decoder(path, stream);
    let text = ffmpeg::output(command.args(["-f", "framehash", "-hash", "adler32", "-"]))?;
    let mut segments: Vec<Segment> = Vec::new();
    for line in String::from_utf8_lossy(&text).lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [_, _, pts, duration, ..] = fields[..] else { continue };
        let (start, samples): (i64, i64) = (pts.parse()?, duration.parse()?);
        match segments.last_mut() {
            Some(last) if (start - last.start - last.samples).abs() <= joint.in_samples(rate) => {
                last.samples += samples;
            }
            _ => segments.push(Segment { start, samples }),
        }
    }
    Ok(segments)
}

/// Decodes both files at once and stops at the first sample that is not the same.
fn compare_samples(a: &Path, b: &Path, stream: usize, track: &AudioTrack) -> Result<(), Difference> {
    let (mut left, mut right) = (Samples::of(a, stream)?, Samples::of(b, stream)?);
    let channels: usize = track.channels.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(1);
    let frame = 8 * channels.max(1);
    let mut done = 0;
    loop {
        let (x, y) = (left.block()?, right.block()?);
        if let Some(byte) = x.iter().zip(&y).position(|(p, q)| p != q) {
            let sample = (done + byte) / frame;
            let seconds = sample as f64 / track.rate as f64;
            let text =
                format!("stream a:{stream}: sample {sample} ({seconds:.6} s after the first) is another one");
            return Err(Difference::new(Kind::AudioSamples, text));
        }
        if x.len() != y.len() {
            let (p, q) = ((done + x.len()) / frame, (done + y.len()) / frame);
            let text =
                format!("stream a:{stream}: equal up to the end of one; at least {p} samples against {q}");
            return Err(Difference::new(Kind::AudioLength, text));
        }
        if x.is_empty() {
            left.finish()?;
            right.finish()?;
            return Ok(());
        }
        done += x.len();
    }
}

/// A decoder whose output is read in blocks; it ends with this value.
struct Samples {
    child: Child,
}

impl Samples {
    fn of(path: &Path, stream: usize) -> Result<Samples> {
        let mut command = decoder(path, stream);
        command.args(["-f", "f64le", "-"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot decode {}", path.display()))?;
        Ok(Samples { child })
    }

    /// 64 KiB, less only at the end.
    fn block(&mut self) -> Result<Vec<u8>> {
        let mut block = Vec::with_capacity(1 << 16);
        let stdout = self.child.stdout.as_mut().context("the decoder has no output")?;
        stdout.take(1 << 16).read_to_end(&mut block)?;
        Ok(block)
    }

    fn finish(&mut self) -> Result<()> {
        let status = self.child.wait()?;
        anyhow::ensure!(status.success(), "decoding of sound ended with {status}");
        Ok(())
    }
}

impl Drop for Samples {
    fn drop(&mut self) {
        // After a normal end both fail, and that is right.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
