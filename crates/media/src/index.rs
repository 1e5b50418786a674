//! The packet index of a source by ffprobe, streamed: a long film has millions of packets. It must not plan from it.

use std::collections::BTreeMap;
use std::path::Path;

use kinora_plan::index::{self, Gop, Packet, PacketIndex};
use kinora_plan::layout::Layout;
use kinora_protocol::Rational;
use kinora_protocol::media::MediaFacts;
use kinora_protocol::task::Clock;

use crate::command::inspect;
use crate::error::MediaError;
use crate::layout;
use crate::probe;
use crate::process::{self, Control, Invocation, LineMeans};
use crate::tools::Tools;

/// More packets than this are refused: two weeks at 60 frames per second.
const MAX_PACKETS: usize = 80_000_000;

/// Probes and indexes a file: both at once, as each start of ffprobe takes a tenth of a second and both wait for the disk.
///
/// # Errors
/// When the file is not media, has neither picture nor sound, a video stream without packets, or cannot be read.
pub async fn probe_and_index(
    tools: &Tools,
    path: &Path,
    size: u64,
    control: &Control,
) -> Result<(MediaFacts, PacketIndex), MediaError> {
    let (facts, first) = tokio::join!(probe::probe(tools, path, size), scan(tools, path, false, control));
    let facts = facts?;
    let Some((stream, _)) = facts.video() else {
        let Some((sound, _)) = facts.audio().next() else {
            return Err(MediaError::bad_input(path, "it has neither a video stream nor sound"));
        };
        let index = sound_alone(&facts, sound.time_base, size);
        return Ok((facts, index));
    };
    let (mut found, generate) = match first? {
        first if first.missing_times => (scan(tools, path, true, control).await?, true),
        first => (first, false),
    };
    if found.packets.is_empty() {
        return Err(MediaError::bad_input(path, "its video stream has no packets"));
    }
    if found.missing_times {
        return Err(MediaError::bad_input(
            path,
            "its video packets have no timestamps and none can be made up",
        ));
    }
    if found.stream != Some(stream.index) {
        return Err(MediaError::bad_input(
            path,
            "ffprobe does not agree with itself on which stream is the video",
        ));
    }
    in_ticks(&mut found.packets, stream.time_base);
    let clock = clock(&facts, stream.time_base);
    let layout = read_layout(path, &facts, &found, generate)?;
    let index = PacketIndex {
        clock: Clock { generate, ..clock },
        size,
        packets: found.packets,
        gops: found.gops,
        config: found.config,
        layout,
    };
    Ok((facts, index))
}

/// The index of a file without video: nothing of it is cut.
fn sound_alone(facts: &MediaFacts, time_base: Rational, size: u64) -> PacketIndex {
    PacketIndex {
        clock: clock(facts, time_base),
        size,
        packets: Vec::new(),
        gops: Vec::new(),
        config: [0; 16],
        layout: Layout::Opaque { reason: "it is sound alone".to_owned() },
    }
}

/// From units of the stream's time base to ticks of its denominator.
fn in_ticks(packets: &mut [Packet], time_base: Rational) {
    if time_base.num() != 1 {
        for packet in packets {
            packet.pts = packet.pts.saturating_mul(time_base.num());
        }
    }
}

fn read_layout(path: &Path, facts: &MediaFacts, found: &Scan, generate: bool) -> Result<Layout, MediaError> {
    let mut file = std::fs::File::open(path).map_err(MediaError::io(path))?;
    let layout = layout::read(&mut file, &facts.format).map_err(MediaError::io(path))?;
    let layout = match layout {
        Layout::Avi { head, .. } => {
            // AVI stores no timestamps: with B-frames nothing tells where a seek lands.
            let reordered = found.packets.windows(2).any(|w| matches!(w, [a, b] if b.pts < a.pts));
            Layout::Avi { head, seekable: !generate && !reordered }
        }
        other => other,
    };
    Ok(layout)
}

/// What the timestamps of a file mean.
fn clock(facts: &MediaFacts, time_base: Rational) -> Clock {
    let transport = facts.is_format("mpegts");
    // ffmpeg takes the start of a transport stream from the streams it uses, elsewhere from the container.
    let least_used = facts
        .video()
        .map(|(s, _)| s)
        .into_iter()
        .chain(facts.audio().map(|(s, _)| s))
        .filter_map(|s| s.start_us)
        .min();
    let start_us = if transport { least_used } else { facts.start_us };
    Clock {
        source: time_base,
        hz: time_base.den(),
        start_us: start_us.unwrap_or(0),
        wraps: transport || facts.is_format("mpeg"),
        generate: false,
    }
}

/// Fewer packets than this share a digest with the next group of pictures.
const SHORTEST_GOP: u32 = 12;

#[derive(Default)]
struct Scan {
    packets: Vec<Packet>,
    gops: Vec<Gop>,
    config: [u8; 16],
    missing_times: bool,
    hasher: blake3::Hasher,
    gop_start: Option<u32>,
    too_many: bool,
    stream: Option<u32>,
}

fn first_16(hasher: &blake3::Hasher) -> [u8; 16] {
    let mut short = [0; 16];
    for (to, from) in short.iter_mut().zip(hasher.finalize().as_bytes()) {
        *to = *from;
    }
    short
}

impl Scan {
    fn packet(&mut self, fields: &BTreeMap<String, String>) {
        let flags = fields.get("flags").map_or("", String::as_str);
        if flags.contains('D') {
            return;
        }
        let ticks = |name: &str| fields.get(name)?.parse::<i64>().ok();
        let (pts, dts) = (ticks("pts"), ticks("dts"));
        self.missing_times |= pts.is_none();
        let pts = pts.or(dts).unwrap_or(0);
        let key = flags.contains('K');
        let ordinal = u32::try_from(self.packets.len()).unwrap_or(u32::MAX);
        // Where every frame is a key frame, a digest for each would take as much room as the packets.
        let long_enough = self.gop_start.is_none_or(|first| ordinal - first >= SHORTEST_GOP);
        if long_enough && (key || self.gop_start.is_none()) {
            self.end_gop();
            self.gop_start = Some(ordinal);
        }
        let size: u32 = fields.get("size").and_then(|s| s.parse().ok()).unwrap_or(0);
        let pos = fields.get("pos").and_then(|p| p.parse::<u64>().ok());
        let hash = fields.get("data_hash").map_or("", String::as_str);
        self.hasher.update(&pts.to_le_bytes()).update(&size.to_le_bytes()).update(hash.as_bytes());
        self.too_many |= self.packets.len() >= MAX_PACKETS;
        if !self.too_many {
            self.packets.push(Packet::new(pts, pos, size, key));
        }
    }

    fn end_gop(&mut self) {
        if let Some(first) = self.gop_start.take() {
            self.gops.push(Gop { first, digest: first_16(&self.hasher) });
        }
        self.hasher.reset();
    }

    fn record(&mut self, section: &str, fields: &BTreeMap<String, String>) {
        match section {
            "packet" => self.packet(fields),
            "stream" => {
                self.stream = fields.get("index").and_then(|i| i.parse().ok());
                let text = fields.get("extradata_hash").map_or("", String::as_str);
                let mut hasher = blake3::Hasher::new();
                hasher.update(text.as_bytes());
                self.config = first_16(&hasher);
            }
            _ => {}
        }
    }
}

async fn scan(tools: &Tools, path: &Path, generate: bool, control: &Control) -> Result<Scan, MediaError> {
    let what = format!("indexing {}", path.display());
    let invocation = tools.ffprobe(what, inspect::packets(path, generate));
    let mut scan = Scan { packets: index::room(), ..Scan::default() };
    Records::each(&invocation, control, |section, fields| scan.record(section, fields)).await?;
    scan.end_gop();
    if scan.too_many {
        return Err(MediaError::bad_input(path, format!("it has more than {MAX_PACKETS} video packets")));
    }
    Ok(scan)
}

/// Puts the lines of ffprobe's `compact` writer together. A record starts with its section's name; side data breaks a
/// record over several lines, and the rest of the record follows on a line that starts with `|`.
#[derive(Default)]
pub(crate) struct Records {
    section: String,
    fields: BTreeMap<String, String>,
}

impl Records {
    /// Runs ffprobe and hands over each record that it writes.
    ///
    /// # Errors
    /// See [`process::run`].
    pub(crate) async fn each(
        invocation: &Invocation,
        control: &Control,
        mut each: impl FnMut(&str, &BTreeMap<String, String>) + Send,
    ) -> Result<(), MediaError> {
        let mut records = Self::default();
        process::run_lines(invocation, control, |line| {
            records.line(line, &mut each);
            LineMeans::Movement
        })
        .await?;
        records.end(&mut each);
        Ok(())
    }

    /// Takes one line; calls `each` with a record when the next begins.
    fn line(&mut self, line: &str, mut each: impl FnMut(&str, &BTreeMap<String, String>)) {
        let mut tokens = line.split('|');
        let section = tokens.next().unwrap_or("");
        match section {
            "packet" | "stream" => {
                self.end(&mut each);
                self.section.clear();
                self.section.push_str(section);
            }
            "" => {}
            // Side data and other nested sections: nothing of ours.
            _ => return,
        }
        for token in tokens {
            if let Some((key, value)) = token.split_once('=') {
                self.fields.insert(key.to_owned(), value.to_owned());
            }
        }
    }

    /// Hands over what is left.
    fn end(&mut self, mut each: impl FnMut(&str, &BTreeMap<String, String>)) {
        if !self.section.is_empty() {
            each(&self.section, &self.fields);
        }
        self.section.clear();
        self.fields.clear();
    }
}
