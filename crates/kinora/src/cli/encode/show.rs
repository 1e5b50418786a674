//! Progress on standard error: bars and a map of chunks on a terminal, plain lines in a pipe.

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kinora_protocol::event::{Event, TaskChange};
use kinora_protocol::job::JobPhase;
use kinora_protocol::task::{FrameRange, TaskKind, TaskOutput, TaskSpec};
use kinora_store::TaskRow;

use super::Summary;
use crate::config::Config;

/// Plain lines come at most so often.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// More chunks than this are shown several to a character.
const MAP_WIDTH: usize = 60;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Cell {
    Waiting,
    Running(u64),
    Reused,
    Done,
    Again,
}

/// The picture of a job.
pub struct Display {
    chunks: Vec<(FrameRange, Cell)>,
    /// Frames that were there when the encoding began.
    head_start: u64,
    encoding_since: Option<Instant>,
    phase: String,
    out: Out,
    last_percent: u64,
    last_line: Option<Instant>,
}

enum Out {
    Bars { bar: ProgressBar, map: ProgressBar, _all: MultiProgress },
    Lines,
    Nothing,
}

impl Display {
    /// `speak` is false when nothing is to be shown.
    pub fn new(config: &Config, speak: bool) -> Self {
        let out = if config.draw {
            bars()
        } else if speak {
            Out::Lines
        } else {
            Out::Nothing
        };
        Self {
            chunks: Vec::new(),
            head_start: 0,
            encoding_since: None,
            phase: "looking at the source".to_owned(),
            out,
            last_percent: 0,
            last_line: None,
        }
    }

    /// Takes over what an earlier run has done.
    pub fn catch_up(&mut self, rows: &[TaskRow]) {
        let mut chunks: Vec<(u32, FrameRange, Cell)> = rows
            .iter()
            .filter_map(|row| match &row.spec {
                TaskSpec::Chunk(task) => {
                    let done = matches!(row.output, Some(TaskOutput::Chunk(_)));
                    Some((row.ordinal, task.work.frames, if done { Cell::Reused } else { Cell::Waiting }))
                }
                _ => None,
            })
            .collect();
        if chunks.is_empty() {
            return;
        }
        chunks.sort_by_key(|(ordinal, ..)| *ordinal);
        self.chunks = chunks.into_iter().map(|(_, frames, cell)| (frames, cell)).collect();
        self.begin();
    }

    fn begin(&mut self) {
        self.head_start = self.done_frames();
        self.encoding_since = Some(Instant::now());
        self.phase = "encoding".to_owned();
        let reused = self.chunks.iter().filter(|(_, c)| *c == Cell::Reused).count();
        let (frames, chunks) = (self.total(), self.chunks.len());
        if let Out::Lines = self.out {
            let reused = if reused > 0 { format!(", {reused} of them done before") } else { String::new() };
            tell!("kinora: {frames} frames in {chunks} chunks{reused}");
        }
        if let Out::Bars { bar, .. } = &self.out {
            bar.set_length(frames);
        }
    }

    /// Takes in an event.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Planned { chunks, reused, .. } => {
                self.chunks = chunks.iter().map(|frames| (*frames, Cell::Waiting)).collect();
                for ordinal in reused {
                    self.set(*ordinal, Cell::Reused);
                }
                self.begin();
            }
            Event::Task { kind: TaskKind::Chunk, ordinal, change, .. } => self.chunk(*ordinal, change),
            Event::Task { kind, change: TaskChange::Leased { .. }, .. } => match kind {
                TaskKind::Join => "joining".clone_into(&mut self.phase),
                TaskKind::Package => "writing and checking the result".clone_into(&mut self.phase),
                TaskKind::Analyze => "looking for scene changes".clone_into(&mut self.phase),
                TaskKind::Probe | TaskKind::Chunk | TaskKind::Audio => {}
            },
            Event::Task { kind, change: TaskChange::Retry { failure }, .. } => {
                self.note(&format!("{} is tried again: {failure}", kind.name()));
            }
            Event::Job { phase: JobPhase::Combining, .. } => "joining".clone_into(&mut self.phase),
            Event::Job { .. } | Event::Task { .. } => {}
        }
        self.draw();
    }

    fn chunk(&mut self, ordinal: u32, change: &TaskChange) {
        match change {
            TaskChange::Leased { .. } => self.set(ordinal, Cell::Running(0)),
            TaskChange::Progress(progress) => self.set(ordinal, Cell::Running(progress.frames)),
            TaskChange::Done => self.set(ordinal, Cell::Done),
            TaskChange::Retry { failure } => {
                self.set(ordinal, Cell::Again);
                self.note(&format!("chunk {ordinal} is tried again: {failure}"));
            }
            TaskChange::Redo { .. } => {
                self.set(ordinal, Cell::Again);
                self.note(&format!(
                    "chunk {ordinal} was flagged by a check and is decoded from further back"
                ));
            }
            TaskChange::Failed { .. } => self.set(ordinal, Cell::Again),
        }
    }

    fn set(&mut self, ordinal: u32, cell: Cell) {
        if let Some((_, slot)) = usize::try_from(ordinal).ok().and_then(|n| self.chunks.get_mut(n)) {
            *slot = cell;
        }
    }

    fn total(&self) -> u64 {
        self.chunks.last().map_or(0, |(frames, _)| frames.end)
    }

    fn done_frames(&self) -> u64 {
        self.chunks
            .iter()
            .map(|(frames, cell)| match cell {
                Cell::Done | Cell::Reused => frames.count(),
                Cell::Running(done) => (*done).min(frames.count()),
                Cell::Waiting | Cell::Again => 0,
            })
            .sum()
    }

    /// Frames per second over the whole run so far.
    fn rate(&self) -> f64 {
        let seconds = self.encoding_since.map_or(0.0, |s| s.elapsed().as_secs_f64());
        let made = self.done_frames().saturating_sub(self.head_start);
        if seconds > 0.2 { made as f64 / seconds } else { 0.0 }
    }

    /// To be called now and then, so that clocks move.
    pub fn tick(&mut self) {
        self.draw();
    }

    fn draw(&mut self) {
        let (done, total, rate) = (self.done_frames(), self.total(), self.rate());
        let left = total.saturating_sub(done);
        let eta = if rate > 0.0 && left > 0 { clock(left as f64 / rate) } else { "-:--".to_owned() };
        match &self.out {
            Out::Bars { bar, map, .. } => {
                bar.set_position(done);
                bar.set_message(format!("{rate:.0} fps  ETA {eta}  {}", self.phase));
                map.set_message(self.map());
            }
            Out::Lines if total > 0 => {
                let percent = done * 100 / total;
                let due = self.last_line.is_none_or(|l| l.elapsed() >= LINE_EVERY);
                if percent > self.last_percent && due {
                    tell!("kinora: {percent}% ({done} of {total} frames), {rate:.0} fps, ETA {eta}");
                    (self.last_percent, self.last_line) = (percent, Some(Instant::now()));
                }
            }
            Out::Lines | Out::Nothing => {}
        }
    }

    /// One character per chunk, or per several.
    fn map(&self) -> String {
        let per = self.chunks.len().div_ceil(MAP_WIDTH).max(1);
        let cells = self.chunks.chunks(per).map(|group| {
            let all = |wanted: fn(&Cell) -> bool| group.iter().all(|(_, c)| wanted(c));
            let any = |wanted: fn(&Cell) -> bool| group.iter().any(|(_, c)| wanted(c));
            if all(|c| *c == Cell::Reused) {
                '▓'
            } else if all(|c| matches!(c, Cell::Done | Cell::Reused)) {
                '█'
            } else if any(|c| *c == Cell::Again) {
                '↻'
            } else if any(|c| matches!(c, Cell::Running(_))) {
                '▒'
            } else {
                '░'
            }
        });
        let finished = self.chunks.iter().filter(|(_, c)| matches!(c, Cell::Done | Cell::Reused)).count();
        format!("{}  {finished}/{} chunks", cells.collect::<String>(), self.chunks.len())
    }

    fn note(&self, text: &str) {
        match &self.out {
            Out::Bars { bar, .. } => bar.suspend(|| tell!("kinora: {text}")),
            Out::Lines => tell!("kinora: {text}"),
            Out::Nothing => {}
        }
    }

    /// Takes the bars away.
    pub fn finish(&mut self) {
        if let Out::Bars { bar, map, .. } = &self.out {
            map.finish_and_clear();
            bar.finish_and_clear();
        }
        self.out = Out::Nothing;
    }
}

fn bars() -> Out {
    let all = MultiProgress::new();
    let bar = all.add(ProgressBar::new(0));
    let map = all.add(ProgressBar::new(0));
    if let Ok(style) = ProgressStyle::with_template(
        "{elapsed:>4} {bar:32.green/dim} {percent:>3}%  {pos}/{len} frames  {msg}",
    ) {
        bar.set_style(style.progress_chars("━╸─"));
    }
    if let Ok(style) = ProgressStyle::with_template("     {msg}") {
        map.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    Out::Bars { bar, map, _all: all }
}

fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if h > 0 { format!("{h}:{m:02}:{s:02}") } else { format!("{m}:{s:02}") }
}

/// The last words on standard output.
pub fn summary(summary: &Summary) {
    let Summary { frames, chunks, wall_seconds, .. } = summary;
    let fps = *frames as f64 / wall_seconds.max(0.001);
    let speed = summary.seconds / wall_seconds.max(0.001);
    let size = summary.output_bytes as f64 / 1e6;
    say!("{}: {frames} frames, {size:.2} MB", summary.output.display());
    let reused =
        if summary.reused_chunks > 0 { format!(", {} reused", summary.reused_chunks) } else { String::new() };
    say!("  {chunks} chunks{reused}, {} ({fps:.0} fps, {speed:.2}× real time)", clock(*wall_seconds));
    say!(
        "  {}",
        if summary.verified { "verified: every frame counted, timed and checked" } else { "not verified" }
    );
    for note in &summary.notes {
        say!("  note: {note}");
    }
}
