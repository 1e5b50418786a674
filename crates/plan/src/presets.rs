//! Recipes with a name, for what most people want. What a user says goes over them.

use kinora_protocol::api::PresetView;
use kinora_protocol::recipe::{
    AudioCodec, AudioRecipe, Container, LadderRecipe, Quality, Recipe, Scale, VideoCodec, VideoRecipe,
};

/// Every player takes this.
const PLAIN: &str = "-pix_fmt yuv420p";
/// Height of proxies: enough to cut by.
const PROXY_HEIGHT: u32 = 540;

/// All of them, in the order in which they are shown.
// tidy: long because it is a table
pub fn all() -> Vec<PresetView> {
    let preset = |name: &str, title: &str, video, audio, container| {
        let ladder = (container == Container::Hls).then(LadderRecipe::default);
        let recipe = Recipe { video, audio, container: Some(container), ladder, ..Recipe::default() };
        PresetView { name: name.to_owned(), title: title.to_owned(), recipe }
    };
    let video = |codec: VideoCodec| VideoRecipe { codec: Some(codec), ..VideoRecipe::default() };
    let audio = |codec: AudioCodec, bitrate: Option<u32>| AudioRecipe {
        codec: Some(codec),
        bitrate,
        ..AudioRecipe::default()
    };
    let told = |text: &str| Some(text.to_owned());
    vec![
        preset(
            "web",
            "plays in every browser: H.264 and AAC in MP4",
            VideoRecipe {
                crf: Some(22.0),
                preset: told("medium"),
                ffmpeg_params: told(PLAIN),
                ..video(VideoCodec::H264)
            },
            audio(AudioCodec::Aac, Some(160_000)),
            Container::Mp4,
        ),
        preset(
            "hevc-small",
            "small files: HEVC and AAC in MP4",
            VideoRecipe { crf: Some(27.0), preset: told("medium"), ..video(VideoCodec::Hevc) },
            audio(AudioCodec::Aac, Some(96_000)),
            Container::Mp4,
        ),
        preset(
            "av1",
            "smaller still: AV1 and Opus in WebM",
            VideoRecipe { crf: Some(32.0), preset: told("7"), ..video(VideoCodec::Av1) },
            audio(AudioCodec::Opus, Some(128_000)),
            Container::Webm,
        ),
        preset(
            "archive",
            "hard to tell from the source, with all its sound, subtitles and chapters: HEVC in Matroska",
            VideoRecipe { crf: Some(18.0), preset: told("slow"), ..video(VideoCodec::Hevc) },
            audio(AudioCodec::Copy, None),
            Container::Mkv,
        ),
        preset(
            "lossless",
            "every decoded sample is the source's: FFV1 and the source's sound in Matroska",
            VideoRecipe { quality: Some(Quality::Lossless), ..video(VideoCodec::Ffv1) },
            audio(AudioCodec::Copy, None),
            Container::Mkv,
        ),
        preset(
            "proxy",
            "to cut by: H.264 of 540 lines at the most, a key frame twice a second",
            VideoRecipe {
                crf: Some(26.0),
                preset: told("veryfast"),
                scale: Some(Scale::AtMost(PROXY_HEIGHT)),
                ffmpeg_params: told("-pix_fmt yuv420p -g 12"),
                ..video(VideoCodec::H264)
            },
            audio(AudioCodec::Aac, Some(128_000)),
            Container::Mp4,
        ),
        preset(
            "enhance",
            "a little more contrast and sharpness, for every browser: H.264 and AAC in MP4",
            VideoRecipe {
                crf: Some(20.0),
                preset: told("medium"),
                contrast: Some(1.1),
                sharpen: Some(0.6),
                ffmpeg_params: told(PLAIN),
                ..video(VideoCodec::H264)
            },
            audio(AudioCodec::Aac, Some(160_000)),
            Container::Mp4,
        ),
        preset(
            "audio",
            "the sound alone: AAC in M4A",
            video(VideoCodec::None),
            audio(AudioCodec::Aac, Some(192_000)),
            Container::M4a,
        ),
        preset(
            "ladder",
            "adaptive streaming: HLS and DASH in one .tar, H.264 in up to four sizes, and AAC",
            VideoRecipe {
                crf: Some(23.0),
                preset: told("medium"),
                ffmpeg_params: told(PLAIN),
                ..video(VideoCodec::H264)
            },
            audio(AudioCodec::Aac, Some(128_000)),
            Container::Hls,
        ),
    ]
}

/// The one that is asked for.
///
/// # Errors
/// The names that there are.
pub fn find(name: &str) -> Result<PresetView, String> {
    let all = all();
    let names: Vec<&str> = all.iter().map(|preset| preset.name.as_str()).collect();
    let unknown = format!("there is no preset {name:?}: {}", names.join(", "));
    all.into_iter().find(|preset| preset.name == name).ok_or(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{encoder, params};

    #[test]
    fn presets_make_sense() {
        for PresetView { name, recipe, .. } in all() {
            let codec = recipe.video.codec.unwrap();
            let container = recipe.container.unwrap();
            if codec == VideoCodec::None {
                assert!(container.is_sound_alone(), "{name}");
                continue;
            }
            assert!(encoder::fits(codec, container), "{name}");
            params::parse(recipe.video.ffmpeg_params.as_deref().unwrap_or("")).unwrap();
            let encoder = encoder::candidates(codec)[0];
            if let Some(preset) = &recipe.video.preset {
                encoder::check_preset(encoder, preset).unwrap();
            }
            assert_eq!(find(&name).unwrap().recipe, recipe);
        }
        assert!(find("film").unwrap_err().contains("web, hevc-small"));
    }
}
