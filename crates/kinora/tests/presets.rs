//! Recipes with a name do what their title says.
#![cfg(unix)]

mod support;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::ErrorCode;
use kinora_protocol::api::NewJob;
use kinora_protocol::job::JobPhase;
use kinora_protocol::recipe::AudioCodec;
use kinora_testkit::ffmpeg;
use kinora_testkit::reference::FrameTimes;
use support::cluster::{Hub, job};
use support::{Place, clip, kinora, run, same_frames, same_frames_within, short, video_entry};

/// Codecs of all streams, in file order.
fn codecs(path: &std::path::Path) -> Result<String> {
    let mut command = ffmpeg::ffprobe();
    command.args(["-show_entries", "stream=codec_name", "-of", "csv=p=0"]).arg(path);
    let text = ffmpeg::output(&mut command)?;
    Ok(String::from_utf8_lossy(&text).split_whitespace().collect::<Vec<_>>().join(" "))
}

#[test]
fn the_list_has_them_all() -> Result<()> {
    let listed = run(kinora().arg("presets"))?;
    for name in ["web", "hevc-small", "av1", "archive", "lossless", "proxy", "enhance", "audio", "ladder"] {
        ensure!(listed.stdout.lines().any(|line| line.starts_with(name)), "{name}: {}", listed.stdout);
    }
    let json = run(kinora().args(["presets", "--json"]))?;
    ensure!(
        json.stdout.lines().count() == 9 && json.stdout.contains("\"codec\":\"ffv1\""),
        "{}",
        json.stdout
    );
    Ok(())
}

#[test]
fn a_preset_makes_what_it_says() -> Result<()> {
    let place = Place::new()?;
    // Ten bits and 4:2:2, as no browser shows them.
    let deep = clip(
        "deep.mkv",
        "-f lavfi -i testsrc2=s=128x96:r=10:d=2 -f lavfi -i sine=d=2 -c:v ffv1 -pix_fmt yuv422p10le -c:a flac",
    )?;
    let cases = [
        ("web", "o.mp4", "h264 aac", "yuv420p,96"),
        ("proxy", "p.mov", "h264 aac", "yuv420p,96"),
        ("lossless", "l.mkv", "ffv1 flac", "yuv422p10le,96"),
    ];
    for (preset, output, wanted, picture) in cases {
        let made = run(&mut place.encode(&deep, output, &["--recipe", preset]))?;
        ensure!(made.code == Some(0), "{preset}: {made:?}");
        let output = place.at(output);
        ensure!(codecs(&output)? == wanted, "{preset}: {}", codecs(&output)?);
        let found = format!("{},{}", video_entry(&output, "pix_fmt")?, video_entry(&output, "height")?);
        ensure!(found == picture, "{preset}: {found}");
    }
    same_frames(&deep, &place.at("l.mkv"))?;
    // Flags go over it, and what is higher comes down.
    let made =
        run(&mut place.encode(&deep, "s.mp4", &["--recipe", "web", "--scale", "max48", "--audio", "none"]))?;
    ensure!(made.code == Some(0), "{made:?}");
    ensure!(
        codecs(&place.at("s.mp4"))? == "h264" && video_entry(&place.at("s.mp4"), "width,height")? == "64,48"
    );
    let unknown = run(&mut place.encode(&deep, "u.mp4", &["--recipe", "film"]))?;
    ensure!(unknown.code == Some(1) && unknown.stderr.contains("web, hevc-small"), "{unknown:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_may_name_one() -> Result<()> {
    let place = Place::new()?;
    let (hub, _stub) = Hub::start(&place, Duration::ZERO, &[])?;
    let listed = hub.client.presets().await?.items;
    ensure!(listed.len() == 9 && listed.iter().all(|preset| !preset.title.is_empty()));
    let plain = NewJob::of(job(hub.upload(&short()?).await?).source);
    let unknown = hub.client.submit(&NewJob { preset: Some("film".to_owned()), ..plain.clone() }, None).await;
    let failure = unknown.err().context("it was taken")?;
    ensure!(failure.code == ErrorCode::BadRecipe && failure.message.contains("hevc-small"), "{failure}");
    let mut asked = NewJob { preset: Some("lossless".to_owned()), ..plain };
    asked.recipe.audio.codec = Some(AudioCodec::None);
    let ended = hub.ends(hub.client.submit(&asked, None).await?.id).await?;
    ensure!(ended.phase == JobPhase::Completed && ended.name.ends_with(".mkv"), "{ended:?}");
    let output = place.at("o.mkv");
    hub.client.fetch(ended.id, &output).await?;
    same_frames_within(&short()?, &output, FrameTimes::WithinMillis(1))?;
    Ok(())
}
