//! The heart of the product, one row per clip: what comes out of a split run is what an unsplit run gives. Clips are made for
//! every trap we know; real ones are used where they are. It knows the command line and nothing of what is behind it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use kinora_testkit::clips::{self, Clip, Container, Feature};
use kinora_testkit::ffmpeg;
use kinora_testkit::reference::{
    self, AudioRules, Decode, Origin, Passthrough, Rotation, Tag, TagRules, VideoRules,
};
use libtest_mimic::{Arguments, Failed, Trial};

/// Lossy encoders with B-frames or hidden frames, quick settings.
const LOSSY: [(&str, &[&str]); 4] = [
    ("libx264", &["--crf", "30", "--preset", "veryfast"]),
    ("libx265", &["--crf", "34", "--preset", "superfast"]),
    ("libsvtav1", &["--crf", "50", "--preset", "12"]),
    ("libvpx-vp9", &["--crf", "45", "--preset", "8"]),
];

/// With more threads ffmpeg itself shows other pictures at each decode of a damaged stream.
const ONE_THREAD: [&str; 2] = ["-threads", "1"];

fn main() -> Result<std::process::ExitCode> {
    let arguments = Arguments::from_args();
    let mut rows: Vec<(&str, Clip)> = Vec::new();
    rows.extend(clips::all()?.into_iter().map(|clip| ("made", clip)));
    rows.extend(clips::shared().unwrap_or_default().into_iter().map(|clip| ("real", clip)));
    let mut trials = Vec::new();
    for (origin, clip) in rows {
        let row = clip.clone();
        trials.push(test(format!("{origin}::{}::lossless", clip.name), move || lossless(&row)));
        // Rows take turns through the encoders, or a run would take an hour; with the variable set each takes all.
        let sum = clip.name.bytes().map(usize::from).sum::<usize>();
        let (turn, next) = (sum % LOSSY.len(), (sum + 1) % LOSSY.len());
        let all = std::env::var_os("KINORA_TEST_ALL_ENCODERS").is_some();
        for (n, (encoder, settings)) in LOSSY.into_iter().enumerate() {
            // The clock of this encoder is the coarse one.
            let must = clip.has(Feature::FineClock) && encoder == "libvpx-vp9";
            if !(all || must || n == turn || (origin == "made" && n == next)) {
                continue;
            }
            let row = clip.clone();
            trials.push(test(format!("{origin}::{}::{encoder}", clip.name), move || {
                lossy(&row, encoder, settings)
            }));
        }
    }
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}

fn test(name: String, run: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    Trial::test(name, move || run().map_err(|error| Failed::from(format!("{error:#}"))))
}

struct Run {
    json: serde_json::Value,
    proof: serde_json::Value,
}

fn kinora(clip: &Clip, out: &Path, flags: &[&str]) -> Result<Run> {
    let proof = out.with_extension("proof.json");
    let output = Command::new(env!("CARGO_BIN_EXE_kinora"))
        .arg("encode")
        .args([clip.path.as_path(), out])
        .args(["--chunk-seconds", "2", "--jobs", "2", "--json", "--proof"])
        .arg(&proof)
        .args(flags)
        .output()?;
    if !output.status.success() {
        bail!("kinora {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let proof = serde_json::from_str(&std::fs::read_to_string(proof)?)?;
    let run = Run { json: serde_json::from_slice(&output.stdout).context("the summary")?, proof };
    ensure!(run.json["verified"] == true, "not verified: {}", run.json);
    if !clip.is_damaged() {
        ensure!(
            run.json["notes"].as_array().is_some_and(|n| n.iter().all(|n| !says_redone(n))),
            "{}",
            run.json
        );
    }
    Ok(run)
}

/// A sound clip must not need a second attempt: the planned window holds all that is needed.
fn says_redone(note: &serde_json::Value) -> bool {
    note.as_str().is_some_and(|n| n.contains("flagged") || n.contains("damaged"))
}

fn expected_chunks(clip: &Clip) -> Result<u64> {
    let times = reference::frames(&clip.path, &Decode { origin: Origin::FirstFrame, ..Decode::default() })?;
    let seconds = times.last().context("no frames")?.seconds();
    // At the least one cut per four seconds: cuts move to scene changes, and a source may have few places to cut.
    Ok(if clip.has(Feature::MissingPts) { 1 } else { (seconds / 4.0) as u64 }.max(1))
}

fn rules(container: Container) -> VideoRules {
    let upright = Decode { rotation: Rotation::Apply, ..Decode::default() };
    VideoRules { decode_a: upright.clone(), decode_b: upright, ..VideoRules::same_container(container) }
}

/// In MP4 every picture, every tick, every audio sample; from the same chunks in Matroska the same within its millisecond.
fn lossless(clip: &Clip) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("state").display().to_string();
    let mut kept = 0;
    for container in [Container::Mp4, Container::Mkv] {
        let ours = folder.path().join(format!("ours.{}", container.extension()));
        // Odd sizes go to VP9, whose presets are numbers; all else to x264 or, above 8 bits, x265.
        let preset = if clip.has(Feature::OddSize) { "8" } else { "ultrafast" };
        let flags = ["--quality", "lossless", "--preset", preset, "--state-dir", &state, "--keep-state"];
        let run = kinora(clip, &ours, &flags)?;
        let chunks = run.json["chunks"].as_u64().context("chunks")?;
        ensure!(chunks >= expected_chunks(clip)?, "only {chunks} chunks");
        if container == Container::Mkv {
            // A chunk that had to be decoded from further back is another chunk, and is found out again.
            ensure!(
                clip.is_damaged() || run.json["reused_chunks"] == kept,
                "chunks are not reused: {}",
                run.json
            );
        }
        kept = chunks;
        let theirs = unsplit(clip, folder.path(), container)?;
        reference::compare_video(&theirs, &ours, &rules(container))?;
        reference::compare_audio(&theirs, &ours, &AudioRules::same_container(container))?;
        compare_tags(&theirs, &ours, container)?;
        compare_look(&clip.path, &ours)?;
        check_proof(clip, &run)?;
    }
    Ok(())
}

fn unsplit(clip: &Clip, folder: &Path, container: Container) -> Result<PathBuf> {
    let mut plan = Passthrough::lossless(&clip.path, container)?;
    // One quick encoder for both containers: FFV1, the usual one in Matroska, takes most of the time of a row.
    plan.video = reference::lossless(&clip.path, Container::Mp4)?;
    plan.rotation = Rotation::Apply;
    if clip.is_damaged() {
        plan.input = ONE_THREAD.map(str::to_owned).to_vec();
    }
    if clip.has(Feature::MissingPts) {
        plan.input = vec!["-fflags".to_owned(), "+genpts".to_owned()];
    }
    reference::passthrough(&clip.path, folder, &plan)
}

fn compare_tags(theirs: &Path, ours: &Path, container: Container) -> Result<()> {
    let mut rules = TagRules { time_slack_millis: 1, ..TagRules::default() };
    // The reference may use another lossless encoder, whose streams are described otherwise.
    rules.ignored.extend([Tag::Streams, Tag::Picture, Tag::SideData, Tag::CreationTime, Tag::FileTags]);
    // Colour and HDR are compared with the source itself: encoders differ in what they say unasked.
    rules.ignored.extend([Tag::Colour, Tag::Hdr]);
    // Interlaced pictures are coded as whole frames by most lossless encoders, and Matroska then knows no field order.
    rules.ignored.insert(Tag::FieldOrder);
    if container == Container::Mp4 {
        rules.ignored.insert(Tag::Attachments);
    }
    Ok(reference::compare_tags(theirs, ours, &rules)?)
}

/// What the source says of its colours and its HDR, the result says, too.
fn compare_look(source: &Path, ours: &Path) -> Result<()> {
    let (source, ours) = (reference::tags(source)?, reference::tags(ours)?);
    for (tag, of) in [(Tag::Colour, "colour"), (Tag::Hdr, "HDR")] {
        let got = ours.group(tag);
        for (name, value) in source.group(tag) {
            // Limited range is what a stream means that says nothing of its range.
            let unsaid = name.ends_with("color_range") && value == "tv" && ours.get(tag, &name).is_none();
            let same = unsaid || got.iter().any(|(n, v)| *n == name && same_value(v, &value));
            ensure!(same, "{of}: {name} is {value} in the source, here {:?}", ours.get(tag, &name));
        }
    }
    Ok(())
}

/// Equal, or the same number in another codec's fixed point: HEVC counts chromaticity in 1/50000, AV1 in 1/65536.
fn same_value(a: &str, b: &str) -> bool {
    let number = |text: &str| {
        let (num, den) = text.split_once('/')?;
        Some(num.parse::<f64>().ok()? / den.parse::<f64>().ok()?)
    };
    a == b || number(a).zip(number(b)).is_some_and(|(a, b)| (a - b).abs() <= 1e-4 * b.abs().max(1.0))
}

/// The proof counts what is there.
fn check_proof(clip: &Clip, run: &Run) -> Result<()> {
    let frames = reference::frame_count(&clip.path)?;
    let proof = &run.proof;
    ensure!(run.json["frames"] == frames, "{} frames reported, {frames} decode", run.json["frames"]);
    ensure!(proof["output"]["packets"] == frames && proof["source"]["decoded_frames"] == frames, "{proof}");
    let chunks = proof["chunks"].as_array().context("chunks")?;
    let counted: u64 = chunks.iter().filter_map(|c| c["counted"].as_u64()).sum();
    ensure!(counted == frames, "{counted} frames counted, {frames} decode");
    for pair in chunks.windows(2) {
        ensure!(pair[0]["seam"] != false, "a seam differs: {proof}");
        ensure!(pair[0]["frames"]["end"] == pair[1]["frames"]["start"], "{proof}");
        ensure!(pair[0]["ticks"][1] == pair[1]["ticks"][0], "{proof}");
    }
    Ok(())
}

/// Lossy: as many frames at the same times as an unsplit run, and what went into the encoders were the source's pictures.
fn lossy(clip: &Clip, encoder: &str, settings: &[&str]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    // Odd sizes go where they can; elsewhere a clear error is right and tested with the other errors.
    if clip.has(Feature::OddSize) && encoder != "libvpx-vp9" {
        return Ok(());
    }
    let ours = folder.path().join("ours.mp4");
    let mut flags = vec!["--encoder", encoder];
    flags.extend(settings);
    let run = kinora(clip, &ours, &flags)?;
    check_proof(clip, &run)?;
    let upright = Decode { rotation: Rotation::Apply, ..Decode::default() };
    let theirs = unsplit(clip, folder.path(), Container::Mp4)?;
    let (want, got) = (reference::frames(&theirs, &upright)?, reference::frames(&ours, &upright)?);
    ensure!(want.len() == got.len(), "{} frames, {} in an unsplit run", got.len(), want.len());
    for (n, (want, got)) in want.iter().zip(&got).enumerate() {
        let same = i128::from(want.pts_ticks) * i128::from(want.time_base.0) * i128::from(got.time_base.1)
            == i128::from(got.pts_ticks) * i128::from(got.time_base.0) * i128::from(want.time_base.1);
        ensure!(same, "frame {n} is at {got:?}, in an unsplit run at {want:?}");
    }
    same_pictures_went_in(clip, &run, folder.path())
}

/// The checksums in the proof are those of one decode of the whole source, made without Kinora.
fn same_pictures_went_in(clip: &Clip, run: &Run, folder: &Path) -> Result<()> {
    let lines = folder.join("source.crc");
    let mut decode = ffmpeg::ffmpeg();
    decode.args(["-max_error_rate", "1", "-copyts"]);
    if clip.is_damaged() {
        decode.args(ONE_THREAD);
    }
    if clip.has(Feature::MissingPts) {
        decode.args(["-fflags", "+genpts"]);
    }
    decode.arg("-i").arg(ffmpeg::file_arg(&clip.path)).args(["-map", "0:v:0", "-fps_mode", "passthrough"]);
    ffmpeg::output(decode.args(["-f", "framecrc"]).arg(ffmpeg::file_arg(&lines)))?;
    let text = std::fs::read_to_string(lines)?;
    let mut frames = text.lines().filter(|l| !l.starts_with('#')).map(|line| -> Result<(u64, u32)> {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        Ok((fields[4].parse()?, u32::from_str_radix(fields[5].trim_start_matches("0x"), 16)?))
    });
    for (n, chunk) in run.proof["chunks"].as_array().context("chunks")?.iter().enumerate() {
        let mut hasher = blake3::Hasher::new();
        for _ in 0..chunk["counted"].as_u64().context("counted")? {
            let (size, checksum) = frames.next().context("fewer frames decode")??;
            hasher.update(&size.to_le_bytes()).update(&checksum.to_le_bytes());
        }
        let sum = hasher.finalize().to_hex().to_string();
        ensure!(chunk["source_hash"] == sum.as_str(), "chunk {n}: other pictures than the source's went in");
    }
    ensure!(frames.next().is_none(), "more frames decode than went in");
    Ok(())
}
