//! Standard output in lines, and the lines of ffmpeg's `-progress` report.

use kinora_protocol::node::Progress;

use super::chain::Takes;
use super::{Control, LineMeans, OnProgress};

/// Who is told of each line.
pub(super) trait Hears: Send {
    fn line(&mut self, line: &str) -> LineMeans;
}

impl<F: FnMut(&str) -> LineMeans + Send> Hears for F {
    fn line(&mut self, line: &str) -> LineMeans {
        self(line)
    }
}

/// Bytes to lines.
pub(super) struct Lines<H> {
    /// A line without an end so far.
    begun: Vec<u8>,
    hears: H,
}

impl<H: Hears> Lines<H> {
    pub(super) fn to(hears: H) -> Self {
        Self { begun: Vec::new(), hears }
    }

    fn line(&mut self) -> LineMeans {
        let means = self.hears.line(String::from_utf8_lossy(&self.begun).trim_end());
        self.begun.clear();
        means
    }

    fn push(&mut self, piece: &[u8]) -> LineMeans {
        let mut means = LineMeans::Nothing;
        for line in piece.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(line);
            if !line.ends_with(b"\n") {
                break;
            }
            if self.line() == LineMeans::Movement {
                means = LineMeans::Movement;
            }
        }
        means
    }

    /// There is no more: what was begun is a line, too.
    pub(super) fn end(mut self) -> H {
        if !self.begun.is_empty() {
            self.line();
        }
        self.hears
    }
}

impl<H: Hears> Takes for Lines<H> {
    fn take(&mut self, bytes: &[u8]) -> impl Future<Output = LineMeans> + Send {
        std::future::ready(self.push(bytes))
    }
}

/// What ffmpeg says of its progress, told to who wants to hear it.
pub(super) struct Report {
    current: Progress,
    out_time: String,
    tell: OnProgress,
    /// Bytes that it says it wrote to its first output.
    pub(super) written: Option<u64>,
}

impl Report {
    pub(super) fn to(control: &Control) -> Lines<Self> {
        let tell = OnProgress::clone(&control.progress);
        Lines::to(Self { current: Progress::default(), out_time: String::new(), tell, written: None })
    }
}

impl Hears for Report {
    fn line(&mut self, line: &str) -> LineMeans {
        let Some((key, value)) = line.split_once('=') else { return LineMeans::Nothing };
        match (key, value.trim()) {
            ("frame", value) => {
                let frames = value.parse().unwrap_or(self.current.frames);
                if frames != self.current.frames {
                    self.current.frames = frames;
                    return LineMeans::Movement;
                }
            }
            ("fps", value) => self.current.fps = value.parse().unwrap_or(self.current.fps),
            // Sound has no frames; its time moves instead.
            ("out_time_us", value) if value != self.out_time => {
                value.clone_into(&mut self.out_time);
                return LineMeans::Movement;
            }
            ("total_size", value) => self.written = value.parse().ok(),
            ("progress", _) => (self.tell)(self.current),
            _ => {}
        }
        LineMeans::Nothing
    }
}
