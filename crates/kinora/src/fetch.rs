//! Files from the network that are known before they come: by their SHA-256. What they are for is not known here.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use kinora_protocol::{ErrorCode, Failure};
use sha2::{Digest as _, Sha256};

/// How long a server may take to be reached, and to say something.
const CONNECT: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_secs(60);
/// The longest page that is looked at.
const LONGEST_PAGE: usize = 32 << 20;

fn unreachable(url: &str, why: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorCode::Unreachable, format!("{url}: {why}"))
}

fn client() -> Result<reqwest::Client, Failure> {
    // Another part of the program may have chosen it before: there is one for all.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let agent = concat!("Kinora/", env!("CARGO_PKG_VERSION"));
    let builder = reqwest::Client::builder().user_agent(agent).connect_timeout(CONNECT).read_timeout(SILENCE);
    builder.build().map_err(|e| Failure::new(ErrorCode::Internal, format!("no connections can be made: {e}")))
}

async fn asked(url: &str, accept: &str) -> Result<reqwest::Response, Failure> {
    if !["https://", "http://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(Failure::new(
            ErrorCode::BadInput,
            format!("{url}: only https:// and http:// are fetched"),
        ));
    }
    let answer = client()?.get(url).header(reqwest::header::ACCEPT, accept).send().await;
    let answer = answer.map_err(|e| unreachable(url, innermost(&e)))?;
    match answer.status() {
        status if status.is_success() => Ok(answer),
        status => Err(unreachable(url, status)),
    }
}

/// The outermost words of an error only say that it did not work.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A page as text, with the address that it came from in the end.
///
/// # Errors
/// When it cannot be fetched, or is no text of usual length.
pub async fn page(url: &str, accept: &str) -> Result<(String, String), Failure> {
    let answer = asked(url, accept).await?;
    let from = answer.url().to_string();
    let mut bytes = Vec::new();
    let mut stream = answer.bytes_stream();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece.map_err(|e| unreachable(url, innermost(&e)))?);
        if bytes.len() > LONGEST_PAGE {
            return Err(unreachable(url, "the page has no end"));
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| unreachable(url, "it is no text"))?;
    Ok((text, from))
}

/// A file into a path, if it is the one that is meant. What came and is another goes.
///
/// # Errors
/// When it cannot be fetched or written, is longer than `most`, or has another SHA-256.
pub async fn file(url: &str, sha256: &str, most: u64, into: &Path, draw: bool) -> Result<(), Failure> {
    let disk = |e: std::io::Error| Failure::new(ErrorCode::Disk, format!("{}: {e}", into.display()));
    let answer = asked(url, "*/*").await?;
    let bar = bar(answer.content_length(), draw);
    let mut out = std::fs::File::create(into).map_err(disk)?;
    let (mut sum, mut length) = (Sha256::new(), 0_u64);
    let mut stream = answer.bytes_stream();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|e| unreachable(url, innermost(&e)))?;
        length += piece.len() as u64;
        if length > most {
            return Err(unreachable(url, format!("it is longer than {most} bytes")));
        }
        sum.update(&piece);
        out.write_all(&piece).map_err(disk)?;
        bar.inc(piece.len() as u64);
    }
    bar.finish_and_clear();
    out.sync_all().map_err(disk)?;
    let found: String = sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found.eq_ignore_ascii_case(sha256) {
        return Ok(());
    }
    let _ = std::fs::remove_file(into);
    Err(Failure::new(
        ErrorCode::Untrusted,
        format!("{url}: its SHA-256 is {found}, and {sha256} was wanted: it is not used"),
    ))
}

fn bar(length: Option<u64>, draw: bool) -> ProgressBar {
    let Some(length) = length.filter(|_| draw) else { return ProgressBar::hidden() };
    let style = ProgressStyle::with_template("  {bar:30} {bytes} of {total_bytes}, {bytes_per_sec}");
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
