//! What proxies are made with, and which media need none. What browsers play is what MDN's guide to media containers and codecs
//! lists as played by all of them.

use kinora_protocol::media::MediaFacts;
use kinora_protocol::proxy::ProxyKind;
use kinora_protocol::recipe::{
    AudioCodec, AudioRecipe, Container, Quality, Recipe, Scale, VideoCodec, VideoRecipe,
};

use crate::presets;

/// Height of proxies that are one file.
const MOST_HEIGHT: u32 = 1080;

/// The recipe of a proxy. Of sound alone it is the sound, in the same containers.
///
/// # Errors
/// When there is no such proxy of sound alone.
pub fn recipe(kind: ProxyKind, sound_alone: bool) -> Result<Recipe, String> {
    let alone = |codec, bitrate, container| Recipe {
        video: VideoRecipe { codec: Some(VideoCodec::None), ..VideoRecipe::default() },
        audio: AudioRecipe { codec: Some(codec), bitrate: Some(bitrate), ..AudioRecipe::default() },
        container: Some(container),
        ..Recipe::default()
    };
    match kind {
        _ if !sound_alone => Ok(of_video(kind)),
        ProxyKind::Mp4 => Ok(alone(AudioCodec::Aac, 160_000, Container::Mp4)),
        ProxyKind::Webm => Ok(alone(AudioCodec::Opus, 128_000, Container::Webm)),
        ProxyKind::Hls => {
            Err("an HLS package has pictures, and this is sound alone: use mp4 or webm".to_owned())
        }
    }
}

fn of_video(kind: ProxyKind) -> Recipe {
    match kind {
        ProxyKind::Mp4 => {
            let mut recipe = preset("web");
            recipe.video.scale = Some(Scale::AtMost(MOST_HEIGHT));
            recipe
        }
        ProxyKind::Hls => preset("ladder"),
        // No codec: the container has two that browsers play, and not every ffmpeg build has both.
        ProxyKind::Webm => Recipe {
            video: VideoRecipe {
                quality: Some(Quality::Medium),
                scale: Some(Scale::AtMost(MOST_HEIGHT)),
                ffmpeg_params: Some("-pix_fmt yuv420p".to_owned()),
                ..VideoRecipe::default()
            },
            audio: AudioRecipe {
                codec: Some(AudioCodec::Opus),
                bitrate: Some(128_000),
                ..AudioRecipe::default()
            },
            container: Some(Container::Webm),
            ..Recipe::default()
        },
    }
}

fn preset(name: &str) -> Recipe {
    presets::find(name).map(|preset| preset.recipe).unwrap_or_default()
}

/// Whether all browsers play a file as it is, under a name with this extension, which is what they are told of its kind. Where its
/// index is does not count: they ask for it.
pub fn plays(facts: &MediaFacts, extension: &str) -> bool {
    let Some((stream, video)) = facts.video() else { return plays_alone(facts, extension) };
    let codecs = |known: &[&str]| {
        let sound =
            facts.audio().all(|(stream, _)| stream.codec.as_deref().is_some_and(|c| known.contains(&c)));
        sound && stream.codec.as_deref().is_some_and(|codec| known.contains(&codec))
    };
    let plain = ["yuv420p", "yuvj420p"].contains(&video.pix_fmt.as_str());
    let mp4 =
        ["mp4", "m4v"].contains(&extension) && facts.is_format("mp4") && codecs(&["h264", "aac", "mp3"]);
    let webm =
        extension == "webm" && facts.is_format("webm") && codecs(&["vp8", "vp9", "av1", "opus", "vorbis"]);
    plain && (mp4 || webm)
}

/// The same of sound alone.
fn plays_alone(facts: &MediaFacts, extension: &str) -> bool {
    let codecs: &[&str] = match extension {
        "m4a" | "mp4" if facts.is_format("mp4") => &["aac", "mp3"],
        "mp3" if facts.is_format("mp3") => &["mp3"],
        "flac" if facts.is_format("flac") => &["flac"],
        "wav" if facts.is_format("wav") => &["pcm_u8", "pcm_s16le"],
        "webm" if facts.is_format("webm") => &["opus", "vorbis"],
        _ => return false,
    };
    let mut streams = facts.audio().peekable();
    streams.peek().is_some()
        && streams.all(|(stream, _)| stream.codec.as_deref().is_some_and(|codec| codecs.contains(&codec)))
}

#[cfg(test)]
mod tests {
    use kinora_protocol::Rational;
    use kinora_protocol::media::{AudioFacts, Color, Stream, StreamKind, VideoFacts};

    use super::*;

    fn facts(format: &str, codec: &str, pix_fmt: &str, sound: Option<&str>) -> MediaFacts {
        let one = Rational::new(1, 1).unwrap();
        let stream = |index, codec: &str, kind| Stream {
            index,
            codec: Some(codec.to_owned()),
            start_us: None,
            time_base: one,
            tags: Default::default(),
            dispositions: Vec::new(),
            kind,
        };
        let video = VideoFacts {
            width: 16,
            height: 16,
            pix_fmt: pix_fmt.to_owned(),
            r_frame_rate: one,
            avg_frame_rate: None,
            field_order: None,
            sample_aspect: None,
            rotation: 0,
            color: Color::default(),
            hdr: None,
        };
        let mut streams = vec![stream(0, codec, StreamKind::Video(video))];
        let audio = AudioFacts { sample_rate: 48_000, channels: 2, layout: None };
        streams.extend(sound.map(|codec| stream(1, codec, StreamKind::Audio(audio))));
        MediaFacts {
            format: format.to_owned(),
            size: 1,
            start_us: None,
            duration_us: None,
            bit_rate: None,
            tags: Default::default(),
            streams,
            chapters: 0,
        }
    }

    #[test]
    fn what_browsers_play() {
        let (mp4, mkv) = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm");
        assert!(plays(&facts(mp4, "h264", "yuv420p", Some("aac")), "mp4"));
        assert!(plays(&facts(mp4, "h264", "yuv420p", None), "m4v"));
        assert!(plays(&facts(mkv, "vp9", "yuv420p", Some("opus")), "webm"));
        // ffmpeg calls them the same; browsers do not.
        assert!(!plays(&facts(mkv, "vp9", "yuv420p", Some("opus")), "mkv"));
        assert!(!plays(&facts(mp4, "h264", "yuv420p", None), "mov"));
        for (format, codec, pix_fmt, sound) in [
            (mp4, "hevc", "yuv420p", Some("aac")),
            (mp4, "h264", "yuv420p10le", Some("aac")),
            (mp4, "h264", "yuv422p", None),
            (mp4, "h264", "yuv420p", Some("ac3")),
            (mkv, "h264", "yuv420p", Some("aac")),
            ("avi", "h264", "yuv420p", None),
        ] {
            let facts = facts(format, codec, pix_fmt, sound);
            assert!(!plays(&facts, "mp4") && !plays(&facts, "webm"), "{format} {codec} {pix_fmt} {sound:?}");
        }
    }

    #[test]
    fn what_sound_browsers_play() {
        let sound = |format: &str, codec: &str| {
            let mut facts = facts(format, "", "", Some(codec));
            facts.streams.remove(0);
            facts
        };
        for (format, codec, extension) in [
            ("mov,mp4,m4a,3gp,3g2,mj2", "aac", "m4a"),
            ("mp3", "mp3", "mp3"),
            ("flac", "flac", "flac"),
            ("wav", "pcm_s16le", "wav"),
            ("matroska,webm", "opus", "webm"),
        ] {
            assert!(plays(&sound(format, codec), extension), "{format} {codec}");
            assert!(!plays(&sound(format, codec), "mkv"), "{format} {codec}");
        }
        assert!(!plays(&sound("mov,mp4,m4a,3gp,3g2,mj2", "alac"), "m4a"));
        assert!(!plays(&sound("wav", "pcm_s24le"), "wav"));
    }

    #[test]
    fn recipes_have_containers() {
        for kind in ProxyKind::ALL {
            assert!(recipe(kind, false).unwrap().container.is_some(), "{kind:?}");
        }
        let sound = recipe(ProxyKind::Mp4, true).unwrap();
        assert_eq!((sound.video.codec, sound.container), (Some(VideoCodec::None), Some(Container::Mp4)));
        assert!(recipe(ProxyKind::Hls, true).unwrap_err().contains("sound alone"));
    }
}
