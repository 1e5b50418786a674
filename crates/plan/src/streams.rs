//! Which streams of a source its result has: one place for what is written and for what is told about it.

use kinora_protocol::media::{MediaFacts, Stream, StreamKind};
use kinora_protocol::recipe::Container;

/// Text subtitle codecs that can be turned into one another.
const TEXT_SUBTITLES: [&str; 7] = ["subrip", "ass", "ssa", "webvtt", "mov_text", "text", "srt"];

/// How a subtitle stream is written in a container, in ffmpeg's words; `None` when it cannot be.
pub fn subtitle_codec(stream: &Stream, container: Container) -> Option<&'static str> {
    let codec = stream.codec.as_deref()?;
    let text = TEXT_SUBTITLES.contains(&codec);
    match container {
        Container::Mp4 | Container::Mov => text.then_some("mov_text"),
        Container::Webm | Container::Hls => text.then_some("webvtt"),
        Container::Mkv if codec == "mov_text" => Some("srt"),
        Container::Mkv => Some("copy"),
        Container::M4a | Container::Mka | Container::Opus => None,
    }
}

/// What of a source its result does not have, a sentence each. Sound is left out only by those who ask for that; a picture, where
/// the result is sound alone.
pub(crate) fn left_out(facts: &MediaFacts, container: Container, alone: bool) -> Vec<String> {
    let mut told = Vec::new();
    let attachments = facts.streams.iter().filter(|s| s.kind == StreamKind::Attachment).count();
    if attachments > 0 && container != Container::Mkv {
        told.push(format!("{attachments} attachments are left out: only .mkv holds them"));
    }
    let worked_on = facts.video().map(|(stream, _)| stream.index);
    for stream in &facts.streams {
        let (index, codec) = (stream.index, stream.codec.as_deref().unwrap_or("unknown"));
        match &stream.kind {
            StreamKind::Subtitle if subtitle_codec(stream, container).is_none() => {
                let hint = if container == Container::Mkv { "nothing" } else { "only .mkv" };
                told.push(format!("subtitle stream {index} ({codec}) is left out: {hint} holds it"));
            }
            StreamKind::Cover => told.push(format!("the cover picture (stream {index}) is left out")),
            StreamKind::Video(_) if alone => {
                told.push(format!("video stream {index} ({codec}) is left out: the result is sound alone"));
            }
            StreamKind::Video(_) if Some(index) != worked_on => {
                told.push(format!("video stream {index} ({codec}) is left out: the first one is worked on"));
            }
            StreamKind::Data => told.push(format!("data stream {index} ({codec}) is left out")),
            StreamKind::Video(_) | StreamKind::Audio(_) | StreamKind::Subtitle | StreamKind::Attachment => {}
        }
    }
    told
}
