//! ffmpegs that hang, crash, lie, fork or fail: each is found out, said so in one sentence that names the reason, and leaves
//! no process and no half result. It knows the command line and the names of the files that ffmpeg is asked to write.
#![cfg(unix)]

mod support;

use std::time::Duration;

use anyhow::{Result, ensure};
use kinora_testkit::fault;
use kinora_testkit::stub::{Lie, Misbehaviour, Offspring, Stub, When};
use serde_json::Value;
use support::{CHUNK, Place, Run, run, same_frames, short};

const SOUND: &str = "0:a";
const SCENES: &str = "gt(scene";
/// Frames that are measured.
const MEASURE: &str = "out_range=full";
const RESULT: &str = ".part";

/// Two seconds in two chunks, with an ffmpeg that misbehaves where `part` is among its arguments.
struct Case {
    place: Place,
    stub: Stub,
}

impl Case {
    fn new(what: &Misbehaviour, part: &str) -> Result<Self> {
        let stub = Stub::when(what, &When::ArgContains(part.to_owned()))?;
        Ok(Self { place: Place::new()?, stub })
    }

    fn run(&self, flags: &[&str]) -> Result<Run> {
        let mut command = self.place.encode(&short()?, "o.mp4", flags);
        command.args([
            "--quality",
            "lossless",
            "--preset",
            "ultrafast",
            "--chunk-seconds",
            "1",
            "--jobs",
            "2",
        ]);
        run(command.arg("--json").args(["--sandbox", "off", "--ffmpeg"]).arg(self.stub.ffmpeg()))
    }

    /// The run fails, and its error holds all of `words`.
    fn fails(&self, flags: &[&str], code: &str, words: &[&str]) -> Result<Value> {
        let ended = self.run(flags)?;
        ensure!(ended.code == Some(1), "{ended:?}");
        let error = ended.json()?["error"].clone();
        ensure!(error["code"] == code, "{ended:?}");
        let message = error["message"].as_str().unwrap_or_default();
        for word in words {
            ensure!(message.contains(word), "{word:?} is not in {message:?}");
        }
        ensure!(ended.stderr == format!("kinora: {message}\n"), "one line: {ended:?}");
        ensure!(!self.stub.runs().is_empty(), "the stub was not run");
        let left = self.place.names()?;
        ensure!(left.iter().all(|name| name == ".o.mp4.kinora"), "left: {left:?}");
        self.no_orphans()?;
        Ok(error)
    }

    /// The run succeeds with the source's frames.
    fn works(&self, flags: &[&str]) -> Result<Run> {
        let ended = self.run(flags)?;
        ensure!(ended.done()?["verified"] == true, "{ended:?}");
        ensure!(!self.stub.runs().is_empty(), "the stub was not run");
        same_frames(&short()?, &self.place.at("o.mp4"))?;
        ensure!(self.place.names()? == ["o.mp4"], "left: {:?}", self.place.names()?);
        self.no_orphans()?;
        Ok(ended)
    }

    fn no_orphans(&self) -> Result<()> {
        fault::expect_no_orphans(&self.place.marker(), Duration::from_secs(10))?;
        fault::expect_no_orphans(self.stub.marker(), Duration::from_secs(10))
    }
}

/// Seconds, not minutes: `2 s` until it is noticed, one more for TERM to be ignored, and the rest.
const SOON: Duration = Duration::from_secs(15);

#[test]
fn a_chunk_that_hangs() -> Result<()> {
    let case = Case::new(&Misbehaviour::Hang, CHUNK)?;
    let flags = ["--stall-timeout", "2", "--max-attempts", "1"];
    case.fails(&flags, "tool_failed", &["encoding chunk ", "no progress for 2 s"])?;
    ensure!(case.stub.runs().len() <= 2, "tried again: {:?}", case.stub.runs());
    Ok(())
}

#[test]
fn sound_and_result_that_hang() -> Result<()> {
    let flags = ["--stall-timeout", "2", "--max-attempts", "1"];
    let case = Case::new(&Misbehaviour::Hang, SOUND)?;
    case.fails(&flags, "tool_failed", &["encoding the sound", "no progress for 2 s"])?;
    let case = Case::new(&Misbehaviour::Hang, RESULT)?;
    case.fails(&flags, "tool_failed", &["writing the result", "no progress for 2 s"])?;
    Ok(())
}

/// What is known of half a film is not taken for all of it.
#[test]
fn measures_that_break_off() -> Result<()> {
    let flags = ["--color", "auto", "--stall-timeout", "2", "--max-attempts", "1"];
    for (what, told) in [(Misbehaviour::Hang, "no progress for 2 s"), (Misbehaviour::Crash, "signal: 11")] {
        let case = Case::new(&what, MEASURE)?;
        case.fails(&flags, "tool_failed", &["measuring stretch 0", told])?;
    }
    // Tried again, all is well.
    let case = Case::new(&Misbehaviour::FailFirst(1), MEASURE)?;
    let ended = case.run(&["--color", "auto", "--max-attempts", "3", "--retry-delay", "0"])?;
    ensure!(ended.done()?["verified"] == true && !case.stub.runs().is_empty(), "{ended:?}");
    case.no_orphans()
}

/// The search for scene changes only makes cuts better: without it, cuts are made elsewhere.
#[test]
fn a_search_for_scenes_that_fails() -> Result<()> {
    let input = support::long_gops()?;
    for what in [Misbehaviour::Hang, Misbehaviour::Crash] {
        let case = Case::new(&what, SCENES)?;
        let mut command =
            case.place.encode(&input, "o.mp4", &["--quality", "lossless", "--preset", "ultrafast"]);
        command.args(["--chunk-seconds", "4", "--stall-timeout", "2", "--json"]);
        let ended = run(command.args(["--sandbox", "off", "--ffmpeg"]).arg(case.stub.ffmpeg()))?;
        ensure!(ended.done()?["verified"] == true, "{ended:?}");
        ensure!(!case.stub.runs().is_empty(), "the stub was not run");
        ensure!(ended.took < SOON, "{what:?} took {:?}", ended.took);
        same_frames(&input, &case.place.at("o.mp4"))?;
        case.no_orphans()?;
    }
    Ok(())
}

#[test]
fn crashes_are_told_with_their_signal() -> Result<()> {
    for (part, what) in
        [(CHUNK, "encoding chunk "), (SOUND, "encoding the sound"), (RESULT, "writing the result")]
    {
        let case = Case::new(&Misbehaviour::Crash, part)?;
        case.fails(&["--max-attempts", "1"], "tool_failed", &[what, "signal: 11"])?;
    }
    Ok(())
}

#[test]
fn failures_are_told_with_their_status_and_last_words() -> Result<()> {
    let case = Case::new(&Misbehaviour::FailFirst(99), CHUNK)?;
    let words = ["encoding chunk ", "exit status: 1", "stub: failure "];
    let error = case.fails(&["--max-attempts", "2"], "tool_failed", &words)?;
    let detail = error["detail"].as_str().unwrap_or_default();
    ensure!(detail.contains("stub: failure "), "the end of stderr is missing: {error}");
    let tries = case.stub.runs().len();
    ensure!((2..=4).contains(&tries), "{tries} tries of two chunks, two each");
    Ok(())
}

#[test]
fn results_that_are_not_there() -> Result<()> {
    for (part, what) in [(CHUNK, "chunk "), (SOUND, "encoding the sound"), (RESULT, "writing the result")] {
        let case = Case::new(&Misbehaviour::Lie(Lie::Nothing), part)?;
        case.fails(&["--max-attempts", "1"], "not_exact", &[what, "wrote no file"])?;
    }
    Ok(())
}

#[test]
fn chunks_and_results_that_are_half() -> Result<()> {
    for (part, code) in [(CHUNK, "not_exact"), (RESULT, "not_exact")] {
        let case = Case::new(&Misbehaviour::Lie(Lie::Half), part)?;
        let error = case.fails(&["--max-attempts", "1"], code, &[])?;
        println!("{error}");
    }
    Ok(())
}

#[test]
fn sound_that_is_half() -> Result<()> {
    let case = Case::new(&Misbehaviour::Lie(Lie::Half), SOUND)?;
    case.fails(&["--max-attempts", "1"], "not_exact", &["sound"])?;
    Ok(())
}

#[test]
fn children_that_are_left_behind_are_killed() -> Result<()> {
    for part in [CHUNK, RESULT] {
        let case = Case::new(&Misbehaviour::Fork(Offspring::SameGroup), part)?;
        let ended = case.works(&["--stall-timeout", "20", "--max-attempts", "1"])?;
        ensure!(ended.took < SOON, "waited for the child: {:?}", ended.took);
    }
    Ok(())
}

#[test]
fn what_fails_first_is_tried_again() -> Result<()> {
    for part in [CHUNK, SOUND, RESULT] {
        let case = Case::new(&Misbehaviour::FailFirst(2), part)?;
        case.works(&[])?;
        let runs = case.stub.runs().len();
        ensure!(runs == if part == CHUNK { 4 } else { 3 }, "{part}: {runs} runs");
    }
    Ok(())
}

/// Said on the way: a run in a pipe has one line for each second try.
#[test]
fn a_second_try_is_told() -> Result<()> {
    let case = Case::new(&Misbehaviour::FailFirst(1), CHUNK)?;
    let mut command =
        case.place.encode(&short()?, "o.mp4", &["--preset", "ultrafast", "--chunk-seconds", "1"]);
    let ended = run(command.args(["--sandbox", "off", "--ffmpeg"]).arg(case.stub.ffmpeg()))?;
    ensure!(ended.code == Some(0), "{ended:?}");
    let told =
        ended.stderr.lines().filter(|l| l.contains("tried again") && l.contains("stub: failure 1 of 1"));
    ensure!(told.count() == 1, "{ended:?}");
    Ok(())
}

/// Slow is not stuck: what moves within the limit goes on.
#[test]
fn slow_is_not_stuck() -> Result<()> {
    let case = Case::new(&Misbehaviour::Slow(Duration::from_millis(1200)), CHUNK)?;
    case.works(&["--stall-timeout", "6", "--max-attempts", "1"])?;
    ensure!(case.stub.runs().len() == 2, "{:?}", case.stub.runs());
    Ok(())
}
