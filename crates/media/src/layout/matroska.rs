//! Matroska and WebM: the level-1 elements of the first segment (RFC 9559, RFC 8794 for the coding). It must not look
//! into clusters.

use std::io;

use kinora_plan::layout::{Bytes, Layout};

use super::{Found, MAX_PARTS, Source};

const EBML: u32 = 0x1A45_DFA3;
const SEGMENT: u32 = 0x1853_8067;
const TRACKS: u32 = 0x1654_AE6B;
const CLUSTER: u32 = 0x1F43_B675;
/// SeekHead, Info, Cues, Attachments, Chapters, Tags, Void, CRC-32.
const OTHERS: [u32; 8] =
    [0x114D_9B74, 0x1549_A966, 0x1C53_BB6B, 0x1941_A469, 0x1043_A770, 0x1254_C367, 0xEC, 0xBF];

#[derive(Debug, Clone, Copy)]
struct Element {
    id: u32,
    body: u64,
    /// `None` when the size is unknown.
    len: Option<u64>,
}

/// The element at `at`; `None` when there is no valid header.
fn element(source: &mut Source<'_>, at: u64) -> io::Result<Option<Element>> {
    // An ID takes at most four bytes here and a size at most eight (RFC 8794, 4 and 5).
    let mut buffer = [0; 12];
    let bytes = source.some(at, &mut buffer)?;
    Ok(header(bytes).map(|(id, len, header)| Element { id, body: at.saturating_add(header), len }))
}

fn header(bytes: &[u8]) -> Option<(u32, Option<u64>, u64)> {
    let id_len = bytes.first()?.leading_zeros() as usize + 1;
    if id_len > 4 {
        return None;
    }
    let id = bytes.get(..id_len)?.iter().fold(0, |id, &byte| id << 8 | u32::from(byte));
    let rest = &bytes[id_len..];
    let size_len = rest.first()?.leading_zeros() as usize + 1;
    if size_len > 8 {
        return None;
    }
    let raw = rest.get(..size_len)?.iter().fold(0, |size, &byte| size << 8 | u64::from(byte));
    let ones = (1_u64 << (7 * size_len)) - 1;
    let value = raw & ones;
    Some((id, (value != ones).then_some(value), (id_len + size_len) as u64))
}

pub(super) fn read(source: &mut Source<'_>) -> io::Result<Found> {
    let Some(Element { id: EBML, body, len: Some(len) }) = element(source, 0)? else {
        return Ok(Err("no EBML header".to_owned()));
    };
    let mut at = body.saturating_add(len);
    // A Void may stand between the header and the segment.
    let segment = loop {
        match element(source, at)? {
            Some(found) if found.id == SEGMENT => break found,
            Some(Element { id: 0xEC, body, len: Some(len) }) if at < source.size => {
                at = body.saturating_add(len);
            }
            _ => return Ok(Err("no segment".to_owned())),
        }
    };
    let end = segment.len.map_or(u64::MAX, |len| segment.body.saturating_add(len));
    if end < source.size {
        return Ok(Err("data after the segment".to_owned()));
    }
    clusters(source, segment.body)
}

fn clusters(source: &mut Source<'_>, first: u64) -> io::Result<Found> {
    let size = source.size;
    let mut clusters: Vec<Bytes> = Vec::new();
    let mut tracks = false;
    let mut at = first;
    let mut parts = 0;
    while at < size {
        parts += 1;
        if parts > MAX_PARTS {
            return Ok(Err("more elements than are walked through".to_owned()));
        }
        let Some(found) = element(source, at)? else {
            return Ok(Err(format!("a damaged element at byte {at}")));
        };
        let Some(len) = found.len else {
            return Ok(Err("elements of unknown size".to_owned()));
        };
        // The last one of a truncated file ends with the file.
        let end = found.body.saturating_add(len).min(size);
        match found.id {
            CLUSTER if tracks => clusters.push(Bytes { at, len: end - at }),
            CLUSTER => return Ok(Err("clusters before the tracks".to_owned())),
            TRACKS => tracks = true,
            id if OTHERS.contains(&id) => {}
            _ => return Ok(Err(format!("an unknown element at byte {at}"))),
        }
        at = end;
    }
    Ok(match clusters.first() {
        Some(first) => Ok(Layout::Matroska { head: first.at, clusters }),
        None => Err("no clusters".to_owned()),
    })
}
