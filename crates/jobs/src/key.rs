//! The key of a chunk: two chunks with the same key are made of the same source packets by the same encoder with the same
//! settings, so one may stand in for the other.

use kinora_plan::index::PacketIndex;
use kinora_protocol::Digest;
use kinora_protocol::enhance::Enhancement;
use kinora_protocol::task::ChunkSpec;

/// Changes when the way of making chunks does.
const VERSION: &str = "kinora chunk 1";
/// Groups of pictures before a chunk's own that count as decoded for it.
const GOPS_BEFORE: usize = 3;

/// Makes the keys of one source.
#[derive(Debug)]
pub struct Keys<'a> {
    index: &'a PacketIndex,
    build: &'a str,
    /// Decode positions in display order; their times are in the index, which may be large.
    shown: Vec<u32>,
}

impl<'a> Keys<'a> {
    /// For a source and an ffmpeg build.
    pub fn new(index: &'a PacketIndex, build: &'a str) -> Self {
        Self { index, build, shown: index.shown() }
    }

    /// The key of a chunk; `None` when its settings cannot be written down, so that nothing is ever reused by mistake.
    pub fn of(&self, spec: &ChunkSpec) -> Option<Digest> {
        let settings =
            serde_json::to_vec(&(&spec.encode, &spec.filters, &spec.resample, &spec.clock, spec.threads))
                .ok()?;
        let mut hasher = blake3::Hasher::new();
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        };
        part(VERSION.as_bytes());
        part(self.build.as_bytes());
        part(&settings);
        if let Some(ladder) = &spec.ladder {
            part(&serde_json::to_vec(ladder).ok()?);
        }
        if !spec.enhance.is_empty() {
            part(&serde_json::to_vec(&(&spec.enhance, &spec.context)).ok()?);
            let own = spec.enhance.iter().filter_map(|one| match one {
                Enhancement::Pass(pass) => Some(pass.by.revision()),
                _ => None,
            });
            own.for_each(|revision| part(&revision.to_le_bytes()));
        }
        part(&self.index.config);
        for tick in [spec.a, spec.b, spec.seam_end, spec.shift] {
            part(&tick.to_le_bytes());
        }
        // A chunk that had to be decoded from further back is another chunk.
        part(format!("{:?} {:?}", spec.preroll, spec.verify).as_bytes());
        for gop in self.gops(spec) {
            part(&gop.digest);
        }
        Some(Digest::from_bytes(hasher.finalize().as_bytes()))
    }

    fn gops(&self, spec: &ChunkSpec) -> &[kinora_plan::index::Gop] {
        let before = |limit: i64| self.shown.partition_point(|&n| self.index.packets[n as usize].pts < limit);
        let (from, to) = (before(spec.seen().0), before(spec.seam_end));
        let own = self.shown.get(from..to).unwrap_or_default();
        let first = own.iter().copied().min().unwrap_or(0);
        let last = own.iter().copied().max().unwrap_or(0);
        let gops = &self.index.gops;
        let low = gops.partition_point(|g| g.first <= first).saturating_sub(1 + GOPS_BEFORE);
        let high = gops.partition_point(|g| g.first <= last) + 1;
        gops.get(low..high.min(gops.len())).unwrap_or_default()
    }
}
