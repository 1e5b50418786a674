//! Scanners for malware that an operator has: clamd, over its own protocol, or any program. What follows from what they find is
//! for the hub.

use std::io::Read as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kinora_hub::scan::{Finding, Scanner, Suspect};
use kinora_vault::Cursor;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::program::Program;

/// How long a scanner may take to be reached, and for each piece.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a program may look at one file.
const LONGEST: Duration = Duration::from_secs(3600);
/// What clamd looks at, in bytes; of longer files it says that they are well.
const LARGEST: u64 = (1 << 31) - 1;
const TOO_LARGE: &str = "clamd does not look at files of this size: raise its StreamMaxLength, MaxScanSize and MaxFileSize, \
     which go up to 2 GB";
/// Bytes of a piece.
const PIECE: u64 = 256 << 10;
/// What a program ends with that has found something, as clamscan does.
const FOUND: i32 = 1;

/// Where clamd listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clamd {
    /// On a host and port.
    Tcp(String),
    /// On a socket of this machine.
    Unix(PathBuf),
}

impl FromStr for Clamd {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        let good =
            text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if good {
            Ok(Self::Tcp(text.to_owned()))
        } else {
            Err("write HOST:PORT or the path of a socket".to_owned())
        }
    }
}

impl Clamd {
    async fn look(&self, file: &Suspect) -> Result<Finding, String> {
        let away = |error: std::io::Error| format!("clamd cannot be reached: {error}");
        let late = |_| "clamd does not answer".to_owned();
        match self {
            Self::Tcp(address) => {
                let stream =
                    timeout(PATIENCE, TcpStream::connect(address)).await.map_err(late)?.map_err(away)?;
                instream(stream, file).await
            }
            #[cfg(unix)]
            Self::Unix(socket) => {
                let connecting = tokio::net::UnixStream::connect(socket);
                instream(timeout(PATIENCE, connecting).await.map_err(late)?.map_err(away)?, file).await
            }
            #[cfg(not(unix))]
            Self::Unix(socket) => Err(format!("{}: this system has no such sockets", socket.display())),
        }
    }
}

impl Scanner for Clamd {
    fn scan<'a>(&'a self, file: &'a Suspect) -> BoxFuture<'a, Result<Finding, String>> {
        self.look(file).boxed()
    }
}

/// Sends a file in pieces, each with its length before it, and reads the verdict (clamd(8), INSTREAM).
async fn instream(
    mut clamd: impl AsyncRead + AsyncWrite + Unpin,
    suspect: &Suspect,
) -> Result<Finding, String> {
    let opening = suspect.clone();
    let opened = tokio::task::spawn_blocking(move || opening.open()).await.map_err(std::io::Error::other);
    let file = opened.flatten().map_err(|error| format!("{}: {error}", suspect.path().display()))?;
    if file.length() > LARGEST {
        return Err(TOO_LARGE.to_owned());
    }
    // One that has had enough says so, and does not listen any more.
    let sent = send(&mut clamd, file).await;
    let mut said = Vec::new();
    let mut answer = clamd.take(4096);
    let heard = timeout(LONGEST, answer.read_to_end(&mut said)).await;
    let said = String::from_utf8_lossy(&said).trim_matches(['\0', '\n', ' ']).to_owned();
    match said.strip_prefix("stream: ") {
        Some("OK") => sent.map(|()| Finding::Clean),
        // It says so of what it has not looked at as a whole, where it is told to.
        Some(found) if found.contains("Limits.Exceeded") => Err(TOO_LARGE.to_owned()),
        Some(found) if found.ends_with(" FOUND") => {
            Ok(Finding::Found(found.trim_end_matches(" FOUND").to_owned()))
        }
        _ if said.contains("size limit exceeded") => Err(TOO_LARGE.to_owned()),
        _ if !said.is_empty() => Err(format!("clamd said {said:?}")),
        _ => Err(match (sent, heard) {
            (Err(why), _) => why,
            (_, Ok(Err(error))) => format!("clamd broke off: {error}"),
            _ => "clamd does not answer".to_owned(),
        }),
    }
}

/// The next piece of a file, in the memory of the one before.
async fn next(mut file: Cursor, mut piece: Vec<u8>) -> std::io::Result<(Cursor, Vec<u8>)> {
    let read = tokio::task::spawn_blocking(move || {
        piece.clear();
        file.by_ref().take(PIECE).read_to_end(&mut piece)?;
        Ok((file, piece))
    });
    read.await.map_err(std::io::Error::other)?
}

async fn send(clamd: &mut (impl AsyncWrite + Unpin), mut file: Cursor) -> Result<(), String> {
    let broke = |error: std::io::Error| format!("clamd broke off: {error}");
    let late = |_| "clamd takes nothing".to_owned();
    clamd.write_all(b"zINSTREAM\0").await.map_err(broke)?;
    let mut piece = Vec::new();
    loop {
        let read = next(file, piece).await;
        (file, piece) = read.map_err(|error| format!("the file cannot be read: {error}"))?;
        let length = u32::try_from(piece.len()).unwrap_or(0);
        let write = async {
            clamd.write_all(&length.to_be_bytes()).await?;
            clamd.write_all(&piece).await?;
            clamd.flush().await
        };
        timeout(PATIENCE, write).await.map_err(late)?.map_err(broke)?;
        if piece.is_empty() {
            return Ok(());
        }
    }
}

/// A program that is given a path, and ends with 0 when there is nothing in it, with 1 when there is.
#[derive(Debug)]
pub struct Looker(pub Program);

impl Scanner for Looker {
    fn scan<'a>(&'a self, file: &'a Suspect) -> BoxFuture<'a, Result<Finding, String>> {
        async move {
            let opening = file.clone();
            let opened = tokio::task::spawn_blocking(move || opening.clear()).await;
            let clear = opened.map_err(std::io::Error::other).flatten();
            let clear = clear.map_err(|error| format!("{}: {error}", file.path().display()))?;
            let ended = self.0.run(&[clear.path.as_os_str()], LONGEST).await?;
            let said = String::from_utf8_lossy(&ended.said);
            let line = said.lines().map(str::trim).find(|line| !line.is_empty());
            match (ended.code, line) {
                (Some(0), _) => Ok(Finding::Clean),
                // Many programs end so that broke; one that found something says what.
                (Some(FOUND), Some(line)) => Ok(Finding::Found(line.to_owned())),
                (Some(code), _) => Err(format!("{} ended with {code}: {}", self.0, ended.complained)),
                (None, _) => Err(format!("{} was ended by a signal", self.0)),
            }
        }
        .boxed()
    }
}
