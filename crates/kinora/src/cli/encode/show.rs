//! What a run on this machine shows: its progress, and the last words.

use std::time::{Duration, Instant};

use kinora_protocol::event::{Event, TaskChange};
use kinora_protocol::job::JobPhase;
use kinora_protocol::task::{TaskKind, TaskOutput, TaskSpec};
use kinora_store::TaskRow;

use super::Summary;
use crate::cli::progress::{Cell, ChunkMap, Out, clock};

/// Plain lines come at most so often.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The picture of a job.
pub struct Display {
    chunks: ChunkMap,
    /// Frames that were there when the encoding began.
    head_start: u64,
    encoding_since: Option<Instant>,
    phase: String,
    out: Out,
    last_percent: u64,
    last_line: Option<Instant>,
}

impl Display {
    /// For a job that has not begun.
    pub fn new(out: Out) -> Self {
        Self {
            chunks: ChunkMap::default(),
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
        let chunks = ChunkMap::of(rows.iter().filter_map(|row| match &row.spec {
            TaskSpec::Chunk(task) => {
                let done = matches!(row.output, Some(TaskOutput::Chunk(_)));
                Some((row.ordinal, task.work.frames, if done { Cell::Reused } else { Cell::Waiting }))
            }
            _ => None,
        }));
        if !chunks.is_empty() {
            self.begin(chunks);
        }
    }

    fn begin(&mut self, chunks: ChunkMap) {
        self.chunks = chunks;
        self.head_start = self.chunks.done();
        self.encoding_since = Some(Instant::now());
        self.phase = "encoding".to_owned();
        if let (Out::Lines, 1..) = (&self.out, self.chunks.len()) {
            let (frames, chunks, reused) = (self.chunks.total(), self.chunks.len(), self.chunks.reused());
            let reused = if reused > 0 { format!(", {reused} of them done before") } else { String::new() };
            tell!("kinora: {frames} frames in {chunks} chunks{reused}");
        }
    }

    /// Takes in an event.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Planned { chunks, reused, .. } => self.begin(ChunkMap::planned(chunks, reused)),
            Event::Task { kind: TaskKind::Chunk, ordinal, change, .. } => self.chunk(*ordinal, change),
            Event::Task { kind, change: TaskChange::Leased { .. }, .. } => match kind {
                TaskKind::Join => "joining".clone_into(&mut self.phase),
                TaskKind::Package => "writing and checking the result".clone_into(&mut self.phase),
                TaskKind::Analyze => "looking for scene changes".clone_into(&mut self.phase),
                TaskKind::Measure | TaskKind::Survey => "measuring the film".clone_into(&mut self.phase),
                TaskKind::Probe | TaskKind::Chunk | TaskKind::Audio | TaskKind::Describe => {}
            },
            Event::Task { kind, change: TaskChange::Retry { failure }, .. } => {
                self.out.note(&format!("{} is tried again: {failure}", kind.name()));
            }
            Event::Job { phase: JobPhase::Combining, .. } => "joining".clone_into(&mut self.phase),
            Event::Job { .. } | Event::Task { .. } => {}
        }
        self.tick();
    }

    fn chunk(&mut self, ordinal: u32, change: &TaskChange) {
        self.chunks.change(ordinal, change);
        match change {
            TaskChange::Retry { failure } => {
                self.out.note(&format!("chunk {ordinal} is tried again: {failure}"));
            }
            TaskChange::Redo { .. } => self
                .out
                .note(&format!("chunk {ordinal} was flagged by a check and is decoded from further back")),
            _ => {}
        }
    }

    /// Frames per second over the whole run so far.
    fn rate(&self) -> f64 {
        let seconds = self.encoding_since.map_or(0.0, |s| s.elapsed().as_secs_f64());
        let made = self.chunks.done().saturating_sub(self.head_start);
        if seconds > 0.2 { made as f64 / seconds } else { 0.0 }
    }

    /// Shows how it stands; to be called now and then, so that clocks move.
    pub fn tick(&mut self) {
        let (done, total, rate) = (self.chunks.done(), self.chunks.total(), self.rate());
        let left = total.saturating_sub(done);
        let eta = (rate > 0.0 && left > 0).then(|| left as f64 / rate);
        match &mut self.out {
            Out::Bars(bars) => {
                bars.frames(done, total, rate, eta, &self.phase);
                bars.map(&self.chunks);
            }
            Out::Lines if total > 0 => {
                let percent = done * 100 / total;
                let due = self.last_line.is_none_or(|l| l.elapsed() >= LINE_EVERY);
                if percent > self.last_percent && due {
                    let eta = eta.map_or("-:--".to_owned(), clock);
                    tell!("kinora: {percent}% ({done} of {total} frames), {rate:.0} fps, ETA {eta}");
                    (self.last_percent, self.last_line) = (percent, Some(Instant::now()));
                }
            }
            Out::Lines | Out::Nothing => {}
        }
    }

    /// Takes the bars away.
    pub fn finish(&mut self) {
        self.out = Out::Nothing;
    }
}

/// The last words on standard output.
pub fn summary(summary: &Summary) {
    let Summary { frames, chunks, wall_seconds, .. } = summary;
    let fps = *frames as f64 / wall_seconds.max(0.001);
    let speed = summary.seconds / wall_seconds.max(0.001);
    let size = summary.output_bytes as f64 / 1e6;
    let reused =
        if summary.reused_chunks > 0 { format!(", {} reused", summary.reused_chunks) } else { String::new() };
    let (output, wall) = (summary.output.display(), clock(*wall_seconds));
    if summary.sound_alone {
        say!("{output}: {} of sound, {size:.2} MB", clock(summary.seconds));
        say!("  {wall} ({speed:.2}× real time)");
    } else {
        say!("{output}: {frames} frames, {size:.2} MB");
        say!("  {chunks} chunks{reused}, {wall} ({fps:.0} fps, {speed:.2}× real time)");
    }
    say!(
        "  {}",
        match (summary.verified, summary.sound_alone) {
            (true, false) => "verified: every frame counted, timed and checked",
            (true, true) => "verified: every packet of the sound counted and timed",
            (false, _) => "not verified",
        }
    );
    for note in &summary.notes {
        say!("  note: {note}");
    }
}
