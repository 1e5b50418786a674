//! ISO base media files and QuickTime: top-level boxes (ISO/IEC 14496-12, 4.2), and whether fragments carry their own
//! time. It must not look into samples.

use std::io;

use kinora_plan::layout::{Bytes, Layout};

use super::{Found, MAX_PARTS, Source};

/// Boxes looked at within one `moof`.
const MAX_CHILDREN: usize = 4096;

/// A box; `end` is cut to its parent.
#[derive(Debug, Clone, Copy)]
struct Item {
    kind: [u8; 4],
    at: u64,
    body: u64,
    end: u64,
}

/// The box at `at`, which must start before `limit`; `None` when there is no valid header.
fn item(source: &mut Source<'_>, at: u64, limit: u64) -> io::Result<Option<Item>> {
    let Some([a, b, c, d, kind @ ..]) = source.exact::<8>(at)? else { return Ok(None) };
    let kind: [u8; 4] = kind;
    let (body, size) = match u32::from_be_bytes([a, b, c, d]) {
        // To the end of the file.
        0 => (at.saturating_add(8), limit.saturating_sub(at)),
        1 => match source.exact::<8>(at.saturating_add(8))? {
            Some(size) => (at.saturating_add(16), u64::from_be_bytes(size)),
            None => return Ok(None),
        },
        size => (at.saturating_add(8), u64::from(size)),
    };
    let end = at.saturating_add(size).min(limit);
    Ok((body <= end).then_some(Item { kind, at, body, end }))
}

#[derive(Default)]
struct Outline {
    structure: Vec<Bytes>,
    moov: Option<Item>,
    moofs: Vec<u64>,
}

impl Outline {
    /// Adds a stretch to the structure, joined to the one before where they touch.
    fn keep(&mut self, at: u64, end: u64) {
        match self.structure.last_mut() {
            Some(before) if before.end() == at => before.len = end - before.at,
            _ => self.structure.push(Bytes { at, len: end - at }),
        }
    }
}

pub(super) fn read(source: &mut Source<'_>) -> io::Result<Found> {
    let size = source.size;
    let mut outline = Outline::default();
    let mut at = 0;
    let mut parts = 0;
    while at < size {
        parts += 1;
        if parts > MAX_PARTS {
            return Ok(Err("more boxes than are walked through".to_owned()));
        }
        let Some(found) = item(source, at, size)? else {
            // What follows a damaged box may still be read by ffmpeg; it comes along as it is.
            outline.keep(at, size);
            break;
        };
        match &found.kind {
            b"mdat" => outline.keep(found.at, found.body),
            b"moof" => outline.moofs.push(found.at),
            b"moov" if outline.moov.is_some() => return Ok(Err("more than one moov box".to_owned())),
            b"moov" => outline.moov = Some(found),
            _ => {}
        }
        if &found.kind != b"mdat" && outline.moofs.is_empty() {
            outline.keep(found.at, found.end);
        }
        at = found.end;
    }
    settle(source, outline)
}

fn settle(source: &mut Source<'_>, outline: Outline) -> io::Result<Found> {
    let Some(moov) = outline.moov else { return Ok(Err("no moov box".to_owned())) };
    let Some(&first) = outline.moofs.first() else {
        return Ok(Ok(Layout::Mp4 { structure: outline.structure }));
    };
    if moov.at > first {
        return Ok(Err("the moov box comes after the first fragment".to_owned()));
    }
    if !timed(source, first)? {
        return Ok(Err("fragments without a time of their own (tfdt)".to_owned()));
    }
    Ok(Ok(Layout::Fragmented { head: moov.end, moofs: outline.moofs }))
}

/// Whether all tracks in the fragment say when they start. Without that, times are counted from the first fragment.
fn timed(source: &mut Source<'_>, moof: u64) -> io::Result<bool> {
    let Some(moof) = item(source, moof, source.size)? else { return Ok(false) };
    let tracks = children(source, moof)?;
    for track in tracks.iter().filter(|child| &child.kind == b"traf") {
        if !children(source, *track)?.iter().any(|child| &child.kind == b"tfdt") {
            return Ok(false);
        }
    }
    Ok(tracks.iter().any(|child| &child.kind == b"traf"))
}

fn children(source: &mut Source<'_>, parent: Item) -> io::Result<Vec<Item>> {
    let mut found = Vec::new();
    let mut at = parent.body;
    while at < parent.end && found.len() < MAX_CHILDREN {
        let Some(child) = item(source, at, parent.end)? else { break };
        at = child.end;
        found.push(child);
    }
    Ok(found)
}
