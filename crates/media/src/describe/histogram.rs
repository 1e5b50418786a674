//! How often each value of red, green and blue is there, over sampled frames.

use kinora_protocol::describe::{Found, Histogram, Sampling, Size};

use super::{Files, Findings, Work};
use crate::command::describe;
use crate::error::MediaError;
use crate::process::{self, LineMeans};

/// Values of a channel.
const VALUES: usize = 256;

pub(super) async fn find(
    work: &Work<'_>,
    stream: u32,
    size: Size,
    sampling: Sampling,
) -> Result<Findings, MediaError> {
    let args = describe::samples(work.source, stream, size, sampling, work.tools.passthrough());
    let invocation = work.tools.ffmpeg(format!("{}: counting colours", work.source.display()), args);
    let frame = u64::from(size.width) * u64::from(size.height) * 3;
    let mut counts = Counts::default();
    process::run_bytes(&invocation, work.control, |bytes| {
        counts.add(bytes);
        work.progress(counts.bytes / frame.max(1));
        LineMeans::Movement
    })
    .await?;
    let [red, green, blue] = counts.channels;
    let frames = counts.bytes / frame.max(1);
    let found = Found::Histogram(Histogram { frames, red, green, blue });
    Ok(Findings { found, files: Files::default() })
}

/// Counts of packed samples, three to a picture element, wherever a piece of them begins.
struct Counts {
    channels: [Vec<u64>; 3],
    bytes: u64,
}

impl Default for Counts {
    fn default() -> Self {
        Self { channels: [vec![0; VALUES], vec![0; VALUES], vec![0; VALUES]], bytes: 0 }
    }
}

impl Counts {
    fn add(&mut self, bytes: &[u8]) {
        let phase = usize::try_from(self.bytes % 3).unwrap_or(0);
        for (position, channel) in self.channels.iter_mut().enumerate() {
            let first = (position + 3 - phase) % 3;
            for value in bytes.iter().skip(first).step_by(3) {
                if let Some(count) = channel.get_mut(usize::from(*value)) {
                    *count += 1;
                }
            }
        }
        self.bytes += bytes.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_may_begin_anywhere() {
        let bytes: Vec<u8> = (0..300).map(|n| (n % 3 * 10 + n / 30) as u8).collect();
        let mut whole = Counts::default();
        whole.add(&bytes);
        assert_eq!(whole.channels[1].iter().sum::<u64>(), 100);
        assert_eq!(whole.channels[1].iter().take(10).sum::<u64>(), 0, "green begins at ten");
        for cut in 1..7 {
            let mut pieces = Counts::default();
            bytes.chunks(cut).for_each(|piece| pieces.add(piece));
            assert_eq!(pieces.channels, whole.channels, "{cut}");
        }
    }
}
