//! What proxies are made with, and which media need none. What browsers play is what MDN's guide to media containers and codecs
//! lists as played by all of them.

use kinora_protocol::media::MediaFacts;
use kinora_protocol::proxy::ProxyKind;
use kinora_protocol::recipe::{AudioCodec, AudioRecipe, Container, Quality, Recipe, Scale, VideoRecipe};

use crate::presets;

/// Height of proxies that are one file.
const MOST_HEIGHT: u32 = 1080;

/// The recipe of a proxy.
pub fn recipe(kind: ProxyKind) -> Recipe {
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
            audio: AudioRecipe { codec: Some(AudioCodec::Opus), bitrate: Some(128_000) },
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
    let Some((stream, video)) = facts.video() else { return false };
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
    fn recipes_have_containers() {
        for kind in ProxyKind::ALL {
            assert!(recipe(kind).container.is_some(), "{kind:?}");
        }
    }
}
