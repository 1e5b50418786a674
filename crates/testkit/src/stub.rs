//! ffmpegs that misbehave on purpose: shell scripts named `ffmpeg` that go before the real one in `PATH`.
//!
//! It must not know who calls them. Questions (`-version`, `-encoders`, …), `lavfi` trials and ffprobe always reach
//! the real tools, so that a caller that examines its tools first sees good ones.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::ffmpeg;

/// What an encode run does instead of its work.
#[derive(Clone, Debug)]
pub enum Misbehaviour {
    /// Never ends and ignores TERM, INT and HUP: one process, so that KILL leaves nothing.
    Hang,
    /// Writes part of its output and dies of SIGSEGV.
    Crash,
    /// Ends with status 0 although the output is not right.
    Lie(Lie),
    /// Does its work, but leaves a child that ignores TERM and holds stdout and stderr open. The child carries
    /// `Stub::marker` in its arguments and ends by itself after ten minutes.
    Fork(Offspring),
    /// Waits before it works.
    Slow(Duration),
    /// The first runs fail with status 1, the others work.
    FailFirst(u32),
    /// Works; only `Stub::runs` is of interest.
    Behave,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// No output at all.
    Nothing,
    /// Every output file is cut in half; output to stdout stops after 4 KiB.
    Half,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offspring {
    /// A signal to the process group reaches it.
    SameGroup,
    /// It made a session of its own; needs `setsid`.
    OwnSession,
}

/// Which runs misbehave.
#[derive(Clone, Debug, Default)]
pub enum When {
    /// Every run with an input.
    #[default]
    Always,
    /// Runs with an input that have this text in one of their arguments.
    ArgContains(String),
}

/// A folder with a misbehaving `ffmpeg` and an honest `ffprobe`, removed on drop.
#[derive(Debug)]
pub struct Stub {
    folder: TempDir,
    marker: String,
}

impl Stub {
    pub fn new(what: &Misbehaviour) -> Result<Stub> {
        Stub::when(what, &When::Always)
    }

    pub fn when(what: &Misbehaviour, when: &When) -> Result<Stub> {
        ensure!(cfg!(unix), "stub tools are shell scripts");
        let folder = tempfile::Builder::new().prefix("stub-").tempdir()?;
        let name = folder.path().file_name().context("the stub's folder has no name")?;
        let marker = format!("kinora-{}", name.to_string_lossy());
        let stub = Stub { marker, folder };
        stub.write("ffmpeg", &stub.script(what, when)?)?;
        stub.write("ffprobe", &format!("#!/bin/sh\nexec {} \"$@\"\n", quoted(&ffmpeg::find("ffprobe")?)))?;
        Ok(stub)
    }

    /// The folder to put before the others in `PATH`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn ffmpeg(&self) -> PathBuf {
        self.folder().join("ffmpeg")
    }

    pub fn ffprobe(&self) -> PathBuf {
        self.folder().join("ffprobe")
    }

    /// A value for `PATH` of the process under test.
    pub fn path(&self) -> Result<OsString> {
        let before = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.folder().to_owned()).chain(std::env::split_paths(&before));
        Ok(std::env::join_paths(folders)?)
    }

    /// Text in the arguments of a child that `Fork` leaves behind, for `fault::orphans`.
    pub fn marker(&self) -> &str {
        &self.marker
    }

    /// Arguments of the runs that misbehaved so far, one line each, in the order of their starts.
    pub fn runs(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder().join("runs")).unwrap_or_default();
        // A run that was killed may have written half a line; what comes after it is a run of its own all the same.
        text.split(RECORD).skip(1).map(|line| line.trim_end().to_owned()).collect()
    }

    /// The file is written by a child: were it open for writing here while another thread forks, starting it could
    /// fail with "text file busy".
    fn write(&self, name: &str, script: &str) -> Result<()> {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"cat >"$1" && chmod 755 "$1""#, "sh"]).arg(self.folder().join(name));
        let mut child = shell.stdin(Stdio::piped()).spawn().context("cannot start sh")?;
        child.stdin.take().context("sh has no stdin")?.write_all(script.as_bytes())?;
        ensure!(child.wait()?.success(), "cannot write the stub {name}");
        Ok(())
    }

    fn script(&self, what: &Misbehaviour, when: &When) -> Result<String> {
        let wanted = match when {
            When::Always => String::new(),
            When::ArgContains(text) => {
                let text = quoted(Path::new(text));
                format!(
                    "chosen=\nfor arg; do case $arg in *{text}*) chosen=1 ;; esac; done\n[ \"$chosen\" ] || exec \"$real\" \"$@\"\n"
                )
            }
        };
        let real = quoted(&ffmpeg::find("ffmpeg")?);
        let here = quoted(self.folder());
        Ok(format!("#!/bin/sh\nreal={real}\nhere={here}\n{CHOOSE}{wanted}{LOG}{}", self.body(what)))
    }

    fn body(&self, what: &Misbehaviour) -> String {
        match what {
            Misbehaviour::Hang => HANG.to_owned(),
            Misbehaviour::Crash => CRASH.to_owned(),
            Misbehaviour::Lie(Lie::Nothing) => "exit 0\n".to_owned(),
            Misbehaviour::Lie(Lie::Half) => HALF.to_owned(),
            Misbehaviour::Fork(offspring) => {
                let session = if *offspring == Offspring::OwnSession { "setsid " } else { "" };
                format!("{session}sh -c '{CHILD}' {} &\nexec \"$real\" \"$@\"\n", self.marker)
            }
            Misbehaviour::Slow(wait) => format!("left={}\n{SLOW}{BEHAVE}", wait.as_millis().div_ceil(50)),
            Misbehaviour::FailFirst(times) => format!("times={times}\n{FAIL_FIRST}"),
            Misbehaviour::Behave => BEHAVE.to_owned(),
        }
    }
}

/// In single quotes, for sh.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

/// Goes on only for runs that have an input which is no `lavfi` trial.
const CHOOSE: &str = r#"work=
for arg; do case $arg in -i) work=1 ;; esac; done
for arg; do case $arg in lavfi) work= ;; esac; done
[ "$work" ] || exec "$real" "$@"
"#;

/// One write of one line, so that lines of runs at the same time do not mix.
const LOG: &str =
    "line=$(printf '%s ' \"$@\" | tr '\\n' ' ')\nprintf '\\036%s\\n' \"$line\" >>\"$here/runs\"\n";
/// What each run begins with in the log.
const RECORD: char = '\u{1e}';

const BEHAVE: &str = "exec \"$real\" \"$@\"\n";

/// In short sleeps, so that a stub that is killed leaves one only for a moment.
const SLOW: &str = "while [ $left -gt 0 ]; do sleep 0.05; left=$((left - 1)); done\n";

/// Ignored signals stay ignored over exec, and exec keeps it one process.
const HANG: &str = "trap '' TERM INT HUP\nexec sleep 2147483647\n";

const CHILD: &str = r#"trap "" TERM INT HUP; n=0; while [ $n -lt 600 ]; do sleep 1; n=$((n+1)); done"#;

/// Waits for the first bytes of the last argument, kills the real one and then itself.
const CRASH: &str = r#"ulimit -c 0
for last; do :; done
last=${last#file:}
"$real" "$@" &
child=$!
n=0
while [ $n -lt 40 ] && [ ! -s "$last" ] && kill -0 $child 2>/dev/null; do sleep 0.02; n=$((n+1)); done
kill -KILL $child 2>/dev/null
wait $child 2>/dev/null
kill -SEGV $$
"#;

const HALF: &str = r#"for last; do :; done
case $last in -|pipe:*) "$real" "$@" | head -c 4096; exit 0 ;; esac
: >"$here/began.$$"
"$real" "$@" || exit $?
before=
for arg; do
    file=${arg#file:}
    if [ "$before" != -i ] && [ -f "$file" ] && [ "$file" -nt "$here/began.$$" ]; then
        size=$(wc -c <"$file")
        dd if=/dev/null of="$file" bs=1 seek=$((size / 2)) 2>/dev/null
    fi
    before=$arg
done
exit 0
"#;

/// Making a folder is atomic: each failure is spent once, by whichever run gets it.
const FAIL_FIRST: &str = r#"n=1
while [ $n -le $times ]; do
    if mkdir "$here/failed.$n" 2>/dev/null; then
        echo "stub: failure $n of $times" >&2
        exit 1
    fi
    n=$((n+1))
done
exec "$real" "$@"
"#;
