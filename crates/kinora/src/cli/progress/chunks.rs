//! Which chunks of a job wait, run and are done, and the picture of that: one character for each. It knows neither engine
//! nor hub.

use kinora_protocol::event::TaskChange;
use kinora_protocol::task::FrameRange;

/// More chunks than this are shown several to a character.
const MAP_WIDTH: usize = 60;

/// How far a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// Nobody is at it.
    Waiting,
    /// Somebody is, and so many frames are done.
    Running(u64),
    /// It was there before.
    Reused,
    /// Done.
    Done,
    /// It is done once more.
    Again,
}

/// The chunks of a job, in order.
#[derive(Debug, Default)]
pub struct ChunkMap {
    chunks: Vec<(FrameRange, Cell)>,
}

impl ChunkMap {
    /// Chunks by their ordinals, in any order.
    pub fn of(chunks: impl IntoIterator<Item = (u32, FrameRange, Cell)>) -> Self {
        let mut chunks: Vec<_> = chunks.into_iter().collect();
        chunks.sort_by_key(|(ordinal, ..)| *ordinal);
        Self { chunks: chunks.into_iter().map(|(_, frames, cell)| (frames, cell)).collect() }
    }

    /// What has just been planned.
    pub fn planned(chunks: &[FrameRange], reused: &[u32]) -> Self {
        let mut map = Self { chunks: chunks.iter().map(|frames| (*frames, Cell::Waiting)).collect() };
        reused.iter().for_each(|ordinal| map.set(*ordinal, Cell::Reused));
        map
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Nothing is planned yet.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// How many were there before.
    pub fn reused(&self) -> usize {
        self.chunks.iter().filter(|(_, cell)| *cell == Cell::Reused).count()
    }

    /// One chunk is so far now. One that is done stays so: a second attempt at it changes nothing.
    pub fn set(&mut self, ordinal: u32, cell: Cell) {
        let Some((_, slot)) = usize::try_from(ordinal).ok().and_then(|n| self.chunks.get_mut(n)) else {
            return;
        };
        let stays = matches!(slot, Cell::Done | Cell::Reused) && matches!(cell, Cell::Running(_));
        if !stays {
            *slot = cell;
        }
    }

    /// Takes in what happened to one.
    pub fn change(&mut self, ordinal: u32, change: &TaskChange) {
        let cell = match change {
            TaskChange::Leased { .. } => Cell::Running(0),
            TaskChange::Progress(progress) => Cell::Running(progress.frames),
            TaskChange::Done => Cell::Done,
            TaskChange::Retry { .. } | TaskChange::Redo { .. } | TaskChange::Failed { .. } => Cell::Again,
        };
        self.set(ordinal, cell);
    }

    /// Output frames of one.
    pub fn frames_of(&self, ordinal: u32) -> u64 {
        let at = usize::try_from(ordinal).ok().and_then(|n| self.chunks.get(n));
        at.map_or(0, |(frames, _)| frames.count())
    }

    /// Output frames of all.
    pub fn total(&self) -> u64 {
        self.chunks.last().map_or(0, |(frames, _)| frames.end)
    }

    /// Output frames that are done.
    pub fn done(&self) -> u64 {
        let done = |(frames, cell): &(FrameRange, Cell)| match cell {
            Cell::Done | Cell::Reused => frames.count(),
            Cell::Running(done) => (*done).min(frames.count()),
            Cell::Waiting | Cell::Again => 0,
        };
        self.chunks.iter().map(done).sum()
    }

    /// One character per chunk, or per several.
    pub fn text(&self) -> String {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn four() -> ChunkMap {
        let ranges: Vec<FrameRange> =
            (0..4).map(|n| FrameRange { start: n * 10, end: n * 10 + 10 }).collect();
        ChunkMap::planned(&ranges, &[0])
    }

    #[test]
    fn the_picture_follows_what_happens() {
        let mut map = four();
        map.set(1, Cell::Running(4));
        map.change(2, &TaskChange::Done);
        assert_eq!(map.text(), "▓▒█░  2/4 chunks");
        assert_eq!((map.done(), map.total(), map.reused()), (24, 40, 1));
    }

    #[test]
    fn a_second_attempt_takes_nothing_back() {
        let mut map = four();
        map.change(2, &TaskChange::Done);
        map.set(2, Cell::Running(3));
        map.set(9, Cell::Done);
        assert_eq!(map.done(), 20);
    }

    #[test]
    fn many_chunks_share_characters() {
        let ranges: Vec<FrameRange> = (0..100).map(|n| FrameRange { start: n, end: n + 1 }).collect();
        let text = ChunkMap::planned(&ranges, &[]).text();
        assert_eq!(text, format!("{}  0/100 chunks", "░".repeat(50)));
    }
}
