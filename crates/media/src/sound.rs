//! Whether a result that is sound alone has all the sound that it should: packets counted and timed, and on demand decoded. It must
//! not know how the sound was made.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

use kinora_protocol::Rational;
use kinora_protocol::recipe::{AudioCodec, Verify};
use kinora_protocol::task::{PackageSpec, SoundCheck};

use crate::command::inspect;
use crate::error::MediaError;
use crate::index::Records;
use crate::package::Inputs;
use crate::probe;
use crate::process::{self, Control};
use crate::tools::Tools;

/// By how much the sound of a result may be longer or shorter than the source's, at least.
const LEAST_TOLERANCE_US: i64 = 250_000;
/// And in frames of an encoder: it begins with one of silence, and ends on a whole one.
const TOLERANCE_FRAMES: i64 = 3;
/// Samples of a frame of AAC-LC.
const AAC_FRAME: i64 = 1024;
/// A frame of libopus, as it is set unless it is told otherwise.
const OPUS_FRAME_US: i64 = 20_000;
/// Times may go back by a little, where packets are shorter than their container says.
const STEP_BACK_US: i64 = 500_000;

const SECOND_US: i64 = 1_000_000;

/// The packets of a stream, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counted {
    packets: u64,
    /// Where the first begins and the last ends.
    span: Option<(i64, i64)>,
    /// Length of all that say theirs.
    covered: i64,
    /// Those that do not.
    without_length: u64,
    without_time: bool,
    /// Where times went back, if they did.
    back_at: Option<i64>,
    /// Ticks a second.
    rate: i64,
}

impl Counted {
    fn push(&mut self, time: Option<i64>, length: Option<i64>) {
        self.packets += 1;
        self.covered += length.unwrap_or(0);
        self.without_length += u64::from(length.is_none());
        let Some(time) = time else {
            self.without_time = true;
            return;
        };
        let end = time + length.unwrap_or(0);
        let before = self.span.filter(|(_, last)| time + STEP_BACK_US < *last).map(|(_, last)| last);
        self.back_at = self.back_at.or(before);
        let (first, last) = self.span.unwrap_or((time, end));
        self.span = Some((first.min(time), last.max(end)));
    }

    fn span_us(&self) -> Option<i64> {
        let (first, last) = self.span.filter(|_| !self.without_time)?;
        Some(last - first)
    }

    /// How much sound its packets hold.
    fn covered_us(&self) -> Option<i64> {
        // The last one of a stream often does not say how long it is.
        if self.without_length <= 1 { Some(self.covered) } else { self.span_us() }
    }

    /// The same of what an encoder made: its packets are of one length, which not all containers tell.
    fn encoded_us(&self, codec: AudioCodec) -> Option<i64> {
        let packets = i64::try_from(self.packets).ok()?;
        match codec {
            AudioCodec::Aac => Some(packets * AAC_FRAME * SECOND_US / self.rate.max(1)),
            AudioCodec::Opus => Some(packets * OPUS_FRAME_US),
            AudioCodec::Copy | AudioCodec::None => None,
        }
    }
}

/// Compares the sound of a result with what it was made from.
///
/// # Errors
/// [`MediaError::NotExact`] when packets are missing or too many, or when it is longer than the source's;
/// [`MediaError::BadInput`] for a source whose times make no sense.
pub(crate) async fn check(
    tools: &Tools,
    spec: &PackageSpec,
    inputs: Inputs<'_>,
    scratch: &Path,
    part: &Path,
    control: &Control,
) -> Result<Vec<SoundCheck>, MediaError> {
    if spec.settled.verify == Verify::Off {
        return Ok(Vec::new());
    }
    let source = packets(tools, inputs.source, control).await?;
    if let Some(at) = source.iter().find_map(|counted| counted.back_at) {
        let reason = format!(
            "the times of its sound go back after {}: it was joined from several files; copy it with ffmpeg into one first",
            seconds(at)
        );
        return Err(MediaError::bad_input(inputs.source, reason));
    }
    let written = packets(tools, part, control).await?;
    let made = match inputs.audio {
        Some(encoded) => packets(tools, encoded, control).await?,
        None => source.clone(),
    };
    let tolerance = tolerance(spec);
    let mut checks = compare(&made, &written, &source, spec.settled.audio.codec, tolerance)?;
    if spec.settled.verify == Verify::Full {
        let lines = scratch.join("sound.crc");
        let before = decode(tools, inputs.source, &lines, control).await?;
        let after = decode(tools, part, &lines, control).await?;
        compare_decoded(&before, &after, tolerance)?;
        for (check, decoded) in checks.iter_mut().zip(after) {
            check.decoded_us = Some(decoded);
        }
    }
    Ok(checks)
}

fn tolerance(spec: &PackageSpec) -> i64 {
    let slowest = spec.facts.audio().map(|(_, facts)| i64::from(facts.sample_rate)).min().unwrap_or(0);
    (TOLERANCE_FRAMES * AAC_FRAME * SECOND_US / slowest.max(1000)).max(LEAST_TOLERANCE_US)
}

fn compare(
    made: &[Counted],
    written: &[Counted],
    source: &[Counted],
    codec: AudioCodec,
    tolerance: i64,
) -> Result<Vec<SoundCheck>, MediaError> {
    let wrong = |reason: String| MediaError::not_exact("the sound of the result", reason);
    if written.len() != source.len() || made.len() != source.len() || written.is_empty() {
        return Err(wrong(format!("{} streams where the source has {}", written.len(), source.len())));
    }
    let mut checks = Vec::with_capacity(written.len());
    for (n, ((made, written), source)) in made.iter().zip(written).zip(source).enumerate() {
        if written.packets != made.packets {
            return Err(wrong(format!("stream {n} has {} packets of {}", written.packets, made.packets)));
        }
        // Not every container has times: there is nothing to compare with then.
        if let (Some(have), Some(had)) = (written.span_us(), source.span_us())
            && have > had + tolerance
        {
            let reason = format!("stream {n} is {} long and the source's {}", seconds(have), seconds(had));
            return Err(wrong(reason));
        }
        let held = source.covered_us().zip(made.encoded_us(codec));
        let missing = held.map_or(0, |(held, came)| held - came);
        checks.push(SoundCheck {
            packets: written.packets,
            span_us: written.span_us().unwrap_or(0),
            source_end_us: source.span.filter(|_| !source.without_time).map(|(_, end)| end),
            missing_us: if missing > tolerance { missing } else { 0 },
            decoded_us: None,
        });
    }
    Ok(checks)
}

fn compare_decoded(before: &[i64], after: &[i64], tolerance: i64) -> Result<(), MediaError> {
    let what = "the decoded sound of the result";
    if before.len() != after.len() {
        let reason = format!("{} streams where the source has {}", after.len(), before.len());
        return Err(MediaError::not_exact(what, reason));
    }
    match before.iter().zip(after).enumerate().find(|(_, (a, b))| (*a - *b).abs() > tolerance) {
        Some((n, (had, have))) => {
            let reason = format!("stream {n} is {} long and the source's {}", seconds(*have), seconds(*had));
            Err(MediaError::not_exact(what, reason))
        }
        None => Ok(()),
    }
}

fn seconds(us: i64) -> String {
    format!("{:.3} s", us as f64 / 1e6)
}

/// Counts and times the packets of all sound streams, in the order of the streams.
async fn packets(tools: &Tools, path: &Path, control: &Control) -> Result<Vec<Counted>, MediaError> {
    let invocation = tools.ffprobe(format!("checking {}", path.display()), inspect::sound_packets(path));
    let mut streams: BTreeMap<u32, Counted> = BTreeMap::new();
    let take = |section: &str, fields: &BTreeMap<String, String>| {
        let index = |name: &str| fields.get(name)?.parse::<u32>().ok();
        let us = |name: &str| probe::micros(fields.get(name).map(String::as_str));
        match section {
            "packet" => {
                if let Some(stream) = index("stream_index") {
                    streams.entry(stream).or_default().push(us("pts_time"), us("duration_time"));
                }
            }
            "stream" => {
                let counted = index("index").and_then(|stream| streams.get_mut(&stream));
                let base = fields.get("time_base").and_then(|base| base.parse::<Rational>().ok());
                if let (Some(counted), Some(base)) = (counted, base) {
                    counted.rate = base.den();
                }
            }
            _ => {}
        }
    };
    Records::each(&invocation, control, take).await?;
    // Streams without packets are none.
    Ok(streams.into_values().collect())
}

fn micros(ticks: i64, base: Rational) -> i64 {
    let us = i128::from(ticks) * i128::from(base.num()) * 1_000_000 / i128::from(base.den().max(1));
    i64::try_from(us).unwrap_or(i64::MAX)
}

/// Decodes all sound streams; microseconds of samples of each.
async fn decode(tools: &Tools, path: &Path, lines: &Path, control: &Control) -> Result<Vec<i64>, MediaError> {
    let what = format!("decoding the sound of {}", path.display());
    process::run(&tools.ffmpeg(what, inspect::decode_sound(path, lines)), control).await?;
    let file = std::fs::File::open(lines).map_err(MediaError::io(lines))?;
    let mut streams: BTreeMap<u32, (Rational, i64)> = BTreeMap::new();
    for line in BufReader::new(file).lines() {
        decoded_line(&line.map_err(MediaError::io(lines))?, &mut streams);
    }
    let lengths = streams.into_values().filter(|(_, ticks)| *ticks > 0);
    Ok(lengths.map(|(base, ticks)| micros(ticks, base)).collect())
}

/// `#tb STREAM: UNIT`, or `stream, dts, pts, duration, size, 0xchecksum`.
fn decoded_line(line: &str, streams: &mut BTreeMap<u32, (Rational, i64)>) {
    if let Some((stream, base)) = line.strip_prefix("#tb ").and_then(|rest| rest.split_once(':')) {
        let base = base.trim().parse::<Rational>().ok().map(|base| (base, 0));
        streams.extend(stream.trim().parse().ok().zip(base));
        return;
    }
    let mut fields = line.split(',').map(str::trim);
    let stream = fields.next().and_then(|stream| stream.parse::<u32>().ok());
    let length = fields.nth(2).and_then(|length| length.parse::<i64>().ok());
    if let (Some(entry), Some(length)) = (stream.and_then(|stream| streams.get_mut(&stream)), length) {
        entry.1 += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(packets: u64, first: i64, end: i64) -> Counted {
        Counted {
            packets,
            span: Some((first, end)),
            covered: end - first,
            rate: 44_100,
            ..Counted::default()
        }
    }

    #[test]
    fn sound_that_is_missing_is_found() {
        let source = [counted(100, 0, 10_000_000)];
        let made = [counted(431, -21_000, 10_005_000)];
        let compared = |made: &[Counted], written: &[Counted], source: &[Counted]| {
            compare(made, written, source, AudioCodec::Aac, 250_000)
        };
        let good = compared(&made, &made, &source).unwrap();
        assert_eq!((good[0].packets, good[0].missing_us, good[0].source_end_us), (431, 0, Some(10_000_000)));
        let say =
            |written: &[Counted], made: &[Counted]| compared(made, written, &source).unwrap_err().to_string();
        assert!(say(&[], &made).contains("0 streams where the source has 1"));
        assert!(say(&[counted(430, -21_000, 10_005_000)], &made).contains("430 packets of 431"));
        let long = [counted(450, -21_000, 10_400_000)];
        assert!(say(&long, &long).contains("10.421 s long and the source's 10.000 s"));
        // The middle is gone: first and last are where they were.
        let hole = [counted(300, -21_000, 10_005_000)];
        assert_eq!(compared(&hole, &hole, &source).unwrap()[0].missing_us, 10_000_000 - 6_965_986);
        assert!(compare_decoded(&[10_000_000], &[10_050_000], 250_000).is_ok());
        assert!(compare_decoded(&[10_000_000], &[9_000_000], 250_000).is_err());
        // Without times there are packets to count still.
        let untimed = [Counted { without_time: true, ..source[0] }];
        assert_eq!(compared(&made, &made, &untimed).unwrap()[0].source_end_us, None);
    }

    #[test]
    fn times_that_go_back_are_seen() {
        let mut counted = Counted::default();
        for time in [0, 20_000, 40_000, 39_000, 60_000] {
            counted.push(Some(time), Some(20_000));
        }
        assert_eq!((counted.back_at, counted.span_us()), (None, Some(80_000)));
        counted.push(Some(3_000_000), None);
        counted.push(Some(0), Some(20_000));
        assert_eq!((counted.back_at, counted.without_length), (Some(3_000_000), 1));
    }

    #[test]
    fn lines_of_decoded_sound() {
        let mut streams = BTreeMap::new();
        for line in [
            "#software: Lavf59.27.100",
            "#tb 0: 1/44100",
            "#sample_rate 0: 44100",
            "0,        132,        132,     1020,     2040, 0x1f2e3d4c",
            "0,       1152,       1152,     1152,     2304, 0x1f2e3d4c",
        ] {
            decoded_line(line, &mut streams);
        }
        let (base, ticks) = streams[&0];
        assert_eq!((ticks, micros(ticks, base)), (2172, 49_251));
    }
}
