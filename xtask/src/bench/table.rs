//! What was measured, as medians and ratios, a Markdown table and JSON.

use serde_json::{Value, json};

use super::rivals::Rival;

/// All measurements of one encoder.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Encoder and settings.
    pub rival: Rival,
    /// Length of the clip in seconds.
    pub clip_seconds: f64,
    /// Chunks that Kinora made.
    pub chunks: usize,
    /// Wall seconds of whole commands, pair by pair.
    pub pairs: Vec<Both<f64>>,
    /// Size of the files.
    pub bytes: Both<u64>,
    /// Video packets in the files.
    pub packets: Both<u64>,
    /// Structural similarity to the source, all planes.
    pub ssim: Both<f64>,
}

/// One value of each side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Both<T> {
    /// Kinora's.
    pub kinora: T,
    /// Plain ffmpeg's.
    pub ffmpeg: T,
}

/// Middle value; the mean of the two middle ones when there is an even number of them.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => (sorted[count / 2 - 1] + sorted[count / 2]) / 2.0,
    }
}

impl Outcome {
    fn walls(&self) -> Both<f64> {
        let side = |pick: fn(&Both<f64>) -> f64| median(&self.pairs.iter().map(pick).collect::<Vec<_>>());
        Both { kinora: side(|pair| pair.kinora), ffmpeg: side(|pair| pair.ffmpeg) }
    }

    /// How many times as fast Kinora was, pair by pair.
    fn speedups(&self) -> Vec<f64> {
        self.pairs.iter().map(|pair| pair.ffmpeg / pair.kinora).collect()
    }

    fn size_ratio(&self) -> f64 {
        self.bytes.kinora as f64 / self.bytes.ffmpeg as f64
    }

    fn row(&self) -> String {
        let (walls, speedups) = (self.walls(), self.speedups());
        let least = speedups.iter().copied().fold(f64::INFINITY, f64::min);
        let most = speedups.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        format!(
            "| {} {}, crf {} | {:.0} s | {} | {:.2} s | {:.2} s | {:.3} ({least:.3}–{most:.3}) | {:.4} | {:.6} | {:.6} | {:+.6} |",
            self.rival.encoder,
            self.rival.preset,
            self.rival.crf,
            self.clip_seconds,
            self.chunks,
            walls.kinora,
            walls.ffmpeg,
            median(&speedups),
            self.size_ratio(),
            self.ssim.kinora,
            self.ssim.ffmpeg,
            self.ssim.kinora - self.ssim.ffmpeg,
        )
    }

    fn json(&self) -> Value {
        let both = |both: &Both<f64>| json!({"kinora": both.kinora, "ffmpeg": both.ffmpeg});
        let counts = |both: &Both<u64>| json!({"kinora": both.kinora, "ffmpeg": both.ffmpeg});
        json!({
            "encoder": self.rival.encoder,
            "preset": self.rival.preset,
            "crf": self.rival.crf,
            "clip_seconds": self.clip_seconds,
            "chunks": self.chunks,
            "wall_seconds": self.pairs.iter().map(both).collect::<Vec<_>>(),
            "median_wall_seconds": both(&self.walls()),
            "speedups": self.speedups(),
            "median_speedup": median(&self.speedups()),
            "bytes": counts(&self.bytes),
            "size_ratio": self.size_ratio(),
            "packets": counts(&self.packets),
            "ssim": both(&self.ssim),
        })
    }
}

/// The Markdown table.
pub fn markdown(outcomes: &[Outcome]) -> String {
    let mut text = "| encoder | clip | chunks | Kinora | ffmpeg | times as fast (least–most) | size ratio | SSIM Kinora | \
                    SSIM ffmpeg | difference |\n"
        .to_owned();
    text.push_str("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |\n");
    for outcome in outcomes {
        text.push_str(&outcome.row());
        text.push('\n');
    }
    text
}

/// The JSON document.
pub fn document(clip: &str, ffmpeg: &str, chunk_seconds: Option<f64>, outcomes: &[Outcome]) -> Value {
    let cores = std::thread::available_parallelism().map_or(1, |count| count.get());
    let encoders: Vec<Value> = outcomes.iter().map(Outcome::json).collect();
    json!({"clip": clip, "ffmpeg": ffmpeg, "cores": cores, "chunk_seconds": chunk_seconds, "encoders": encoders})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rivals;

    fn outcome() -> Outcome {
        let pair = |kinora, ffmpeg| Both { kinora, ffmpeg };
        Outcome {
            rival: rivals::ALL[0],
            clip_seconds: 66.3,
            chunks: 4,
            pairs: vec![pair(10.0, 12.0), pair(11.0, 11.0), pair(10.0, 15.0)],
            bytes: Both { kinora: 1010, ffmpeg: 1000 },
            packets: Both { kinora: 1658, ffmpeg: 1658 },
            ssim: Both { kinora: 0.98, ffmpeg: 0.9801 },
        }
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_row_has_medians_and_pairwise_ratios() {
        assert_eq!(
            outcome().row(),
            "| libx264 medium, crf 23 | 66 s | 4 | 10.00 s | 12.00 s | 1.200 (1.000–1.500) | 1.0100 | 0.980000 | \
             0.980100 | -0.000100 |"
        );
        let table = markdown(&[outcome()]);
        let widths: Vec<usize> = table.lines().map(|line| line.matches('|').count()).collect();
        assert_eq!(widths, [11, 11, 11]);
    }

    #[test]
    fn the_document_keeps_every_pair() {
        let value = document("clip.mp4", "ffmpeg version 5.1", Some(10.0), &[outcome()]);
        assert_eq!(value["encoders"][0]["wall_seconds"][2]["ffmpeg"], 15.0);
        assert_eq!(value["chunk_seconds"], 10.0);
    }
}
