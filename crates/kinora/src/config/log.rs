//! The log of this process: what is said and how, and what is said from now on. What is worth saying is decided where it happens.

use std::collections::VecDeque;
use std::io::{IsTerminal as _, Write};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object in each line, for programs.
    Json,
}

/// What decides what is said.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();
/// The same in the words in which it was asked for.
static ASKED: Mutex<String> = Mutex::new(String::new());
/// What says all that goes over the wire, keys and rights among it, when it is asked for everything.
const TALKATIVE: [&str; 6] = ["h2", "hyper", "hyper_util", "reqwest", "tokio_tungstenite", "tungstenite"];

/// Lines that are kept for whoever has to find out what went wrong.
const KEPT: usize = 2000;
/// Bytes of a line that are kept.
const LONGEST_LINE: usize = 4096;

/// What was said last.
static LAST: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

fn last() -> MutexGuard<'static, VecDeque<String>> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Standard error, of which the last lines are kept.
struct Kept;

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut line = plain(&bytes[..bytes.len().min(LONGEST_LINE)]);
        if bytes.len() > LONGEST_LINE {
            line.push('…');
        }
        let mut kept = last();
        kept.extend(line.lines().map(str::to_owned));
        let over = kept.len().saturating_sub(KEPT);
        kept.drain(..over);
        drop(kept);
        std::io::stderr().write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// Without what makes colours on a terminal.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').map_or(part, |(_, rest)| rest))
}

fn ask(filter: &str) {
    filter.clone_into(&mut ASKED.lock().unwrap_or_else(PoisonError::into_inner));
}

fn read(filter: &str) -> Result<EnvFilter, String> {
    EnvFilter::builder()
        .with_regex(false)
        .parse(filter)
        .map(|read| {
            let quiet = TALKATIVE.iter().filter_map(|name| format!("{name}=info").parse().ok());
            // Who says less is not made to say more.
            let is_loud = read.max_level_hint().is_none_or(|most| most > LevelFilter::INFO);
            if is_loud { quiet.fold(read, EnvFilter::add_directive) } else { read }
        })
        .map_err(|error| format!("{filter:?} is no filter such as info,kinora_hub=debug: {error}"))
}

/// Sends the log to standard error.
pub fn start(filter: &str, format: Format) {
    let (filter, asked) = match read(filter) {
        Ok(read) => (read, filter),
        Err(_) => (EnvFilter::new("warn"), "warn"),
    };
    ask(asked);
    let (filter, handle) = reload::Layer::new(filter);
    let mut lines = fmt::layer().with_writer(|| Kept).with_target(false);
    if !std::io::stderr().is_terminal() {
        lines.set_ansi(false);
    }
    let lines = match format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    };
    if Registry::default().with(filter).with(lines).try_init().is_ok() {
        let _ = FILTER.set(handle);
    }
}

/// Says this from now on.
///
/// # Errors
/// Why it is no filter.
pub fn change(filter: &str) -> Result<(), String> {
    let read = read(filter)?;
    let handle = FILTER.get().ok_or("this process has another log")?;
    handle.reload(read).map_err(|error| error.to_string())?;
    ask(filter);
    Ok(())
}

/// The log, as a hub shows it to whoever runs it.
#[derive(Debug)]
pub struct Log;

impl kinora_hub::log::Log for Log {
    fn filter(&self) -> String {
        ASKED.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lines(&self) -> Vec<String> {
        last().iter().cloned().collect()
    }

    fn check(&self, filter: &str) -> Result<(), String> {
        read(filter).map(|_| ())
    }

    fn change(&self, filter: &str) -> Result<(), String> {
        change(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_says_what_goes_over_the_wire() {
        for loud in ["trace", "tungstenite=trace", "info,h2=trace", "debug,tungstenite::protocol=trace"] {
            let said = read(loud).unwrap().to_string();
            assert!(said.contains("tungstenite=info") && said.contains("h2=info"), "{loud}: {said}");
            assert!(!said.contains("h2=trace") && !said.contains("tungstenite=trace"), "{loud}: {said}");
        }
        assert_eq!(read("warn").unwrap().to_string(), "warn");
    }

    #[test]
    fn colours_are_not_kept() {
        assert_eq!(plain(b"\x1b[2m2026\x1b[0m \x1b[32m INFO\x1b[0m a [thing]m"), "2026  INFO a [thing]m");
    }

    #[test]
    fn filters_are_read_or_refused() {
        for good in ["info", "warn,kinora_hub=debug", "off", "kinora_hub[{job=7}]=trace"] {
            assert!(read(good).is_ok(), "{good}");
        }
        let why = read("kinora_hub=loud").unwrap_err();
        assert!(why.contains("loud") && why.contains("no filter"), "{why}");
    }
}
