//! The packet index of a media file's video stream: facts from the demuxer, kept compact. It must not know where the facts
//! come from, and it decides nothing.

use std::fmt;
use std::io::{Read, Write};

use kinora_protocol::task::Clock;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::layout::Layout;

const KEY: u32 = 1 << 31;
const NO_POSITION: u64 = u64::MAX;
/// The one text in an index is the reason of a layout that is not understood: a few words.
const LONGEST_TEXT: usize = 4096;
/// Packets that an index has room for from the start. glibc gives a block above 32 MiB back to the system when it is dropped, and
/// keeps smaller ones after it has seen some of their size: an index would stay in memory after its last use. What is
/// reserved and not used takes no memory.
const ROOM: usize = (33 << 20) / size_of::<Packet>();

/// One packet; 24 bytes, because a long film has millions. Decode times are not kept: packets are in decode order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// Presentation time in ticks of the clock.
    pub pts: i64,
    pos: u64,
    size_and_key: u32,
}

impl Packet {
    /// A packet; `size` above 2 GiB is cut, as no demuxer returns one.
    pub fn new(pts: i64, pos: Option<u64>, size: u32, key: bool) -> Self {
        let size = size.min(KEY - 1);
        Self { pts, pos: pos.unwrap_or(NO_POSITION), size_and_key: if key { size | KEY } else { size } }
    }

    /// Offset in the file, where the demuxer knows it.
    pub fn pos(&self) -> Option<u64> {
        (self.pos != NO_POSITION).then_some(self.pos)
    }

    /// Bytes of payload.
    pub fn size(&self) -> u32 {
        self.size_and_key & !KEY
    }

    /// Whether decoding can start here.
    pub fn is_key(&self) -> bool {
        self.size_and_key & KEY != 0
    }
}

/// A run of packets from a key frame to the next, with the digest of their content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gop {
    /// Position of its first packet in decode order.
    pub first: u32,
    /// First 16 bytes of BLAKE3 over times, sizes and payload checksums.
    pub digest: [u8; 16],
}

/// The index of one media file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketIndex {
    /// What the times mean.
    pub clock: Clock,
    /// File size in bytes.
    pub size: u64,
    /// Packets in decode order, without those that the demuxer discards.
    #[serde(deserialize_with = "packets")]
    pub packets: Vec<Packet>,
    /// Groups of pictures in decode order; empty when there is no packet.
    pub gops: Vec<Gop>,
    /// Digest over the decoder configuration.
    pub config: [u8; 16],
    /// Structure of the container.
    pub layout: Layout,
}

/// Room for the packets of a long film.
pub fn room() -> Vec<Packet> {
    Vec::with_capacity(ROOM)
}

/// Reads packets into one block of the right size.
fn packets<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Packet>, D::Error> {
    struct Packets;

    impl<'de> Visitor<'de> for Packets {
        type Value = Vec<Packet>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("packets")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<Packet>, A::Error> {
            let mut packets = room();
            let count = from.size_hint().unwrap_or(0);
            packets.try_reserve_exact(count).map_err(A::Error::custom)?;
            while let Some(packet) = from.next_element()? {
                packets.push(packet);
            }
            Ok(packets)
        }
    }

    from.deserialize_seq(Packets)
}

/// A stored index cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the stored packet index is damaged or of another version")]
pub struct BadIndex(#[from] postcard::Error);

impl PacketIndex {
    /// Presentation times in display order.
    pub fn times(&self) -> Vec<i64> {
        let mut times: Vec<i64> = self.packets.iter().map(|p| p.pts).collect();
        times.sort_unstable();
        times
    }

    /// Decode positions in display order: 4 bytes for each packet.
    pub fn shown(&self) -> Vec<u32> {
        let count = u32::try_from(self.packets.len()).unwrap_or(u32::MAX);
        let mut shown: Vec<u32> = (0..count).collect();
        shown.sort_unstable_by_key(|&i| (self.packets[i as usize].pts, i));
        shown
    }

    /// Writes itself in a compact form, packet by packet: a copy of a long film's index would be as large as the index.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn write(&self, to: impl Write) -> Result<(), BadIndex> {
        postcard::to_io(self, to)?;
        Ok(())
    }

    /// From what [`PacketIndex::write`] wrote.
    ///
    /// # Errors
    /// [`BadIndex`] when it was not written by this version, or the reader fails.
    pub fn read(from: impl Read) -> Result<Self, BadIndex> {
        let mut scratch = [0; LONGEST_TEXT];
        let (index, _) = postcard::from_io((from, &mut scratch))?;
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_comes_back_as_it_was() {
        let packets = (0..5000_i64).map(|n| Packet::new(n * 512 - 7, Some(48), 77, n % 25 == 0));
        let index = PacketIndex {
            clock: Clock {
                source: kinora_protocol::Rational::new(1, 12_800).unwrap(),
                hz: 12_800,
                start_us: -3,
                wraps: false,
                generate: true,
            },
            size: u64::MAX,
            packets: packets.collect(),
            gops: vec![Gop { first: 0, digest: [7; 16] }],
            config: [9; 16],
            layout: Layout::Opaque { reason: "two words".to_owned() },
        };
        let mut bytes = Vec::new();
        index.write(&mut bytes).unwrap();
        assert_eq!(PacketIndex::read(&bytes[..]).unwrap(), index);
        assert!(PacketIndex::read(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn a_packet_keeps_its_facts_in_24_bytes() {
        assert_eq!(size_of::<Packet>(), 24);
        let packet = Packet::new(-5, None, 1234, true);
        assert_eq!((packet.pos(), packet.size(), packet.is_key()), (None, 1234, true));
        let packet = Packet::new(1, Some(9), u32::MAX, false);
        assert_eq!((packet.pos(), packet.size(), packet.is_key()), (Some(9), KEY - 1, false));
    }
}
