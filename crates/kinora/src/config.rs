//! The only reader of the environment: what the user set there, under what they typed.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum as _;
use kinora_media::sandbox::Mode;
use kinora_protocol::{ErrorCode, Failure};
use kinora_sandbox::Limits;

use crate::cli::{Global, ModelFlags, SandboxFlags, SandboxMode};
use other::{Other, System};

pub mod authorities;
pub mod collector;
pub mod credentials;
pub mod log;
pub mod other;
pub mod supervisor;

/// Settings of this process.
#[derive(Debug, Clone)]
pub struct Config {
    /// ffmpeg, as a path or a name.
    pub ffmpeg: PathBuf,
    /// ffprobe, as a path or a name.
    pub ffprobe: PathBuf,
    /// What is logged, in `tracing`'s filter language.
    pub log: Option<String>,
    /// How the log is written.
    pub log_format: log::Format,
    /// Whether to draw on the terminal.
    pub draw: bool,
    /// Whether progress is not to be shown at all.
    pub quiet: bool,
    /// What this machine is called.
    pub host: String,
    /// How the programs that open media are confined.
    pub sandbox: SandboxConfig,
    /// What media may have that they open.
    pub media: kinora_media::command::Limits,
    /// Where models are, and what runs them.
    pub models: ModelConfig,
}

/// Where models are, and what runs them.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    /// ONNX Runtime's library, where it was named.
    pub library: Option<PathBuf>,
    /// The user's own models.
    pub folder: Option<PathBuf>,
    /// Bytes of loaded models that are kept.
    pub cache: u64,
    /// What Kinora keeps for its user: a library that was fetched is there.
    pub data: Option<PathBuf>,
    /// Where packages are fetched from.
    pub index: String,
}

/// Where the makers of ONNX Runtime publish it.
const INDEX: &str = "https://pypi.org/simple";

impl ModelConfig {
    /// Flags first, then `KINORA_ONNXRUNTIME`, `ORT_DYLIB_PATH` and `KINORA_MODELS`; else what is usual on this system.
    fn read(flags: &ModelFlags) -> Self {
        let path = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let text = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let data = match cfg!(windows) {
            true => path("LOCALAPPDATA"),
            false => path("XDG_DATA_HOME").or_else(|| Some(path("HOME")?.join(".local/share"))),
        };
        let data = data.map(|data| data.join("kinora"));
        let library = flags.onnxruntime.clone();
        Self {
            library: library.or_else(|| path("KINORA_ONNXRUNTIME")).or_else(|| path("ORT_DYLIB_PATH")),
            folder: flags
                .models
                .clone()
                .or_else(|| path("KINORA_MODELS"))
                .or_else(|| Some(data.as_ref()?.join("models"))),
            cache: flags.model_cache,
            data,
            index: text("PIP_INDEX_URL").unwrap_or_else(|| INDEX.to_owned()),
        }
    }
}

/// How the programs that open media are confined.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// Whether they are.
    pub mode: Mode,
    /// What each may use; memory is a part of the machine's when nobody says.
    pub limits: Limits,
    /// What each may read besides its own files.
    pub read: Vec<PathBuf>,
    /// How long each may run.
    pub wall: Duration,
    /// What is started in their place: this binary, whatever has become of its file.
    pub helper: PathBuf,
}

impl SandboxConfig {
    /// Flags first, then `KINORA_SANDBOX`.
    fn read(flags: &SandboxFlags) -> Result<Self, Failure> {
        let said = std::env::var("KINORA_SANDBOX").ok().filter(|said| !said.is_empty());
        let said = said.map(|said| SandboxMode::from_str(&said, true));
        let wrong = |why| Failure::new(ErrorCode::BadRecipe, format!("KINORA_SANDBOX: {why}"));
        let said = said.transpose().map_err(wrong)?;
        let here = Path::new("/proc/self/exe");
        let helper =
            if here.exists() { here.to_owned() } else { std::env::current_exe().unwrap_or_default() };
        Ok(Self {
            mode: flags.sandbox.or(said).unwrap_or(SandboxMode::Auto).into(),
            limits: Limits {
                memory: flags.sandbox_memory,
                cpu_seconds: Some(flags.sandbox_cpu),
                file_bytes: Some(flags.sandbox_output),
                open_files: Some(MOST_OPEN_FILES),
            },
            read: flags.sandbox_read.clone(),
            wall: Duration::from_secs(flags.sandbox_wall),
            helper,
        })
    }
}

/// Files that a program that works on media has open at once: its inputs, its outputs, and devices.
const MOST_OPEN_FILES: u64 = 256;

/// The arguments of a process that is to confine itself and become another program.
pub fn confined() -> Option<impl Iterator<Item = std::ffi::OsString>> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next()? == kinora_sandbox::WORD).then_some(arguments)
}

impl Config {
    /// Flags first, then `KINORA_FFMPEG`, `KINORA_FFPROBE`, `KINORA_LOG`, `KINORA_SANDBOX`, `NO_COLOR` and `TERM`; for models see [`ModelConfig`].
    ///
    /// # Errors
    /// When one of them makes no sense.
    pub fn read(global: &Global) -> Result<Self, Failure> {
        let env = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
        let ffmpeg = global
            .ffmpeg
            .clone()
            .or_else(|| env("KINORA_FFMPEG").map(PathBuf::from))
            .unwrap_or("ffmpeg".into());
        let ffprobe = env("KINORA_FFPROBE").map(PathBuf::from).unwrap_or_else(|| beside(&ffmpeg));
        let log = env("KINORA_LOG").and_then(|v| v.into_string().ok());
        let dumb = env("TERM").is_some_and(|t| t == "dumb");
        Ok(Self {
            ffmpeg,
            ffprobe,
            sandbox: SandboxConfig::read(&global.sandbox)?,
            media: (&global.limits).into(),
            models: ModelConfig::read(&global.models),
            log: log.or_else(|| global.verbose.then(|| "info,kinora=debug".to_owned())),
            log_format: global.log_format,
            quiet: global.quiet,
            host: host().unwrap_or_else(|| "worker".to_owned()),
            draw: !global.quiet && !dumb && std::io::stderr().is_terminal(),
        })
    }

    /// Takes over what the environment of other systems says; a filter that the user set himself stays.
    pub fn environment_of(&mut self, global: &Global, systems: &[System]) -> Result<Other, Failure> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let other = Other::read(systems, set)?;
        if let Some(log) = other.log.clone().filter(|_| !global.verbose && set("KINORA_LOG").is_none()) {
            self.log = Some(log);
        }
        Ok(other)
    }

    /// In builds for tests: the process kills itself at the point in `KINORA_FAULT`, when it has passed it as often as is
    /// written behind a colon.
    #[cfg(all(debug_assertions, unix))]
    pub fn set_faults() {
        use std::sync::atomic::{AtomicU32, Ordering};
        let Ok(wanted) = std::env::var("KINORA_FAULT") else { return };
        let (name, times) = match wanted.split_once(':') {
            Some((name, times)) => (name.to_owned(), times.parse().unwrap_or(1)),
            None => (wanted, 1),
        };
        let left = AtomicU32::new(times);
        kinora_protocol::fault::at_points(Box::new(move |point| {
            if point == name && left.fetch_sub(1, Ordering::Relaxed) == 1 {
                let _ =
                    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
                // It takes a moment to arrive, and nothing may happen meanwhile.
                std::thread::sleep(std::time::Duration::from_secs(60));
            }
        }));
    }

    /// Builds for users have no faults.
    #[cfg(not(all(debug_assertions, unix)))]
    pub fn set_faults() {}

    /// Sends the log to standard error. What runs for long says what happens, unless it is told otherwise.
    pub fn start_log(&self, runs_for_long: bool) {
        let usual = if runs_for_long { "info" } else { "off" };
        log::start(self.log.as_deref().unwrap_or(usual), self.log_format);
    }
}

#[cfg(unix)]
fn host() -> Option<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Some(name).filter(|name| !name.is_empty())
}

#[cfg(not(unix))]
fn host() -> Option<String> {
    std::env::var("COMPUTERNAME").ok().filter(|name| !name.is_empty())
}

/// ffprobe in the same folder; by its name alone where ffmpeg is found by its name.
fn beside(ffmpeg: &Path) -> PathBuf {
    let name = if cfg!(windows) { "ffprobe.exe" } else { "ffprobe" };
    if ffmpeg.components().count() > 1 { ffmpeg.with_file_name(name) } else { "ffprobe".into() }
}
