//! Whether a finished chunk is what the plan says, and what follows if not. A chunk that was decoded from the start of the
//! file is right by definition: that is what an unsplit run sees.

use kinora_protocol::media::MediaFacts;
use kinora_protocol::recipe::Verify;
use kinora_protocol::task::{ChunkOutput, ChunkSpec, Preroll, SoundCheck};

/// The judgement on one chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As planned.
    Good,
    /// Right, though not what the index promised: the source is damaged there.
    Damaged {
        /// For the proof.
        note: String,
    },
    /// Decode from further back.
    Redo(Preroll),
    /// What came out is not what went in.
    Broken {
        /// Why.
        reason: String,
    },
}

/// Judges a chunk by itself.
pub fn chunk(spec: &ChunkSpec, out: &ChunkOutput) -> Verdict {
    let wanted = spec.ladder.as_ref().map_or(0, |ladder| ladder.others.len());
    if out.others.len() != wanted {
        let reason =
            format!("chunk {}: {} other renditions came out of {wanted}", spec.ordinal, out.others.len());
        return Verdict::Broken { reason };
    }
    if spec.verify == Verify::Off {
        return Verdict::Good;
    }
    let as_indexed = out.source_times == spec.expect.source_times;
    if let (true, false, Some(preroll)) = (spec.resample.is_some(), as_indexed, spec.preroll.deeper()) {
        // At a constant rate other frames fill the places of those that are missing: counting proves nothing then.
        return Verdict::Redo(preroll);
    }
    let wanted_packets = if spec.resample.is_some() { spec.expect.frames } else { out.source_frames };
    if out.packets != wanted_packets {
        let reason = format!(
            "chunk {}: {} frames went into the encoder and {} packets came out",
            spec.ordinal, wanted_packets, out.packets
        );
        return Verdict::Broken { reason };
    }
    let wanted_times = if spec.resample.is_some() || as_indexed { &spec.expect.times } else { &out.times_in };
    if out.packets > 0 && out.times != *wanted_times {
        // Frames that go back in time are one reason; at a constant rate each has its place.
        let hint = if spec.resample.is_some() { "" } else { "; a constant frame rate (--fps) may help" };
        let reason = format!("chunk {}: its packets do not have the times of its frames{hint}", spec.ordinal);
        return Verdict::Broken { reason };
    }
    for (n, other) in (1..).zip(&out.others) {
        if other.packets != out.packets || other.times != out.times {
            let reason = format!("chunk {}: its rendition {n} has other frames than the first", spec.ordinal);
            return Verdict::Broken { reason };
        }
    }
    if as_indexed {
        return Verdict::Good;
    }
    match spec.preroll.deeper() {
        Some(preroll) => Verdict::Redo(preroll),
        None => Verdict::Damaged {
            note: format!(
                "chunk {}: the source is damaged there; its index promises {} frames, and {} decode, as in an unsplit run",
                spec.ordinal, spec.expect.source_frames, out.source_frames
            ),
        },
    }
}

/// What is known of a chunk for the seam check.
#[derive(Debug, Clone, Copy)]
pub struct Neighbour<'a> {
    /// Its spec.
    pub spec: &'a ChunkSpec,
    /// Its result.
    pub out: &'a ChunkOutput,
}

/// Whether the frames past the end of `left` are the first frames of `right`. `None` when there is nothing to compare.
pub fn seam(left: Neighbour<'_>, right: Neighbour<'_>) -> Option<bool> {
    let compared = left.out.tail.len().min(right.out.head.len());
    if compared == 0 && left.out.tail.is_empty() && right.out.head.is_empty() {
        return None;
    }
    let seen_enough = left.out.tail.len() >= right.out.head.len();
    let after = left.out.tail.iter().zip(&right.out.head).all(|(a, b)| a == b);
    let wanted = right.spec.context.map_or(0, |context| context.before as usize);
    Some(seen_enough && after && saw_the_same(&left.out.end, &right.out.before, wanted))
}

/// Whether the frames that filters saw before a chunk (`seen`, of `wanted`) are the last ones of the chunk before it.
fn saw_the_same(ends: &[u32], seen: &[u32], wanted: usize) -> bool {
    // A chunk that is shorter than what is looked at has only that much to compare with.
    seen.len() >= wanted.min(ends.len()) && seen.iter().rev().zip(ends.iter().rev()).all(|(a, b)| a == b)
}

/// What the seams of a whole job come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seams {
    /// Chunks to do again and from how far back.
    pub redo: Vec<(usize, Preroll)>,
    /// Seams that differ even when both sides were decoded from the start.
    pub notes: Vec<String>,
}

/// Checks all seams of a job, chunks in order.
pub fn seams(chunks: &[Neighbour<'_>]) -> Seams {
    let mut found = Seams::default();
    for (n, pair) in chunks.windows(2).enumerate() {
        let [left, right] = pair else { continue };
        if left.spec.verify == Verify::Off || seam(*left, *right) != Some(false) {
            continue;
        }
        // The right one started to decode closer to the seam, so it is the likelier culprit.
        let flagged = match (right.spec.preroll.deeper(), left.spec.preroll.deeper()) {
            (Some(deeper), _) => (n + 1, deeper),
            (None, Some(deeper)) => (n, deeper),
            (None, None) => {
                found.notes.push(format!(
                    "between chunks {n} and {}: the source is damaged there and does not decode the same way twice",
                    n + 1
                ));
                continue;
            }
        };
        if found.redo.last().is_none_or(|(last, _)| *last != flagged.0) {
            found.redo.push(flagged);
        }
    }
    found
}

/// What a file of sound alone may declare more than it has, in microseconds.
const DECLARED_US: i64 = 1_000_000;
/// Formats that do not declare how long they are: it is guessed from their first packets.
const GUESSED: [&str; 4] = ["mp3", "aac", "ac3", "eac3"];

/// What of the sound of a file is not in a result that is sound alone.
pub fn lost_sound(facts: &MediaFacts, counted: &[SoundCheck]) -> Vec<String> {
    let seconds = |us: i64| us as f64 / 1e6;
    let mut lost = Vec::new();
    for (n, sound) in counted.iter().enumerate().filter(|(_, sound)| sound.missing_us > 0) {
        lost.push(format!(
            "{:.1} s of sound stream {n} cannot be decoded: the source is damaged",
            seconds(sound.missing_us)
        ));
    }
    let declared = facts.duration_us.filter(|_| facts.video().is_none());
    let guessed = GUESSED.iter().any(|format| facts.is_format(format));
    let end = counted.iter().map(|sound| sound.source_end_us).max().flatten();
    if let (Some(declared), false, Some(end)) = (declared, guessed, end)
        && declared - end > DECLARED_US.max(declared / 20)
    {
        lost.push(format!(
            "the source declares {:.1} s of sound, and has {:.1} s: it is damaged or was cut off",
            seconds(declared),
            seconds(end)
        ));
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::saw_the_same;

    #[test]
    fn what_filters_saw_before_a_chunk_are_the_last_frames_of_the_one_before() {
        assert!(saw_the_same(&[1, 2, 3], &[2, 3], 2), "it need not see all of them");
        assert!(saw_the_same(&[3], &[2, 3], 2), "a short chunk has no more");
        assert!(saw_the_same(&[], &[], 0), "nothing is looked at");
        assert!(!saw_the_same(&[1, 2, 3], &[1, 3], 2));
        assert!(!saw_the_same(&[1, 2, 3], &[3], 2), "one did not decode");
    }
}
