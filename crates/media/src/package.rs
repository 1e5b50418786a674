//! The final container: muxed, checked packet by packet against the plan, made durable. Where it is put is the hub's
//! business: nothing is at the output's name before the checks hold and are accepted.

use std::path::{Path, PathBuf};

use kinora_plan::digest::TimesDigest;
use kinora_plan::time;
use kinora_protocol::encode::VideoWork;
use kinora_protocol::recipe::{Container, Verify};
use kinora_protocol::task::{PackageOutput, PackageSpec, TimesCheck};

use crate::command::inspect as command;
use crate::command::package::{self, PackagePaths};
use crate::encode::{blocking, is_written, settle};
use crate::error::MediaError;
use crate::fragments;
use crate::hls;
use crate::inspect::{self, PicturesDigest, Written};
use crate::process::{self, Control};
use crate::sound;
use crate::tools::Tools;

/// Inputs of a package, as files.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Joined video.
    pub video: Option<&'a Path>,
    /// Encoded sound.
    pub audio: Option<&'a Path>,
    /// The source.
    pub source: &'a Path,
}

/// Muxes into `out` and checks. It is durable then, and still to be given its name.
///
/// # Errors
/// See [`MediaError`]; the unfinished file is removed.
pub async fn package(
    tools: &Tools,
    spec: &PackageSpec,
    inputs: Inputs<'_>,
    scratch: &Path,
    out: &Path,
    control: &Control,
) -> Result<PackageOutput, MediaError> {
    let made = match spec.settled.container {
        Container::Hls => hls::package(tools, spec, inputs, scratch, out, control).await,
        _ => checked(tools, spec, inputs, scratch, out, control).await,
    };
    made.inspect_err(|_| {
        let _ = std::fs::remove_file(out);
    })
}

async fn checked(
    tools: &Tools,
    spec: &PackageSpec,
    inputs: Inputs<'_>,
    scratch: &Path,
    part: &Path,
    control: &Control,
) -> Result<PackageOutput, MediaError> {
    let what = "writing the result";
    let chapters = chapters(spec, scratch)?;
    let paths = PackagePaths {
        video: inputs.video,
        audio: inputs.audio,
        source: inputs.source,
        chapters: chapters.as_deref(),
        out: part,
    };
    let args = package::mux(spec, paths, tools.version);
    process::run(&tools.ffmpeg(what, args), control).await?;
    if !is_written(part) {
        return Err(MediaError::not_exact(what, "ffmpeg said it succeeded but wrote no file"));
    }
    let verify = spec.settled.verify;
    let (checked, settled) =
        tokio::join!(count(tools, spec, inputs.video, part, control), settle(part, control));
    let ((packets, times_checked), (size, digest)) = (checked?, settled?);
    if packets != spec.frames {
        let reason = format!("{packets} video packets where {} were planned", spec.frames);
        return Err(MediaError::not_exact("the result", reason));
    }
    let decoded = match verify {
        Verify::Full if spec.settled.video != VideoWork::None => {
            Some(decode(tools, spec, scratch, part, control).await?)
        }
        Verify::Full | Verify::Fast | Verify::Off => None,
    };
    let sound = match spec.settled.video {
        VideoWork::Encode(_) | VideoWork::Copy => Vec::new(),
        VideoWork::None => sound::check(tools, spec, inputs, scratch, part, control).await?,
    };
    Ok(PackageOutput { packets, times_checked, decoded, sound, size, digest })
}

/// A file with the chapters, where they are not the source's.
fn chapters(spec: &PackageSpec, scratch: &Path) -> Result<Option<PathBuf>, MediaError> {
    let Some(last) = spec.chapters.last() else { return Ok(None) };
    let end = spec.facts.duration_us.unwrap_or(0).max(last + 1_000_000);
    let path = scratch.join("chapters");
    std::fs::write(&path, package::chapters(&spec.chapters, end)).map_err(MediaError::io(&path))?;
    Ok(Some(path))
}

/// Counts the packets of the result and compares their times.
async fn count(
    tools: &Tools,
    spec: &PackageSpec,
    joined: Option<&Path>,
    part: &Path,
    control: &Control,
) -> Result<(u64, TimesCheck), MediaError> {
    if spec.settled.verify == Verify::Off {
        return Ok((spec.frames, TimesCheck::Skipped));
    }
    let written = inspect::written(tools, part, control).await?;
    let checked = check_times(spec, joined, &written).await?;
    Ok((written.times.len() as u64, checked))
}

/// Whether every packet of the result has the time that its chunk was checked to have.
async fn check_times(
    spec: &PackageSpec,
    joined: Option<&Path>,
    written: &Written,
) -> Result<TimesCheck, MediaError> {
    let Some(joined) = joined else { return Ok(TimesCheck::Skipped) };
    let hz = package::out_hz(spec);
    let guard = time::GUARD_SECONDS * hz;
    match spec.settled.container {
        Container::Mp4 | Container::Mov | Container::Hls | Container::M4a => {
            let base = written.time_base.map_or_else(|| "unknown".to_owned(), |b| b.to_string());
            if base != format!("1/{hz}") {
                let reason = format!("its time base is {base}, planned was 1/{hz}");
                return Err(MediaError::not_exact("the result", reason));
            }
            check_chunks(spec, written.times.iter().map(|t| t + guard), "the result")?;
            Ok(TimesCheck::Exact)
        }
        // Matroska keeps milliseconds: the joined file is checked to the tick, the result against it.
        Container::Mkv | Container::Webm | Container::Mka | Container::Opus => {
            let joined = joined.to_owned();
            let held = blocking(move || fragments::read(&joined)).await?;
            if i64::from(held.hz) != hz {
                let reason = format!("its time base is 1/{}, planned was 1/{hz}", held.hz);
                return Err(MediaError::not_exact("the joined video", reason));
            }
            check_chunks(spec, held.times.iter().copied(), "the joined video")?;
            check_milliseconds(written, &held.times, guard, hz)?;
            Ok(TimesCheck::Millisecond)
        }
    }
}

/// Matroska has no edit list: its muxer moves all streams alike until the priming of the sound is not negative any more.
/// That one shift, up to this much, is taken off before times are compared.
const LARGEST_PRIMING_MS: i64 = 250;

fn check_milliseconds(written: &Written, ticks: &[i64], guard: i64, hz: i64) -> Result<(), MediaError> {
    let what = "the result's timestamps";
    let base = written.time_base.map_or((1, 1000), |b| (b.num(), b.den()));
    let ms = |time: i64| time::rescale(time, base.0 * 1000, base.1);
    let planned = |tick: i64| time::rescale(tick - guard, 1000, hz);
    let (Some(&first), Some(&first_tick)) = (written.times.first(), ticks.first()) else { return Ok(()) };
    let moved = ms(first) - planned(first_tick);
    if !(-1..=LARGEST_PRIMING_MS).contains(&moved) {
        let reason =
            format!("the first frame is at {} ms, planned was {} ms", ms(first), planned(first_tick));
        return Err(MediaError::not_exact(what, reason));
    }
    for (n, (&got, &want)) in written.times.iter().zip(ticks).enumerate() {
        if (ms(got) - moved - planned(want)).abs() > 1 {
            let reason = format!("frame {n} is at {} ms, planned was {} ms", ms(got) - moved, planned(want));
            return Err(MediaError::not_exact(what, reason));
        }
    }
    Ok(())
}

pub(crate) fn check_chunks(
    spec: &PackageSpec,
    mut times: impl Iterator<Item = i64>,
    what: &str,
) -> Result<(), MediaError> {
    for (ordinal, chunk) in spec.chunks.iter().enumerate() {
        let mut digest = TimesDigest::default();
        let mut first = None;
        for _ in 0..chunk.packets {
            let Some(time) = times.next() else {
                return Err(MediaError::not_exact(what, format!("packets of chunk {ordinal} are missing")));
            };
            first = first.or(Some(time));
            digest.push(time);
        }
        if digest.finish() != chunk.times {
            let at = first.unwrap_or(0);
            let reason = format!("the timestamps of chunk {ordinal} (from tick {at}) are not as planned");
            return Err(MediaError::not_exact(what, reason));
        }
    }
    match times.next() {
        None => Ok(()),
        Some(time) => Err(MediaError::not_exact(what, format!("a packet too many, at tick {time}"))),
    }
}

/// Decodes the whole result; compares pictures where the encode was lossless.
pub(crate) async fn decode(
    tools: &Tools,
    spec: &PackageSpec,
    scratch: &Path,
    part: &Path,
    control: &Control,
) -> Result<u64, MediaError> {
    let what = "decoding the result";
    let lines = scratch.join("decoded.crc");
    let args = command::decode(part, tools.passthrough(), &lines);
    process::run(&tools.ffmpeg(what, args), control).await?;
    let mut chunks = spec.chunks.iter();
    let mut current = chunks.next();
    let (mut count, mut in_chunk, mut wrong) = (0_u64, 0_u64, None);
    let mut pictures = PicturesDigest::default();
    inspect::each_frame(&lines, |frame| {
        count += 1;
        let Some(chunk) = current else { return };
        pictures.push(&frame);
        in_chunk += 1;
        if in_chunk == chunk.packets {
            if chunk.pictures.as_ref().is_some_and(|p| pictures.finish() != *p) && wrong.is_none() {
                wrong = Some(count - in_chunk..count);
            }
            (in_chunk, pictures, current) = (0, PicturesDigest::default(), chunks.next());
        }
    })?;
    if let Some(range) = wrong {
        let reason = format!("a picture of frames {}..{} differs from the source", range.start, range.end);
        return Err(MediaError::not_exact("the decoded result", reason));
    }
    if count != spec.frames {
        let reason = format!("{count} frames decode where {} were planned", spec.frames);
        return Err(MediaError::not_exact("the decoded result", reason));
    }
    Ok(count)
}
