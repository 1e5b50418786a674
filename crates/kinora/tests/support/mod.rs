//! Starts the binary, reads what it says, and makes the small clips that it is given. It must not know what a test expects,
//! nor anything of the product but its command line and the names of the files that it leaves.

#![allow(dead_code, reason = "each test file uses another part")]

use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use kinora_testkit::ffmpeg;
use kinora_testkit::reference::{Decode, Frame, FrameTimes, Origin, compare_frames, frames};
use serde_json::Value;
use tempfile::TempDir;

pub mod browser;
pub mod cluster;
pub mod cutting;
pub mod enhancing;
pub mod hls;
pub mod processes;
pub mod random;
pub mod receiver;
pub mod wire;

/// What is given to those who run a hub.
pub fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(name)
}

/// Longer than any run here takes; a test that waits so long has found something that hangs.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// In the arguments of every ffmpeg that encodes a chunk, and of no other: the name of its result.
pub const CHUNK: &str = "-chunk-";

/// The binary, untouched by the environment of whoever runs the tests.
pub fn kinora() -> Command {
    kinora_at(Path::new(BINARY))
}

/// Where the binary is.
pub const BINARY: &str = env!("CARGO_BIN_EXE_kinora");

/// The same of a copy.
pub fn kinora_at(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    for name in [
        "KINORA_KEY",
        "KINORA_CA",
        "KINORA_FFMPEG",
        "KINORA_FFPROBE",
        "KINORA_LOG",
        "KINORA_MODELS",
        "NO_COLOR",
        "CLICOLOR_FORCE",
    ] {
        command.env_remove(name);
    }
    // Nobody reads what it says while it runs, and a pipe takes only so much.
    command.env("KINORA_LOG", "off");
    // Nor by where that one has signed in.
    command.env("XDG_CONFIG_HOME", "/nonexistent");
    // Nor by whether models can be run, unless a test is about that.
    command.env("XDG_DATA_HOME", "/nonexistent").env("KINORA_ONNXRUNTIME", "off");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A run that has ended.
#[derive(Debug)]
pub struct Run {
    /// Exit status; `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Run {
    /// The object that `--json` printed.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("no JSON: {self:?}"))
    }

    /// The summary of a run that had to succeed with `--json`.
    pub fn done(&self) -> Result<Value> {
        ensure!(self.code == Some(0), "it failed: {self:?}");
        self.json()
    }

    /// All that a run said that had to succeed.
    pub fn succeeded(&self) -> Result<String> {
        ensure!(self.code == Some(0), "it failed: {self:?}");
        Ok(format!("{}{}", self.stdout, self.stderr))
    }

    /// What a run complained of that had to fail.
    pub fn failed(self) -> Result<String> {
        ensure!(self.code == Some(1) && !self.stderr.is_empty(), "it did not fail in words: {self:?}");
        Ok(self.stderr)
    }
}

/// Runs to the end; an error when that does not come.
pub fn run(command: &mut Command) -> Result<Run> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(command.spawn().context("the program cannot be started")?)
}

/// Waits for a run that was started.
pub fn finish(mut child: Child) -> Result<Run> {
    let started = Instant::now();
    let (out, err) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            bail!("it did not end within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let took = started.elapsed();
    let text = |reader: std::thread::JoinHandle<String>| reader.join().unwrap_or_default();
    Ok(Run { code: status.code(), stdout: text(out), stderr: text(err), took })
}

fn reader(pipe: Option<impl std::io::Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is what there is.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A folder of its own for one test.
#[derive(Debug)]
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Result<Self> {
        Ok(Self { folder: tempfile::Builder::new().prefix("kinora-test-").tempdir()? })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// A file with these bytes.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<PathBuf> {
        std::fs::write(self.at(name), bytes)?;
        Ok(self.at(name))
    }

    /// In the arguments of every ffmpeg that works for this test.
    pub fn marker(&self) -> String {
        self.path().display().to_string()
    }

    pub fn names(&self) -> Result<Vec<String>> {
        names(self.path())
    }

    /// `kinora encode input <folder>/o.EXT flags`.
    pub fn encode(&self, input: &Path, output: &str, flags: &[&str]) -> Command {
        encode(input, &self.at(output), flags)
    }
}

pub fn encode(input: &Path, output: &Path, flags: &[&str]) -> Command {
    let mut command = kinora();
    command.arg("encode").arg(input).arg(output).args(flags);
    command
}

/// Names in a folder, sorted.
pub fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names: Vec<String> = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    names.sort();
    Ok(names)
}

/// A clip made once per ffmpeg and arguments, kept between runs of the tests. It must not be written to.
pub fn clip(name: &str, args: &str) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("small-clips");
    let mut hasher = DefaultHasher::new();
    (args, ffmpeg::version()?).hash(&mut hasher);
    let (stem, extension) = name.rsplit_once('.').context("the clip's name has no ending")?;
    let path = folder.join(format!("{stem}-{:016x}.{extension}", hasher.finish()));
    if !path.is_file() {
        std::fs::create_dir_all(&folder)?;
        let scratch = tempfile::tempdir_in(&folder)?;
        let made = scratch.path().join(name);
        ffmpeg::output(ffmpeg::ffmpeg().args(args.split_whitespace()).arg(&made))?;
        // Another test process may have made the same one; either is right.
        std::fs::rename(made, &path)?;
    }
    Ok(path)
}

const SOUND: &str = "-f lavfi -i aevalsrc=0.3*sin(2*PI*(220+40*t)*t)|0.3*sin(2*PI*(330+25*t)*t):s=48000";
const H264: &str = "-c:v libx264 -preset ultrafast -crf 30 -bf 2 -pix_fmt yuv420p -g 25 -c:a aac -b:a 64k";

fn pictures(source: &str, name: &str, seconds: u32) -> Result<PathBuf> {
    clip(
        name,
        &format!("-f lavfi -i {source}=size=320x180:rate=25:duration={seconds} {SOUND}:d={seconds} {H264}"),
    )
}

/// Two seconds: 50 frames of H.264 with sound.
pub fn short() -> Result<PathBuf> {
    pictures("testsrc2", "short.mp4", 2)
}

/// Eight seconds: 200 frames, a key frame each second.
pub fn eight() -> Result<PathBuf> {
    pictures("testsrc2", "eight.mp4", 8)
}

/// Twelve seconds with one key frame: where scenes begin is not known from the index.
pub fn long_gops() -> Result<PathBuf> {
    let source = "-f lavfi -i testsrc2=size=160x90:rate=10:duration=12";
    let codec =
        "-c:v libx264 -preset ultrafast -crf 30 -pix_fmt yuv420p -g 9999 -keyint_min 9999 -sc_threshold 0";
    clip("long_gops.mp4", &format!("{source} {codec}"))
}

/// The same times, size and codec as `eight`, other pictures.
pub fn other_eight() -> Result<PathBuf> {
    pictures("testsrc", "other_eight.mp4", 8)
}

/// Every frame's picture and time, each to the tick, is that of the source.
pub fn same_frames(source: &Path, output: &Path) -> Result<()> {
    same_frames_within(source, output, FrameTimes::Exact)
}

pub fn same_frames_within(source: &Path, output: &Path, times: FrameTimes) -> Result<()> {
    Ok(compare_frames(&decoded(source)?, &decoded(output)?, times)?)
}

pub fn decoded(path: &Path) -> Result<Vec<Frame>> {
    frames(path, &Decode { origin: Origin::File, ..Decode::default() })
}

/// One entry of the first video stream, as ffprobe prints it.
pub fn video_entry(path: &Path, entry: &str) -> Result<String> {
    let mut command = ffmpeg::ffprobe();
    command.args(["-select_streams", "v:0", "-show_entries", &format!("stream={entry}")]);
    let text = ffmpeg::output(command.args(["-of", "csv=p=0"]).arg(ffmpeg::file_arg(path)))?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

/// Sends a signal by its name.
pub fn signal(child: &Child, name: &str) -> Result<()> {
    let status = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status()?;
    ensure!(status.success(), "kill -{name} failed");
    Ok(())
}

/// Waits until something holds; an error names it when it never does.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
    let started = Instant::now();
    while !holds() {
        ensure!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Where `cargo xtask test` has put clients of other projects.
pub fn clients() -> Option<PathBuf> {
    std::env::var_os("KINORA_TEST_CLIENTS").map(PathBuf::from).filter(|folder| folder.is_dir())
}

/// Says past the test harness that something is not tested here.
pub fn loud(line: &str) {
    // Without stderr there is nobody to tell.
    drop(writeln!(std::io::stderr(), "KINORA TESTS: {line}"));
}

/// A program's arguments as text, for messages.
pub fn shown(command: &Command) -> String {
    command.get_args().map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
