//! The manifest of MPEG-DASH (ISO/IEC 23009-1) over the same segments. Pure text. Subtitles are not in it: ffmpeg, and what is
//! built on it, refuses a manifest that names a WebVTT file.

use std::fmt::Write as _;

use super::Package;
use super::track::Track;

/// As an attribute of XML has it.
fn attribute(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The whole manifest.
pub(super) fn write(package: &Package) -> String {
    let length = package.length();
    let longest = package.segment_ms.div_ceil(1000);
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" type=\"static\" mediaPresentationDuration=\"PT{length:.3}S\" minBufferTime=\"PT{longest}S\">\n<Period id=\"0\" start=\"PT0S\">\n"
    );
    if let Some(first) = package.videos.first() {
        text.push_str("<AdaptationSet contentType=\"video\" mimeType=\"video/mp4\" segmentAlignment=\"true\" startWithSAP=\"1\">\n");
        timeline(&mut text, &first.track);
        for video in &package.videos {
            let (peak, _) = video.track.bit_rates();
            let _ = writeln!(
                text,
                "<Representation id=\"{}\" codecs=\"{}\" bandwidth=\"{peak}\" width=\"{}\" height=\"{}\"/>",
                video.track.folder, video.track.codec, video.width, video.height
            );
        }
        text.push_str("</AdaptationSet>\n");
    }
    for sound in &package.sounds {
        let language = language(sound.language.as_deref());
        let _ = writeln!(
            text,
            "<AdaptationSet contentType=\"audio\" mimeType=\"audio/mp4\" segmentAlignment=\"true\" startWithSAP=\"1\"{language}>"
        );
        timeline(&mut text, &sound.track);
        let (peak, _) = sound.track.bit_rates();
        let _ = writeln!(
            text,
            "<Representation id=\"{}\" codecs=\"{}\" bandwidth=\"{peak}\" audioSamplingRate=\"{}\">\n<AudioChannelConfiguration schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" value=\"{}\"/>\n</Representation>\n</AdaptationSet>",
            sound.track.folder, sound.track.codec, sound.track.hz, sound.channels
        );
    }
    text.push_str("</Period>\n</MPD>\n");
    text
}

fn language(language: Option<&str>) -> String {
    language.map(|language| format!(" lang=\"{}\"", attribute(language))).unwrap_or_default()
}

/// When each segment begins and how long it is; equal ones that follow one another are one entry.
fn timeline(text: &mut String, track: &Track) {
    let _ = writeln!(
        text,
        "<SegmentTemplate timescale=\"{}\" initialization=\"$RepresentationID$/init.mp4\" media=\"$RepresentationID$/$Number$.m4s\" startNumber=\"1\">\n<SegmentTimeline>",
        track.hz
    );
    let mut segments = track.segments.iter().peekable();
    while let Some(segment) = segments.next() {
        let mut more = 0;
        while segments.next_if(|next| next.duration == segment.duration).is_some() {
            more += 1;
        }
        let repeated = if more > 0 { format!(" r=\"{more}\"") } else { String::new() };
        let _ = writeln!(text, "<S t=\"{}\" d=\"{}\"{repeated}/>", segment.start, segment.duration);
    }
    text.push_str("</SegmentTimeline>\n</SegmentTemplate>\n");
}
