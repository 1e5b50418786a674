//! Whether a result that is sound alone has all the sound that it should: packets counted and timed, and on demand decoded. It must
//! not know how the sound was made.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

use kinora_protocol::Rational;
use kinora_protocol::recipe::Verify;
use kinora_protocol::task::{PackageSpec, SoundCheck};

use crate::command::inspect;
use crate::error::MediaError;
use crate::index::Records;
use crate::package::Inputs;
use crate::process::{self, Control, Invocation, LineMeans};
use crate::tools::Tools;

/// By how much the sound of a result may be longer or shorter than the source's: the longest packets of usual codecs take 120 ms,
/// and encoders start with up to 50 ms of silence.
const TOLERANCE_US: i64 = 250_000;

/// Packets of a stream, and the times of the first and the last in microseconds, where all have one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counted {
    packets: u64,
    span: Option<(i64, i64)>,
    untimed: bool,
}

impl Counted {
    fn push(&mut self, time: Option<i64>) {
        self.packets += 1;
        let Some(time) = time else {
            self.untimed = true;
            return;
        };
        let (first, last) = self.span.unwrap_or((time, time));
        self.span = Some((first.min(time), last.max(time)));
    }

    fn span_us(&self) -> Option<i64> {
        let (first, last) = self.span.filter(|_| !self.untimed)?;
        Some(last - first)
    }
}

/// Compares the sound of a result with what it was made from.
///
/// # Errors
/// [`MediaError::NotExact`] when packets are missing or too many, or when it is shorter or longer than the source's.
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
    let written = packets(tools, part, control).await?;
    let made = match inputs.audio {
        Some(encoded) => packets(tools, encoded, control).await?,
        None => source.clone(),
    };
    compare(&made, &written, &source)?;
    let decoded = match spec.settled.verify {
        Verify::Full => {
            let lines = scratch.join("sound.crc");
            let before = decode(tools, inputs.source, &lines, control).await?;
            let after = decode(tools, part, &lines, control).await?;
            compare_decoded(&before, &after)?;
            after.into_iter().map(Some).collect()
        }
        Verify::Fast | Verify::Off => vec![None; written.len()],
    };
    let checks = written.iter().zip(decoded).map(|(counted, decoded_us)| SoundCheck {
        packets: counted.packets,
        span_us: counted.span_us().unwrap_or(0),
        decoded_us,
    });
    Ok(checks.collect())
}

fn compare(made: &[Counted], written: &[Counted], source: &[Counted]) -> Result<(), MediaError> {
    let wrong = |reason: String| Err(MediaError::not_exact("the sound of the result", reason));
    if written.len() != source.len() || written.is_empty() {
        return wrong(format!("{} streams where the source has {}", written.len(), source.len()));
    }
    for (n, ((made, written), source)) in made.iter().zip(written).zip(source).enumerate() {
        if written.packets != made.packets || written.packets == 0 {
            return wrong(format!("stream {n} has {} packets of {}", written.packets, made.packets));
        }
        // Not every container has times: there is nothing to compare with then.
        let (Some(have), Some(had)) = (written.span_us(), source.span_us()) else { continue };
        if (have - had).abs() > TOLERANCE_US {
            return wrong(format!("stream {n} is {} long and the source's {}", seconds(have), seconds(had)));
        }
    }
    Ok(())
}

fn compare_decoded(before: &[i64], after: &[i64]) -> Result<(), MediaError> {
    let what = "the decoded sound of the result";
    if before.len() != after.len() {
        let reason = format!("{} streams where the source has {}", after.len(), before.len());
        return Err(MediaError::not_exact(what, reason));
    }
    match before.iter().zip(after).enumerate().find(|(_, (a, b))| (*a - *b).abs() > TOLERANCE_US) {
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
    let invocation = Invocation {
        what: format!("checking {}", path.display()),
        program: tools.ffprobe.clone(),
        args: inspect::sound_packets(path),
    };
    let mut ticks: BTreeMap<u32, Counted> = BTreeMap::new();
    let mut bases: BTreeMap<u32, Rational> = BTreeMap::new();
    let mut take = |section: &str, fields: &BTreeMap<String, String>| {
        let number = |name: &str| fields.get(name)?.parse::<u32>().ok();
        match section {
            "packet" => {
                let Some(stream) = number("stream_index") else { return };
                let time = fields.get("pts").and_then(|pts| pts.parse().ok());
                ticks.entry(stream).or_default().push(time);
            }
            "stream" => {
                let base = fields.get("time_base").and_then(|base| base.parse().ok());
                bases.extend(number("index").zip(base));
            }
            _ => {}
        }
    };
    let mut records = Records::default();
    process::run_lines(&invocation, control, |line| {
        records.line(line, &mut take);
        LineMeans::Movement
    })
    .await?;
    records.end(&mut take);
    let counted = bases.into_iter().map(|(stream, base)| {
        let found = ticks.get(&stream).copied().unwrap_or_default();
        Counted { span: found.span.map(|(first, last)| (micros(first, base), micros(last, base))), ..found }
    });
    Ok(counted.collect())
}

fn micros(ticks: i64, base: Rational) -> i64 {
    let us = i128::from(ticks) * i128::from(base.num()) * 1_000_000 / i128::from(base.den().max(1));
    i64::try_from(us).unwrap_or(i64::MAX)
}

/// Decodes all sound streams; microseconds of samples of each.
async fn decode(tools: &Tools, path: &Path, lines: &Path, control: &Control) -> Result<Vec<i64>, MediaError> {
    let args = inspect::decode_sound(path, lines);
    let what = format!("decoding the sound of {}", path.display());
    process::run(&Invocation { what, program: tools.ffmpeg.clone(), args }, control).await?;
    let file = std::fs::File::open(lines).map_err(MediaError::io(lines))?;
    let mut streams: BTreeMap<u32, (Rational, i64)> = BTreeMap::new();
    for line in BufReader::new(file).lines() {
        decoded_line(&line.map_err(MediaError::io(lines))?, &mut streams);
    }
    Ok(streams.into_values().map(|(base, ticks)| micros(ticks, base)).collect())
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

    fn counted(packets: u64, first: i64, last: i64) -> Counted {
        Counted { packets, span: Some((first, last)), untimed: false }
    }

    #[test]
    fn sound_that_is_missing_is_found() {
        let source = [counted(100, 0, 10_000_000)];
        let made = [counted(469, -21_000, 10_005_000)];
        assert!(compare(&made, &made, &source).is_ok());
        let say =
            |written: &[Counted], made: &[Counted]| compare(made, written, &source).unwrap_err().to_string();
        assert!(say(&[], &made).contains("0 streams where the source has 1"));
        assert!(say(&[counted(468, -21_000, 10_005_000)], &made).contains("468 packets of 469"));
        let short = [counted(440, -21_000, 9_400_000)];
        assert!(say(&short, &short).contains("9.421 s long and the source's 10.000 s"));
        let none = [Counted::default()];
        assert!(say(&none, &none).contains("0 packets"));
        assert!(compare_decoded(&[10_000_000], &[10_050_000]).is_ok());
        assert!(compare_decoded(&[10_000_000], &[9_000_000]).is_err());
        // Without times there are packets to count still.
        let untimed = [Counted { untimed: true, ..source[0] }];
        assert!(compare(&made, &made, &untimed).is_ok());
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
