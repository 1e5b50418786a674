//! `kinora probe`: what is known of a file, and how it would be split.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kinora_media::{Control, index};
use kinora_plan::chunk::Timeline;
use kinora_plan::index::PacketIndex;
use kinora_plan::layout::Layout;
use kinora_plan::time;
use kinora_protocol::media::{MediaFacts, StreamKind};
use kinora_protocol::{ErrorCode, Failure};
use serde::Serialize;

use crate::config::Config;
use crate::tools;

/// Flags of `kinora probe`.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// The file
    pub file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    file: &'a PathBuf,
    facts: &'a MediaFacts,
    video: Option<VideoSummary>,
}

#[derive(Serialize)]
struct VideoSummary {
    frames: u64,
    key_frames: usize,
    seconds: f64,
    variable_frame_rate: bool,
    reordered: bool,
    ticks_per_second: i64,
    start_us: i64,
    layout: &'static str,
}

pub async fn run(args: &ProbeArgs, config: &Config) -> Result<(), Failure> {
    let tools = tools::find(config).await?;
    let size = std::fs::metadata(&args.file)
        .map_err(|e| Failure::new(ErrorCode::BadInput, format!("{}: {e}", args.file.display())))
        .and_then(|m| {
            let wrong = |what: &str| {
                Err(Failure::new(ErrorCode::BadInput, format!("{}: {what}", args.file.display())))
            };
            match (m.is_file(), m.len()) {
                (false, _) => wrong("it is not a regular file"),
                (true, 0) => wrong("it is empty"),
                (true, size) => Ok(size),
            }
        })?;
    let control = Control::quiet(Duration::from_secs(300));
    let (facts, index) = index::probe_and_index(&tools, &args.file, size, &control).await?;
    let video = facts.video().map(|_| summary(&index));
    let report = Report { file: &args.file, facts: &facts, video };
    if args.json {
        let text = serde_json::to_string_pretty(&report);
        let text = text.map_err(|e| Failure::new(ErrorCode::Internal, e.to_string()))?;
        super::put(&mut std::io::stdout(), &text);
    } else {
        print(&report);
    }
    Ok(())
}

fn summary(index: &PacketIndex) -> VideoSummary {
    let timeline = Timeline::new(index, None);
    let gaps: Vec<i64> = timeline.times().windows(2).filter_map(|w| Some(w.get(1)? - w.first()?)).collect();
    let (least, most) = (gaps.iter().min().copied().unwrap_or(0), gaps.iter().max().copied().unwrap_or(0));
    // A unit that cannot hold the frame duration exactly makes neighbouring gaps differ by one tick.
    let millisecond = index.clock.hz / 1000;
    VideoSummary {
        frames: timeline.source_frames(),
        key_frames: index.packets.iter().filter(|p| p.is_key()).count(),
        seconds: timeline.seconds(),
        variable_frame_rate: most - least > millisecond.max(1),
        reordered: index.packets.windows(2).any(|w| matches!(w, [a, b] if b.pts < a.pts)),
        ticks_per_second: index.clock.hz,
        start_us: index.clock.start_us,
        layout: match index.layout {
            Layout::Mp4 { .. } => "mp4",
            Layout::Fragmented { .. } => "fragmented mp4",
            Layout::Matroska { .. } => "matroska",
            Layout::Transport { .. } => "mpeg transport stream",
            Layout::Avi { .. } => "avi",
            Layout::Opaque { .. } => "opaque: chunks need the whole file",
        },
    }
}

fn print(report: &Report<'_>) {
    let facts = report.facts;
    say!("{}  ({}, {} bytes)", report.file.display(), facts.format, facts.size);
    for stream in &facts.streams {
        let codec = stream.codec.as_deref().unwrap_or("unknown");
        let language = stream.tags.get("language").map(|l| format!(" [{l}]")).unwrap_or_default();
        let what = match &stream.kind {
            StreamKind::Video(v) => {
                let rotation =
                    if v.rotation == 0 { String::new() } else { format!(", rotated {}°", v.rotation) };
                let hdr = match v.color.transfer.as_deref() {
                    Some("smpte2084") => ", HDR (PQ)",
                    Some("arib-std-b67") => ", HDR (HLG)",
                    _ => "",
                };
                let scan =
                    v.field_order.as_deref().filter(|f| *f != "progressive").map_or("", |_| ", interlaced");
                format!("video {codec} {}x{} {}{rotation}{hdr}{scan}", v.width, v.height, v.pix_fmt)
            }
            StreamKind::Cover => format!("cover picture {codec}"),
            StreamKind::Audio(a) => format!("audio {codec} {} Hz, {} channels", a.sample_rate, a.channels),
            StreamKind::Subtitle => format!("subtitles {codec}"),
            StreamKind::Attachment => "attachment".to_owned(),
            StreamKind::Data => format!("data {codec}"),
        };
        say!("  {:>2}: {what}{language}", stream.index);
    }
    if let Some(video) = &report.video {
        let rate = if video.variable_frame_rate { "variable frame rate" } else { "constant frame rate" };
        say!(
            "  {} frames in {:.3} s, {rate}, {} key frames, starts at {} s, {}",
            video.frames,
            video.seconds,
            video.key_frames,
            time::us_text(video.start_us),
            video.layout
        );
    }
    if let (None, Some(duration_us)) = (&report.video, facts.duration_us) {
        say!("  sound of {} s, as it declares", time::us_text(duration_us));
    }
    if facts.chapters > 0 {
        say!("  {} chapters", facts.chapters);
    }
}
