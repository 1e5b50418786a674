//! Which ffmpeg and ffprobe are used, and what their build is called. It must not know what they are used for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kinora_protocol::encode::Encoder;

use crate::command::{Args, Limits, Line};
use crate::error::MediaError;
use crate::process::{self, Control, Invocation, LineMeans};
use crate::sandbox::Sandbox;

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// More lines than this are no answer of ffmpeg's.
const MOST_LINES: usize = 4096;

/// The programs and their version.
#[derive(Debug, Clone)]
pub struct Tools {
    /// Path or name of ffmpeg.
    pub ffmpeg: PathBuf,
    /// Path or name of ffprobe.
    pub ffprobe: PathBuf,
    /// First line and configuration of `ffmpeg -version`: what a chunk's bits depend on.
    pub build: String,
    /// First line of `ffmpeg -version`.
    pub banner: String,
    /// Major and minor number; development builds count as the newest.
    pub version: (u32, u32),
    /// Encoders that this build lists; those that need hardware may still not work.
    pub built_in: Vec<Encoder>,
    /// What they are confined by.
    pub sandbox: Arc<Sandbox>,
    /// How much media may have.
    pub limits: Limits,
}

impl Tools {
    /// Asks ffmpeg for its version and its encoders, at once, as each start of it takes a tenth of a second. ffprobe is of
    /// the same build; that it is missing shows when it is first run.
    ///
    /// # Errors
    /// When ffmpeg is missing, does not answer, or is older than 4.4.
    pub async fn find(
        ffmpeg: &Path,
        ffprobe: &Path,
        sandbox: Sandbox,
        limits: Limits,
    ) -> Result<Self, MediaError> {
        let sandbox = Arc::new(sandbox);
        let (lines, encoders) = tokio::join!(
            ask(ffmpeg, &["-version"], &sandbox),
            ask(ffmpeg, &["-hide_banner", "-v", "error", "-encoders"], &sandbox)
        );
        let lines = lines?;
        let banner = lines.first().cloned().unwrap_or_default();
        let version = parse_version(&banner).ok_or_else(|| MediaError::ToolUnusable {
            program: ffmpeg.display().to_string(),
            reason: format!("it does not answer like ffmpeg: {banner:?}"),
        })?;
        if version < (4, 4) {
            return Err(MediaError::ToolUnusable {
                program: ffmpeg.display().to_string(),
                reason: format!("version {}.{} is too old: Kinora needs 4.4 or newer", version.0, version.1),
            });
        }
        let build = lines
            .iter()
            .filter(|l| {
                l.starts_with("ffmpeg version") || l.starts_with("configuration") || l.starts_with("lib")
            })
            .cloned()
            .collect::<Vec<_>>()
            .join("\n");
        let named = |line: &String| Encoder::from_name(line.split_whitespace().nth(1).unwrap_or(""));
        let built_in = encoders?.iter().filter_map(named).collect();
        let (ffmpeg, ffprobe) = (ffmpeg.to_owned(), ffprobe.to_owned());
        Ok(Self { ffmpeg, ffprobe, build, banner, version, built_in, sandbox, limits })
    }

    /// A run of ffmpeg; `what` it is for, for messages.
    pub fn ffmpeg(&self, what: impl Into<String>, line: Line) -> Invocation {
        let (program, sandbox) = (self.ffmpeg.clone(), Some(Arc::clone(&self.sandbox)));
        Invocation { what: what.into(), program, line: line.within(self.limits), sandbox }
    }

    /// A run of ffprobe.
    pub fn ffprobe(&self, what: impl Into<String>, line: Line) -> Invocation {
        Invocation { program: self.ffprobe.clone(), ..self.ffmpeg(what, line) }
    }

    /// Option that keeps every frame and its time; its name changed in 5.1.
    pub fn passthrough(&self) -> [&'static str; 2] {
        if self.version >= (5, 1) { ["-fps_mode", "passthrough"] } else { ["-vsync", "passthrough"] }
    }
}

async fn ask(program: &Path, words: &[&str], sandbox: &Arc<Sandbox>) -> Result<Vec<String>, MediaError> {
    let mut args = Args::default();
    args.words(words.iter().copied());
    let invocation = Invocation {
        what: format!("asking {} what it is", program.display()),
        program: program.to_owned(),
        line: args.finish(),
        sandbox: Some(Arc::clone(sandbox)),
    };
    let mut lines = Vec::new();
    process::run_lines(&invocation, &Control::quiet(ANSWER_LIMIT), |line| {
        if lines.len() < MOST_LINES {
            lines.push(line.to_owned());
        }
        LineMeans::Nothing
    })
    .await?;
    Ok(lines)
}

fn parse_version(banner: &str) -> Option<(u32, u32)> {
    let word = banner.strip_prefix("ffmpeg version ")?.split_whitespace().next()?;
    let number = word.trim_start_matches(|c: char| !c.is_ascii_digit());
    let mut parts = number.split(|c: char| !c.is_ascii_digit());
    let major: u32 = parts.next()?.parse().ok()?;
    // Builds from git are called N-109542-g…: newer than any release.
    if word.starts_with('N') && major > 1000 {
        return Some((u32::MAX, 0));
    }
    Some((major, parts.next().and_then(|m| m.parse().ok()).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn versions_as_builds_write_them() {
        let cases = [
            ("ffmpeg version 5.1.9-0+deb12u1 Copyright (c)", Some((5, 1))),
            ("ffmpeg version n7.0 Copyright", Some((7, 0))),
            ("ffmpeg version 8.0", Some((8, 0))),
            ("ffmpeg version N-109542-g1bf1b8e6 Copyright", Some((u32::MAX, 0))),
            ("ffmpeg version git-2020", Some((2020, 0))),
            ("sh: not found", None),
        ];
        for (banner, expected) in cases {
            assert_eq!(parse_version(banner), expected, "{banner}");
        }
    }
}
