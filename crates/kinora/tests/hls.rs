//! HLS packages: several sizes from one decode, cut at the same frames on several machines; valid by the standard, played by
//! ffmpeg from a hub with the frames of the source.
#![cfg(unix)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::api::NewJob;
use kinora_protocol::job::JobPhase;
use kinora_protocol::recipe::{
    AudioCodec, AudioRecipe, ChunkRecipe, Container, LadderRecipe, Quality, Recipe, RenditionRecipe, Scale,
    VideoCodec, VideoRecipe,
};
use kinora_testkit::ffmpeg;
use support::cluster::{Hub, Worker, from_path};
use support::hls::Master;
use support::{Place, browser, clip, decoded, eight, kinora, run, wire};

/// Twelve seconds with B frames, two sounds of which one begins late, and subtitles.
fn film() -> Result<PathBuf> {
    let words = Path::new(env!("CARGO_TARGET_TMPDIR")).join("words.srt");
    std::fs::write(
        &words,
        "1\n00:00:01,000 --> 00:00:02,500\nOne & two\n\n2\n00:00:07,000 --> 00:00:08,000\nThree\n",
    )?;
    clip(
        "spoken.mkv",
        &format!(
            "-f lavfi -i testsrc2=s=320x180:r=25:d=12 -f lavfi -i sine=f=300:r=48000:d=12 \
             -itsoffset 0.5 -f lavfi -i sine=f=500:r=48000:d=11 -i {} -map 0 -map 1 -map 2 -map 3 \
             -c:v libx264 -preset ultrafast -bf 2 -g 40 -crf 25 -pix_fmt yuv420p -c:a libopus -b:a 64k -c:s srt \
             -metadata:s:a:0 language=eng -metadata:s:a:1 language=deu -metadata:s:s:0 language=eng",
            words.display()
        ),
    )
}

/// The source's size without loss, and two smaller ones.
fn recipe(codec: VideoCodec, seconds: f64) -> Recipe {
    let rendition = |scale| RenditionRecipe { scale, ..RenditionRecipe::default() };
    let sizes = [None, Some(Scale::Height(120)), Some(Scale::Height(90))];
    let ladder = LadderRecipe {
        segment_seconds: Some(2.0),
        renditions: Some(sizes.into_iter().map(rendition).collect()),
    };
    Recipe {
        video: VideoRecipe {
            codec: Some(codec),
            quality: Some(Quality::Lossless),
            preset: Some("ultrafast".to_owned()),
            ..VideoRecipe::default()
        },
        audio: AudioRecipe { codec: Some(AudioCodec::Aac), bitrate: Some(64_000), ..AudioRecipe::default() },
        container: Some(Container::Hls),
        ladder: Some(ladder),
        chunks: ChunkRecipe { seconds: Some(seconds), ..ChunkRecipe::default() },
        ..Recipe::default()
    }
}

fn unpack(archive: &Path, into: &Path) -> Result<()> {
    std::fs::create_dir_all(into)?;
    let status = Command::new("tar").arg("xf").arg(archive).arg("-C").arg(into).status()?;
    ensure!(status.success());
    Ok(())
}

/// Pictures of a video stream, as digests.
fn pictures(input: &str, stream: &str) -> Result<Vec<String>> {
    let mut command = ffmpeg::ffmpeg();
    command.args(["-i", input, "-map", stream, "-fps_mode", "passthrough", "-f", "framemd5", "-"]);
    let text = String::from_utf8(ffmpeg::output(&mut command)?)?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    Ok(lines.filter_map(|line| line.rsplit_once(',').map(|(_, digest)| digest.trim().to_owned())).collect())
}

/// Chromium plays it with hls.js: time goes on, each rendition is shown, seeking works, it ends, and there is no error.
fn in_a_browser(list: &str, seconds: u32, renditions: u32) -> Result<()> {
    let args = [list.to_owned(), seconds.to_string(), renditions.to_string()];
    browser::play("hls.mjs", "HLS in a browser", &args)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_is_valid_and_plays_with_all_frames() -> Result<()> {
    let place = Place::new()?;
    let folder = film()?.parent().context("a folder")?.display().to_string();
    let hub =
        Hub::start_as(&place, &["--listen", "127.0.0.1:0", "--local-worker", "off", "--allow-dir", &folder])?;
    let _one = Worker::start(&place, "one", &hub.address, Duration::ZERO, &["--copy"])?;
    let _two = Worker::start(&place, "two", &hub.address, Duration::ZERO, &[])?;
    hub.connected(2).await?;
    let job = NewJob { recipe: recipe(VideoCodec::H264, 3.0), ..from_path(film()?) };
    let view = hub.client.submit(&job, None).await?;
    let ended = hub.ends(view.id).await?;
    ensure!(ended.phase == JobPhase::Completed && ended.chunks.total >= 3, "{ended:?}");
    ensure!(hub.client.proof(view.id).await?.verified);
    let (archive, there) = (place.at("film.tar"), place.at("package"));
    hub.client.fetch(view.id, &archive).await?;
    unpack(&archive, &there)?;
    let master = Master::read(&there)?;
    ensure!(
        (master.variants.len(), master.sounds.len(), master.subtitles.len(), master.keys.len())
            == (3, 2, 1, 3)
    );
    master.check(place.path())?;
    let length: u64 = master.variants[0].1.durations().iter().sum();
    ensure!(length == 12_000_000, "{length} us");
    let languages: Vec<_> = master.sounds.iter().map(|(said, _)| said["LANGUAGE"].as_str()).collect();
    ensure!(languages == ["eng", "deu"], "{languages:?}");
    let words = std::fs::read_to_string(there.join("s0/subtitles.vtt"))?;
    ensure!(words.starts_with("WEBVTT") && words.contains("One & two"), "{words}");

    in_a_browser(&format!("{}/api/v1/jobs/{}/hls/master.m3u8", hub.address, view.id), 12, 3)?;

    // From the hub, as a player has it.
    let source = pictures(&film()?.display().to_string(), "0:v")?;
    let below = format!("{}/api/v1/jobs/{}/hls", hub.address, view.id);
    let streams = |list: &str| -> Result<Vec<(u64, String)>> {
        let mut command = ffmpeg::ffprobe();
        let found = ffmpeg::json(command.args(["-show_streams", "-of", "json", &format!("{below}/{list}")]))?;
        let streams = found["streams"].as_array().context("no streams")?;
        let told = |stream: &serde_json::Value| stream["codec_type"].as_str().unwrap_or_default().to_owned();
        Ok(streams.iter().map(|stream| (stream["height"].as_u64().unwrap_or(0), told(stream))).collect())
    };
    for list in ["master.m3u8", "manifest.mpd"] {
        let found = streams(list)?;
        let top = found.iter().position(|(height, _)| *height == 180).context("no first rendition")?;
        ensure!(pictures(&format!("{below}/{list}"), &format!("0:{top}"))? == source, "{list}: {found:?}");
        let sounds = found.iter().filter(|(_, kind)| kind == "audio").count();
        ensure!(sounds == 2, "{list}: {found:?}");
    }
    ensure!(pictures(&format!("{below}/v2/index.m3u8"), "0:v")?.len() == 300);
    // As parts of the archive they have types and ranges of their own.
    let list = wire::ask(&hub.address, "GET", &format!("/api/v1/jobs/{}/hls/master.m3u8", view.id), &[])?;
    ensure!(
        list.status == 200 && list.header("content-type")? == "application/vnd.apple.mpegurl",
        "{list:?}"
    );
    ensure!(list.body == std::fs::read(there.join("master.m3u8"))?);
    let segment = format!("/api/v1/jobs/{}/hls/v1/2.m4s", view.id);
    let whole = std::fs::read(there.join("v1/2.m4s"))?;
    for (range, bytes) in [("bytes=5-20", &whole[5..21]), ("bytes=-7", &whole[whole.len() - 7..])] {
        let part = wire::ask(&hub.address, "GET", &segment, &[("range", range)])?;
        ensure!(part.status == 206 && part.body == bytes, "{range}: {part:?}");
    }
    let several = wire::ask(&hub.address, "GET", &segment, &[("range", "bytes=0-1,8-9")])?;
    let has = |bytes: &[u8]| several.body.windows(bytes.len()).any(|window| window == bytes);
    ensure!(several.status == 206 && has(&whole[0..2]) && has(&whole[8..10]), "{several:?}");
    for name in ["v1/99.m4s", "../store.db", "v1/"] {
        let missing = wire::ask(&hub.address, "GET", &format!("/api/v1/jobs/{}/hls/{name}", view.id), &[])?;
        ensure!(missing.status == 404, "{name}: {missing:?}");
    }
    // The same again is made of the same chunks.
    let again = hub.client.submit(&job, None).await?;
    let again = hub.ends(again.id).await?;
    ensure!((again.phase, again.chunks.reused) == (JobPhase::Completed, again.chunks.total), "{again:?}");
    // A result that is one file has no parts.
    let plain = NewJob { name: Some("a.mp4".to_owned()), recipe: Recipe::default(), ..job };
    let plain = hub.client.submit(&plain, None).await?;
    ensure!(hub.ends(plain.id).await?.phase == JobPhase::Completed);
    let none = wire::ask(&hub.address, "GET", &format!("/api/v1/jobs/{}/hls/master.m3u8", plain.id), &[])?;
    ensure!(none.status == 422 && none.text().contains("no HLS package"), "{none:?}");
    Ok(())
}

#[test]
fn hevc_and_the_command_line() -> Result<()> {
    let place = Place::new()?;
    let set = place.file("set.toml", toml::to_string(&recipe(VideoCodec::Hevc, 3.0))?)?;
    let archive = place.at("film.tar");
    let flags = ["--json", "--verify", "full"];
    let made = run(kinora().arg("encode").arg(eight()?).arg(&archive).arg("--recipe").arg(&set).args(flags))?
        .done()?;
    ensure!(made["verified"] == true, "{made}");
    let there = place.at("package");
    unpack(&archive, &there)?;
    let master = Master::read(&there)?;
    master.check(place.path())?;
    let frames = decoded(&there.join("v0/index.m3u8"))?;
    let source = decoded(&eight()?)?;
    ensure!(frames.len() == source.len() && frames.iter().zip(&source).all(|(a, b)| a.hash == b.hash));
    // Without a ladder it is what is usual for the source's size.
    let usual = place.at("usual.tar");
    run(kinora().arg("encode").arg(eight()?).arg(&usual).args(["--json", "--preset", "ultrafast"]))?
        .done()?;
    let there = place.at("usual");
    unpack(&usual, &there)?;
    let master = Master::read(&there)?;
    master.check(place.path())?;
    ensure!(master.variants.len() == 1 && master.variants[0].0["CODECS"].starts_with("avc1."), "{master:?}");
    Ok(())
}

#[test]
fn what_makes_no_package_is_refused() -> Result<()> {
    let place = Place::new()?;
    let refused = |output: &str, flags: &[&str]| -> Result<String> {
        let ended = run(kinora().arg("encode").arg(eight()?).arg(place.at(output)).args(flags))?;
        ensure!(ended.code == Some(1) && !place.at(output).exists(), "{ended:?}");
        Ok(ended.stderr)
    };
    ensure!(refused("a.tar", &["--codec", "vp9"])?.contains("vp9 does not fit into .tar"));
    ensure!(refused("a.tar", &["--codec", "copy"])?.contains("is encoded"));
    ensure!(refused("a.tar", &["--audio", "opus"])?.contains("is AAC"));
    let set = place.file("set.toml", "[ladder]\nsegment_seconds = 4\n")?;
    ensure!(
        refused("a.mp4", &["--recipe", &set.display().to_string()])?
            .contains("a ladder makes an HLS package")
    );
    let set = place.file("set.toml", "[ladder]\nsegments = 4\n")?;
    ensure!(refused("a.tar", &["--recipe", &set.display().to_string()])?.contains("segments"));
    Ok(())
}
