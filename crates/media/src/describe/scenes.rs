//! Scenes, and what a film is told in, and small pictures in equal distances, from one look at all frames.

use kinora_protocol::describe::{Found, Size, Sprites};
use kinora_protocol::node::Progress;
use kinora_protocol::survey::Wanted;
use kinora_vision::measure::Measurer;
use kinora_vision::{cuts, story};

use super::{Files, Findings, Work, jpeg};
use crate::command::describe;
use crate::error::MediaError;
use crate::inspect;
use crate::measure::{Measuring, measure_pipe};
use crate::process;

/// Ticks of the times here.
const HZ: i64 = 1_000_000;

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
    frames: u64,
    layout: Layout,
) -> Result<Findings, MediaError> {
    let Layout { tile, grid, every_us } = layout;
    let (sheets, kept) = (work.scratch.join("sheets.mjpeg"), work.scratch.join("tiles.crc"));
    let passthrough = work.tools.passthrough();
    let files = (sheets.as_path(), kept.as_path());
    let args = describe::scenes(work.source, stream, every_us, (tile, grid), passthrough, files);
    let invocation = work.tools.ffmpeg(format!("{}: looking for scenes", work.source.display()), args);
    let wanted = Wanted { tones: true, ..Wanted::default() };
    let measurer = Measurer::new((tile.width as usize, tile.height as usize), wanted);
    let progress = work.control.progress.clone();
    let measuring = Measuring {
        measurer,
        hz: HZ,
        zero: 0,
        told: Box::new(move |measured, fps| progress(Progress { frames: measured.min(frames), fps })),
        keep: None,
    };
    let (measured, finished) =
        process::taken(invocation, move |pieces| measure_pipe(measuring, pieces), work.control).await?;
    finished?;
    let measured = measured.map_err(|reason| MediaError::not_exact("looking for scenes", reason))?;
    let mut times_us = Vec::new();
    inspect::each_frame(&kept, |frame| times_us.push(frame.pts))?;
    let bytes = tokio::fs::read(&sheets).await.map_err(MediaError::io(&sheets))?;
    let mut files = Files::default();
    let cut = |range: std::ops::Range<usize>| bytes.get(range).unwrap_or_default().to_vec();
    let sheets = jpeg::pictures(&bytes).into_iter().map(|range| files.bytes(cut(range))).collect();
    let sprites = Sprites { tile, grid, times_us, sheets };
    let cuts = cuts::find(&measured);
    let found = Found::Scenes {
        starts_us: measured.first().map(|first| first.at).into_iter().chain(cuts.iter().copied()).collect(),
        chapters_us: story::chapters(&measured, &cuts, HZ),
        highlights: story::highlights(&measured, &cuts, HZ),
        sprites,
    };
    Ok(Findings { found, files })
}
