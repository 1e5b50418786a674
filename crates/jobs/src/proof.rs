//! The proof report, put together from what was planned and what was counted.

use kinora_plan::digest;
use kinora_protocol::JobId;
use kinora_protocol::encode::{Rate, Settled, VideoWork};
use kinora_protocol::proof::{ChunkProof, OutputProof, PROOF_VERSION, Proof, SourceProof};
use kinora_protocol::recipe::Verify;
use kinora_protocol::task::{ChunkCheck, ChunkOutput, ChunkSpec, PackageOutput, ProbeOutput};

use crate::judge::{self, Neighbour};

/// A chunk with its history.
#[derive(Debug, Clone)]
pub struct Finished<'a> {
    /// Its spec.
    pub spec: &'a ChunkSpec,
    /// Its result.
    pub out: &'a ChunkOutput,
    /// Taken from earlier work.
    pub reused: bool,
}

/// All that a proof is made of.
#[derive(Debug, Clone)]
pub struct Evidence<'a> {
    /// Job.
    pub job: JobId,
    /// Source.
    pub probe: &'a ProbeOutput,
    /// Video packets that the source's index lists.
    pub indexed_frames: u64,
    /// Settings.
    pub settled: &'a Settled,
    /// Chunks in order.
    pub chunks: Vec<Finished<'a>>,
    /// Result.
    pub package: &'a PackageOutput,
    /// ffmpeg build.
    pub ffmpeg: &'a str,
    /// What was found on the way.
    pub notes: Vec<String>,
    /// Those of them that say what is not in the result.
    pub lost: Vec<String>,
}

/// Writes the report. `verified` is true only when checks were asked for and every one held; a job whose checks did not
/// hold never gets here, so what is left to look at is what was accepted with a note.
pub fn assemble(evidence: Evidence<'_>) -> Proof {
    let neighbours: Vec<Neighbour<'_>> =
        evidence.chunks.iter().map(|c| Neighbour { spec: c.spec, out: c.out }).collect();
    let mut chunks = Vec::with_capacity(evidence.chunks.len());
    for (n, chunk) in evidence.chunks.iter().enumerate() {
        let next = neighbours.get(n + 1);
        let checked = chunk.spec.verify != Verify::Off;
        let seam = neighbours.get(n).zip(next).filter(|_| checked).and_then(|(a, b)| judge::seam(*a, *b));
        chunks.push(ChunkProof {
            frames: chunk.spec.frames,
            ticks: (chunk.spec.a, chunk.spec.b),
            hz: chunk.spec.clock.hz,
            counted: chunk.out.source_frames,
            source_hash: chunk.out.source_hash.clone(),
            packets: chunk.out.packets,
            blob: chunk.out.blob.digest.clone(),
            reused: chunk.reused,
            preroll: chunk.spec.preroll,
            seam,
        });
    }
    let decoded = chunks.iter().map(|c| c.counted).sum();
    let packets = chunks.iter().map(|c| c.packets);
    let planned = planned(&evidence.settled.video, evidence.indexed_frames, packets);
    let seams_hold = chunks.iter().all(|c| c.seam != Some(false));
    let counted = evidence.settled.video != VideoWork::None || !evidence.package.sound.is_empty();
    let checked = evidence.settled.verify != Verify::Off && counted;
    let verified = checked && seams_hold && evidence.package.packets == planned;
    let times = digest::bytes(
        evidence.chunks.iter().map(|c| c.out.source_times.as_str()).collect::<Vec<_>>().join("\n").as_bytes(),
    );
    Proof {
        version: PROOF_VERSION,
        job: evidence.job,
        verified,
        verify: evidence.settled.verify,
        ffmpeg: evidence.ffmpeg.to_owned(),
        source: SourceProof {
            media: evidence.probe.media.clone(),
            size: evidence.probe.facts.size,
            indexed_frames: evidence.indexed_frames,
            decoded_frames: decoded,
            times,
        },
        settings: evidence.settled.clone(),
        chunks,
        output: OutputProof {
            planned,
            packets: evidence.package.packets,
            times: evidence.package.times_checked,
            decoded: evidence.package.decoded,
            sound: evidence.package.sound.clone(),
            size: evidence.package.size,
            digest: evidence.package.digest.clone(),
        },
        notes: evidence.notes,
        lost: evidence.lost,
    }
}

/// Video packets that the result is to have, from those of the source's index and of its chunks.
pub fn planned(video: &VideoWork, indexed: u64, chunks: impl Iterator<Item = u64>) -> u64 {
    match video {
        VideoWork::Encode(_) => chunks.sum(),
        VideoWork::Copy => indexed,
        VideoWork::None => 0,
    }
}

/// What the packaging task checks a chunk of the result against. Pictures can be compared with the source's only when they
/// reached a lossless encoder as they were.
pub fn check_of(spec: &ChunkSpec, out: &ChunkOutput, source_format: &str) -> ChunkCheck {
    let untouched = spec.encode.rate == Rate::Lossless
        && spec.filters.scale.is_none()
        && spec.enhance.is_empty()
        && spec.filters.keep_samples()
        && spec.resample.is_none()
        && spec.encode.pix_fmt == source_format;
    ChunkCheck {
        packets: out.packets,
        times: out.times.clone(),
        pictures: untouched.then(|| out.source_hash.clone()),
    }
}
