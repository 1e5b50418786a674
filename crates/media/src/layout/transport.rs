//! MPEG transport streams: where the first PAT and the PMTs are (ISO/IEC 13818-1, 2.4.3 and 2.4.4). It must not look
//! into elementary streams.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use kinora_plan::layout::Layout;

use super::{Found, Source};

const PACKET: u64 = 188;
const SYNC: u8 = 0x47;
/// Packets in a row that must start with the sync byte, where the file has so many.
const SYNCED: usize = 8;
/// How far the first table may be away, and once one PMT is found, the others: a recording of one programme often keeps
/// a PAT that names all of the multiplex.
const SEARCH: u64 = 32 << 20;
/// A section has at most 1021 bytes after its length, and tables of more are not taken.
const MAX_SECTION: usize = 1024;

pub(super) fn read(source: &mut Source<'_>) -> io::Result<Found> {
    let Some(start) = synced(source)? else {
        return Ok(Err("not in packets of 188 bytes".to_owned()));
    };
    source.file.seek(SeekFrom::Start(start))?;
    let mut reader = BufReader::with_capacity(1 << 18, &mut *source.file);
    let mut search = Search::default();
    let mut at = start;
    let mut limit = start.saturating_add(SEARCH);
    while at < limit && !search.complete() {
        let mut packet = [0; PACKET as usize];
        match reader.read_exact(&mut packet) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            other => other?,
        }
        if packet[0] != SYNC {
            // A damaged stretch: on to the next byte that looks like a start.
            let lost = packet.iter().position(|&byte| byte == SYNC).unwrap_or(packet.len());
            at += lost as u64;
            reader.seek_relative(lost as i64 - packet.len() as i64)?;
            if reader.fill_buf()?.is_empty() {
                break;
            }
            continue;
        }
        let found = search.found();
        search.packet(at, &packet);
        if search.found() > found {
            limit = at.saturating_add(SEARCH);
        }
        at += PACKET;
    }
    Ok(match search.tables() {
        Some(tables) => Ok(Layout::Transport { tables }),
        None => Err("no programme tables".to_owned()),
    })
}

/// Offset of the first packet, which may follow the rest of a cut one.
fn synced(source: &mut Source<'_>) -> io::Result<Option<u64>> {
    let mut buffer = [0; PACKET as usize * (SYNCED + 1)];
    let bytes = source.some(0, &mut buffer)?;
    let step = PACKET as usize;
    let holds = |&start: &usize| {
        let starts = bytes.get(start..).unwrap_or_default().iter().step_by(step).take(SYNCED);
        start < bytes.len() && starts.copied().all(|byte| byte == SYNC)
    };
    Ok((0..step).find(holds).map(|start| start as u64))
}

/// A section that is being put together.
#[derive(Default)]
struct Section {
    packets: Vec<u64>,
    bytes: Vec<u8>,
    complete: bool,
}

impl Section {
    /// Takes the payload of a packet that carries it.
    fn packet(&mut self, at: u64, start: bool, payload: &[u8]) {
        let payload = if start {
            // The pointer field skips the end of a section that began before.
            let skipped = payload.first().map_or(0, |&pointer| usize::from(pointer) + 1);
            self.packets.clear();
            self.bytes.clear();
            payload.get(skipped..).unwrap_or_default()
        } else if self.packets.is_empty() {
            return;
        } else {
            payload
        };
        self.packets.push(at);
        let room = MAX_SECTION - self.bytes.len().min(MAX_SECTION);
        self.bytes.extend_from_slice(&payload[..payload.len().min(room)]);
        self.complete = self.len().is_some_and(|len| self.bytes.len() >= len);
        if self.bytes.len() >= MAX_SECTION && !self.complete {
            *self = Self::default();
        }
    }

    /// Its length as it says.
    fn len(&self) -> Option<usize> {
        let &[_, high, low, ..] = self.bytes.as_slice() else { return None };
        Some(3 + (usize::from(high & 0x0F) << 8 | usize::from(low)))
    }

    /// The PIDs of the PMTs that a PAT names.
    fn programmes(&self) -> Vec<u16> {
        let end = self.len().unwrap_or(0).saturating_sub(4);
        let entries = self.bytes.get(8..end).unwrap_or_default();
        entries
            .chunks_exact(4)
            .filter_map(|entry| {
                let &[p, q, high, low] = entry else { return None };
                // Programme 0 is the network information table.
                ((p, q) != (0, 0)).then_some(u16::from(high & 0x1F) << 8 | u16::from(low))
            })
            .collect()
    }
}

#[derive(Default)]
struct Search {
    pat: Section,
    pmts: BTreeMap<u16, Section>,
}

impl Search {
    fn packet(&mut self, at: u64, packet: &[u8; PACKET as usize]) {
        let [_, second, third, fourth, rest @ ..] = packet;
        let pid = u16::from(second & 0x1F) << 8 | u16::from(*third);
        let damaged = second & 0x80 != 0;
        let start = second & 0x40 != 0;
        let payload = match fourth >> 4 & 3 {
            1 => rest.as_slice(),
            3 => rest.get(usize::from(rest[0]) + 1..).unwrap_or_default(),
            _ => return,
        };
        if damaged {
            return;
        }
        if pid == 0 && !self.pat.complete {
            self.pat.packet(at, start, payload);
            if self.pat.complete {
                self.pmts = self.pat.programmes().into_iter().map(|pid| (pid, Section::default())).collect();
            }
        } else if let Some(pmt) = self.pmts.get_mut(&pid).filter(|pmt| !pmt.complete) {
            pmt.packet(at, start, payload);
        }
    }

    fn found(&self) -> usize {
        usize::from(self.pat.complete) + self.pmts.values().filter(|pmt| pmt.complete).count()
    }

    fn complete(&self) -> bool {
        !self.pmts.is_empty() && self.pmts.values().all(|pmt| pmt.complete)
    }

    /// The packets of the PAT and of all PMTs, in file order.
    fn tables(&self) -> Option<Vec<u64>> {
        let pmts: Vec<&Section> = self.pmts.values().filter(|pmt| pmt.complete).collect();
        if pmts.is_empty() {
            return None;
        }
        let mut tables = self.pat.packets.clone();
        tables.extend(pmts.into_iter().flat_map(|pmt| pmt.packets.iter().copied()));
        tables.sort_unstable();
        tables.dedup();
        Some(tables)
    }
}
