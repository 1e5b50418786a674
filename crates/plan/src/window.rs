//! Which bytes a chunk needs, so that ffmpeg decodes it from a file that holds little else. Pure: it knows packets and
//! layouts, and must not know how bytes are fetched or how a window is written to disk.
//!
//! Whatever cannot be planned safely becomes [`Window::whole`]: more bytes, never other frames.

use kinora_protocol::task::{Patch, Preroll, Segment, Stretch, Window};

use crate::index::{Packet, PacketIndex};
use crate::layout::{Bytes, Layout};

/// Packets past the chunk's last one: they complete the reordering and hold the frames of the seam check.
const PACKETS_AFTER: usize = 16;
/// Size of a transport stream packet.
const TS_PACKET: u64 = 188;
/// Transport packets past the start of the next picture, so that the last one counts as complete.
const TS_PACKETS_AFTER: u64 = 64;
/// A chunk header in AVI: packets are indexed by their payload, which follows it.
const AVI_CHUNK_HEADER: u64 = 8;
/// A `free` box with 64-bit size.
const FREE_HEADER: u64 = 16;
/// An EBML Void with 8-byte size.
const VOID_HEADER: u64 = 9;

/// Plans windows of one index; it holds the orders that every chunk would have to sort for.
#[derive(Debug)]
pub struct Planner<'a> {
    index: &'a PacketIndex,
    /// Decode positions in display order.
    shown: Vec<u32>,
    /// The greatest decode position among `shown[..=i]`.
    reach: Vec<u32>,
    /// Decode positions of key frames.
    keys: Vec<u32>,
    /// In AVI, where the last packet ends, if nothing lies between the packets.
    alone: Option<u64>,
}

/// The packets that a chunk decodes, both included, as decode positions.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    last: usize,
}

/// Where packets lie in the file.
#[derive(Debug, Clone, Copy)]
struct Extent {
    /// Least position.
    from: u64,
    /// Greatest position.
    last: u64,
    /// Greatest end, not past the file's.
    to: u64,
}

/// The window of the frames with `a <= pts < b`, in ticks. For many chunks of one index, use a [`Planner`].
pub fn plan(index: &PacketIndex, a: i64, b: i64, preroll: Preroll) -> Window {
    Planner::new(index).window(a, b, preroll)
}

/// How many key frames before the one that shows at the chunk's start; `None` from the file's start.
fn steps(layout: &Layout, preroll: Preroll) -> Option<usize> {
    match (preroll, layout) {
        (Preroll::Normal, Layout::Transport { .. }) => Some(3),
        (Preroll::Normal, _) => Some(2),
        (Preroll::Deep, _) => Some(8),
        (Preroll::FromStart, _) => None,
    }
}

impl<'a> Planner<'a> {
    /// Sorts once: O(n log n) in the number of packets, 8 bytes for each.
    pub fn new(index: &'a PacketIndex) -> Self {
        let count = u32::try_from(index.packets.len()).unwrap_or(u32::MAX);
        let shown = index.shown();
        let reach = shown
            .iter()
            .scan(0, |most, &i| {
                *most = i.max(*most);
                Some(*most)
            })
            .collect();
        let keys = (0..count).filter(|&i| index.packets[i as usize].is_key()).collect();
        Self { index, shown, reach, keys, alone: alone(index) }
    }

    /// The window of the frames with `a <= pts < b`, in ticks.
    pub fn window(&self, a: i64, b: i64, preroll: Preroll) -> Window {
        let size = self.index.size;
        let span = steps(&self.index.layout, preroll).and_then(|steps| self.span(a, b, steps));
        span.and_then(|span| self.built(span)).unwrap_or_else(|| Window::whole(size))
    }

    /// The same as a task's stretch, decoded with the normal pre-roll.
    pub fn stretch(&self, a: i64, b: i64) -> Stretch {
        Stretch { a, b, window: self.window(a, b, Preroll::Normal) }
    }

    /// Where decoding starts and ends; `None` when no frame is in `[a, b)`.
    fn span(&self, a: i64, b: i64, steps: usize) -> Option<Span> {
        let packets = &self.index.packets;
        let before = |limit: i64| self.shown.partition_point(|&i| packets[i as usize].pts < limit);
        let (from, to) = (before(a), before(b));
        let first = *self.shown.get(from..to)?.iter().min()?;
        let known = self.keys.partition_point(|&key| key <= first);
        // In open GOPs a key frame may come first in decode order and still show after `a`.
        let key = self.keys[..known].iter().rposition(|&key| packets[key as usize].pts <= a);
        let start = key.and_then(|key| key.checked_sub(steps)).map_or(0, |key| self.keys[key] as usize);
        let last = (self.reach[to - 1] as usize + PACKETS_AFTER).min(packets.len() - 1);
        Some(Span { start, last })
    }

    fn built(&self, span: Span) -> Option<Window> {
        // Made-up times depend on where decoding starts, except where the container counts frames.
        let guessed = self.index.clock.generate;
        match &self.index.layout {
            Layout::Mp4 { structure } => self.mp4(structure, span),
            Layout::Avi { head, seekable: true } => self.avi(*head, span),
            Layout::Fragmented { head, moofs } if !guessed => self.fragmented(*head, moofs, span),
            Layout::Matroska { head, clusters } if !guessed => self.matroska(*head, clusters, span),
            Layout::Transport { tables } if !guessed => self.transport(tables, span),
            _ => None,
        }
    }

    /// Where the packets of a span lie; `None` when a position is unknown.
    fn extent(&self, span: Span) -> Option<Extent> {
        let packets = self.index.packets.get(span.start..=span.last)?;
        let places: Option<Vec<Bytes>> = packets.iter().map(place).collect();
        extent(&places?, self.index.size)
    }

    /// The presentation time to seek to; from the file's start nothing is sought.
    fn seek(&self, span: Span) -> Option<i64> {
        (span.start > 0).then(|| self.index.packets[span.start].pts)
    }

    /// The packets that ffmpeg reads when it opens the file.
    fn opening(&self) -> Option<Vec<Bytes>> {
        self.index.packets.iter().take(2).map(place).collect()
    }

    /// A sparse file of the source's size: the offsets in `moov` stay true.
    fn mp4(&self, structure: &[Bytes], span: Span) -> Option<Window> {
        let mut ranges = structure.to_vec();
        ranges.extend(self.opening()?);
        // One range, with the other streams' bytes in between: an edit list can hide packets from the index that the
        // decoder needs all the same, and they lie among the others, or before the first one.
        let extent = self.extent(span)?;
        let from = if span.start == 0 { 0 } else { extent.from };
        ranges.push(Bytes { at: from, len: extent.to - from });
        self.identity(ranges, self.seek(span))
    }

    /// A sparse file of the source's size: the offsets in `idx1` stay true.
    fn avi(&self, head: u64, span: Span) -> Option<Window> {
        let size = self.index.size;
        let seek = self.seek(span);
        let Some(end) = self.alone else {
            // A seek goes back to where the first of all streams is, and the demuxer counts pictures from there: it
            // must find every one of them, or all times are late.
            return self.identity(vec![Bytes { at: 0, len: size }], seek);
        };
        let extent = self.extent(span)?;
        let mut ranges = self.opening()?;
        ranges.push(Bytes { at: extent.from, len: extent.to - extent.from });
        for range in &mut ranges {
            let header = AVI_CHUNK_HEADER.min(range.at);
            *range = Bytes { at: range.at - header, len: range.len.saturating_add(header) };
        }
        ranges.push(Bytes { at: 0, len: head });
        ranges.push(Bytes { at: end, len: size.saturating_sub(end) });
        self.identity(ranges, seek)
    }

    fn identity(&self, ranges: Vec<Bytes>, seek: Option<i64>) -> Option<Window> {
        let size = self.index.size;
        let segments = merged(ranges, size)
            .into_iter()
            .map(|bytes| Segment { at: bytes.at, from: bytes.at, len: bytes.len })
            .collect();
        Some(Window { length: size, segments, patches: vec![], seek })
    }

    /// `moov`, a `free` box over the gap, and whole fragments. A `sidx` falls into the gap with good reason: the demuxer
    /// would follow it to fragments that are not there.
    fn fragmented(&self, head: u64, moofs: &[u64], span: Span) -> Option<Window> {
        let extent = self.extent(span)?;
        // Samples before the first fragment belong to `moov`, which then needs more than its own bytes.
        if self.index.packets.first()?.pos()? < *moofs.first()? {
            return None;
        }
        let from = *moofs[..moofs.partition_point(|&moof| moof <= extent.from)].last()?;
        let to = moofs.get(moofs.partition_point(|&moof| moof <= extent.last));
        self.spliced(head, from, to.copied().unwrap_or(self.index.size), FREE_HEADER, free_box)
    }

    /// The bytes before the first cluster, a Void over the gap, and whole clusters.
    fn matroska(&self, head: u64, clusters: &[Bytes], span: Span) -> Option<Window> {
        let extent = self.extent(span)?;
        // By position only: a packet can be longer than its block, as header stripping is undone by then.
        let holding = |pos: u64| {
            let before = clusters.partition_point(|cluster| cluster.at <= pos).checked_sub(1)?;
            clusters.get(before).filter(|cluster| pos < cluster.end())
        };
        let (from, to) = (holding(extent.from)?, holding(extent.last)?.end());
        self.spliced(head, from.at, to, VOID_HEADER, void_element)
    }

    /// `[0, head)`, a header over the gap, then `[from, to)`, all at their own offsets.
    fn spliced(
        &self,
        head: u64,
        from: u64,
        to: u64,
        header: u64,
        write: fn(u64) -> Vec<u8>,
    ) -> Option<Window> {
        if head == 0 || head > from || from >= to || to > self.index.size {
            return None;
        }
        if from - head < header {
            // No room for a header: the few bytes of the gap come along.
            let segments = vec![Segment { at: 0, from: 0, len: to }];
            return Some(Window { length: to, segments, patches: vec![], seek: None });
        }
        let segments =
            vec![Segment { at: 0, from: 0, len: head }, Segment { at: from, from, len: to - from }];
        let patches = vec![Patch { at: head, bytes: write(from - head) }];
        Some(Window { length: to, segments, patches, seek: None })
    }

    /// The tables, then one stretch of the stream. The demuxer finds its own way, so offsets need not stay.
    fn transport(&self, tables: &[u64], span: Span) -> Option<Window> {
        let size = self.index.size;
        let packets = &self.index.packets;
        // A picture that shares its PES packet with the one before has no position of its own.
        let places: Vec<Bytes> = packets[span.start..=span.last].iter().filter_map(place).collect();
        let extent = extent(&places, size)?;
        let start = packets[..=span.start].iter().rev().find_map(Packet::pos)?.min(extent.from);
        let next = packets[span.last + 1..].iter().find_map(Packet::pos);
        let from = if span.start == 0 { 0 } else { start };
        let to = next
            .map_or(size, |next| next.max(extent.to).saturating_add(TS_PACKETS_AFTER * TS_PACKET).min(size));
        let mut segments: Vec<Segment> = Vec::with_capacity(tables.len() + 1);
        let mut at = 0;
        let wanted = tables.iter().filter(|&&table| table < from).map(|&table| (table, TS_PACKET));
        for (from, len) in wanted.chain([(from, to.checked_sub(from)?)]) {
            if len == 0 || from.checked_add(len)? > size {
                return None;
            }
            match segments.last_mut() {
                Some(before) if before.from + before.len == from => before.len += len,
                _ => segments.push(Segment { at, from, len }),
            }
            at += len;
        }
        Some(Window { length: at, segments, patches: vec![], seek: None })
    }
}

fn place(packet: &Packet) -> Option<Bytes> {
    let at = packet.pos()?;
    let len = u64::from(packet.size());
    at.checked_add(len).map(|_| Bytes { at, len })
}

/// Where the last packet of an AVI file ends, if its packets follow one another as they do without other streams.
fn alone(index: &PacketIndex) -> Option<u64> {
    let Layout::Avi { head, .. } = index.layout else { return None };
    let frame = index.clock.source.num().max(1);
    let mut end = head;
    let mut before = None;
    for packet in &index.packets {
        let place = place(packet)?;
        // A frame that repeats the one before is a chunk without payload, and no packet.
        let repeats = before.map_or(0, |pts: i64| packet.pts.saturating_sub(pts) / frame - 1);
        let headers = AVI_CHUNK_HEADER.saturating_mul(u64::try_from(repeats).ok()? + 1);
        let gap = place.at.checked_sub(end)?;
        if gap < AVI_CHUNK_HEADER || gap > headers.saturating_add(end % 2) {
            return None;
        }
        before = Some(packet.pts);
        end = place.end();
    }
    Some(end)
}

fn extent(places: &[Bytes], size: u64) -> Option<Extent> {
    let from = places.iter().map(|place| place.at).min()?;
    let last = places.iter().map(|place| place.at).max()?;
    let to = places.iter().map(|place| place.end()).max()?.min(size);
    (last < to).then_some(Extent { from, last, to })
}

/// In order, cut to the file, without overlaps and without empty ranges.
fn merged(mut ranges: Vec<Bytes>, size: u64) -> Vec<Bytes> {
    ranges.sort_unstable_by_key(|bytes| bytes.at);
    let mut out: Vec<Bytes> = Vec::new();
    for range in ranges {
        let end = range.at.saturating_add(range.len).min(size);
        if range.at >= end {
            continue;
        }
        match out.last_mut() {
            Some(before) if range.at <= before.end() => before.len = before.len.max(end - before.at),
            _ => out.push(Bytes { at: range.at, len: end - range.at }),
        }
    }
    out
}

/// ISO/IEC 14496-12, 8.1.2: the header of a `free` box of `len` bytes, written with `largesize`.
fn free_box(len: u64) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 1];
    bytes.extend_from_slice(b"free");
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes
}

/// RFC 8794, 11.3.2: the header of an EBML Void that takes `len` bytes in all.
fn void_element(len: u64) -> Vec<u8> {
    let mut bytes = vec![0xEC];
    bytes.extend_from_slice(&((len - VOID_HEADER) | 1 << 56).to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests;
