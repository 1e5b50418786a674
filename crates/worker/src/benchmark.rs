//! How fast this machine is: each encoder works for a short while, and its frames are counted. What was found is kept for the
//! next start of the same ffmpeg on the same machine.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kinora_media::{Control, Tools, trial};
use kinora_protocol::encode::Encoder;
use kinora_protocol::node::{Capabilities, Speed};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// What is kept.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Found {
    ffmpeg: String,
    encoders: Vec<Encoder>,
    cores: u32,
    millis: u64,
    speeds: Vec<Speed>,
}

impl Found {
    fn holds_for(&self, machine: &Capabilities, millis: u64) -> bool {
        self.ffmpeg == machine.ffmpeg
            && self.encoders == machine.encoders
            && self.cores == machine.cores
            && self.millis >= millis
    }
}

/// Speeds of this machine's encoders, measured for `length` each unless `kept` has them; none when `length` is zero.
pub(crate) async fn speeds(
    tools: &Tools,
    machine: &Capabilities,
    length: Duration,
    kept: Option<&Path>,
    stop: &CancellationToken,
) -> Vec<Speed> {
    let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    let earlier = kept.and_then(|path| serde_json::from_slice::<Found>(&std::fs::read(path).ok()?).ok());
    if let Some(found) = earlier.filter(|found| found.holds_for(machine, millis)) {
        return if length.is_zero() { Vec::new() } else { found.speeds };
    }
    let speeds = measure(tools, &machine.encoders, length, stop).await;
    if let (Some(path), false, false) = (kept, speeds.is_empty(), stop.is_cancelled()) {
        let Capabilities { ffmpeg, encoders, cores, .. } = machine.clone();
        let found = Found { ffmpeg, encoders, cores, millis, speeds: speeds.clone() };
        // If it cannot be kept, it is measured again next time.
        let _ = serde_json::to_vec(&found).map(|text| std::fs::write(path, text));
    }
    speeds
}

/// Frames that have to be made for a speed to mean something.
const LEAST_FRAMES: u64 = 2;

/// Lets each encoder work for `length`, one after the other, and counts. Those that make nothing in that time have no speed.
async fn measure(
    tools: &Tools,
    encoders: &[Encoder],
    length: Duration,
    stop: &CancellationToken,
) -> Vec<Speed> {
    let mut speeds = Vec::new();
    if length.is_zero() {
        return speeds;
    }
    for &encoder in encoders {
        if let Some(speed) = measure_one(tools, encoder, length, stop).await {
            speeds.push(speed);
        }
    }
    speeds
}

async fn measure_one(
    tools: &Tools,
    encoder: Encoder,
    length: Duration,
    stop: &CancellationToken,
) -> Option<Speed> {
    let cancel = stop.child_token();
    let frames = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&frames);
    let control = Control {
        cancel: cancel.clone(),
        progress: Arc::new(move |now| count.store(now.frames, Ordering::Relaxed)),
        stall: length + Duration::from_secs(5),
    };
    let started = Instant::now();
    let clock = async {
        tokio::time::sleep(length).await;
        let made = (frames.load(Ordering::Relaxed), started.elapsed());
        cancel.cancel();
        made
    };
    // The encode has no end of its own: it is cut off when its time is over.
    let (_, (frames, took)) = tokio::join!(trial::endless(tools, encoder, &control), clock);
    let per_minute = frames as f64 * 60.0 / took.as_secs_f64();
    (frames >= LEAST_FRAMES).then_some(Speed { encoder, frames_per_minute: per_minute as u32 })
}
