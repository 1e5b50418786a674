//! Flags and recipe files to a recipe. What the recipe comes to is settled later, with the file's facts.

use std::path::Path;

use kinora_plan::presets;
use kinora_protocol::recipe::Recipe;
use kinora_protocol::{ErrorCode, Failure};

use super::RecipeArgs;

/// `4M`, `800k`, `128000`.
pub fn bits(text: &str) -> Result<u64, String> {
    kinora_plan::params::bits(text)
        .ok_or_else(|| format!("{text:?} is not a bit rate such as 4M, 800k or 128000"))
}

fn refuse(reason: String) -> Failure {
    Failure::new(ErrorCode::BadRecipe, reason)
}

/// A recipe in TOML or JSON; what is wrong with it is said with the field.
fn read(text: &str, json: bool) -> Result<Recipe, String> {
    fn told<E: std::fmt::Display>(
        error: serde_path_to_error::Error<E>,
        inner: impl Fn(&E) -> String,
    ) -> String {
        let (place, why) = (error.path().to_string(), inner(error.inner()));
        if place == "." || why.contains(&format!("`{place}`")) { why } else { format!("{place}: {why}") }
    }
    if json {
        let mut reader = serde_json::Deserializer::from_str(text);
        let recipe =
            serde_path_to_error::deserialize(&mut reader).map_err(|e| told(e, ToString::to_string))?;
        reader.end().map_err(|e| e.to_string())?;
        return Ok(recipe);
    }
    let reader = toml::Deserializer::parse(text).map_err(|e| e.message().to_owned())?;
    serde_path_to_error::deserialize(reader)
        .map_err(|e| told(e, |inner: &toml::de::Error| inner.message().to_owned()))
}

/// The recipe that is named: a file, or a preset. Of a preset the container is only what there is when the result has no name.
fn named(args: &RecipeArgs, output: Option<&Path>) -> Result<Recipe, Failure> {
    let Some(path) = &args.recipe else { return Ok(Recipe::default()) };
    let name = path.to_str().filter(|name| !name.contains(['.', '/', '\\']) && !path.exists());
    if let Some(name) = name {
        let preset = presets::find(name).map_err(|why| refuse(format!("--recipe: {why}; or name a file")))?;
        let container = preset.recipe.container.filter(|_| output.is_none());
        return Ok(Recipe { container, ..preset.recipe });
    }
    let text = std::fs::read_to_string(path).map_err(|e| refuse(format!("{}: {e}", path.display())))?;
    read(&text, path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json")))
        .map_err(|why| refuse(format!("{}: {why}", path.display())))
}

/// The recipe that is named, if there is one, with the flags over it; the container from the name of the result, where nobody
/// says.
pub fn build(args: &RecipeArgs, output: Option<&Path>) -> Result<Recipe, Failure> {
    let mut recipe = named(args, output)?;
    let video = &mut recipe.video;
    video.codec = args.codec.map(Into::into).or(video.codec);
    video.encoder = args.encoder.clone().or(video.encoder.take());
    if args.crf.is_some() || args.bitrate.is_some() || args.quality.is_some() {
        (video.crf, video.bitrate) = (args.crf, args.bitrate);
        video.quality = args.quality.map(Into::into);
    }
    if let Some(crf) = video.crf.filter(|c| !c.is_finite()) {
        return Err(refuse(format!("CRF {crf} is not a number")));
    }
    video.preset = args.preset.clone().or(video.preset.take());
    if let Some(scale) = &args.scale {
        video.scale = Some(scale.parse().map_err(|e| refuse(format!("--scale: {e}")))?);
    }
    if let Some(fps) = &args.fps {
        video.fps = Some(fps.parse().map_err(|e| refuse(format!("--fps: {e}")))?);
    }
    video.contrast = args.contrast.or(video.contrast);
    video.sharpen = args.sharpen.or(video.sharpen);
    for (what, value) in [("contrast", video.contrast), ("sharpening", video.sharpen)] {
        if let Some(value) = value.filter(|value| !value.is_finite()) {
            return Err(refuse(format!("{what} of {value} is out of range")));
        }
    }
    video.ffmpeg_params = args.ffmpeg_params.clone().or(video.ffmpeg_params.take());
    args.enhance.over(&mut recipe).map_err(refuse)?;
    recipe.audio.codec = args.audio.map(Into::into).or(recipe.audio.codec);
    if let Some(bits) = args.audio_bitrate {
        let bits = u32::try_from(bits).map_err(|_| refuse(format!("--audio-bitrate: {bits} is too much")))?;
        recipe.audio.bitrate = Some(bits);
    }
    recipe.container = match (args.container.map(Into::into).or(recipe.container), output) {
        (None, Some(output)) => Some(kinora_hub::app::expand::container_of(output)?),
        (container, _) => container,
    };
    recipe.chunks.seconds = args.chunk_seconds.or(recipe.chunks.seconds);
    recipe.chunks.max_attempts = args.max_attempts.or(recipe.chunks.max_attempts);
    recipe.chunks.retry_delay = args.retry_delay.or(recipe.chunks.retry_delay);
    kinora_plan::sizing::check(&recipe.chunks)?;
    recipe.chapters = args.chapters.map(Into::into).or(recipe.chapters);
    recipe.verify = args.verify.map(Into::into).unwrap_or(recipe.verify);
    // Nonsense is refused before any work is done.
    kinora_plan::params::parse(recipe.video.ffmpeg_params.as_deref().unwrap_or(""))
        .map_err(|reason| refuse(format!("ffmpeg parameters: {reason}")))?;
    Ok(recipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_field() {
        for (text, json, field) in [
            ("[video]\ncrf = \"low\"\n", false, "video.crf"),
            ("[video]\ncodex = 1\n", false, "codex"),
            ("[ladder]\nrenditions = [{ scale = \"x\" }]\n", false, "ladder.renditions[0].scale"),
            ("video = [", false, ""),
            (r#"{"video": {"crf": "low"}}"#, true, "video.crf"),
            (r#"{"audio": {"codec": "mp3"}}"#, true, "audio.codec"),
        ] {
            let why = read(text, json).expect_err("an error");
            assert!(why.contains(field), "{text}: {why}");
        }
        assert_eq!(read("[video]\ncrf = 20\n", false), read(r#"{"video": {"crf": 20}}"#, true));
    }
}
