//! Programs that an operator names: scanners, say. They are started without a shell, and end in their time.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::str::FromStr;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// What a program may say; the rest is thrown away.
const LONGEST: u64 = 64 << 10;

/// A program with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<String>,
}

/// How one ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit status; nothing when a signal ended it.
    pub code: Option<i32>,
    /// What it said on standard output.
    pub said: Vec<u8>,
    /// What it said on standard error.
    pub complained: String,
}

impl FromStr for Program {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = shlex::split(text).ok_or_else(|| "a quotation mark is missing".to_owned())?;
        let mut words = words.into_iter();
        let path =
            words.next().ok_or_else(|| "write a program, and its arguments if it takes some".to_owned())?;
        Ok(Self { path: path.into(), arguments: words.collect() })
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

impl Program {
    /// Runs it with more arguments, for so long at the most.
    ///
    /// # Errors
    /// It cannot be started, or does not end in its time.
    pub async fn run(&self, more: &[&OsStr], time: Duration) -> Result<Ended, String> {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).args(more).kill_on_drop(true);
        for secret in kinora_protocol::SECRETS {
            command.env_remove(secret);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{self} cannot be started: {error}"))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let work = async { tokio::join!(child.wait(), listen(out), listen(err)) };
        let over = |_| format!("{self} did not end within {} s", time.as_secs());
        let (status, said, complained) = tokio::time::timeout(time, work).await.map_err(over)?;
        let status = status.map_err(|error| format!("{self}: {error}"))?;
        let complained = String::from_utf8_lossy(&complained).trim().to_owned();
        Ok(Ended { code: status.code(), said, complained })
    }
}

/// All that comes, to its end; what is kept of it has a length.
async fn listen(from: Option<impl tokio::io::AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut from) = from else { return kept };
    let _ = (&mut from).take(LONGEST).read_to_end(&mut kept).await;
    let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    kept
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn words_reach_it_as_they_are() {
        let program: Program = "printf '%s|' 'a b' $HOME".parse().unwrap();
        let ended = program.run(&[OsStr::new("; touch x")], Duration::from_secs(20)).await.unwrap();
        assert_eq!((ended.code, &*ended.said), (Some(0), &b"a b|$HOME|; touch x|"[..]));
        assert!("a 'b".parse::<Program>().is_err() && " ".parse::<Program>().is_err());
        let missing: Program = "/nowhere/program".parse().unwrap();
        assert!(missing.run(&[], Duration::from_secs(20)).await.unwrap_err().contains("/nowhere/program"));
    }

    #[tokio::test]
    async fn one_that_does_not_end_is_ended() {
        let program: Program = "sleep 60".parse().unwrap();
        assert!(program.run(&[], Duration::from_millis(50)).await.unwrap_err().contains("did not end"));
        let loud: Program = "head -c 1000000 /dev/zero".parse().unwrap();
        let ended = loud.run(&[], Duration::from_secs(20)).await.unwrap();
        assert_eq!((ended.code, ended.said.len() as u64), (Some(0), LONGEST));
    }
}
