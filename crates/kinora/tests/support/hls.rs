//! A validator of HLS packages, written from RFC 8216 and its second edition; it shares nothing with what writes them. What
//! the streams are it asks ffprobe.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use kinora_testkit::ffmpeg;
use serde_json::Value;

/// Attributes of a tag.
pub type Attributes = BTreeMap<String, String>;

/// A media playlist.
#[derive(Debug, Clone, Default)]
pub struct Media {
    pub folder: PathBuf,
    pub target: u64,
    pub map: Option<PathBuf>,
    pub segments: Vec<Segment>,
    pub only_keys: bool,
}

/// A segment of it.
#[derive(Debug, Clone)]
pub struct Segment {
    pub file: PathBuf,
    /// Microseconds.
    pub duration: u64,
    /// Length and offset.
    pub range: Option<(u64, u64)>,
}

/// A master playlist with all that it names.
#[derive(Debug, Default)]
pub struct Master {
    pub variants: Vec<(Attributes, Media)>,
    pub sounds: Vec<(Attributes, Media)>,
    pub subtitles: Vec<(Attributes, Media)>,
    pub keys: Vec<(Attributes, Media)>,
}

/// RFC 8216, 4.2.
fn attributes(list: &str) -> Result<Attributes> {
    let mut found = Attributes::new();
    let mut rest = list;
    while !rest.is_empty() {
        let (name, value) = rest.split_once('=').context("an attribute without a value")?;
        ensure!(name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-'), "{name}");
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').context("a quote is open")?,
            None => value.split_at(value.find(',').unwrap_or(value.len())),
        };
        ensure!(found.insert(name.to_owned(), value.to_owned()).is_none(), "{name} comes twice");
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    Ok(found)
}

fn lines(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    ensure!(text.ends_with('\n') && !text.contains('\r') && !text.starts_with('\u{feff}'));
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    ensure!(
        lines.first().is_some_and(|line| line == "#EXTM3U"),
        "{} does not begin as it should",
        path.display()
    );
    Ok(lines)
}

fn micros(text: &str) -> Result<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    Ok(whole.parse::<u64>()? * 1_000_000 + format!("{part:0<6}").parse::<u64>()?)
}

impl Media {
    /// Reads and checks one.
    pub fn read(path: &Path) -> Result<Self> {
        let folder = path.parent().context("a folder")?.to_owned();
        let mut media = Self { folder: folder.clone(), ..Self::default() };
        let (mut target, mut duration, mut range, mut version, mut ended) = (0, None, None, 1, false);
        for line in lines(path)? {
            ensure!(!ended, "{line} after the end of {}", path.display());
            let (tag, value) = line.split_once(':').unwrap_or((&line, ""));
            match tag {
                "#EXTM3U" | "#EXT-X-INDEPENDENT-SEGMENTS" => {}
                "#EXT-X-VERSION" => version = value.parse()?,
                "#EXT-X-TARGETDURATION" => target = value.parse::<u64>()?,
                "#EXT-X-PLAYLIST-TYPE" => ensure!(value == "VOD"),
                "#EXT-X-I-FRAMES-ONLY" => media.only_keys = true,
                "#EXT-X-MAP" => media.map = Some(folder.join(&attributes(value)?["URI"])),
                "#EXTINF" => duration = Some(micros(value.trim_end_matches(','))?),
                "#EXT-X-BYTERANGE" => {
                    let (length, at) = value.split_once('@').context("a range without a place")?;
                    range = Some((length.parse()?, at.parse()?));
                }
                "#EXT-X-ENDLIST" => ended = true,
                _ => {
                    ensure!(!line.starts_with('#'), "{line} is unknown");
                    let file = folder.join(&line);
                    ensure!(file.is_file(), "{} is not there", file.display());
                    let duration = duration.take().context("a segment without a length")?;
                    // 4.4.3.1: rounded to the nearest second, no segment is longer than the target.
                    ensure!((duration + 500_000) / 1_000_000 <= target, "{line} is longer than {target} s");
                    media.segments.push(Segment { file, duration, range: range.take() });
                }
            }
        }
        ensure!(ended && !media.segments.is_empty() && duration.is_none(), "{}", path.display());
        // 7: EXT-X-MAP without I-frames only wants 6, byte ranges 4, decimals 3.
        ensure!(version >= 6 || media.map.is_none());
        media.target = target;
        Ok(media)
    }

    pub fn durations(&self) -> Vec<u64> {
        self.segments.iter().map(|segment| segment.duration).collect()
    }

    /// The head with some bytes of a segment behind it, as a file that a player could begin with.
    fn part(&self, segment: &Segment, scratch: &Path) -> Result<PathBuf> {
        let mut bytes = std::fs::read(self.map.as_ref().context("no head")?)?;
        let all = std::fs::read(&segment.file)?;
        let (length, at) = segment.range.unwrap_or((all.len() as u64, 0));
        let (at, length) = (usize::try_from(at)?, usize::try_from(length)?);
        bytes.extend_from_slice(all.get(at..at + length).context("a range beyond its file")?);
        let path = scratch.join("part.mp4");
        std::fs::write(&path, bytes)?;
        Ok(path)
    }
}

impl Master {
    /// Reads and checks a package.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut master = Self::default();
        let mut variant = None;
        for line in lines(&folder.join("master.m3u8"))? {
            let (tag, value) = line.split_once(':').unwrap_or((&line, ""));
            match tag {
                "#EXTM3U" | "#EXT-X-INDEPENDENT-SEGMENTS" | "#EXT-X-VERSION" => {}
                "#EXT-X-MEDIA" => {
                    let said = attributes(value)?;
                    let media = Media::read(&folder.join(&said["URI"]))?;
                    ensure!(said.contains_key("GROUP-ID") && said.contains_key("NAME"), "{line}");
                    match said["TYPE"].as_str() {
                        "AUDIO" => master.sounds.push((said, media)),
                        "SUBTITLES" => master.subtitles.push((said, media)),
                        other => anyhow::bail!("a group of {other}"),
                    }
                }
                "#EXT-X-STREAM-INF" => variant = Some(attributes(value)?),
                "#EXT-X-I-FRAME-STREAM-INF" => {
                    let said = attributes(value)?;
                    let media = Media::read(&folder.join(&said["URI"]))?;
                    ensure!(media.only_keys);
                    master.keys.push((said, media));
                }
                _ => {
                    ensure!(!line.starts_with('#'), "{line} is unknown");
                    let said = variant.take().context("a playlist without a description")?;
                    master.variants.push((said, Media::read(&folder.join(&line))?));
                }
            }
        }
        ensure!(!master.variants.is_empty() && variant.is_none());
        Ok(master)
    }

    /// All that one cannot see in a single playlist.
    pub fn check(&self, scratch: &Path) -> Result<()> {
        // 6.2.4: the same times in all variants.
        let (_, first) = &self.variants[0];
        for (_, other) in &self.variants {
            ensure!(
                other.durations() == first.durations(),
                "{:?} {:?}",
                other.durations(),
                first.durations()
            );
        }
        // 6.2.4: the same target in all of them.
        for (_, other) in self.variants.iter().chain(&self.sounds) {
            ensure!(other.target == first.target, "{} and {}", other.target, first.target);
        }
        let groups =
            |name: &str, of: &[(Attributes, Media)]| of.iter().all(|(said, _)| said["GROUP-ID"] == name);
        for (said, media) in &self.variants {
            ensure!(
                said.get("AUDIO").is_some_and(|name| groups(name, &self.sounds)) != self.sounds.is_empty()
            );
            ensure!(
                said.get("SUBTITLES").is_some_and(|name| groups(name, &self.subtitles))
                    != self.subtitles.is_empty()
            );
            self.rates(said, media)?;
            codecs(said, media, self.sounds.first().map(|(_, sound)| sound), scratch)?;
            times(media, "v", scratch)?;
        }
        for (said, media) in &self.sounds {
            times(media, "a", scratch)?;
            let stream = stream(&media.part(&media.segments[0], scratch)?)?;
            ensure!(stream["channels"].as_u64() == Some(said["CHANNELS"].parse()?), "{said:?} {stream}");
        }
        for (_, media) in &self.keys {
            for segment in &media.segments {
                let frames = ffmpeg::output(
                    ffmpeg::ffmpeg()
                        .arg("-i")
                        .arg(media.part(segment, scratch)?)
                        .args(["-f", "framecrc", "-"]),
                )?;
                let frames =
                    String::from_utf8_lossy(&frames).lines().filter(|line| !line.starts_with('#')).count();
                ensure!(frames == 1, "{frames} pictures in {segment:?}");
            }
        }
        Ok(())
    }

    /// 4.4.6.2: no segment needs more than is said, sound included.
    fn rates(&self, said: &Attributes, media: &Media) -> Result<()> {
        let peak = |media: &Media| -> Result<f64> {
            let mut peak = 0.0_f64;
            for segment in &media.segments {
                let bits = std::fs::metadata(&segment.file)?.len() * 8;
                peak = peak.max(bits as f64 * 1e6 / segment.duration as f64);
            }
            Ok(peak)
        };
        let mut sound = 0.0_f64;
        for (_, media) in &self.sounds {
            sound = sound.max(peak(media)?);
        }
        let (bandwidth, average): (f64, f64) =
            (said["BANDWIDTH"].parse()?, said["AVERAGE-BANDWIDTH"].parse()?);
        let needed = peak(media)? + sound;
        ensure!(bandwidth >= needed - 2.0 && bandwidth < needed * 1.02, "{bandwidth} said, {needed} needed");
        ensure!(average <= bandwidth);
        Ok(())
    }
}

fn stream(path: &Path) -> Result<Value> {
    let mut command = ffmpeg::ffprobe();
    let found = ffmpeg::json(command.args(["-show_streams", "-of", "json"]).arg(path))?;
    Ok(found["streams"][0].clone())
}

/// `CODECS` and `RESOLUTION` are what is in the streams.
fn codecs(said: &Attributes, media: &Media, sound: Option<&Media>, scratch: &Path) -> Result<()> {
    let video = stream(&media.part(&media.segments[0], scratch)?)?;
    let level = video["level"].as_u64().context("no level")?;
    let wanted = match (video["codec_name"].as_str(), video["profile"].as_str()) {
        (Some("h264"), Some(profile)) => {
            let profile = match profile {
                "Constrained Baseline" => "42C0",
                "Main" => "4D40",
                "High" => "6400",
                "High 4:4:4 Predictive" => "F400",
                other => anyhow::bail!("profile {other}"),
            };
            format!("avc1.{profile}{level:02X}")
        }
        (Some("hevc"), Some("Main")) => format!("hvc1.1.6.L{level}.90"),
        other => anyhow::bail!("codec {other:?}"),
    };
    let mut wanted = vec![wanted];
    if let Some(sound) = sound {
        let sound = stream(&sound.part(&sound.segments[0], scratch)?)?;
        ensure!(
            (sound["codec_name"].as_str(), sound["profile"].as_str()) == (Some("aac"), Some("LC")),
            "{sound}"
        );
        wanted.push("mp4a.40.2".to_owned());
    }
    ensure!(said["CODECS"] == wanted.join(","), "{said:?}, but {wanted:?}");
    let size = format!("{}x{}", video["width"], video["height"]);
    ensure!(said["RESOLUTION"] == size, "{said:?}, but {size}");
    Ok(())
}

/// Each segment can be decoded by itself, begins when those before it end, and is as long as it says.
fn times(media: &Media, kind: &str, scratch: &Path) -> Result<()> {
    let mut begins: Option<i64> = None;
    for segment in &media.segments {
        let part = media.part(segment, scratch)?;
        let mut command = ffmpeg::ffprobe();
        command.args(["-select_streams", kind, "-show_entries", "packet=pts_time,flags", "-of", "csv=p=0"]);
        let packets = String::from_utf8(ffmpeg::output(command.arg(&part))?)?;
        let mut lines = packets.lines().map(|line| line.split_once(',').context("two fields"));
        let (time, flags) = lines.next().context("an empty segment")??;
        ensure!(flags.starts_with('K'), "{} begins with {flags}", segment.file.display());
        let first = (time.parse::<f64>()? * 1e6).round() as i64;
        // Before zero there is only what an encoder needs to get going.
        let first = first.max(0);
        if let Some(wanted) = begins {
            ensure!(
                (first - wanted).abs() <= 2,
                "{} begins at {first}, not {wanted} us",
                segment.file.display()
            );
        }
        begins = Some(first + i64::try_from(segment.duration)?);
    }
    Ok(())
}
