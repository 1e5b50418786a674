//! Scenes and small pictures in equal distances, from one look at all frames.

use kinora_protocol::describe::{Found, Size, Sprites};

use super::{Files, Findings, Work, jpeg};
use crate::command::describe;
use crate::error::MediaError;
use crate::inspect::FrameLine;
use crate::process::{self, LineMeans};

/// How the small pictures are laid out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) tile: Size,
    pub(super) grid: Size,
    pub(super) every_us: i64,
}

pub(super) async fn find(
    work: &Work<'_>,
    stream: u32,
    (frames, duration_us): (u64, i64),
    layout: Layout,
) -> Result<Findings, MediaError> {
    let Layout { tile, grid, every_us } = layout;
    let path = work.scratch.join("sheets.mjpeg");
    let passthrough = work.tools.passthrough();
    let args = describe::scenes(work.source, stream, every_us, (tile, grid), passthrough, &path);
    let invocation = work.tools.ffmpeg(format!("{}: looking for scenes", work.source.display()), args);
    let (mut starts_us, mut times_us) = (Vec::new(), Vec::new());
    process::run_lines(&invocation, work.control, |line| {
        let Some(frame) = FrameLine::parse(line) else { return LineMeans::Nothing };
        if line.starts_with('0') {
            starts_us.push(frame.pts);
        } else {
            times_us.push(frame.pts);
        }
        let done = u128::from(frames) * u128::from(frame.pts.max(0).unsigned_abs())
            / u128::from(duration_us.max(1).unsigned_abs());
        work.progress(u64::try_from(done).unwrap_or(frames).min(frames));
        LineMeans::Movement
    })
    .await?;
    let bytes = tokio::fs::read(&path).await.map_err(MediaError::io(&path))?;
    let mut files = Files::default();
    let cut = |range: std::ops::Range<usize>| bytes.get(range).unwrap_or_default().to_vec();
    let sheets = jpeg::pictures(&bytes).into_iter().map(|range| files.bytes(cut(range))).collect();
    let sprites = Sprites { tile, grid, times_us, sheets };
    Ok(Findings { found: Found::Scenes { starts_us, sprites }, files })
}
