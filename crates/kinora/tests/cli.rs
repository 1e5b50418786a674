//! What the command line promises: words, keys, exit statuses, and that each flag does to the result what it says. Results are
//! measured with ffmpeg alone. It must not know how any of it is done.
#![cfg(unix)]

mod support;

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use kinora_testkit::ffmpeg;
use kinora_testkit::reference::{self, FrameTimes, compare_frames, packets};
use serde_json::Value;
use support::{Place, Run, decoded, kinora, run, same_frames, same_frames_within, short, video_entry};

fn says(args: &[&str]) -> Result<Run> {
    run(kinora().args(args))
}

/// `kinora encode <short> <place>/OUTPUT --json flags`; its summary.
fn encoded(place: &Place, output: &str, flags: &[&str]) -> Result<Value> {
    run(place.encode(&short()?, output, flags).arg("--json"))?.done()
}

const QUICK: [&str; 4] = ["--preset", "ultrafast", "--chunk-seconds", "1"];
const LOSSLESS: [&str; 6] = ["--quality", "lossless", "--preset", "ultrafast", "--chunk-seconds", "1"];

fn with<'a>(some: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [some, more].concat()
}

const ENCODE_FLAGS: &[&str] = &[
    "--codec",
    "--encoder",
    "--crf",
    "--bitrate",
    "--quality",
    "--preset",
    "--scale",
    "--fps",
    "--ffmpeg-params",
    "--audio",
    "--audio-bitrate",
    "--container",
    "--chunk-seconds",
    "--jobs",
    "--max-attempts",
    "--stall-timeout",
    "--verify",
    "--proof",
    "--state-dir",
    "--keep-state",
    "--recipe",
    "--json",
];
const COMMANDS: &[(&str, &[&str])] = &[
    ("encode", ENCODE_FLAGS),
    ("probe", &["--json"]),
    ("doctor", &["--json"]),
    ("completions", &["bash", "zsh", "fish"]),
    ("man", &[]),
];
const GLOBAL: &[&str] = &["--ffmpeg", "--verbose", "--quiet", "--help"];

#[test]
fn help_man_and_completions_name_every_flag() -> Result<()> {
    let top = says(&["--help"])?;
    let man = says(&["man"])?;
    ensure!(top.code == Some(0) && man.code == Some(0), "{top:?} {man:?}");
    let man = man.stdout.replace("\\-", "-");
    for (command, flags) in COMMANDS {
        ensure!(top.stdout.contains(&format!("\n  {command} ")), "{command}: {top:?}");
        ensure!(man.contains(&format!(".TH kinora-{command} 1")), "the manual has no page of {command}");
        let help = says(&[command, "--help"])?;
        ensure!(help.code == Some(0) && help.stderr.is_empty(), "{help:?}");
        for flag in flags.iter().chain(GLOBAL) {
            ensure!(help.stdout.contains(flag), "{command} --help does not name {flag}");
            ensure!(man.contains(flag), "the manual does not name {flag}");
        }
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = says(&["completions", shell])?;
        ensure!(script.code == Some(0) && script.stderr.is_empty(), "{script:?}");
        for (command, flags) in COMMANDS {
            for word in flags.iter().filter(|flag| flag.starts_with("--")).chain([command]) {
                let word = word.trim_start_matches('-');
                ensure!(script.stdout.contains(word), "{shell} does not complete {word}");
            }
        }
    }
    Ok(())
}

#[test]
fn unknown_words_are_refused_with_help() -> Result<()> {
    for args in [
        &["encode", "a.mp4"][..],
        &["encode", "a", "b", "--no-such"],
        &["dance"],
        &["encode", "a", "b", "--jobs=0"],
    ] {
        let refused = says(args)?;
        ensure!(refused.code == Some(2) && refused.stdout.is_empty(), "{refused:?}");
        ensure!(refused.stderr.starts_with("error: ") && refused.stderr.contains("--help"), "{refused:?}");
    }
    let two = says(&["encode", "a", "b", "--crf", "20", "--bitrate", "1M"])?;
    ensure!(two.code == Some(2) && two.stderr.contains("cannot be used with"), "{two:?}");
    Ok(())
}

/// `head` reads a few lines and goes: that is no crash.
#[test]
fn a_reader_that_goes_is_no_crash() -> Result<()> {
    for args in [&["man"][..], &["completions", "bash"], &["doctor"], &["--help"]] {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let ended = run(kinora().args(args).stdout(Stdio::from(writer)))?;
        ensure!(!ended.stderr.contains("panicked"), "{args:?}: {ended:?}");
    }
    Ok(())
}

#[test]
fn probe_counts_frames() -> Result<()> {
    let clip = support::eight()?;
    let probed = run(kinora().arg("probe").arg(&clip).arg("--json"))?.done()?;
    ensure!(probed["video"]["frames"] == 200, "{probed}");
    ensure!(probed["video"]["key_frames"] == 8, "{probed}");
    ensure!(probed["video"]["seconds"] == 8.0, "{probed}");
    ensure!(probed["video"]["variable_frame_rate"] == false, "{probed}");
    ensure!(probed["video"]["layout"] == "mp4", "{probed}");
    ensure!(probed["facts"]["streams"].as_array().context("streams")?.len() == 2, "{probed}");
    let plain = run(kinora().arg("probe").arg(&clip))?;
    ensure!(plain.code == Some(0) && plain.stdout.contains("200 frames in 8.000 s"), "{plain:?}");
    ensure!(plain.stdout.contains("320x180"), "{plain:?}");
    let place = Place::new()?;
    for (name, bytes, reason) in
        [("empty.mp4", &[][..], "it is empty"), ("x.bin", &[7; 999], "not a media file")]
    {
        let refused = run(kinora().arg("probe").arg(place.file(name, bytes)?).arg("--json"))?;
        ensure!(refused.code == Some(1), "{refused:?}");
        ensure!(refused.stderr.contains(name) && refused.stderr.contains(reason), "{refused:?}");
        ensure!(refused.stdout.is_empty() || refused.json().is_ok(), "{refused:?}");
    }
    Ok(())
}

#[test]
fn doctor_tells_what_works() -> Result<()> {
    let report = says(&["doctor", "--json"])?.done()?;
    ensure!(report["problem"].is_null(), "{report}");
    ensure!(report["ffmpeg"].as_str().is_some_and(|f| f.starts_with("ffmpeg version")), "{report}");
    let encoders = report["encoders"].as_array().context("encoders")?;
    let x264 = encoders.iter().find(|e| e["name"] == "libx264").context("no libx264")?;
    ensure!(x264["works"] == true && x264["reason"].is_null(), "{x264}");
    for broken in encoders.iter().filter(|e| e["works"] == false) {
        ensure!(broken["reason"].as_str().is_some_and(|r| !r.is_empty()), "no reason: {broken}");
    }
    Ok(())
}

#[test]
fn doctor_tells_what_is_missing() -> Result<()> {
    let missing = says(&["doctor", "--ffmpeg", "/nonexistent"])?;
    ensure!(missing.code == Some(1), "{missing:?}");
    ensure!(missing.stdout.contains("missing") && missing.stdout.contains("/nonexistent"), "{missing:?}");
    ensure!(missing.stdout.contains("advice") && missing.stdout.contains("install"), "{missing:?}");
    let missing = says(&["doctor", "--ffmpeg", "/nonexistent", "--json"])?;
    ensure!(missing.code == Some(1), "{missing:?}");
    let report = missing.json()?;
    ensure!(report["problem"].as_str().is_some_and(|p| p.contains("/nonexistent")), "{report}");
    ensure!(!report["advice"].as_array().context("advice")?.is_empty(), "{report}");
    Ok(())
}

#[test]
fn the_summary_and_the_proof_keep_their_promises() -> Result<()> {
    let place = Place::new()?;
    let proof = place.at("proof.json").display().to_string();
    let result =
        run(place.encode(&short()?, "o.mp4", &with(&QUICK, &["--json", "--proof", &proof])).arg("--quiet"))?;
    ensure!(result.stderr.is_empty() && result.stdout.lines().count() == 1, "{result:?}");
    let summary = result.done()?;
    let mut keys: Vec<&str> = summary.as_object().context("no object")?.keys().map(String::as_str).collect();
    keys.sort_unstable();
    let promised = [
        "chunks",
        "encode_cpu_seconds",
        "frames",
        "input",
        "notes",
        "output",
        "output_bytes",
        "reused_chunks",
        "seconds",
        "sound_alone",
        "verified",
        "wall_seconds",
    ];
    ensure!(keys == promised, "{keys:?}");
    ensure!(summary["frames"] == 50 && summary["chunks"] == 2 && summary["reused_chunks"] == 0, "{summary}");
    ensure!(summary["verified"] == true && summary["notes"] == Value::Array(Vec::new()), "{summary}");
    ensure!(summary["input"] == short()?.display().to_string(), "{summary}");
    ensure!(summary["output"] == place.at("o.mp4").display().to_string(), "{summary}");
    ensure!(summary["output_bytes"] == std::fs::metadata(place.at("o.mp4"))?.len(), "{summary}");
    for key in ["wall_seconds", "encode_cpu_seconds"] {
        ensure!(summary[key].as_f64().is_some_and(|s| s > 0.0), "{key}: {summary}");
    }
    ensure!((summary["seconds"].as_f64().context("seconds")? - 2.0).abs() < 0.05, "{summary}");
    let proof: Value = serde_json::from_slice(&std::fs::read(proof)?)?;
    ensure!(proof["verified"] == true && proof["verify"] == "fast", "{proof}");
    same_shape("", &serde_json::from_str(include_str!("proof.example.json"))?, &proof)?;
    ensure!(proof["source"]["decoded_frames"] == 50 && proof["output"]["packets"] == 50, "{proof}");
    ensure!(proof["output"]["decoded"].is_null() && proof["output"]["times"] == "exact", "{proof}");
    ensure!(place.names()? == ["o.mp4", "proof.json"], "left: {:?}", place.names()?);
    Ok(())
}

#[test]
fn lines_in_a_pipe_are_plain() -> Result<()> {
    let place = Place::new()?;
    let result = run(&mut place.encode(&short()?, "o.mp4", &QUICK))?;
    ensure!(result.code == Some(0), "{result:?}");
    let plain = |text: &str| text.chars().all(|c| c == '\n' || !c.is_control());
    ensure!(plain(&result.stdout) && plain(&result.stderr), "{result:?}");
    ensure!(result.stderr.contains("kinora: 50 frames in 2 chunks\n"), "{result:?}");
    ensure!(result.stderr.lines().all(|line| line.starts_with("kinora: ")), "{result:?}");
    ensure!(result.stdout.contains("50 frames") && result.stdout.contains("2 chunks"), "{result:?}");
    ensure!(result.stdout.contains("verified"), "{result:?}");
    let quiet = run(&mut place.encode(&short()?, "q.mp4", &with(&QUICK, &["--quiet"])))?;
    ensure!(quiet.code == Some(0) && quiet.stderr.is_empty(), "--quiet shows progress: {quiet:?}");
    Ok(())
}

/// Bytes of a name that could drive a terminal do not reach it.
#[test]
fn names_cannot_write_on_the_terminal() -> Result<()> {
    let place = Place::new()?;
    let absent = place.at("a\u{1b}[31m\u{7}b\r.mp4");
    let refused = run(&mut place.encode(&absent, "o.mp4", &[]))?;
    ensure!(refused.code == Some(1), "{refused:?}");
    ensure!(!refused.stderr.trim_end().contains(char::is_control), "{refused:?}");
    let odd = place.at("it's \u{1b}[31m %d.mp4");
    std::fs::copy(short()?, &odd)?;
    let done = run(&mut place.encode(&odd, "o \u{1b}[32m ü.mp4", &QUICK))?;
    ensure!(done.code == Some(0), "{done:?}");
    ensure!(!done.stdout.contains('\u{1b}') && !done.stderr.contains('\u{1b}'), "{done:?}");
    ensure!(place.at("o \u{1b}[32m ü.mp4").is_file(), "left: {:?}", place.names()?);
    let probed = run(kinora().arg("probe").arg(&odd))?;
    ensure!(probed.code == Some(0) && !probed.stdout.contains('\u{1b}'), "{probed:?}");
    Ok(())
}

#[test]
fn a_recipe_file_says_what_flags_say() -> Result<()> {
    let place = Place::new()?;
    let recipe = "verify = \"fast\"\n[video]\ncodec = \"h264\"\ncrf = 33\npreset = \"ultrafast\"\nscale = \"160x90\"\n\
                  [audio]\ncodec = \"none\"\n[chunks]\nseconds = 1.0\n";
    let recipe = place.file("r.toml", recipe)?.display().to_string();
    encoded(&place, "recipe.mp4", &["--recipe", &recipe])?;
    let flags = ["--codec", "h264", "--crf", "33", "--scale", "160x90", "--audio", "none"];
    encoded(&place, "flags.mp4", &with(&QUICK, &flags))?;
    let bytes = |name: &str| std::fs::read(place.at(name));
    ensure!(decoded(&place.at("recipe.mp4"))? == decoded(&place.at("flags.mp4"))?, "other frames");
    ensure!(bytes("recipe.mp4")? == bytes("flags.mp4")?, "other bytes");
    encoded(&place, "over.mp4", &["--recipe", &recipe, "--scale", "80x46", "--quality", "low"])?;
    ensure!(video_entry(&place.at("over.mp4"), "width,height")? == "80,46", "a flag goes over the file");
    Ok(())
}

/// What plain ffmpeg makes of the clip at another rate, without splitting it.
fn plain_rate(place: &Place, rate: &str) -> Result<std::path::PathBuf> {
    let out = place.at("plain.mp4");
    let mut command = ffmpeg::ffmpeg();
    command.arg("-i").arg(ffmpeg::file_arg(&short()?)).args([
        "-an",
        "-vf",
        &format!("fps={rate}:round=near"),
    ]);
    command.args(["-c:v", "libx264", "-qp", "0", "-preset", "ultrafast"]).arg(&out);
    ffmpeg::output(&mut command)?;
    Ok(out)
}

fn rate(rate: &str) -> Result<()> {
    let place = Place::new()?;
    let plain = plain_rate(&place, rate)?;
    let fps = format!("--fps={rate}");
    for (name, seconds) in [("whole.mp4", "60"), ("split.mp4", "0.5")] {
        let flags = ["--quality", "lossless", "--preset", "ultrafast", "--audio", "none"];
        let summary = encoded(&place, name, &with(&flags, &[&fps, "--chunk-seconds", seconds]))?;
        ensure!((summary["chunks"] == 1) == (seconds == "60"), "{summary}");
        same_frames(&plain, &place.at(name)).with_context(|| format!("{name} at {rate}: {summary}"))?;
    }
    Ok(())
}

#[test]
fn more_frames_per_second() -> Result<()> {
    rate("30000/1001")
}

#[test]
fn fewer_frames_per_second() -> Result<()> {
    rate("12")
}

#[test]
fn scale_gives_the_size() -> Result<()> {
    let place = Place::new()?;
    for (scale, size) in [("160x90", "160,90"), ("90", "160,90"), ("100", "178,100"), ("200x200", "200,200")]
    {
        encoded(&place, "o.mp4", &with(&QUICK, &["--scale", scale]))?;
        ensure!(video_entry(&place.at("o.mp4"), "width,height")? == size, "--scale {scale}");
        ensure!(reference::frame_count(&place.at("o.mp4"))? == 50, "--scale {scale}");
    }
    // The shape of the picture stays: 200x200 of a 16:9 film has wide samples.
    ensure!(video_entry(&place.at("o.mp4"), "display_aspect_ratio")? == "16:9");
    Ok(())
}

fn payloads(path: &Path, stream: &str) -> Result<Vec<(Option<i64>, String)>> {
    Ok(packets(path, stream)?.into_iter().map(|p| (p.pts, p.data_hash)).collect())
}

#[test]
fn copies_keep_packets() -> Result<()> {
    let place = Place::new()?;
    let summary = encoded(&place, "o.mp4", &["--codec", "copy", "--audio", "copy"])?;
    ensure!(summary["frames"] == 50 && summary["chunks"] == 0 && summary["verified"] == true, "{summary}");
    for stream in ["v:0", "a:0"] {
        ensure!(payloads(&short()?, stream)? == payloads(&place.at("o.mp4"), stream)?, "{stream} is another");
    }
    same_frames(&short()?, &place.at("o.mp4"))?;
    let summary = encoded(&place, "o.mkv", &["--codec", "copy", "--audio", "copy"])?;
    ensure!(summary["verified"] == true, "{summary}");
    ensure!(reference::frame_count(&place.at("o.mkv"))? == 50);
    Ok(())
}

fn sound_codec(path: &Path) -> Result<String> {
    let mut command = ffmpeg::ffprobe();
    command.args(["-select_streams", "a", "-show_entries", "stream=codec_name", "-of", "csv=p=0"]);
    let text = ffmpeg::output(command.arg(ffmpeg::file_arg(path)))?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

#[test]
fn sound_as_asked() -> Result<()> {
    let place = Place::new()?;
    for (audio, codec) in [("none", ""), ("copy", "aac"), ("opus", "opus"), ("aac", "aac")] {
        encoded(&place, "o.mp4", &with(&QUICK, &["--audio", audio]))?;
        ensure!(sound_codec(&place.at("o.mp4"))? == codec, "--audio {audio}");
        if audio == "copy" {
            let sound =
                |path: &Path| Ok::<_, anyhow::Error>(packets(path, "a:0")?.into_iter().map(|p| p.data_hash));
            ensure!(sound(&short()?)?.eq(sound(&place.at("o.mp4"))?), "other packets");
        }
    }
    Ok(())
}

#[test]
fn checks_as_asked() -> Result<()> {
    let place = Place::new()?;
    let proof = place.at("proof.json").display().to_string();
    let read = || Ok::<Value, anyhow::Error>(serde_json::from_slice(&std::fs::read(&proof)?)?);
    let full = encoded(&place, "full.mp4", &with(&LOSSLESS, &["--verify", "full", "--proof", &proof]))?;
    ensure!(full["verified"] == true, "{full}");
    ensure!(read()?["output"]["decoded"] == 50 && read()?["verify"] == "full", "{}", read()?);
    same_frames(&short()?, &place.at("full.mp4"))?;
    let off = encoded(&place, "off.mp4", &with(&LOSSLESS, &["--verify", "off", "--proof", &proof]))?;
    ensure!(off["verified"] == false, "{off}");
    ensure!(read()?["verified"] == false && read()?["verify"] == "off", "{}", read()?);
    ensure!(read()?["output"]["times"] == "skipped", "{}", read()?);
    let told = |notes: &Value| {
        notes.as_array().is_some_and(|n| n.iter().any(|n| n == "the checks were switched off"))
    };
    ensure!(told(&read()?["notes"]) && told(&off["notes"]), "it is not said: {off}");
    same_frames(&short()?, &place.at("off.mp4"))?;
    let plain = run(&mut place.encode(&short()?, "plain.mp4", &with(&QUICK, &["--verify", "off"])))?;
    ensure!(plain.stdout.contains("not verified"), "{plain:?}");
    Ok(())
}

#[test]
fn other_codecs_and_containers() -> Result<()> {
    let place = Place::new()?;
    let cases: [(&str, &[&str], &str); 5] = [
        ("o.mov", &["--codec", "prores"], "prores"),
        ("o.mkv", &["--codec", "ffv1"], "ffv1"),
        ("vp9.webm", &["--preset", "8"], "vp9"),
        ("av1.webm", &["--codec", "av1", "--preset", "12"], "av1"),
        ("hevc.mp4", &["--codec", "hevc", "--preset", "ultrafast"], "hevc"),
    ];
    for (output, flags, codec) in cases {
        let summary = encoded(&place, output, &with(flags, &["--chunk-seconds", "1"]))?;
        ensure!(summary["verified"] == true && summary["chunks"] == 2, "{output}: {summary}");
        ensure!(
            reference::frame_count(&place.at(output))? == 50,
            "{output} decodes to another number of frames"
        );
        ensure!(video_entry(&place.at(output), "codec_name")? == codec, "{output}");
    }
    // FFV1 is lossless by itself; Matroska rounds its times to milliseconds.
    same_frames_within(&short()?, &place.at("o.mkv"), FrameTimes::WithinMillis(1))
        .or_else(|_| shifted_frames(&short()?, &place.at("o.mkv")))
}

/// Matroska has no edit list: priming of the sound moves all streams alike.
fn shifted_frames(a: &Path, b: &Path) -> Result<()> {
    let from_first = |path: &Path| {
        reference::frames(
            path,
            &reference::Decode { origin: reference::Origin::FirstFrame, ..Default::default() },
        )
    };
    Ok(compare_frames(&from_first(a)?, &from_first(b)?, FrameTimes::WithinMillis(1))?)
}

/// Whatever is in an example of before is in what is written now: `cargo xtask demo` and programs of others read it.
fn same_shape(place: &str, example: &Value, now: &Value) -> Result<()> {
    if let Value::Object(parts) = example {
        for (name, part) in parts {
            let place = format!("{place}/{name}");
            ensure!(now.get(name).is_some(), "{place} is gone from {now}");
            same_shape(&place, part, &now[name])?;
        }
    }
    Ok(())
}
