//! An HLS package with a DASH manifest over the same segments: tracks are made by ffmpeg, cut at fragments without touching a
//! byte of them, checked against the plan, and put into one tar archive. Where that is put is the hub's business.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use kinora_plan::streams::subtitle_codec;
use kinora_plan::time::GUARD_SECONDS;
use kinora_protocol::media::{Stream, StreamKind};
use kinora_protocol::recipe::{AudioCodec, Container, Verify};
use kinora_protocol::task::{PackageOutput, PackageSpec, TimesCheck};

use crate::command::Line;
use crate::command::hls::{self as command, Begins};
use crate::command::package::out_hz;
use crate::encode::blocking;
use crate::error::MediaError;
use crate::fragments::{self, Held};
use crate::package::{self, Inputs};
use crate::process::{self, Control};
use crate::tools::Tools;
use crate::{hash, join};

mod codec;
mod manifest;
mod playlist;
mod track;

use track::Track;

/// Length of segments where the recipe says nothing, in milliseconds.
const SEGMENT_MS: u32 = 4000;

/// All that playlists tell.
struct Package {
    videos: Vec<Video>,
    sounds: Vec<Sound>,
    subtitles: Vec<Subtitles>,
    segment_ms: u32,
    /// SDR, PQ or HLG.
    range: &'static str,
}

/// A rendition.
struct Video {
    track: Track,
    file: PathBuf,
    width: u32,
    height: u32,
    /// Frames per second, on average.
    rate: f64,
}

/// A sound.
struct Sound {
    track: Track,
    file: PathBuf,
    name: String,
    language: Option<String>,
    channels: u32,
}

/// Subtitles.
struct Subtitles {
    folder: String,
    file: PathBuf,
    name: String,
    language: Option<String>,
    forced: bool,
}

impl Package {
    /// When its last track ends, in seconds.
    fn length(&self) -> f64 {
        let tracks =
            self.videos.iter().map(|video| &video.track).chain(self.sounds.iter().map(|sound| &sound.track));
        tracks.map(Track::end).fold(0.0, f64::max)
    }
}

/// What the steps have in hand.
struct Making<'a> {
    tools: &'a Tools,
    spec: &'a PackageSpec,
    scratch: &'a Path,
    control: &'a Control,
    segment_ms: u32,
}

/// Makes the archive `out` and checks it. It is durable then.
///
/// # Errors
/// See [`MediaError`].
pub(crate) async fn package(
    tools: &Tools,
    spec: &PackageSpec,
    inputs: Inputs<'_>,
    scratch: &Path,
    out: &Path,
    control: &Control,
) -> Result<PackageOutput, MediaError> {
    let ladder = spec.settled.video.encoded().and_then(|video| video.ladder.as_ref());
    let segment_ms = ladder.map_or(SEGMENT_MS, |ladder| ladder.segment_ms);
    let making = Making { tools, spec, scratch, control, segment_ms };
    let Some(joined) = inputs.video else {
        return Err(MediaError::not_exact("the package", "there is no encoded video to cut"));
    };
    let videos = making.videos(joined).await?;
    let packets = match spec.settled.verify {
        Verify::Off => spec.frames,
        Verify::Fast | Verify::Full => videos.iter().map(|(_, frames)| *frames).min().unwrap_or(0),
    };
    let decoded = match (spec.settled.verify, videos.first()) {
        (Verify::Full, Some((first, _))) => {
            Some(package::decode(tools, spec, scratch, &first.file, control).await?)
        }
        _ => None,
    };
    let package = Package {
        videos: videos.into_iter().map(|(video, _)| video).collect(),
        sounds: making.sounds(inputs.audio).await?,
        subtitles: making.subtitles(inputs.source).await?,
        segment_ms,
        range: range(spec),
    };
    let (path, cancel) = (out.to_owned(), control.cancel.clone());
    let (size, digest) = blocking(move || {
        hash::durable(&path, |writer| archive(&package, writer, &cancel).map_err(MediaError::io(&path)))
    })
    .await?;
    let times_checked = match spec.settled.verify {
        Verify::Off => TimesCheck::Skipped,
        Verify::Fast | Verify::Full => TimesCheck::Exact,
    };
    Ok(PackageOutput { packets, times_checked, decoded, sound: Vec::new(), size, digest })
}

/// What a screen has to know about brightness before it plays.
fn range(spec: &PackageSpec) -> &'static str {
    match spec.facts.video().and_then(|(_, video)| video.color.transfer.as_deref()) {
        Some("smpte2084") => "PQ",
        Some("arib-std-b67") => "HLG",
        _ => "SDR",
    }
}

impl Making<'_> {
    async fn run(&self, what: &str, line: Line) -> Result<(), MediaError> {
        process::run(&self.tools.ffmpeg(what, line), self.control).await.map(drop)
    }

    async fn read(&self, path: &Path) -> Result<Held, MediaError> {
        let path = path.to_owned();
        blocking(move || fragments::read(&path)).await
    }

    /// The renditions, each checked frame by frame, cut at the same frames; with the number of their frames.
    async fn videos(&self, joined: &Path) -> Result<Vec<(Video, u64)>, MediaError> {
        let (mut files, mut all, mut frames) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..self.spec.parts.len().max(1) {
            let file = self.scratch.join(format!("v{n}.mp4"));
            self.video(joined, n, &file).await?;
            let mut held = self.read(&file).await?;
            self.check(n, &held)?;
            // They were needed for that only, and a long film has many.
            frames.push(std::mem::take(&mut held.times).len() as u64);
            files.push(file);
            all.push(held);
        }
        let wish = i64::from(self.segment_ms) * out_hz(self.spec) / 1000;
        let (boundaries, all) = blocking(move || Ok((track::boundaries(&all, wish), all))).await?;
        let mut videos = Vec::with_capacity(all.len());
        for (n, ((file, held), frames)) in files.into_iter().zip(all).zip(frames).enumerate() {
            let what = || {
                MediaError::not_exact(format!("rendition {n}"), "its head names no codec that can be played")
            };
            let (width, height) = codec::size(&held).ok_or_else(what)?;
            let track = Track {
                folder: format!("v{n}"),
                codec: codec::name(&held).ok_or_else(what)?,
                hz: held.hz,
                head: held.head,
                segments: track::cut(&held, &boundaries),
            };
            let rate = frames as f64 * f64::from(held.hz) / track.duration().max(1) as f64;
            videos.push((Video { track, file, width, height, rate }, frames));
        }
        Ok(videos)
    }

    /// One of the joined renditions as a track.
    async fn video(&self, joined: &Path, n: usize, file: &Path) -> Result<(), MediaError> {
        let what = "writing a rendition";
        if self.spec.parts.is_empty() {
            return self.run(what, command::video(self.spec, joined, file)).await;
        }
        let alone = self.scratch.join("joined.mp4");
        let (from, to, parts) = (joined.to_owned(), alone.clone(), self.spec.parts.clone());
        let cancel = self.control.cancel.clone();
        blocking(move || join::extract(&from, &parts, n, &to, &cancel)).await?;
        self.run(what, command::video(self.spec, &alone, file)).await?;
        std::fs::remove_file(&alone).map_err(MediaError::io(&alone))
    }

    /// Whether a rendition has the planned frames at the planned times.
    fn check(&self, n: usize, held: &Held) -> Result<(), MediaError> {
        let what = format!("rendition {n}");
        if self.spec.settled.verify == Verify::Off {
            return Ok(());
        }
        let found = held.times.len() as u64;
        if found != self.spec.frames {
            let reason = format!("{found} video packets where {} were planned", self.spec.frames);
            return Err(MediaError::not_exact(what, reason));
        }
        let hz = out_hz(self.spec);
        if i64::from(held.hz) != hz {
            return Err(MediaError::not_exact(
                what,
                format!("its time base is 1/{}, planned was 1/{hz}", held.hz),
            ));
        }
        let shift = GUARD_SECONDS * hz - held.skipped;
        package::check_chunks(self.spec, held.times.iter().map(|time| time + shift), &what)
    }

    async fn sounds(&self, sound: Option<&Path>) -> Result<Vec<Sound>, MediaError> {
        let (Some(sound), AudioCodec::Aac) = (sound, self.spec.settled.audio.codec) else {
            return Ok(Vec::new());
        };
        let mut sounds: Vec<Sound> = Vec::new();
        for (n, (stream, facts)) in self.spec.facts.audio().enumerate() {
            let file = self.scratch.join(format!("a{n}.mp4"));
            let held = self.sound(sound, n, &file).await?;
            if held.fragments.is_empty() {
                // A stream that the container only announces.
                continue;
            }
            let starts: Vec<i64> =
                held.fragments.iter().map(|fragment| fragment.start - held.skipped).collect();
            let unknown =
                || MediaError::not_exact(format!("sound {n}"), "its head names no codec that can be played");
            let track = Track {
                folder: format!("a{}", sounds.len()),
                codec: codec::name(&held).ok_or_else(unknown)?,
                hz: held.hz,
                head: held.head,
                segments: track::cut(&held, &starts),
            };
            let (name, language) = named(stream, "Sound", n);
            sounds.push(Sound { track, file, name, language, channels: facts.channels });
        }
        Ok(sounds)
    }

    /// One sound; how its beginning is written depends on when that is.
    async fn sound(&self, sound: &Path, n: usize, file: &Path) -> Result<Held, MediaError> {
        let what = "writing a sound";
        let make = |begins| command::audio(self.spec, sound, (n, begins), self.segment_ms, file);
        self.run(what, make(Begins::Later)).await?;
        let held = self.read(file).await?;
        if held.fragments.first().is_none_or(|first| first.start - held.skipped >= 0) {
            return Ok(held);
        }
        self.run(what, make(Begins::WithTheFilm)).await?;
        self.read(file).await
    }

    async fn subtitles(&self, source: &Path) -> Result<Vec<Subtitles>, MediaError> {
        let streams = self.spec.facts.streams.iter().filter(|stream| stream.kind == StreamKind::Subtitle);
        let streams: Vec<&Stream> =
            streams.filter(|stream| subtitle_codec(stream, Container::Hls).is_some()).collect();
        let mut made = Vec::with_capacity(streams.len());
        if streams.is_empty() {
            return Ok(made);
        }
        let file = |n: usize| self.scratch.join(format!("s{n}.vtt"));
        let files: Vec<(u32, PathBuf)> =
            streams.iter().enumerate().map(|(n, s)| (s.index, file(n))).collect();
        self.run("writing subtitles", command::subtitles(self.spec, source, &files)).await?;
        for (n, stream) in streams.into_iter().enumerate() {
            let (name, language) = named(stream, "Subtitles", n);
            let forced = stream.dispositions.iter().any(|disposition| disposition == "forced");
            made.push(Subtitles { folder: format!("s{n}"), file: file(n), name, language, forced });
        }
        Ok(made)
    }
}

/// What people call a stream, and its language where it says one.
fn named(stream: &Stream, what: &str, n: usize) -> (String, Option<String>) {
    let language = stream.tags.get("language").filter(|language| *language != "und" && is_language(language));
    let language = language.cloned();
    let title = stream.tags.get("title").or(language.as_ref());
    // Names of a group are different from one another.
    let name = title.map_or_else(|| format!("{what} {}", n + 1), |title| format!("{} {title}", n + 1));
    (name, language)
}

/// Whether a text could be a language tag (RFC 5646); a container may hold anything there.
fn is_language(text: &str) -> bool {
    let fits = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    let first = text.split('-').next().unwrap_or_default();
    text.split('-').all(fits) && first.bytes().all(|b| b.is_ascii_alphabetic())
}

/// Writes all files of a package, playlists first.
fn archive(
    package: &Package,
    writer: &mut impl io::Write,
    cancel: &tokio_util::sync::CancellationToken,
) -> io::Result<()> {
    let mut tar = tar::Builder::new(writer);
    text(&mut tar, "master.m3u8", &playlist::master(package))?;
    text(&mut tar, "manifest.mpd", &manifest::write(package))?;
    let target = playlist::common_target(package);
    for video in &package.videos {
        text(
            &mut tar,
            &format!("{}/index.m3u8", video.track.folder),
            &playlist::media(&video.track, target),
        )?;
        text(&mut tar, &format!("{}/iframes.m3u8", video.track.folder), &playlist::iframes(&video.track))?;
    }
    for sound in &package.sounds {
        text(
            &mut tar,
            &format!("{}/index.m3u8", sound.track.folder),
            &playlist::media(&sound.track, target),
        )?;
    }
    for subtitles in &package.subtitles {
        let list = playlist::subtitles(package.length());
        text(&mut tar, &format!("{}/index.m3u8", subtitles.folder), &list)?;
        let words = std::fs::read_to_string(&subtitles.file)?;
        text(&mut tar, &format!("{}/subtitles.vtt", subtitles.folder), &words)?;
    }
    let videos = package.videos.iter().map(|video| (&video.track, &video.file));
    for (track, file) in videos.chain(package.sounds.iter().map(|sound| (&sound.track, &sound.file))) {
        let mut file = File::open(file)?;
        let segments = (1..).zip(&track.segments).map(|(n, s)| (format!("{n}.m4s"), s.at, s.length));
        for (name, at, length) in [("init.mp4".to_owned(), 0, track.head)].into_iter().chain(segments) {
            file.seek(SeekFrom::Start(at))?;
            let bytes = hash::Cancellable::new(&file, cancel).take(length);
            tar.append_data(&mut header(length), format!("{}/{name}", track.folder), bytes)?;
        }
    }
    tar.into_inner().map(drop)
}

/// The same for the same bytes, whenever it is written.
fn header(length: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(length);
    header.set_mode(0o644);
    header.set_mtime(0);
    header
}

fn text(tar: &mut tar::Builder<impl io::Write>, name: &str, text: &str) -> io::Result<()> {
    tar.append_data(&mut header(text.len() as u64), name, text.as_bytes())
}
