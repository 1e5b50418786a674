//! The encoders that are compared, with the settings that both sides use.

use crate::baseline::{Audio, Rate, Settings};

/// One encoder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rival {
    /// ffmpeg's name.
    pub encoder: &'static str,
    /// Preset, or the speed number.
    pub preset: &'static str,
    /// Constant quality.
    pub crf: u32,
    /// So slow that a shorter clip may be wished for.
    pub slow: bool,
}

const fn rival(encoder: &'static str, preset: &'static str, crf: u32, slow: bool) -> Rival {
    Rival { encoder, preset, crf, slow }
}

/// All that are compared.
pub const ALL: [Rival; 5] = [
    rival("libx264", "medium", 23, false),
    rival("libx265", "fast", 28, false),
    rival("libsvtav1", "8", 35, false),
    rival("libaom-av1", "6", 32, true),
    rival("libvpx-vp9", "4", 32, true),
];

impl Rival {
    /// For plain ffmpeg.
    pub fn settings(&self) -> Settings {
        Settings {
            encoder: self.encoder.to_owned(),
            rate: Rate::Quality(f64::from(self.crf)),
            preset: Some(self.preset.to_owned()),
            pix_fmt: None,
            params: Vec::new(),
            scale: None,
            fps: None,
            audio: Audio::Codec { name: "aac".to_owned(), bitrate: None },
        }
    }

    /// The same for `kinora encode`.
    pub fn arguments(&self) -> Vec<String> {
        let crf = self.crf.to_string();
        ["--encoder", self.encoder, "--preset", self.preset, "--crf", &crf, "--audio", "aac"]
            .map(str::to_owned)
            .into()
    }
}

/// Those with the names, or all when no name is given; an error names the one that is not known.
pub fn chosen(names: &[String]) -> Result<Vec<Rival>, String> {
    if names.is_empty() {
        return Ok(ALL.to_vec());
    }
    let known = || ALL.map(|rival| rival.encoder).join(", ");
    let find = |name: &String| ALL.into_iter().find(|rival| rival.encoder == name);
    names.iter().map(|name| find(name).ok_or_else(|| format!("{name} is none of {}", known()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rivals_are_chosen_by_name() {
        assert_eq!(chosen(&[]).expect("all").len(), 5);
        let names: Vec<_> = chosen(&["libx265".to_owned()]).expect("one").iter().map(|r| r.encoder).collect();
        assert_eq!(names, ["libx265"]);
        assert!(chosen(&["x264".to_owned()]).is_err_and(|why| why.contains("libx264")));
    }
}
