//! Proxies: media that no browser plays becomes forms that all of them do, on demand and once.

mod support;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::Digest;
use kinora_protocol::proxy::{ProxiesView, ProxyKind, ProxyState};
use kinora_testkit::ffmpeg;
use support::cluster::Hub;
use support::{PATIENCE, Place, browser, clip, eight, kinora, run, wire};

/// What browsers do not play: HEVC of 10 bits with PCM, in Matroska.
fn film() -> Result<std::path::PathBuf> {
    clip(
        "proxied.mkv",
        "-f lavfi -i testsrc2=s=322x180:r=25:d=6 -f lavfi -i sine=f=300:r=48000:d=6 -c:v libx265 -preset ultrafast \
         -x265-params log-level=error -pix_fmt yuv420p10le -c:a pcm_s16le",
    )
}

async fn ready(hub: &Hub, media: &Digest) -> Result<ProxiesView> {
    let started = Instant::now();
    loop {
        let view = hub.client.proxies(media).await?;
        if view.proxies.iter().all(|proxy| proxy.state == ProxyState::Ready) {
            return Ok(view);
        }
        let failed = view.proxies.iter().any(|proxy| proxy.state == ProxyState::Failed);
        ensure!(!failed && started.elapsed() < PATIENCE, "{view:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_browsers_do_not_play_becomes_what_they_do() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::start_as(&place, &["--listen", "127.0.0.1:0"])?;
    hub.connected(1).await?;
    let media = hub.upload(&film()?).await?;
    let before = hub.client.proxies(&media).await?;
    ensure!(before.plays.is_none(), "nobody has looked at it yet: {before:?}");
    ensure!(before.proxies.iter().all(|p| p.state == ProxyState::Absent && p.url.is_none()), "{before:?}");
    let path = format!("/api/v1/media/{media}");
    let missing = wire::ask(&hub.address, "GET", &format!("{path}/proxies/mp4"), &[])?;
    ensure!(missing.status == 404 && missing.text().contains("POST"), "{}", missing.text());
    for kind in ProxyKind::ALL {
        let made = hub.client.make_proxy(&media, kind).await?;
        ensure!(made.state == ProxyState::Working && made.job.is_some(), "{made:?}");
    }
    // Asked for again it is the same.
    hub.client.make_proxy(&media, ProxyKind::Mp4).await?;
    let view = ready(&hub, &media).await?;
    ensure!(view.plays == Some(false) && hub.client.jobs(None, 10).await?.items.len() == 3, "{view:?}");
    let url = |kind: ProxyKind| -> Result<String> {
        let found = view.proxies.iter().find(|proxy| proxy.kind == kind);
        let url = found.and_then(|proxy| proxy.url.clone()).context("no address")?;
        Ok(format!("{}{url}", hub.address))
    };
    let streams = |url: &str| -> Result<Vec<(String, String)>> {
        let mut command = ffmpeg::ffprobe();
        let found = ffmpeg::json(command.args(["-show_streams", "-of", "json", url]))?;
        let text =
            |stream: &serde_json::Value, name: &str| stream[name].as_str().unwrap_or_default().to_owned();
        let streams = found["streams"].as_array().context("no streams")?;
        Ok(streams.iter().map(|s| (text(s, "codec_name"), text(s, "pix_fmt"))).collect())
    };
    let found = streams(&url(ProxyKind::Mp4)?)?;
    let plain = "yuv420p".to_owned();
    ensure!(found == [("h264".to_owned(), plain.clone()), ("aac".to_owned(), String::new())], "{found:?}");
    let found = streams(&url(ProxyKind::Webm)?)?;
    let modern = ["vp9", "av1"].map(str::to_owned);
    ensure!(modern.contains(&found[0].0) && found[0].1 == plain && found[1].0 == "opus", "{found:?}");
    ensure!(streams(&url(ProxyKind::Hls)?)?.iter().any(|(codec, _)| codec == "h264"));
    // It is sent as media is, and its index is in front.
    let part = wire::ask(&hub.address, "GET", &format!("{path}/proxies/mp4"), &[("range", "bytes=0-4095")])?;
    ensure!(part.status == 206 && part.header("content-type")? == "video/mp4", "{part:?}");
    ensure!(part.header("cache-control")? == "private, no-cache", "{part:?}");
    ensure!(part.body.windows(4).any(|four| four == b"moov"), "its index is behind its pictures");
    // Chromium plays each of them: time goes on, seeking works, it ends.
    let args = ["6".to_owned(), url(ProxyKind::Mp4)?, url(ProxyKind::Webm)?];
    browser::play("play.mjs", "proxies in a browser", &args)?;

    // They go with their media.
    let gone = wire::ask(&hub.address, "DELETE", &path, &[])?;
    ensure!(gone.status == 204 && hub.client.jobs(None, 10).await?.items.is_empty(), "{gone:?}");
    ensure!(wire::ask(&hub.address, "GET", &format!("{path}/proxies"), &[])?.status == 404);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_makes_them() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::start_as(&place, &["--listen", "127.0.0.1:0"])?;
    hub.connected(1).await?;
    let media = hub.upload(&eight()?).await?;
    let short: String = media.as_str().chars().take(8).collect();
    let words = ["media", "proxies", &short, "--make", "webm", "--wait", "--hub", &hub.address];
    let made = run(kinora().args(words))?;
    ensure!(made.code == Some(0), "{made:?}");
    ensure!(made.stdout.contains("plays as it is") && made.stdout.contains("webm  ready"), "{made:?}");
    ensure!(made.stdout.contains(&format!("/api/v1/media/{media}/proxies/webm")), "{made:?}");
    ensure!(made.stdout.contains("mp4   absent"), "{made:?}");
    let wrong = run(kinora().args(["media", "proxies", &short, "--make", "avi", "--hub", &hub.address]))?;
    ensure!(wrong.code == Some(2) && wrong.stderr.contains("mp4, webm or hls"), "{wrong:?}");
    Ok(())
}
