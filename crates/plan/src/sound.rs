//! The sound of a recipe meets a file: its codec and bit rate, and whether the result is sound alone. Pure.

use kinora_protocol::Failure;
use kinora_protocol::encode::AudioSettings;
use kinora_protocol::enhance::SoundEnhancements;
use kinora_protocol::media::MediaFacts;
use kinora_protocol::recipe::{AudioCodec, AudioRecipe, Container, VideoCodec, VideoRecipe};

use crate::params::Parsed;
use crate::settle::refuse;

/// Whether a recipe leaves the picture out: it says so, or its container has no place for one.
///
/// # Errors
/// [`kinora_protocol::ErrorCode::BadRecipe`] when it also says how the picture is to be.
pub(crate) fn is_alone(video: &VideoRecipe, expert: &Parsed, container: Container) -> Result<bool, Failure> {
    let extension = container.extension();
    let container = container.is_sound_alone();
    match video.codec {
        Some(VideoCodec::None) => {}
        Some(codec) if container => {
            let codec = codec.name();
            return Err(refuse(format!("{codec} does not fit into .{extension}, which holds sound alone")));
        }
        None if container => {}
        Some(_) | None => return Ok(false),
    }
    let said = VideoRecipe { codec: None, ffmpeg_params: None, ..video.clone() };
    let audio =
        Parsed { audio: expert.audio.clone(), audio_bitrate: expert.audio_bitrate, ..Parsed::default() };
    if said != VideoRecipe::default() || *expert != audio {
        return Err(refuse(
            "the result is sound alone: leave out what the recipe says of the picture (encoder, quality, size, …)",
        ));
    }
    Ok(true)
}

/// What is done with the sound.
///
/// # Errors
/// [`kinora_protocol::ErrorCode::BadRecipe`] with one sentence that says what does not fit.
pub(crate) fn settle(
    recipe: &AudioRecipe,
    expert: &Parsed,
    facts: &MediaFacts,
    container: Container,
) -> Result<AudioSettings, Failure> {
    let asked = match expert.audio.as_deref() {
        None => recipe.codec,
        Some("aac") => Some(AudioCodec::Aac),
        Some("libopus" | "opus") => Some(AudioCodec::Opus),
        Some("copy") => Some(AudioCodec::Copy),
        Some(other) => return Err(refuse(format!("unknown audio codec {other:?}: aac, opus or copy"))),
    };
    if facts.audio().next().is_none() {
        return Ok(AudioSettings {
            codec: AudioCodec::None,
            bitrate: None,
            enhance: SoundEnhancements::default(),
        });
    }
    let codec = asked.unwrap_or(match container {
        Container::Webm | Container::Opus => AudioCodec::Opus,
        Container::Mp4
        | Container::Mov
        | Container::Mkv
        | Container::Hls
        | Container::M4a
        | Container::Mka => AudioCodec::Aac,
    });
    check_fit(codec, facts, container)?;
    let bitrate = expert.audio_bitrate.or(recipe.bitrate);
    if bitrate.is_some_and(|b| !(6_000..=1_024_000).contains(&b)) {
        return Err(refuse("the audio bit rate must be from 6k to 1024k"));
    }
    let enhance = enhancements(recipe)?;
    if !enhance.is_none() && matches!(codec, AudioCodec::Copy | AudioCodec::None) {
        let (what, done) = match codec {
            AudioCodec::None => ("is left out", "what would become better about it"),
            _ => ("is copied", "enhancements need aac or opus"),
        };
        return Err(refuse(format!("the sound {what}: {done}")));
    }
    Ok(AudioSettings { codec, bitrate, enhance })
}

/// What should be known where sound is to become better and there is none.
pub(crate) fn unheard(recipe: &AudioRecipe, facts: &MediaFacts) -> Option<String> {
    let asks = enhancements(recipe).is_ok_and(|asked| !asked.is_none());
    (asks && facts.audio().next().is_none()).then(|| "there is no sound that could be enhanced".to_owned())
}

/// Frequencies of mains, in Hz.
const MAINS: [u32; 2] = [50, 60];
/// What can be asked of loudness, in LUFS.
const LOUDNESS: std::ops::RangeInclusive<f64> = -70.0..=-5.0;

fn enhancements(recipe: &AudioRecipe) -> Result<SoundEnhancements, Failure> {
    if let Some(hum) = recipe.hum.filter(|hum| !MAINS.contains(hum)) {
        return Err(refuse(format!("mains hum at 50 or 60 Hz, not at {hum} Hz")));
    }
    if let Some(loudness) = recipe.loudness.filter(|loudness| !LOUDNESS.contains(loudness)) {
        return Err(refuse(format!("a loudness of {loudness} LUFS is out of range: -70 to -5")));
    }
    Ok(SoundEnhancements {
        hum: recipe.hum,
        denoise: recipe.denoise.unwrap_or(false),
        speech: recipe.speech.unwrap_or(false),
        loudness: recipe.loudness.map(|lufs| (lufs * 10.0).round() as i32),
    })
}

fn check_fit(codec: AudioCodec, facts: &MediaFacts, container: Container) -> Result<(), Failure> {
    let bad = |what: &str| Err(refuse(format!("{what} does not fit into .{}", container.extension())));
    match (codec, container) {
        (AudioCodec::Aac, Container::Webm | Container::Opus) => bad("AAC"),
        (AudioCodec::Opus, Container::Mov | Container::M4a) => bad("Opus"),
        (AudioCodec::Opus, Container::Hls) => Err(refuse("the sound of an HLS package is AAC")),
        (AudioCodec::Copy, Container::Hls) => Err(refuse("the sound of an HLS package is encoded: use AAC")),
        (AudioCodec::None, _) if container.is_sound_alone() => bad("silence"),
        (AudioCodec::Copy, _) => {
            let names = facts.audio().map(|(stream, _)| stream.codec.as_deref().unwrap_or("unknown"));
            match names.into_iter().find(|name| !can_copy(name, container)) {
                Some(name) => bad(&format!("a copy of the {name} sound")),
                None => Ok(()),
            }
        }
        (AudioCodec::Aac | AudioCodec::Opus | AudioCodec::None, _) => Ok(()),
    }
}

fn can_copy(codec: &str, container: Container) -> bool {
    match container {
        Container::Mp4 => {
            ["aac", "mp3", "mp2", "ac3", "eac3", "opus", "flac", "alac", "vorbis", "dts"].contains(&codec)
        }
        Container::Mov => {
            ["aac", "mp3", "mp2", "ac3", "eac3", "alac"].contains(&codec) || codec.starts_with("pcm_")
        }
        Container::M4a => ["aac", "alac", "ac3"].contains(&codec),
        Container::Mkv | Container::Mka => codec != "unknown",
        Container::Webm => ["opus", "vorbis"].contains(&codec),
        Container::Opus => codec == "opus",
        Container::Hls => false,
    }
}
