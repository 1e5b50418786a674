//! The log of this process: what is said and how, and what is said from now on. What is worth saying is decided where it happens.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

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

fn read(filter: &str) -> Result<EnvFilter, String> {
    EnvFilter::builder()
        .with_regex(false)
        .parse(filter)
        .map_err(|error| format!("{filter:?} is no filter such as info,kinora_hub=debug: {error}"))
}

/// Sends the log to standard error.
pub fn start(filter: &str, format: Format) {
    let filter = read(filter).unwrap_or_else(|_| EnvFilter::new("warn"));
    let (filter, handle) = reload::Layer::new(filter);
    let mut lines = fmt::layer().with_writer(std::io::stderr).with_target(false);
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

/// The log, as a hub shows it to whoever runs it.
#[derive(Debug)]
pub struct Log;

impl kinora_hub::log::Log for Log {
    fn filter(&self) -> String {
        let current = FILTER.get().and_then(|handle| handle.with_current(ToString::to_string).ok());
        current.unwrap_or_default()
    }

    fn change(&self, filter: &str) -> Result<(), String> {
        let filter = read(filter)?;
        let handle = FILTER.get().ok_or("this process has another log")?;
        handle.reload(filter).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_or_refused() {
        for good in ["info", "warn,kinora_hub=debug", "off", "kinora_hub[{job=7}]=trace"] {
            assert!(read(good).is_ok(), "{good}");
        }
        let why = read("kinora_hub=loud").unwrap_err();
        assert!(why.contains("loud") && why.contains("no filter"), "{why}");
    }
}
