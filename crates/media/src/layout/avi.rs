//! AVI: the first `movi` list and the index behind it. It must not look into chunks.

use std::io;

use kinora_plan::index::Packet;
use kinora_plan::layout::Layout;

use super::{Found, MAX_PARTS, Source};

/// Chunks looked at in the header lists.
const MAX_CHILDREN: usize = 4096;
const LIST_HEADER: u64 = 12;
const CHUNK_HEADER: u64 = 8;

/// Whether a seek in an AVI file lands where the plan expects. The container has no timestamps: with made-up ones
/// (`generated`), or with B-frames, only decoding from the start tells which frame is which.
pub fn seekable(packets: &[Packet], generated: bool) -> bool {
    !generated && packets.windows(2).all(|pair| matches!(pair, [a, b] if a.pts < b.pts))
}

/// A chunk; `end` counts the padding to an even size and is cut to its parent.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    kind: [u8; 4],
    /// What a `RIFF` or `LIST` holds; the first bytes of the payload elsewhere.
    list: [u8; 4],
    at: u64,
    end: u64,
}

impl Chunk {
    fn is_list(&self, name: &[u8; 4]) -> bool {
        &self.kind == b"LIST" && &self.list == name
    }
}

fn chunk(source: &mut Source<'_>, at: u64, limit: u64) -> io::Result<Option<Chunk>> {
    let mut buffer = [0; 12];
    let bytes = source.some(at, &mut buffer)?;
    let Some((head, list)) = bytes.split_first_chunk::<8>() else { return Ok(None) };
    let [kind @ .., a, b, c, d] = *head;
    let size = u64::from(u32::from_le_bytes([a, b, c, d]));
    let end = at.saturating_add(CHUNK_HEADER + size + size % 2).min(limit);
    let list = list.first_chunk::<4>().copied().unwrap_or_default();
    Ok((at < limit).then_some(Chunk { kind, list, at, end }))
}

fn children(source: &mut Source<'_>, parent: Chunk) -> io::Result<Vec<Chunk>> {
    let mut found = Vec::new();
    let mut at = parent.at.saturating_add(LIST_HEADER);
    while found.len() < MAX_CHILDREN {
        let Some(child) = chunk(source, at, parent.end)? else { break };
        at = child.end;
        found.push(child);
    }
    Ok(found)
}

pub(super) fn read(source: &mut Source<'_>) -> io::Result<Found> {
    let size = source.size;
    let riff = chunk(source, 0, size)?;
    let Some(riff) = riff.filter(|riff| &riff.kind == b"RIFF" && &riff.list == b"AVI ") else {
        return Ok(Err("no AVI header".to_owned()));
    };
    if chunk(source, riff.end, size)?.is_some_and(|next| &next.kind == b"RIFF") {
        return Ok(Err("an AVI of several parts (OpenDML)".to_owned()));
    }
    let mut movi = None;
    let mut indexed = false;
    let mut at = LIST_HEADER;
    for _ in 0..MAX_PARTS {
        let Some(found) = chunk(source, at, riff.end)? else { break };
        if found.is_list(b"hdrl") && super_indexed(source, found)? {
            return Ok(Err("an AVI with an OpenDML index".to_owned()));
        }
        if found.is_list(b"movi") {
            movi = movi.or(Some(found));
        }
        indexed |= movi.is_some() && &found.kind == b"idx1";
        at = found.end;
    }
    Ok(match movi {
        Some(movi) if indexed => Ok(Layout::Avi { head: (movi.at + LIST_HEADER).min(size), seekable: false }),
        Some(_) => Err("an AVI without an index".to_owned()),
        None => Err("an AVI without a movi list".to_owned()),
    })
}

/// Whether a stream has an OpenDML index: its parts lie among the pictures, where a window has gaps.
fn super_indexed(source: &mut Source<'_>, header: Chunk) -> io::Result<bool> {
    for stream in children(source, header)?.into_iter().filter(|child| child.is_list(b"strl")) {
        if children(source, stream)?.iter().any(|child| &child.kind == b"indx") {
            return Ok(true);
        }
    }
    Ok(false)
}
