//! Pictures to bytes, in the simplest way: every frame says all of itself.

use kinora_protocol::Rational;

use super::{INFO, MAGIC, MAIN, SHORT_PACKET, STREAM, SYNCPOINT, checksum, flag};

/// Frames may be this far from a syncpoint; each has one of its own.
const MAX_DISTANCE: u64 = 32_768;
/// Below this a coded time would be a part of one.
const PTS_SHIFT: u32 = 7;
/// The one code of frames.
const CODE: u8 = 1;

/// Writes one stream of raw video.
#[derive(Debug)]
pub struct Writer {
    /// Where the next byte will be.
    position: u64,
    /// Where the last syncpoint was.
    syncpoint: Option<u64>,
}

impl Writer {
    /// The head of a stream of pictures, whose times count in `unit` seconds. `tag` is what ffmpeg knows the pixel format by; `rate` is
    /// what encoders are told of frames a second, where times alone would be guessed from.
    pub fn begin(
        tag: [u8; 4],
        (width, height): (u32, u32),
        unit: Rational,
        rate: Option<Rational>,
    ) -> (Self, Vec<u8>) {
        let mut main = Vec::new();
        for value in [3, 1, MAX_DISTANCE, 1] {
            put(&mut main, value);
        }
        put(&mut main, unit.num().unsigned_abs());
        put(&mut main, unit.den().unsigned_abs());
        frame_codes(&mut main);
        // No headers are left out of frames.
        put(&mut main, 0);
        let mut stream = Vec::new();
        // Number and class of the stream: video.
        put(&mut stream, 0);
        put(&mut stream, 0);
        put(&mut stream, tag.len() as u64);
        stream.extend_from_slice(&tag);
        // Unit of time; shift, greatest distance and reordering of times; flags; nothing for the decoder.
        for value in [0, u64::from(PTS_SHIFT), 1 << 20, 0, 0, 0] {
            put(&mut stream, value);
        }
        // Size, no shape of samples, no colour space.
        for value in [u64::from(width), u64::from(height), 0, 0, 0] {
            put(&mut stream, value);
        }
        let mut bytes = MAGIC.to_vec();
        packet(&mut bytes, MAIN, main);
        packet(&mut bytes, STREAM, stream);
        if let Some(rate) = rate.filter(|rate| rate.is_positive()) {
            packet(&mut bytes, INFO, info("r_frame_rate", &format!("{}/{}", rate.num(), rate.den())));
        }
        (Self { position: bytes.len() as u64, syncpoint: None }, bytes)
    }

    /// A picture; its bytes follow what is given here.
    pub fn frame(&mut self, pts: i64, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut point = Vec::new();
        // Times are of the one unit; a syncpoint has the time of its frame.
        let time = u64::try_from(pts).unwrap_or(0);
        put(&mut point, time);
        let back = self.syncpoint.map_or(0, |at| (self.position - at) / 16);
        put(&mut point, back);
        self.syncpoint = Some(self.position);
        packet(&mut bytes, SYNCPOINT, point);
        let head = bytes.len();
        bytes.push(CODE);
        put(&mut bytes, flag::KEY | flag::STREAM_ID | flag::CODED_PTS | flag::SIZE_MSB | flag::CHECKSUM);
        put(&mut bytes, 0);
        put(&mut bytes, time + (1 << PTS_SHIFT));
        put(&mut bytes, length as u64);
        let sum = checksum(bytes.get(head..).unwrap_or_default());
        bytes.extend_from_slice(&sum.to_be_bytes());
        self.position += (bytes.len() + length) as u64;
        bytes
    }
}

/// What is said of the first stream.
fn info(name: &str, value: &str) -> Vec<u8> {
    let mut info = Vec::new();
    put(&mut info, 1);
    // Of no chapter, one entry.
    put_signed(&mut info, 0);
    for value in [0, 0, 1] {
        put(&mut info, value);
    }
    put(&mut info, name.len() as u64);
    info.extend_from_slice(name.as_bytes());
    // Text.
    put_signed(&mut info, -1);
    put(&mut info, value.len() as u64);
    info.extend_from_slice(value.as_bytes());
    info
}

/// The table of what the first byte of a frame stands for: of one, that the frame says everything itself; of the others, nothing.
fn frame_codes(out: &mut Vec<u8>) {
    // 'N' begins packets and is not counted.
    for (flags, count) in [(flag::INVALID, 1), (flag::CODED, 1), (flag::INVALID, 253)] {
        put(out, flags);
        // Six fields: difference of times, unit of sizes, stream, least size, reserved, and how many of this kind.
        put(out, 6);
        put_signed(out, 0);
        for value in [1, 0, 0, 0, count] {
            put(out, value);
        }
    }
}

/// A packet with its head and its checksum.
fn packet(out: &mut Vec<u8>, code: u64, payload: Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(&code.to_be_bytes());
    let length = payload.len() as u64 + 4;
    put(out, length);
    if length > SHORT_PACKET {
        let sum = checksum(out.get(at..).unwrap_or_default());
        out.extend_from_slice(&sum.to_be_bytes());
    }
    let sum = checksum(&payload);
    out.extend(payload);
    out.extend_from_slice(&sum.to_be_bytes());
}

/// Seven bits in each byte, the greatest first; all but the last have the eighth.
fn put(out: &mut Vec<u8>, value: u64) {
    let bits = (u64::BITS - value.leading_zeros()).max(1);
    for group in (0..bits.div_ceil(7)).rev() {
        let low = (value >> (7 * group)) as u8 & 0x7F;
        out.push(if group > 0 { low | 0x80 } else { low });
    }
}

fn put_signed(out: &mut Vec<u8>, value: i64) {
    let magnitude = value.unsigned_abs() * 2;
    put(out, if value > 0 { magnitude - 1 } else { magnitude });
}
