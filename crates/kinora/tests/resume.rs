//! Whatever ends a run, the same command goes on where it stopped: no finished chunk is made twice, none is lost, and the
//! result is the one of a run that was left alone. What was done is read off the lines that a run prints and off the starts
//! of ffmpeg; the state itself is not looked into.
#![cfg(unix)]

mod support;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kinora_testkit::fault::{self, Killed, Moments};
use kinora_testkit::stub::{Misbehaviour, Stub, When};
use support::{
    CHUNK, Place, Run, decoded, eight, finish, names, other_eight, run, same_frames, signal, until,
};

/// Chunks of most tests: two seconds each, two at once.
const CHUNKS: u64 = 4;

/// A command, its place, and an ffmpeg whose chunk runs are counted.
struct Job {
    place: Place,
    stub: Stub,
    input: PathBuf,
    recipe: Vec<&'static str>,
    /// How many chunks the eight seconds make.
    chunks: u64,
}

impl Job {
    /// Chunks take `slow` longer than they need, so that there is time to stop them on a machine of any speed.
    fn new(slow: Duration) -> Result<Self> {
        let what = if slow.is_zero() { Misbehaviour::Behave } else { Misbehaviour::Slow(slow) };
        Ok(Self {
            place: Place::new()?,
            stub: Stub::when(&what, &When::ArgContains(CHUNK.to_owned()))?,
            input: eight()?,
            recipe: vec!["--quality", "lossless", "--preset", "ultrafast"],
            chunks: CHUNKS,
        })
    }

    fn out(&self) -> PathBuf {
        self.place.at("o.mp4")
    }

    fn state(&self) -> PathBuf {
        self.place.at(".o.mp4.kinora")
    }

    fn command(&self, flags: &[&str]) -> std::process::Command {
        let mut command = self.place.encode(&self.input, "o.mp4", &self.recipe);
        let seconds = 8.0 / self.chunks as f64;
        command.args(["--jobs", "2", "--chunk-seconds", &seconds.to_string()]);
        command.args(["--sandbox", "off", "--ffmpeg"]).arg(self.stub.ffmpeg()).args(flags);
        command
    }

    fn start(&self, flags: &[&str]) -> Result<Child> {
        Ok(self.command(flags).spawn()?)
    }

    /// How many chunk encodes were started so far, in all runs.
    fn starts(&self) -> u64 {
        self.stub.runs().len() as u64
    }

    /// Once a third chunk begins where two are made at once, at least one is accepted.
    fn until_some_are_done(&self, child: &mut Child) -> Result<()> {
        let before = self.starts();
        until("the third chunk", || {
            self.starts() >= before + 3 || child.try_wait().is_ok_and(|s| s.is_some())
        })?;
        ensure!(child.try_wait()?.is_none(), "the run ended before it could be stopped");
        Ok(())
    }

    /// The same command to its end. `(chunks, of them reused)`; that no other was encoded again is checked here.
    fn complete(&self, flags: &[&str]) -> Result<(u64, u64)> {
        let before = self.starts();
        let summary = run(self.command(flags).arg("--json"))?.done()?;
        ensure!(summary["verified"] == true, "{summary}");
        let count = |key: &str| summary[key].as_u64().with_context(|| format!("no {key}: {summary}"));
        let (chunks, reused) = (count("chunks")?, count("reused_chunks")?);
        let encoded = self.starts() - before;
        ensure!(encoded == chunks - reused, "{encoded} chunks were encoded: {summary}");
        Ok((chunks, reused))
    }

    /// Every picture and time is the source's, nothing but the result is left, nothing runs on.
    fn check_result(&self) -> Result<()> {
        same_frames(&self.input, &self.out())?;
        let mut left = self.place.names()?;
        left.retain(|name| self.place.at(name) != self.input);
        ensure!(left == ["o.mp4"], "left: {left:?}");
        self.no_orphans()
    }

    fn no_orphans(&self) -> Result<()> {
        fault::expect_no_orphans(&self.place.marker(), Duration::from_secs(10))
    }
}

/// `kinora: 200 frames in 8 chunks, 3 of them done before` → 3.
fn done_before(stderr: &str) -> Option<u64> {
    let line = stderr.lines().find(|line| line.contains(" frames in "))?;
    let (_, rest) = line.split_once(" chunks")?;
    match rest.strip_prefix(", ") {
        None => Some(0),
        Some(rest) => rest.split_once(" of them done before")?.0.parse().ok(),
    }
}

/// Starts a run, reads how much it finds done, and kills it before it gets further.
fn look(job: &Job) -> Result<u64> {
    let mut child = job.start(&[])?;
    let mut lines = BufReader::new(child.stderr.take().context("no stderr")?).lines();
    let line = lines.by_ref().map_while(Result::ok).find(|line| line.contains(" frames in "));
    child.kill()?;
    child.wait()?;
    let line = line.context("the run did not say what it found")?;
    done_before(&line).with_context(|| format!("what does {line:?} mean?"))
}

#[test]
fn killed_at_any_moment() -> Result<()> {
    // Another seed each time, printed: a failure is repeated by putting it here.
    let seed = std::time::UNIX_EPOCH.elapsed()?.subsec_nanos().into();
    println!("seed {seed}");
    let job = Job { chunks: 8, ..Job::new(Duration::from_millis(400))? };
    let (mut known, mut at_work) = (0, 0);
    for after in Moments::new(seed, Duration::from_millis(2500)).take(10) {
        let before = job.starts();
        let mut child = job.start(&[])?;
        let killed = fault::kill_at(&mut child, after)?;
        let ended = finish(child)?;
        if let Killed::TooLate(status) = killed {
            // Even a run that was killed nine times ends well; from here on it is a new job.
            ensure!(status.success(), "{ended:?}");
            job.check_result()?;
            std::fs::remove_file(job.out())?;
            known = 0;
            continue;
        }
        at_work += 1;
        ensure!(!job.out().exists() || !ended.stderr.is_empty(), "a result without work");
        let Some(done) = done_before(&ended.stderr) else { continue };
        println!("killed after {after:?}: {done} chunks were done before");
        ensure!(done >= known, "{known} chunks were done, {done} are left");
        let encoded = job.starts() - before;
        ensure!(encoded <= job.chunks - done, "{done} were done, yet {encoded} were encoded: {ended:?}");
        known = done;
        if job.out().exists() {
            same_frames(&job.input, &job.out())?;
        }
    }
    ensure!(at_work >= 5, "only {at_work} kills came in time");
    job.no_orphans()?;
    let done = look(&job)?;
    ensure!(done >= known, "{known} chunks were done, {done} are left");
    let (chunks, reused) = job.complete(&[])?;
    ensure!((chunks, reused) == (job.chunks, done), "{reused} of {chunks} reused, {done} were done");
    job.check_result()
}

/// Between the last chunk and the end there is the join and the result: a kill there loses nothing either.
#[test]
fn killed_while_the_result_is_written() -> Result<()> {
    let mut job = Job::new(Duration::ZERO)?;
    job.stub = Stub::when(&Misbehaviour::Hang, &When::ArgContains(".part".to_owned()))?;
    let mut child = job.start(&[])?;
    until("the result to be written", || job.starts() > 0)?;
    child.kill()?;
    let killed = finish(child)?;
    ensure!(done_before(&killed.stderr) == Some(0), "{killed:?}");
    job.no_orphans()?;
    ensure!(!job.out().exists(), "half a result");
    job.stub = Stub::when(&Misbehaviour::Behave, &When::ArgContains(CHUNK.to_owned()))?;
    ensure!(job.complete(&[])? == (CHUNKS, CHUNKS), "chunks were lost");
    job.check_result()
}

/// Stopped politely: within two seconds, with nothing left running and all that was done kept.
fn interrupted(name: &str) -> Result<()> {
    let job = Job::new(Duration::from_millis(600))?;
    let mut child = job.start(&[])?;
    job.until_some_are_done(&mut child)?;
    signal(&child, name)?;
    let asked = Instant::now();
    let ended = finish(child)?;
    ensure!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());
    ensure!(ended.code == Some(130), "{ended:?}");
    ensure!(ended.stderr.contains("interrupted; run the same command to go on"), "{ended:?}");
    fault::expect_no_orphans(&job.place.marker(), Duration::from_secs(10))?;
    ensure!(!job.out().exists() && job.state().is_dir(), "left: {:?}", job.place.names()?);
    let done = look(&job)?;
    ensure!(done >= 1, "nothing was kept: {ended:?}");
    ensure!(job.complete(&[])? == (CHUNKS, done), "what was done was not kept");
    job.check_result()
}

#[test]
fn interrupted_by_ctrl_c() -> Result<()> {
    interrupted("INT")
}

#[test]
fn asked_to_end() -> Result<()> {
    interrupted("TERM")
}

/// An ffmpeg that ignores polite words does not keep Kinora from ending.
#[test]
fn interrupted_with_an_ffmpeg_that_will_not_stop() -> Result<()> {
    let mut job = Job::new(Duration::ZERO)?;
    job.stub = Stub::when(&Misbehaviour::Hang, &When::ArgContains(CHUNK.to_owned()))?;
    let child = job.start(&[])?;
    until("two chunks", || job.starts() >= 2)?;
    signal(&child, "INT")?;
    let asked = Instant::now();
    let ended = finish(child)?;
    ensure!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());
    ensure!(ended.code == Some(130), "{ended:?}");
    fault::expect_no_orphans(&job.place.marker(), Duration::from_secs(10))
}

#[test]
fn kept_state_serves_another_recipe() -> Result<()> {
    let mut job = Job::new(Duration::ZERO)?;
    job.recipe = vec!["--preset", "ultrafast", "--keep-state"];
    ensure!(job.complete(&["--crf", "30", "--audio-bitrate", "96k"])? == (CHUNKS, 0));
    ensure!(job.state().is_dir(), "the state is gone");
    let first = decoded(&job.out())?;
    // The sound is another, the pictures are the same.
    ensure!(job.complete(&["--crf", "30", "--audio-bitrate", "48k"])? == (CHUNKS, CHUNKS));
    ensure!(decoded(&job.out())? == first, "other frames");
    ensure!(job.complete(&["--crf", "35", "--audio-bitrate", "48k"])? == (CHUNKS, 0));
    ensure!(decoded(&job.out())? != first, "another quality gives other frames");
    // The very same once more is a new job that finds everything; without --keep-state the state goes with it.
    job.recipe = vec!["--preset", "ultrafast"];
    ensure!(job.complete(&["--crf", "30", "--audio-bitrate", "96k"])? == (CHUNKS, CHUNKS));
    ensure!(decoded(&job.out())? == first, "other frames");
    ensure!(job.place.names()? == ["o.mp4"], "left: {:?}", job.place.names()?);
    Ok(())
}

#[test]
fn two_runs_for_one_output() -> Result<()> {
    let mut job = Job::new(Duration::from_millis(500))?;
    let first = job.start(&["--json"])?;
    until("the first run to work", || job.starts() > 0)?;
    job.recipe = vec!["--quality", "lossless"];
    for flags in [&[][..], &["--preset", "superfast", "--json"]] {
        let second = run(&mut job.command(flags))?;
        ensure!(second.code == Some(1), "{second:?}");
        ensure!(second.stderr.lines().count() == 1, "{second:?}");
        ensure!(second.stderr.contains("another run is already making"), "{second:?}");
        ensure!(second.stderr.contains("o.mp4"), "{second:?}");
        if flags.contains(&"--json") {
            ensure!(second.json()?["error"]["code"] == "busy", "{second:?}");
        }
    }
    let first: Run = finish(first)?;
    ensure!(first.done()?["verified"] == true);
    job.check_result()
}

/// The name of the input is not its content.
#[test]
fn another_input_under_the_same_name() -> Result<()> {
    let mut job = Job::new(Duration::from_millis(400))?;
    job.input = job.place.at("in.mp4");
    std::fs::copy(eight()?, &job.input)?;
    let mut child = job.start(&[])?;
    job.until_some_are_done(&mut child)?;
    signal(&child, "INT")?;
    ensure!(finish(child)?.code == Some(130));
    std::fs::copy(other_eight()?, &job.input)?;
    ensure!(job.complete(&[])? == (CHUNKS, 0), "chunks of another film were reused");
    job.check_result()
}

/// What is the same in both inputs is found by its content, what is not is made.
#[test]
fn an_input_that_was_only_touched() -> Result<()> {
    let mut job = Job::new(Duration::ZERO)?;
    job.input = job.place.at("in.mp4");
    std::fs::copy(eight()?, &job.input)?;
    job.complete(&["--keep-state"])?;
    std::fs::remove_file(&job.input)?;
    std::fs::copy(eight()?, &job.input)?;
    ensure!(job.complete(&[])? == (CHUNKS, CHUNKS), "the same content was encoded again");
    job.check_result()
}

/// Finished chunks in the state folder.
fn blobs(state: &Path) -> Result<Vec<PathBuf>> {
    let folder = state.join("blobs");
    let chunks = names(&folder)?.into_iter().filter(|n| n.contains(CHUNK) && n.ends_with(".mp4"));
    Ok(chunks.map(|name| folder.join(name)).collect())
}

fn flip_a_byte(path: &Path) -> Result<()> {
    let mut bytes = std::fs::read(path)?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).context("an empty chunk")? ^= 0x10;
    Ok(std::fs::write(path, bytes)?)
}

#[test]
fn damaged_chunks_of_a_finished_run() -> Result<()> {
    let job = Job::new(Duration::ZERO)?;
    job.complete(&["--keep-state"])?;
    let kept = blobs(&job.state())?;
    ensure!(kept.len() as u64 == CHUNKS, "{kept:?}");
    flip_a_byte(&kept[0])?;
    std::fs::File::options().write(true).open(&kept[1])?.set_len(100)?;
    std::fs::remove_file(&kept[3])?;
    ensure!(job.complete(&[])? == (CHUNKS, CHUNKS - 3), "damage was not found");
    job.check_result()
}

/// A job that was stopped, what is kept of it, and how many chunks are done.
fn stopped_job() -> Result<(Job, Vec<PathBuf>, u64)> {
    let job = Job::new(Duration::from_millis(600))?;
    let mut child = job.start(&[])?;
    job.until_some_are_done(&mut child)?;
    signal(&child, "INT")?;
    ensure!(finish(child)?.code == Some(130));
    let kept = blobs(&job.state())?;
    let done = look(&job)?;
    Ok((job, kept, done))
}

#[test]
fn damaged_chunks_of_an_interrupted_run() -> Result<()> {
    // A chunk that ends in the moment of the signal may be written and not accepted any more; which one that is cannot be seen.
    let mut tries = (0..5).map(|_| stopped_job());
    let all_accepted = |tried: &Result<(Job, Vec<PathBuf>, u64)>| match tried {
        Ok((_, kept, done)) => kept.len() as u64 == *done,
        Err(_) => true,
    };
    let (job, kept, done) = tries.find(all_accepted).context("something was always left unaccepted")??;
    flip_a_byte(&kept[0])?;
    ensure!(job.complete(&[])? == (CHUNKS, done - 1), "damage was not found");
    job.check_result()
}

/// All results of tasks are gone, whatever the store says of them.
#[test]
fn all_blobs_are_gone() -> Result<()> {
    let mut job = Job::new(Duration::ZERO)?;
    job.stub = Stub::when(&Misbehaviour::Hang, &When::ArgContains(".part".to_owned()))?;
    let child = job.start(&[])?;
    until("the result to be written", || job.starts() > 0)?;
    signal(&child, "INT")?;
    ensure!(finish(child)?.code == Some(130));
    for name in names(&job.state().join("blobs"))? {
        std::fs::remove_file(job.state().join("blobs").join(name))?;
    }
    job.stub = Stub::when(&Misbehaviour::Behave, &When::ArgContains(CHUNK.to_owned()))?;
    ensure!(job.complete(&[])? == (CHUNKS, 0), "chunks that are gone were reused");
    job.check_result()
}
