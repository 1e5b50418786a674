//! What is known about media: found out by nodes, part by part, and compared with what other programs find.
#![cfg(unix)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::Digest;
use kinora_protocol::api::MetadataView;
use kinora_protocol::describe::Part;
use kinora_protocol::job::JobPhase;
use kinora_protocol::media::Verdict;
use kinora_testkit::{clips, ffmpeg};
use serde_json::Value;
use support::cluster::{Hub, Worker};
use support::wire::{self, Answer};
use support::{PATIENCE, Place, clip, eight, loud};

/// Four scenes, three of them of plain colours, and a tone that falls silent.
fn scenes() -> Result<std::path::PathBuf> {
    clip(
        "scenes.mp4",
        "-f lavfi -i color=red:s=320x180:r=25:d=4 -f lavfi -i color=lime:s=320x180:r=25:d=2 \
         -f lavfi -i color=blue:s=320x180:r=25:d=2 -f lavfi -i testsrc2=s=320x180:r=25:d=2 \
         -f lavfi -i sine=f=440:r=48000:d=5 \
         -filter_complex [0:v][1:v][2:v][3:v]concat=n=4:v=1[v];[4:a]apad=whole_dur=10[a] -map [v] -map [a] \
         -c:v libx264 -preset veryfast -crf 12 -pix_fmt yuv420p -c:a aac -b:a 128k",
    )
}

/// Scenes of known lengths, some of which are faded out and the next faded in: the film, and the first frames of its scenes.
fn known_scenes(place: &Place, scenes: &[(String, u32, bool)]) -> Result<(PathBuf, Vec<u32>)> {
    let mut list = String::new();
    let (mut starts, mut at, mut faded) = (Vec::new(), 0, false);
    for (n, (source, frames, fades)) in scenes.iter().enumerate() {
        let part = place.at(&format!("part{n}.mkv"));
        let mut filters = "scale=320:180,fps=25,format=yuv420p,setsar=1".to_owned();
        if faded {
            filters += ",fade=in:0:13";
        }
        if *fades {
            filters += &format!(",fade=out:{}:13", frames - 13);
        }
        let mut command = ffmpeg::ffmpeg();
        command.args(source.split_whitespace()).args(["-an", "-vf", &filters]);
        command.args([
            "-frames:v",
            &frames.to_string(),
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-crf",
            "16",
        ]);
        ffmpeg::output(command.arg(&part))?;
        list += &format!("file '{}'\n", part.display());
        starts.push(at);
        (at, faded) = (at + frames, *fades);
    }
    let (listed, film) = (place.at("list.txt"), place.at("film.mp4"));
    std::fs::write(&listed, list)?;
    let mut command = ffmpeg::ffmpeg();
    command.args(["-f", "concat", "-safe", "0", "-i"]).arg(&listed).args(["-c:v", "libx264", "-crf", "20"]);
    // Times of the parts are rounded.
    command.args(["-vf", "setpts=N/25/TB", "-r", "25"]);
    ffmpeg::output(command.args(["-preset", "veryfast", "-pix_fmt", "yuv420p"]).arg(&film))?;
    Ok((film, starts))
}

/// The harmonic mean of how many of the scenes that there are were found, and how many of those that were found are there. A scene that
/// is faded in begins somewhere in the dark.
fn f1(found: &[f64], starts: &[u32], faded: &[bool]) -> f64 {
    let mut left: Vec<f64> = found.to_vec();
    let mut right = 0;
    for (start, faded) in starts.iter().zip(faded) {
        let reach = if *faded { 0.5 } else { 0.025 };
        if let Some(n) = left.iter().position(|at| (at - f64::from(*start) / 25.0).abs() <= reach) {
            left.remove(n);
            right += 1;
        }
    }
    let right = f64::from(right);
    2.0 * right / (found.len() + starts.len()) as f64
}

async fn scenes_are_found(scenes: &[(String, u32, bool)]) -> Result<()> {
    let place = Place::new()?;
    let (film, starts) = known_scenes(&place, scenes)?;
    let hub = Hub::start_as(&place, &["--listen", "127.0.0.1:0"])?;
    let known = known(&hub, &hub.upload(&film).await?).await?;
    let found: Vec<f64> = known.scenes.iter().flatten().map(|scene| scene.start_seconds).collect();
    let faded: Vec<bool> = [false].into_iter().chain(scenes.iter().map(|(_, _, fades)| *fades)).collect();
    let f1 = f1(&found, &starts, &faded);
    ensure!(f1 >= 0.95, "F1 is {f1:.3}: {found:?} where there are {starts:?} / 25");
    // Chapters and highlights are some of them.
    ensure!(known.chapters.len() > 1 && known.chapters.iter().all(|at| found.contains(at)), "{known:?}");
    let seconds: f64 = known.highlights.iter().map(|part| part.end_seconds - part.start_seconds).sum();
    let all = f64::from(scenes.iter().map(|(_, frames, _)| *frames).sum::<u32>()) / 25.0;
    ensure!(seconds > 0.0 && seconds <= all / 5.0 + 0.1, "{seconds} of {all}: {:?}", known.highlights);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cuts_and_fades_are_found() -> Result<()> {
    let made = |source: &str| format!("-f lavfi -i {source}");
    let scenes = [
        (made("testsrc2=size=320x180:rate=25:duration=9"), 62, false),
        (made("mandelbrot=size=320x180:rate=25"), 77, true),
        (
            made("life=size=320x180:rate=25:mold=10:ratio=0.1:seed=7:life_color=white:death_color=blue"),
            50,
            false,
        ),
        (made("smptehdbars=size=320x180:rate=25"), 33, false),
        (made("cellauto=size=320x180:rate=25:rule=110:seed=3"), 58, true),
        (made("testsrc=size=320x180:rate=25"), 91, false),
        (made("sierpinski=size=320x180:rate=25:seed=4"), 49, false),
        (made("mandelbrot=size=320x180:rate=25:start_scale=0.01:start_x=-0.745:start_y=0.112"), 71, false),
        (made("rgbtestsrc=size=320x180:rate=25"), 40, true),
        (made("testsrc2=size=320x180:rate=25:duration=9"), 60, false),
    ];
    scenes_are_found(&scenes.map(|(source, frames, fades)| (source, frames, fades))).await
}

/// Of real films, where they are: shots that are known to have no cut in them, some of them by a hand that shakes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cuts_and_fades_between_real_shots_are_found() -> Result<()> {
    let Some(real) = clips::shared().filter(|real| !real.is_empty()) else {
        loud("real films are not there: scenes are looked for in made ones alone");
        return Ok(());
    };
    let mut scenes = Vec::new();
    for (name, from, frames, fades) in [
        ("d17_noaudio_bottle", 0, 75, false),
        ("d05_vfr_phone_360p", 1, 60, true),
        ("d03_hevc_opengop_car", 1, 75, false),
        ("d09_hdr10_av1", 0, 50, false),
        ("d21_firstpts10s", 1, 50, false),
        ("d17_noaudio_bottle", 20, 55, false),
        ("d08_hevc_hlg_rot_editlist", 0, 50, true),
        ("d22_msmpeg4_avi_no_pts", 0, 50, false),
        ("d03_hevc_opengop_car", 15, 75, false),
        ("d05_vfr_phone_360p", 10, 75, false),
        ("d02_h264_opengop_540p", 0, 75, true),
        ("d17_noaudio_bottle", 30, 75, false),
        ("d22_msmpeg4_avi_no_pts", 5, 60, false),
    ] {
        let film = real.iter().find(|clip| clip.name == name).context(name)?;
        scenes.push((format!("-ss {from} -i {}", film.path.display()), frames, fades));
    }
    scenes_are_found(&scenes).await
}

async fn known(hub: &Hub, media: &Digest) -> Result<MetadataView> {
    let job = hub.client.describe(media).await?;
    let ended = hub.ends(job.id).await?;
    ensure!(ended.phase == JobPhase::Completed, "{ended:?}");
    Ok(hub.client.metadata(media).await?)
}

fn get(hub: &Hub, path: &str) -> Result<Answer> {
    let answer = wire::ask(&hub.address, "GET", path, &[])?;
    ensure!(answer.status == 200, "{path}: {answer:?}");
    Ok(answer)
}

/// Raw RGB frames as ffmpeg decodes them, by its own selection.
fn rgb(source: &Path, select: &str) -> Result<Vec<u8>> {
    let mut command = ffmpeg::ffmpeg();
    command.arg("-i").arg(source).args(["-vf", &format!("select='{select}',format=rgb24")]);
    ffmpeg::output(command.args(["-fps_mode", "passthrough", "-f", "rawvideo", "pipe:1"]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_elsewhere_finds_out_all_parts() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let _worker = Worker::start(&place, "one", &hub.address, Duration::ZERO, &["--copy"])?;
    hub.connected(1).await?;
    let source = scenes()?;
    let media = hub.upload(&source).await?;
    let found = known(&hub, &media).await?;
    ensure!(found.failed.is_empty(), "{found:?}");

    let Some(Verdict::Admitted(facts)) = &found.verdict else { anyhow::bail!("{found:?}") };
    ensure!(facts.streams.len() == 2, "{facts:?}");

    let starts: Vec<f64> = found.scenes.iter().flatten().map(|scene| scene.start_seconds).collect();
    ensure!(starts == [0.0, 4.0, 6.0, 8.0], "{starts:?}");
    let end = found.scenes.iter().flatten().last().map_or(0.0, |scene| scene.end_seconds);
    ensure!((end - 10.0).abs() < 0.1, "{end}");

    let loudness = found.loudness.context("no loudness")?;
    let measured = ffmpeg_loudness(&source)?;
    let integrated = loudness.integrated_lufs.context("silent")?;
    ensure!((integrated - measured).abs() < 0.2, "{integrated} against ffmpeg's {measured}");

    pictures(&hub, &found)?;
    sprites(&hub, &media)?;
    waveform(&hub, &media, &source)?;
    Ok(())
}

/// The integrated loudness that ffmpeg's own filter finds.
fn ffmpeg_loudness(source: &Path) -> Result<f64> {
    let out = Command::new("ffmpeg")
        .args(["-hide_banner", "-i"])
        .arg(source)
        .args(["-map", "0:a:0", "-af", "ebur128", "-f", "null", "-"])
        .output()?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let line = said.lines().rev().find_map(|line| line.trim().strip_prefix("I:")).context("no summary")?;
    Ok(line.trim().trim_end_matches("LUFS").trim().parse()?)
}

/// Each picture is of the colour that is shown at its time.
fn pictures(hub: &Hub, found: &MetadataView) -> Result<()> {
    let thumbnails = found.thumbnails.as_ref().context("no thumbnails")?;
    ensure!(thumbnails.len() == 7, "{thumbnails:?}");
    for (number, thumbnail) in thumbnails.iter().enumerate() {
        let answer = get(hub, &thumbnail.url)?;
        ensure!(answer.header("content-type")? == "image/jpeg");
        let (width, height, colour) = mean_of_jpeg(&answer.body)?;
        ensure!((width, height) == (320, 180), "{width}x{height}");
        let wanted = match thumbnail.seconds {
            s if s < 4.0 => [254.0, 0.0, 0.0],
            s if s < 6.0 => [0.0, 255.0, 0.0],
            s if s < 8.0 => [0.0, 0.0, 254.0],
            _ => continue,
        };
        for (is, should) in colour.iter().zip(wanted) {
            ensure!((is - should).abs() < 8.0, "picture {number} at {}: {colour:?}", thumbnail.seconds);
        }
    }
    Ok(())
}

/// Size and mean colour of a JPEG.
fn mean_of_jpeg(jpeg: &[u8]) -> Result<(usize, usize, [f64; 3])> {
    let place = Place::new()?;
    let path = place.file("picture.jpg", jpeg)?;
    let size = support::video_entry(&path, "width,height")?;
    let (width, height) = size.split_once(',').with_context(|| size.clone())?;
    let bytes = rgb(&path, "1")?;
    let mut sums = [0.0; 3];
    for pixel in bytes.chunks_exact(3) {
        sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    let count = (bytes.len() / 3) as f64;
    Ok((width.parse()?, height.trim().parse()?, sums.map(|sum| sum / count)))
}

/// The cues cover the whole video in order, and point into sheets that are there.
fn sprites(hub: &Hub, media: &Digest) -> Result<()> {
    let text = get(hub, &format!("/api/v1/media/{media}/sprites.vtt"))?.text();
    let places: Vec<&str> = text.lines().filter(|line| line.starts_with("sprites/")).collect();
    ensure!(places.len() == 10, "one a second: {text}");
    ensure!(text.contains("00:00:06.000 --> 00:00:07.000\nsprites/0.jpg#xywh=960,0,160,90"), "{text}");
    let sheet = get(hub, &format!("/api/v1/media/{media}/sprites/0.jpg"))?;
    let folder = Place::new()?;
    let path = folder.file("sheet.jpg", &sheet.body)?;
    ensure!(support::video_entry(&path, "width,height")?.trim() == "1600,900");
    // The sixth picture is of the sixth second: green.
    let green = rgb(&path, "1")?.get((45 * 1600 + 5 * 160 + 80) * 3..).map(|at| at[..3].to_vec());
    let green = green.context("too small")?;
    ensure!(green[0] < 30 && green[1] > 220 && green[2] < 30, "{green:?}");
    let missing = wire::ask(&hub.address, "GET", &format!("/api/v1/media/{media}/sprites/1.jpg"), &[])?;
    ensure!(missing.status == 404, "{missing:?}");
    Ok(())
}

/// Each point of the waveform has the extremes of the decoded samples that it stands for.
fn waveform(hub: &Hub, media: &Digest, source: &Path) -> Result<()> {
    let answer = get(hub, &format!("/api/v1/media/{media}/waveform"))?;
    let tag = answer.header("etag")?.to_owned();
    let again = [("if-none-match", tag.as_str())];
    let cached = wire::ask(&hub.address, "GET", &format!("/api/v1/media/{media}/waveform"), &again)?;
    ensure!(cached.status == 304, "{cached:?}");
    let json: Value = serde_json::from_slice(&answer.body)?;
    let mut command = ffmpeg::ffmpeg();
    command.arg("-i").arg(source).args(["-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"]);
    let samples: Vec<f32> = ffmpeg::output(&mut command)?
        .chunks_exact(4)
        .map(|s| f32::from_le_bytes([s[0], s[1], s[2], s[3]]))
        .collect();
    let per = usize::try_from(json["samples_per_pixel"].as_u64().context("no scale")?)?;
    let expected: Vec<i64> = samples
        .chunks(per)
        .flat_map(|part| {
            let least = part.iter().copied().fold(f32::MAX, f32::min);
            let greatest = part.iter().copied().fold(f32::MIN, f32::max);
            [least, greatest].map(|value| (f64::from(value) * 127.0).round() as i64)
        })
        .collect();
    let found: Vec<i64> =
        json["data"].as_array().context("no data")?.iter().filter_map(Value::as_i64).collect();
    ensure!(found.len() == expected.len(), "{} points, expected {}", found.len(), expected.len());
    let apart = found.iter().zip(&expected).map(|(f, e)| (f - e).abs()).max().unwrap_or(0);
    ensure!(apart <= 1, "{apart} steps apart");
    ensure!(found.first().is_some_and(|least| *least < -5) && found.last() == Some(&0), "loud, then silent");
    Ok(())
}

/// The histogram is that of the frames that were to be sampled, decoded by another hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_histogram_counts_what_is_decoded() -> Result<()> {
    let place = Place::new()?;
    let (hub, _stub) = Hub::start(&place, Duration::ZERO, &["--metadata", "auto"])?;
    // Few key frames: all frames are decoded, each fourth is counted. Many: only those.
    let many =
        clip("keys.mp4", "-f lavfi -i testsrc2=s=160x120:r=25:d=6 -c:v libx264 -preset veryfast -g 5 -bf 0")?;
    for (source, select) in [(eight()?, "not(mod(n,4))"), (many, "eq(pict_type,I)")] {
        let media = hub.upload(&source).await?;
        let found = known(&hub, &media).await?;
        let histogram = found.histogram.context("no histogram")?;
        let facts = support::video_entry(&source, "width,height")?;
        let (width, height) = facts.trim().split_once(',').with_context(|| facts.clone())?;
        let frame = width.parse::<usize>()? * height.parse::<usize>()? * 3;
        let bytes = rgb(&source, select)?;
        ensure!(histogram.frames == (bytes.len() / frame) as u64, "{} frames by {select}", histogram.frames);
        let mut counts = vec![[0_u64; 256]; 3];
        for (place, value) in bytes.iter().enumerate() {
            counts[place % 3][usize::from(*value)] += 1;
        }
        let same = [&histogram.red, &histogram.green, &histogram.blue];
        ensure!(counts.iter().zip(same).all(|(a, b)| a[..] == b[..]), "other counts by {select}");
    }
    Ok(())
}

/// What is no video is refused with the reason, whatever it is called; what has no sound has no loudness.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_known_is_said() -> Result<()> {
    let place = Place::new()?;
    let (hub, _stub) = Hub::start(&place, Duration::ZERO, &["--metadata", "auto"])?;
    let text = hub.upload(&place.file("film.mp4", "no film at all")?).await?;
    let refused = until(&hub, &text, |view| view.verdict.is_some()).await?;
    let Some(Verdict::Refused(why)) = &refused.verdict else { anyhow::bail!("{refused:?}") };
    ensure!(why.contains("film.mp4") && !why.contains("data/media"), "{why}");

    let silent = clip("silent.mp4", "-f lavfi -i testsrc2=s=64x64:r=10:d=1 -c:v libx264 -preset ultrafast")?;
    let silent = hub.upload(&silent).await?;
    let found = until(&hub, &silent, |view| view.scenes.is_some() && view.thumbnails.is_some()).await?;
    ensure!(found.loudness.is_none() && found.waveform.is_none() && found.failed.is_empty(), "{found:?}");
    let missing = wire::ask(&hub.address, "GET", &format!("/api/v1/media/{silent}/waveform"), &[])?;
    ensure!(missing.status == 404 && missing.text().contains("sound"), "{missing:?}");

    // A part whose data cannot be decoded keeps no other from being found out.
    let broken = clip(
        "broken.mkv",
        "-f lavfi -i testsrc2=s=64x64:r=10:d=2 -f lavfi -i sine=d=2 -c:v libx264 -preset ultrafast -c:a flac \
         -bsf:a noise=amount=1",
    )?;
    let broken = hub.upload(&broken).await?;
    let found = until(&hub, &broken, |view| {
        let sound = view.loudness.is_some() || view.failed.contains_key(&Part::Sound);
        sound && view.thumbnails.is_some() && view.scenes.is_some() && view.histogram.is_some()
    })
    .await?;
    ensure!(found.thumbnails.is_some_and(|pictures| !pictures.is_empty()));
    Ok(())
}

async fn until(hub: &Hub, media: &Digest, holds: impl Fn(&MetadataView) -> bool) -> Result<MetadataView> {
    let started = std::time::Instant::now();
    loop {
        let view = hub.client.metadata(media).await?;
        if holds(&view) {
            return Ok(view);
        }
        ensure!(started.elapsed() < PATIENCE, "not known in time: {view:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Media that a job reads stays; else it goes, with all that was known about it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_is_forgotten_when_nobody_reads_it() -> Result<()> {
    let place = Place::new()?;
    let (hub, _stub) = Hub::start(&place, Duration::from_secs(2), &[])?;
    let media = hub.upload(&eight()?).await?;
    known(&hub, &media).await?;
    let job = hub.client.submit(&support::cluster::job(media.clone()), None).await?;
    let refused = hub.client.delete_media(&media).await;
    ensure!(refused.as_ref().is_err_and(|f| f.message.contains(&job.id.to_string())), "{refused:?}");
    hub.client.tell_job(job.id, kinora_protocol::client::JobVerb::Cancel).await?;
    hub.client.delete_media(&media).await?;
    ensure!(hub.client.media().await?.items.is_empty());
    ensure!(hub.client.metadata(&media).await.is_err());
    ensure!(support::names(&place.at("data").join("media"))?.is_empty());
    // The same content may come again.
    let again = hub.upload(&eight()?).await?;
    ensure!(again == media && hub.client.metadata(&again).await?.scenes.is_none());
    ensure!(known(&hub, &again).await?.scenes.is_some(), "it is found out anew");
    Ok(())
}
