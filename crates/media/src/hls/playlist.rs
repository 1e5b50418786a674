//! Playlists of HTTP Live Streaming (RFC 8216 and its second edition, draft-pantos-hls-rfc8216bis). Pure text.

use std::fmt::Write as _;

use super::track::Track;
use super::{Package, Sound, Video};

/// Fragmented MP4, independent segments and I-frame lists want this one.
const VERSION: u32 = 7;

/// Ticks as seconds with six decimals.
fn seconds(ticks: i64, hz: u32) -> String {
    let hz = i128::from(hz.max(1));
    let micros = (i128::from(ticks) * 1_000_000 + hz / 2) / hz;
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// Whole seconds that no segment is longer than.
fn target(durations: impl Iterator<Item = i64>, hz: u32) -> i64 {
    let hz = i64::from(hz.max(1));
    durations.map(|ticks| (ticks + hz - 1) / hz).max().unwrap_or(0).max(1)
}

/// What a quoted string may hold: no quotes, no line ends.
fn quoted(text: &str) -> String {
    text.chars().map(|c| if c == '"' || c.is_control() { ' ' } else { c }).collect()
}

/// The list of everything there is.
pub(super) fn master(package: &Package) -> String {
    let mut text = format!("#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    for (n, sound) in package.sounds.iter().enumerate() {
        let default = if n == 0 { "YES" } else { "NO" };
        let _ = writeln!(
            text,
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"sound\",NAME=\"{}\"{},DEFAULT={default},AUTOSELECT=YES,CHANNELS=\"{}\",URI=\"{}/index.m3u8\"",
            quoted(&sound.name),
            language(sound.language.as_deref()),
            sound.channels,
            sound.track.folder
        );
    }
    for subtitles in &package.subtitles {
        let _ = writeln!(
            text,
            "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"subtitles\",NAME=\"{}\"{},DEFAULT=NO,AUTOSELECT=YES,FORCED={},URI=\"{}/index.m3u8\"",
            quoted(&subtitles.name),
            language(subtitles.language.as_deref()),
            if subtitles.forced { "YES" } else { "NO" },
            subtitles.folder
        );
    }
    for video in &package.videos {
        variant(&mut text, package, video);
    }
    for video in &package.videos {
        let (peak, average) = video.track.key_bit_rates();
        let _ = writeln!(
            text,
            "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average},CODECS=\"{}\",RESOLUTION={}x{},VIDEO-RANGE={},URI=\"{}/iframes.m3u8\"",
            video.track.codec, video.width, video.height, package.range, video.track.folder
        );
    }
    text
}

fn language(language: Option<&str>) -> String {
    language.map(|language| format!(",LANGUAGE=\"{}\"", quoted(language))).unwrap_or_default()
}

fn variant(text: &mut String, package: &Package, video: &Video) {
    // The dearest sound that may be played with it.
    let rates = |sound: &Sound| sound.track.bit_rates();
    let (peak, average) = package.sounds.iter().map(rates).max().unwrap_or((0, 0));
    let (video_peak, video_average) = video.track.bit_rates();
    let sound = package.sounds.first().map(|sound| format!(",{}", sound.track.codec)).unwrap_or_default();
    let _ = write!(
        text,
        "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{}{sound}\",RESOLUTION={}x{},FRAME-RATE={:.3},VIDEO-RANGE={}",
        video_peak + peak,
        video_average + average,
        video.track.codec,
        video.width,
        video.height,
        video.rate,
        package.range
    );
    for (group, there) in [
        ("AUDIO=\"sound\"", !package.sounds.is_empty()),
        ("SUBTITLES=\"subtitles\"", !package.subtitles.is_empty()),
    ] {
        if there {
            let _ = write!(text, ",{group}");
        }
    }
    let _ = writeln!(text, ",CLOSED-CAPTIONS=NONE\n{}/index.m3u8", video.track.folder);
}

/// The target of all playlists of segments: they must have the same.
pub(super) fn common_target(package: &Package) -> i64 {
    let tracks = package.videos.iter().map(|video| &video.track);
    let tracks = tracks.chain(package.sounds.iter().map(|sound| &sound.track));
    let targets = tracks.map(|track| target(track.segments.iter().map(|segment| segment.duration), track.hz));
    targets.max().unwrap_or(1)
}

/// The segments of a track.
pub(super) fn media(track: &Track, target: i64) -> String {
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-TARGETDURATION:{target}\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"init.mp4\"\n"
    );
    for (n, segment) in (1..).zip(&track.segments) {
        let _ = write!(text, "#EXTINF:{},\n{n}.m4s\n", seconds(segment.duration, track.hz));
    }
    text.push_str("#EXT-X-ENDLIST\n");
    text
}

/// The key frames of a track, for pictures while a user winds.
pub(super) fn iframes(track: &Track) -> String {
    let keys = track.segments.iter().flat_map(|segment| &segment.keys);
    let target = target(keys.map(|key| key.duration), track.hz);
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-TARGETDURATION:{target}\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-I-FRAMES-ONLY\n#EXT-X-MAP:URI=\"init.mp4\"\n"
    );
    for (n, segment) in (1..).zip(&track.segments) {
        for key in &segment.keys {
            let duration = seconds(key.duration, track.hz);
            let _ =
                write!(text, "#EXTINF:{duration},\n#EXT-X-BYTERANGE:{}@{}\n{n}.m4s\n", key.length, key.at);
        }
    }
    text.push_str("#EXT-X-ENDLIST\n");
    text
}

/// Subtitles: one file for all of the film.
pub(super) fn subtitles(length: f64) -> String {
    let target = length.ceil().max(1.0);
    format!(
        "#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-TARGETDURATION:{target:.0}\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:{length:.6},\nsubtitles.vtt\n#EXT-X-ENDLIST\n"
    )
}
