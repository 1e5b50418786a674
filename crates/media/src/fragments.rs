//! What a chunk or joined file holds, read box by box: the fragmented MP4 or QuickTime that ffmpeg's muxer writes for us
//! (ISO/IEC 14496-12). To start a demuxer would take longer than to read a chunk; finished results are read by one.
//! It must not know what was planned.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use kinora_protocol::Digest;

use crate::error::MediaError;

/// More boxes than this are not walked through: a chunk has two for each key frame.
const MAX_BOXES: usize = 8_000_000;
/// A larger `moov` or `moof` is none of ours.
const MAX_BOX: u64 = 64 << 20;
/// Fields of a visual sample entry before its boxes.
const VISUAL_FIELDS: usize = 78;
/// Fields of an audio sample entry before its boxes.
const AUDIO_FIELDS: usize = 28;

/// The one track of a fragmented file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Presentation times in display order, in ticks.
    pub times: Vec<i64>,
    /// Ticks per second.
    pub hz: u32,
    /// Digest over the sample entry: codec, size, colours and decoder configuration.
    pub config: Digest,
    /// The sample entry: its type and its body.
    pub entry: ([u8; 4], Vec<u8>),
    /// Bytes before the first fragment.
    pub head: u64,
    /// Ticks of the track's beginning that an edit list leaves out.
    pub skipped: i64,
    /// Its fragments in order.
    pub fragments: Vec<Fragment>,
}

/// A fragment: some packets with their index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Offset in the file.
    pub at: u64,
    /// Bytes.
    pub length: u64,
    /// Bytes from its start to the end of its first packet.
    pub first: u64,
    /// Presentation time of its first packet, in ticks.
    pub start: i64,
    /// Ticks of all its packets.
    pub duration: i64,
}

/// Reads a file's structure; payload is only measured.
///
/// # Errors
/// `NotExact` when it is not whole, holds other than one track, or is not what the muxer writes; `Io` when it cannot be read.
pub fn read(path: &Path) -> Result<Held, MediaError> {
    let mut file = File::open(path).map_err(MediaError::io(path))?;
    walk(&mut file).map_err(|error| match error {
        Odd::Io(error) => MediaError::io(path)(error),
        Odd::Structure(reason) => MediaError::not_exact(path.display().to_string(), reason),
    })
}

/// Why a file is not read.
#[derive(Debug)]
enum Odd {
    Io(io::Error),
    Structure(&'static str),
}

impl From<io::Error> for Odd {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

const CUT: Odd = Odd::Structure("its boxes do not fit: it is cut or damaged");

/// What the head of the file says.
struct Track {
    hz: u32,
    config: Digest,
    entry: ([u8; 4], Vec<u8>),
    skipped: i64,
    default_duration: u32,
    default_size: u32,
}

fn walk(file: &mut File) -> Result<Held, Odd> {
    let length = file.seek(SeekFrom::End(0))?;
    let (mut at, mut track, mut times) = (0, None, Vec::new());
    let (mut head, mut fragments) = (None, Vec::new());
    // What the fragment before an `mdat` says is in it.
    let mut promised: Option<(u64, Run)> = None;
    for _ in 0..MAX_BOXES {
        if at == length {
            break;
        }
        let TopBox { kind, header, size } = box_at(file, at, length)?.ok_or(CUT)?;
        match (&kind, &track) {
            (b"moov", None) => track = Some(moov(&load(file, at + header, size - header)?)?),
            (b"moof", Some(track)) => {
                let body = load(file, at + header, size - header)?;
                head = head.or(Some(at));
                if promised.replace((at, moof(&body, track, &mut times)?)).is_some() {
                    return Err(Odd::Structure("a fragment has no bytes"));
                }
            }
            (b"moov" | b"moof", _) => return Err(Odd::Structure("its head is not where it belongs")),
            (b"mdat", _) => match promised.take() {
                Some((from, run)) if run.bytes == size - header => fragments.push(Fragment {
                    at: from,
                    length: at + size - from,
                    first: at + header + run.first - from,
                    start: run.start.unwrap_or(run.decode),
                    duration: run.duration,
                }),
                _ => return Err(Odd::Structure("a fragment has other bytes than it says")),
            },
            _ => {}
        }
        at += size;
    }
    if at != length || promised.is_some() {
        return Err(CUT);
    }
    let Some(Track { hz, config, entry, skipped, .. }) = track else {
        return Err(Odd::Structure("it has no head (moov)"));
    };
    times.sort_unstable();
    Ok(Held { times, hz, config, entry, head: head.unwrap_or(length), skipped, fragments })
}

/// A box at the top of a file.
pub(crate) struct TopBox {
    /// Its type.
    pub(crate) kind: [u8; 4],
    /// Bytes before its body.
    pub(crate) header: u64,
    /// All of its bytes.
    pub(crate) size: u64,
}

/// The box at an offset of a file of `length` bytes; `None` when it does not fit. ISO/IEC 14496-12, 4.2.
pub(crate) fn box_at(file: &mut File, at: u64, length: u64) -> io::Result<Option<TopBox>> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = [0; 16];
    let available = usize::try_from((length - at).min(16)).unwrap_or(16);
    file.read_exact(bytes.get_mut(..available).unwrap_or_default())?;
    let [a, b, c, d, k0, k1, k2, k3, large @ ..] = bytes;
    let (header, size) = match u32::from_be_bytes([a, b, c, d]) {
        0 => (8, length - at),
        1 => (16, u64::from_be_bytes(large)),
        size => (8, u64::from(size)),
    };
    let fits = (header..=length - at).contains(&size);
    Ok(fits.then_some(TopBox { kind: [k0, k1, k2, k3], header, size }))
}

fn load(file: &mut File, at: u64, len: u64) -> Result<Vec<u8>, Odd> {
    if len > MAX_BOX {
        return Err(Odd::Structure("one of its boxes is larger than any that is written for a chunk"));
    }
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    file.take(len).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == len { Ok(bytes) } else { Err(CUT) }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Odd> {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().ok_or(CUT)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Odd> {
    array(bytes, at).map(u32::from_be_bytes)
}

/// The boxes within a box: type, body, and all of its bytes.
type Child<'a> = ([u8; 4], &'a [u8], &'a [u8]);

fn children(mut bytes: &[u8]) -> Result<Vec<Child<'_>>, Odd> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let size = usize::try_from(u32_at(bytes, 0)?).map_err(|_| CUT)?;
        let kind = array::<4>(bytes, 4)?;
        let (whole, rest) = bytes.split_at_checked(size).ok_or(CUT)?;
        found.push((kind, whole.get(8..).ok_or(CUT)?, whole));
        bytes = rest;
    }
    Ok(found)
}

/// The only child of this kind.
fn only<'a>(parent: &'a [u8], kind: &[u8; 4]) -> Result<&'a [u8], Odd> {
    let mut found = children(parent)?.into_iter().filter(|(k, ..)| k == kind);
    match (found.next(), found.next()) {
        (Some((_, body, _)), None) => Ok(body),
        _ => Err(Odd::Structure("it does not hold one track as it should")),
    }
}

fn moov(body: &[u8]) -> Result<Track, Odd> {
    let trak = only(body, b"trak")?;
    let media = only(trak, b"mdia")?;
    let mdhd = only(media, b"mdhd")?;
    // Version 1 has times of 64 bits before the time scale.
    let hz = u32_at(mdhd, if mdhd.first() == Some(&1) { 20 } else { 12 })?;
    let trex = only(only(body, b"mvex")?, b"trex")?;
    let stsd = only(only(only(media, b"minf")?, b"stbl")?, b"stsd")?;
    let (default_duration, default_size) = (u32_at(trex, 12)?, u32_at(trex, 16)?);
    let entries = children(stsd.get(8..).ok_or(CUT)?)?;
    let entry = entries.first().map(|(kind, body, _)| (*kind, body.to_vec())).ok_or(CUT)?;
    Ok(Track {
        hz,
        config: config(&entries)?,
        entry,
        skipped: skipped(trak)?,
        default_duration,
        default_size,
    })
}

/// Where in the track its presentation begins. ISO/IEC 14496-12, 8.6.6.
fn skipped(trak: &[u8]) -> Result<i64, Odd> {
    let Ok(edits) = only(trak, b"edts") else { return Ok(0) };
    let list = only(edits, b"elst")?;
    match (u32_at(list, 0)?, u32_at(list, 4)?) {
        (0, 1) => Ok(i64::from(u32_at(list, 12)?.cast_signed())),
        (_, 1) => Ok(i64::from_be_bytes(array(list, 16)?)),
        _ => Err(Odd::Structure("it has more edits than one")),
    }
}

/// Everything in the sample entry but the bit rates (`btrt`), which differ from chunk to chunk.
fn config(entries: &[Child<'_>]) -> Result<Digest, Odd> {
    let mut hasher = blake3::Hasher::new();
    for &(kind, body, _) in entries {
        let (fields, boxes) = body.split_at_checked(fields_of(kind)).ok_or(CUT)?;
        hasher.update(&kind).update(fields);
        // QuickTime may end the list with four zero bytes.
        let boxes = boxes.strip_suffix(&[0; 4]).filter(|b| children(b).is_ok()).unwrap_or(boxes);
        for (kind, _, whole) in children(boxes)? {
            if &kind != b"btrt" {
                hasher.update(whole);
            }
        }
    }
    Ok(Digest::from_bytes(hasher.finalize().as_bytes()))
}

/// Fields of a sample entry before its boxes.
fn fields_of(kind: [u8; 4]) -> usize {
    match &kind {
        b"mp4a" | b"Opus" => AUDIO_FIELDS,
        _ => VISUAL_FIELDS,
    }
}

/// A box within the sample entry of a track.
pub(crate) fn within(entry: &([u8; 4], Vec<u8>), kind: &[u8; 4]) -> Option<Vec<u8>> {
    let boxes = entry.1.get(fields_of(entry.0)..)?;
    let found = children(boxes).ok()?.into_iter().find(|(k, ..)| k == kind);
    found.map(|(_, body, _)| body.to_vec())
}

/// What a fragment says of its packets.
#[derive(Default)]
struct Run {
    /// Bytes of all of them.
    bytes: u64,
    /// Bytes of the first.
    first: u64,
    /// Presentation time of the first.
    start: Option<i64>,
    /// Decode time of the next.
    decode: i64,
    /// Ticks of all of them.
    duration: i64,
}

/// Adds the times of a fragment's packets; gives the sum of them.
fn moof(body: &[u8], track: &Track, times: &mut Vec<i64>) -> Result<Run, Odd> {
    let traf = only(body, b"traf")?;
    let tfhd = only(traf, b"tfhd")?;
    let flags = u32_at(tfhd, 0)?;
    let mut at = 8 + if flags & 0x1 != 0 { 8 } else { 0 } + if flags & 0x2 != 0 { 4 } else { 0 };
    let mut default = |flag: u32, otherwise: u32| -> Result<u32, Odd> {
        if flags & flag == 0 {
            return Ok(otherwise);
        }
        at += 4;
        u32_at(tfhd, at - 4)
    };
    let duration = default(0x8, track.default_duration)?;
    let size = default(0x10, track.default_size)?;
    let tfdt = only(traf, b"tfdt")?;
    let decode = match tfdt.first() {
        Some(1) => i64::from_be_bytes(array(tfdt, 4)?),
        _ => i64::from(u32_at(tfdt, 4)?),
    };
    let mut run = Run { decode, ..Run::default() };
    for (kind, body, _) in children(traf)? {
        if &kind == b"trun" {
            trun(body, (duration, size), &mut run, times)?;
        }
    }
    Ok(run)
}

fn trun(body: &[u8], (duration, size): (u32, u32), run: &mut Run, times: &mut Vec<i64>) -> Result<(), Odd> {
    let (flags, count) = (u32_at(body, 0)?, u32_at(body, 4)?);
    let signed = body.first() == Some(&1);
    let mut at = 8 + if flags & 0x1 != 0 { 4 } else { 0 } + if flags & 0x4 != 0 { 4 } else { 0 };
    for _ in 0..count {
        let mut field = |flag: u32| -> Result<Option<u32>, Odd> {
            if flags & flag == 0 {
                return Ok(None);
            }
            at += 4;
            u32_at(body, at - 4).map(Some)
        };
        let duration = field(0x100)?.unwrap_or(duration);
        let size = u64::from(field(0x200)?.unwrap_or(size));
        let _ = field(0x400)?;
        let offset = field(0x800)?.unwrap_or(0);
        // The same four bytes; whether they have a sign is for the version to say.
        let offset = if signed { i64::from(offset.cast_signed()) } else { i64::from(offset) };
        let time = run.decode + offset;
        times.push(time);
        if run.start.is_none() {
            (run.start, run.first) = (Some(time), size);
        }
        run.bytes += size;
        run.decode += i64::from(duration);
        run.duration += i64::from(duration);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(body.len() + 8).unwrap();
        [&size.to_be_bytes()[..], kind, body].concat()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|w| w.to_be_bytes()).collect()
    }

    fn head(bit_rate: u32) -> Vec<u8> {
        let entry =
            [vec![7; VISUAL_FIELDS], boxed(b"avcC", b"config"), boxed(b"btrt", &words(&[bit_rate]))].concat();
        let stsd = boxed(b"stsd", &[words(&[0, 1]), boxed(b"avc1", &entry)].concat());
        let media =
            [boxed(b"mdhd", &words(&[0, 0, 0, 12_800, 0])), boxed(b"minf", &boxed(b"stbl", &stsd))].concat();
        let trak = boxed(b"trak", &boxed(b"mdia", &media));
        boxed(b"moov", &[trak, boxed(b"mvex", &boxed(b"trex", &words(&[0, 1, 1, 512, 0, 0])))].concat())
    }

    /// Three packets: decode order 100, 612, 1124; shown 1124, 612, 2148.
    fn fragment(payload: u32) -> Vec<u8> {
        let tfhd = boxed(b"tfhd", &words(&[0x02_0010, 1, 10]));
        let tfdt = boxed(b"tfdt", &words(&[0x0100_0000, 0, 100]));
        let trun = boxed(b"trun", &words(&[0x0100_0a01, 3, 0, 5, 1024, 5, 0, 7, 1024]));
        let moof = boxed(b"moof", &boxed(b"traf", &[tfhd, tfdt, trun].concat()));
        [moof, boxed(b"mdat", &vec![1; payload as usize])].concat()
    }

    fn read_bytes(bytes: &[u8]) -> Result<Held, MediaError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chunk.mp4");
        std::fs::write(&path, bytes).unwrap();
        read(&path)
    }

    #[test]
    fn times_come_in_display_order() {
        let held =
            read_bytes(&[boxed(b"ftyp", b"isom"), head(1), fragment(17), fragment(17)].concat()).unwrap();
        assert_eq!((held.hz, held.times), (12_800, vec![612, 612, 1124, 1124, 2148, 2148]));
    }

    #[test]
    fn the_bit_rate_is_no_configuration() {
        let config = |rate: u32| read_bytes(&[head(rate), fragment(17)].concat()).unwrap().config;
        assert_eq!(config(1), config(2));
    }

    #[test]
    fn what_is_cut_or_odd_is_refused() {
        let whole = [head(1), fragment(17)].concat();
        for end in 1..whole.len() {
            // Between two boxes at the top a file could end, and hold nothing.
            if end != head(1).len() {
                assert!(read_bytes(&whole[..end]).is_err(), "cut at {end}");
            }
        }
        assert!(read_bytes(&[head(1), fragment(16)].concat()).is_err());
        assert!(read_bytes(&[fragment(17), head(1)].concat()).is_err());
        assert!(read_bytes(&[head(1), head(1)].concat()).is_err());
        assert!(read_bytes(b"").is_err());
    }
}
