//! How many chunks and how many at once: few and long where an encoder keeps all processors busy by itself, more where it
//! does not. Estimates in seconds are allowed here; the cuts themselves are made in ticks by `chunk`.

use kinora_protocol::encode::Encoder;
use kinora_protocol::recipe::ChunkRecipe;
use kinora_protocol::{ErrorCode, Failure};

use crate::encoder;

/// What there is to run on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Capacity {
    /// Logical processors, of all machines together.
    pub cores: u32,
    /// Machines.
    pub machines: u32,
    /// Chunks at once on all machines together, when that is known.
    pub jobs: Option<u32>,
    /// Wished chunk length in seconds, when the user says.
    pub seconds: Option<f64>,
}

/// The layout of a job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sizing {
    /// Chunks to cut, at least 1.
    pub chunks: u32,
    /// Chunks at once.
    pub jobs: u32,
    /// Threads for each encoder; its own choice when absent.
    pub threads: Option<u32>,
}

/// A chunk is not worth less than this, whatever a user wishes, in seconds.
const SHORTEST: f64 = 0.2;
/// No job has more chunks.
const MOST_CHUNKS: f64 = 100_000.0;

/// Longest pause before another try, in seconds.
const LONGEST_DELAY: f64 = 3600.0;

/// Whether what a recipe says of chunks can be.
///
/// # Errors
/// [`ErrorCode::BadRecipe`] naming the setting.
pub fn check(recipe: &ChunkRecipe) -> Result<(), Failure> {
    let refuse = |reason: String| Err(Failure::new(ErrorCode::BadRecipe, reason));
    match *recipe {
        ChunkRecipe { seconds: Some(s), .. } if !(s.is_finite() && s > 0.0) => {
            refuse(format!("a chunk of {s} s cannot be made: the length must be above 0"))
        }
        ChunkRecipe { max_attempts: Some(n), .. } if !(1..=100).contains(&n) => {
            refuse(format!("a task cannot be tried {n} times: 1 to 100"))
        }
        ChunkRecipe { retry_delay: Some(s), .. } if !(0.0..=LONGEST_DELAY).contains(&s) => {
            refuse(format!("{s} s is no pause before another try: 0 to {LONGEST_DELAY} s"))
        }
        _ => Ok(()),
    }
}

/// Chunks at once on a machine.
pub fn jobs(encoder: Encoder, capacity: Capacity) -> u32 {
    let cores = capacity.cores.max(1);
    let useful = encoder::threading(encoder).useful_cores;
    // Two overlapped encodes fill the gaps that one leaves at its start, at its end and at scene changes.
    let automatic = if cores == 1 { 1 } else { cores.div_ceil(useful).max(2) };
    capacity.jobs.unwrap_or(automatic).max(1)
}

/// Sizes a job of `total` seconds.
pub fn size(encoder: Encoder, total: f64, capacity: Capacity) -> Sizing {
    let jobs = jobs(encoder, capacity);
    let threading = encoder::threading(encoder);
    let single_threaded = threading.useful_cores == 1;
    let threads = single_threaded.then(|| (capacity.cores / jobs).max(1));
    let wished = match capacity.seconds {
        Some(seconds) => {
            // What is left over at the end joins the last chunk when it is less than a third of one.
            (total / seconds.max(SHORTEST) + 2.0 / 3.0).floor()
        }
        None => automatic(total, jobs, threading, single_threaded || capacity.machines > 1),
    };
    let most = (total / SHORTEST).floor().clamp(1.0, MOST_CHUNKS);
    Sizing { chunks: wished.clamp(1.0, most) as u32, jobs, threads }
}

fn automatic(total: f64, jobs: u32, threading: encoder::Threading, several: bool) -> f64 {
    let jobs = f64::from(jobs);
    if jobs < 2.0 {
        return (total / threading.max_seconds).ceil();
    }
    if total < 2.0 * threading.min_seconds {
        return 1.0;
    }
    // Where an encoder uses one processor, or machines differ, several rounds are needed, or the slowest chunk decides when
    // all are done.
    let rounds_wished = if several { 3.0 } else { 1.0 };
    let rounds = (total / (threading.max_seconds * jobs)).ceil().max(rounds_wished);
    let most = (total / threading.min_seconds).floor();
    (rounds * jobs).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auto(cores: u32) -> Capacity {
        Capacity { cores, machines: 1, jobs: None, seconds: None }
    }

    #[test]
    fn what_cannot_be_is_named() {
        let good = ChunkRecipe { seconds: Some(0.1), max_attempts: Some(100), retry_delay: Some(0.0) };
        assert_eq!(check(&good), Ok(()));
        assert_eq!(check(&ChunkRecipe::default()), Ok(()));
        let bad = [
            ChunkRecipe { seconds: Some(0.0), ..good.clone() },
            ChunkRecipe { seconds: Some(f64::NAN), ..good.clone() },
            ChunkRecipe { max_attempts: Some(0), ..good.clone() },
            ChunkRecipe { retry_delay: Some(-1.0), ..good.clone() },
            ChunkRecipe { retry_delay: Some(f64::INFINITY), ..good },
        ];
        for recipe in bad {
            assert_eq!(check(&recipe).map_err(|f| f.code), Err(ErrorCode::BadRecipe), "{recipe:?}");
        }
    }

    #[test]
    fn layouts() {
        let cases = [
            // encoder, seconds, cores → chunks, at once
            (Encoder::X264, 66.0, 2, 2, 2),
            (Encoder::X264, 8.0, 2, 1, 2),
            (Encoder::X264, 66.0, 1, 2, 1),
            (Encoder::X264, 600.0, 2, 10, 2),
            (Encoder::X264, 66.0, 32, 6, 6),
            (Encoder::Aom, 66.0, 2, 6, 2),
            (Encoder::Aom, 10.0, 8, 2, 8),
            (Encoder::SvtAv1, 66.0, 2, 2, 2),
            (Encoder::H264Nvenc, 66.0, 8, 2, 2),
        ];
        for (encoder, seconds, cores, chunks, at_once) in cases {
            let sizing = size(encoder, seconds, auto(cores));
            assert_eq!(
                (sizing.chunks, sizing.jobs),
                (chunks, at_once),
                "{} {seconds} {cores}",
                encoder.name()
            );
        }
    }

    #[test]
    fn several_machines_get_several_rounds() {
        let four = Capacity { cores: 16, machines: 4, jobs: Some(8), seconds: None };
        assert_eq!(size(Encoder::X264, 600.0, four).chunks, 24);
        assert_eq!(size(Encoder::X264, 600.0, Capacity { machines: 1, ..four }).chunks, 16);
        assert_eq!(size(Encoder::X264, 20.0, four).chunks, 4, "short chunks cost more than they gain");
    }

    #[test]
    fn a_wish_is_followed() {
        let wish = |seconds, total| {
            size(
                Encoder::X264,
                total,
                Capacity { cores: 2, machines: 1, jobs: Some(3), seconds: Some(seconds) },
            )
            .chunks
        };
        assert_eq!(wish(2.0, 20.0), 10);
        assert_eq!(wish(2.0, 20.5), 10);
        assert_eq!(wish(2.0, 21.0), 11);
        assert_eq!(wish(60.0, 20.0), 1);
        assert_eq!(wish(0.0, 2.0), 10);
    }
}
