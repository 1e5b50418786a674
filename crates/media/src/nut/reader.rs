//! Bytes to pictures, as ffmpeg's muxer writes them to a pipe.

use kinora_protocol::Rational;

use super::{Garbled, MAGIC, MAIN, Picture, SHORT_PACKET, STREAM, SYNCPOINT, checksum, flag};

/// What the first byte of a frame stands for.
#[derive(Debug, Clone, Copy, Default)]
struct Code {
    flags: u64,
    pts_delta: i64,
    size_mul: u64,
    size_lsb: u64,
    stream: u64,
    reserved: u64,
    header: u64,
}

/// Reads pictures out of bytes that come in pieces of any size.
#[derive(Debug, Default)]
pub struct Reader {
    unread: Vec<u8>,
    /// Where the unread bytes begin that were not taken yet.
    at: usize,
    begun: bool,
    codes: Vec<Code>,
    headers: Vec<Vec<u8>>,
    unit: Option<Rational>,
    tag: Option<[u8; 4]>,
    pts_shift: u32,
    last_pts: i64,
    /// The greatest picture that is believed in, in bytes.
    most: usize,
}

impl Reader {
    /// For pictures of at most so many bytes.
    pub fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// Takes bytes, and gives the pictures that are whole.
    ///
    /// # Errors
    /// For what ffmpeg does not write.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Picture>, Garbled> {
        self.unread.drain(..std::mem::take(&mut self.at));
        self.unread.extend_from_slice(bytes);
        let unread = std::mem::take(&mut self.unread);
        let mut pictures = Vec::new();
        let ended = loop {
            let mut look = Look { bytes: unread.get(self.at..).unwrap_or_default(), at: 0 };
            match self.next(&mut look) {
                Ok(found) => {
                    self.at += look.at;
                    pictures.extend(found);
                }
                Err(Stop::More) => break Ok(pictures),
                Err(Stop::Garbled(why)) => break Err(Garbled(why)),
            }
        };
        self.unread = unread;
        ended
    }

    /// Unit of the times in seconds, once the head was read.
    pub fn unit(&self) -> Option<Rational> {
        self.unit
    }

    /// What ffmpeg knows the pixel format by, once the head was read.
    pub fn tag(&self) -> Option<[u8; 4]> {
        self.tag
    }

    /// Whether nothing is left of a picture or a packet.
    pub fn is_done(&self) -> bool {
        self.at == self.unread.len()
    }

    /// The next packet or frame. Nothing of it is kept unless all of it is there.
    fn next(&mut self, look: &mut Look<'_>) -> Result<Option<Picture>, Stop> {
        if !self.begun {
            if look.take(MAGIC.len())? != MAGIC {
                return Err(Stop::Garbled("it is not NUT"));
            }
            self.begun = true;
            return Ok(None);
        }
        let code = look.byte()?;
        if code != b'N' {
            return self.frame(look, code).map(Some);
        }
        look.at -= 1;
        let start = u64::from_be_bytes(look.array()?);
        let length = look.number()?;
        if length > SHORT_PACKET {
            look.take(4)?;
        }
        let payload =
            look.take(usize::try_from(length).map_err(|_| Stop::Garbled("a packet has no end"))?)?;
        let (payload, sum) = payload.split_last_chunk::<4>().ok_or(Stop::Garbled("a packet is too short"))?;
        if checksum(payload) != u32::from_be_bytes(*sum) {
            return Err(Stop::Garbled("a packet has another checksum than it says"));
        }
        let mut payload = Look { bytes: payload, at: 0 };
        let read = match start {
            MAIN => self.main_header(&mut payload),
            STREAM => self.stream_header(&mut payload),
            SYNCPOINT => self.syncpoint(&mut payload),
            // An index, or words about the stream.
            _ => Ok(()),
        };
        match read {
            Ok(()) => Ok(None),
            Err(Stop::More) => Err(Stop::Garbled("a packet ends within itself")),
            Err(garbled) => Err(garbled),
        }
    }

    fn main_header(&mut self, look: &mut Look<'_>) -> Result<(), Stop> {
        if !(2..=4).contains(&look.number()?) {
            return Err(Stop::Garbled("its version is not known"));
        }
        let (_streams, _distance, units) = (look.number()?, look.number()?, look.number()?);
        if units != 1 {
            return Err(Stop::Garbled("it has several units of time"));
        }
        let (num, den) = (look.number()?, look.number()?);
        let unit = i64::try_from(num).ok().zip(i64::try_from(den).ok());
        self.unit = unit.and_then(|(num, den)| Rational::new(num, den));
        if self.unit.is_none_or(|unit| !unit.is_positive()) {
            return Err(Stop::Garbled("it has no unit of time"));
        }
        self.codes = frame_codes(look)?;
        self.headers = vec![Vec::new()];
        for _ in 0..look.number()? {
            let length = look.number()?;
            let header = look.take(usize::try_from(length).unwrap_or(usize::MAX))?;
            self.headers.push(header.to_vec());
        }
        Ok(())
    }

    fn stream_header(&mut self, look: &mut Look<'_>) -> Result<(), Stop> {
        let (number, class) = (look.number()?, look.number()?);
        if number != 0 || class != 0 {
            return Err(Stop::Garbled("it has more than pictures"));
        }
        let tag = look.number()?;
        self.tag = look.take(usize::try_from(tag).unwrap_or(usize::MAX))?.try_into().ok();
        let (_unit, shift) = (look.number()?, look.number()?);
        self.pts_shift =
            u32::try_from(shift).ok().filter(|s| *s < 16).ok_or(Stop::Garbled("its times are odd"))?;
        Ok(())
    }

    fn syncpoint(&mut self, look: &mut Look<'_>) -> Result<(), Stop> {
        // With one unit of time it is the time itself.
        self.last_pts = i64::try_from(look.number()?).map_err(|_| Stop::Garbled("a time is out of range"))?;
        Ok(())
    }

    fn frame(&mut self, look: &mut Look<'_>, code: u8) -> Result<Picture, Stop> {
        let begun = look.at - 1;
        let known = self
            .codes
            .get(usize::from(code))
            .copied()
            .ok_or(Stop::Garbled("a frame comes before the head"))?;
        let mut flags = known.flags;
        if flags & flag::INVALID != 0 {
            return Err(Stop::Garbled("a frame begins with nothing that was said"));
        }
        if flags & flag::CODED != 0 {
            flags ^= look.number()?;
        }
        if flags & flag::STREAM_ID != 0 && look.number()? != 0 || known.stream != 0 {
            return Err(Stop::Garbled("a frame is of another stream"));
        }
        let pts = match flags & flag::CODED_PTS != 0 {
            true => self.coded_pts(look.number()?)?,
            false => self.last_pts + known.pts_delta,
        };
        let mut size = known.size_lsb;
        if flags & flag::SIZE_MSB != 0 {
            size = look
                .number()?
                .checked_mul(known.size_mul)
                .and_then(|s| s.checked_add(size))
                .unwrap_or(u64::MAX);
        }
        if flags & flag::MATCH_TIME != 0 {
            look.number()?;
        }
        let header = if flags & flag::HEADER_IDX != 0 { look.number()? } else { known.header };
        let reserved = if flags & flag::RESERVED != 0 { look.number()? } else { known.reserved };
        for _ in 0..reserved {
            look.number()?;
        }
        if flags & flag::CHECKSUM != 0 {
            let said = look.bytes.get(begun..look.at).unwrap_or_default();
            if checksum(said) != u32::from_be_bytes(look.array()?) {
                return Err(Stop::Garbled("a frame has another checksum than it says"));
            }
        }
        if flags & flag::SM_DATA != 0 {
            return Err(Stop::Garbled("a frame has data beside it"));
        }
        let size = usize::try_from(size).ok().filter(|s| *s <= self.most);
        let size = size.ok_or(Stop::Garbled("a frame is greater than its pictures are"))?;
        let header = usize::try_from(header).ok().and_then(|n| self.headers.get(n));
        let header = header.ok_or(Stop::Garbled("a frame has a head that was not said"))?;
        let rest = size.checked_sub(header.len()).ok_or(Stop::Garbled("a frame is smaller than its head"))?;
        let bytes = [header.as_slice(), look.take(rest)?].concat();
        self.last_pts = pts;
        Ok(Picture { pts, bytes })
    }

    /// A whole time, or the low bits of one near the last.
    fn coded_pts(&self, coded: u64) -> Result<i64, Stop> {
        let coded = i64::try_from(coded).map_err(|_| Stop::Garbled("a time is out of range"))?;
        let whole = 1_i64 << self.pts_shift;
        if coded >= whole {
            return Ok(coded - whole);
        }
        let mask = whole - 1;
        let delta = self.last_pts - mask / 2;
        Ok(((coded - delta) & mask) + delta)
    }
}

fn frame_codes(look: &mut Look<'_>) -> Result<Vec<Code>, Stop> {
    let mut codes: Vec<Code> = Vec::with_capacity(256);
    let (mut pts_delta, mut size_mul, mut stream, mut header) = (0, 1, 0, 0);
    while codes.len() < 256 {
        let (flags, fields) = (look.number()?, look.number()?);
        if fields > 0 {
            pts_delta = look.signed()?;
        }
        if fields > 1 {
            size_mul = look.number()?;
        }
        if fields > 2 {
            stream = look.number()?;
        }
        let size = if fields > 3 { look.number()? } else { 0 };
        let reserved = if fields > 4 { look.number()? } else { 0 };
        let count = if fields > 5 { look.number()? } else { size_mul.saturating_sub(size) };
        if fields > 6 {
            look.signed()?;
        }
        if fields > 7 {
            header = look.number()?;
        }
        for _ in 8..fields {
            look.number()?;
        }
        let mut n = 0;
        while n < count && codes.len() < 256 {
            if codes.len() == usize::from(b'N') {
                codes.push(Code { flags: flag::INVALID, ..Code::default() });
                continue;
            }
            codes.push(Code { flags, pts_delta, size_mul, size_lsb: size + n, stream, reserved, header });
            n += 1;
        }
        if count == 0 {
            return Err(Stop::Garbled("its table of frames has no end"));
        }
    }
    Ok(codes)
}

/// Why a look ended.
enum Stop {
    /// There is not enough yet.
    More,
    Garbled(&'static str),
}

/// Bytes with a place in them.
struct Look<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Look<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        let end = self.at.checked_add(count).ok_or(Stop::Garbled("a length is out of range"))?;
        let taken = self.bytes.get(self.at..end).ok_or(Stop::More)?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        self.take(1).map(|byte| byte.first().copied().unwrap_or(0))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        self.take(N)?.try_into().map_err(|_| Stop::More)
    }

    fn number(&mut self) -> Result<u64, Stop> {
        let mut value = 0_u64;
        for _ in 0..10 {
            let byte = self.byte()?;
            value = value << 7 | u64::from(byte & 0x7F);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Stop::Garbled("a number has no end"))
    }

    fn signed(&mut self) -> Result<i64, Stop> {
        let value = i64::try_from(self.number()?).map_err(|_| Stop::Garbled("a number is out of range"))? + 1;
        Ok(if value & 1 == 1 { -(value >> 1) } else { value >> 1 })
    }
}
