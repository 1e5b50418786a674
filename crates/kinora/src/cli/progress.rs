//! Progress on standard error: on a terminal a bar, a map of chunks and a line for each node; in a pipe plain lines. It is
//! told what to show and knows neither engine nor hub.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::config::Config;

mod chunks;

pub use chunks::{Cell, ChunkMap};

/// Where progress goes.
pub enum Out {
    /// On a terminal.
    Bars(Bars),
    /// In a pipe.
    Lines,
    /// Nowhere.
    Nothing,
}

impl Out {
    /// Where it goes; `json` is asked for by those who want no words.
    pub fn of(config: &Config, json: bool) -> Self {
        if config.draw {
            Self::Bars(Bars::new())
        } else if json || config.quiet {
            Self::Nothing
        } else {
            Self::Lines
        }
    }

    /// A line in between.
    pub fn note(&self, text: &str) {
        match self {
            Self::Bars(bars) => bars.all.suspend(|| tell!("kinora: {text}")),
            Self::Lines => tell!("kinora: {text}"),
            Self::Nothing => {}
        }
    }
}

/// What the bar counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    /// Nothing yet.
    Nothing,
    Frames,
    Bytes,
}

impl Counts {
    fn template(self) -> &'static str {
        match self {
            Self::Nothing => "{elapsed:>4} {msg}",
            Self::Frames => "{elapsed:>4} {bar:32.green/dim} {percent:>3}%  {pos}/{len} frames  {msg}",
            Self::Bytes => {
                "{elapsed:>4} {bar:32.green/dim} {percent:>3}%  {bytes}/{total_bytes}  {bytes_per_sec}  ETA {eta}  {msg}"
            }
        }
    }
}

/// A bar for the whole, the map, and any number of lines.
pub struct Bars {
    all: MultiProgress,
    bar: ProgressBar,
    counts: Counts,
    map: ProgressBar,
    lines: Vec<ProgressBar>,
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::new();
        let bar = all.add(ProgressBar::new(0));
        bar.enable_steady_tick(Duration::from_millis(250));
        let map = words(&all);
        let mut bars = Self { all, bar, counts: Counts::Bytes, map, lines: Vec::new() };
        bars.count(Counts::Nothing);
        bars
    }

    fn count(&mut self, counts: Counts) {
        if self.counts != counts
            && let Ok(style) = ProgressStyle::with_template(counts.template())
        {
            self.bar.set_style(style.progress_chars("━╸─"));
            self.counts = counts;
        }
    }

    /// Frames that are done; how fast, how long still and at what. As long as nobody knows how many there are, only the last.
    pub fn frames(&mut self, done: u64, total: u64, fps: f64, eta: Option<f64>, at: &str) {
        self.count(if total > 0 { Counts::Frames } else { Counts::Nothing });
        self.bar.set_length(total);
        self.bar.set_position(done);
        let eta = eta.map_or("-:--".to_owned(), clock);
        self.bar.set_message(if total > 0 {
            format!("{fps:.0} fps  ETA {eta}  {at}")
        } else {
            at.to_owned()
        });
    }

    /// Bytes that are over.
    pub fn bytes(&mut self, done: u64, total: u64, said: String) {
        self.count(Counts::Bytes);
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.bar.set_message(said);
    }

    /// The chunks.
    pub fn map(&self, chunks: &ChunkMap) {
        if !chunks.is_empty() {
            self.map.set_message(chunks.text());
        }
    }

    /// The lines below.
    pub fn lines(&mut self, lines: Vec<String>) {
        while self.lines.len() < lines.len() {
            self.lines.push(words(&self.all));
        }
        for gone in self.lines.drain(lines.len()..) {
            gone.finish_and_clear();
            self.all.remove(&gone);
        }
        for (shown, line) in self.lines.iter().zip(lines) {
            shown.set_message(line);
        }
    }
}

impl Drop for Bars {
    /// What is said afterwards stands where they stood.
    fn drop(&mut self) {
        self.lines(Vec::new());
        self.map.finish_and_clear();
        self.bar.finish_and_clear();
    }
}

fn words(all: &MultiProgress) -> ProgressBar {
    let line = all.add(ProgressBar::new(0));
    if let Ok(style) = ProgressStyle::with_template("     {msg}") {
        line.set_style(style);
    }
    line
}

/// Seconds as `M:SS` or `H:MM:SS`.
pub fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if h > 0 { format!("{h}:{m:02}:{s:02}") } else { format!("{m}:{s:02}") }
}
