//! Files that were made to do harm: each is taken or refused as it should be, by what it is and not by its name; hub and worker
//! stay up, nothing is fetched from anywhere, nothing is written anywhere else.
#![cfg(unix)]

mod support;

use std::io::Read as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use kinora_protocol::api::{MetadataView, NewJob, Source};
use kinora_protocol::job::JobPhase;
use kinora_protocol::media::Verdict;
use kinora_protocol::node::Sandboxing;
use support::cluster::{Hub, Worker, job};
use support::processes::nothing_left;
use support::{PATIENCE, Place, clip, loud, short};

/// What should become of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Taken,
    Refused,
}

/// Hears of everything that wants to fetch something.
struct Canary {
    heard: Arc<AtomicUsize>,
    address: String,
}

impl Canary {
    fn at(address: &str) -> Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?.to_string();
        let heard = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::Relaxed);
                let _ = stream.map(|mut stream| stream.read(&mut [0; 512]));
            }
        });
        Ok(Self { heard, address })
    }

    fn is_silent(&self) -> bool {
        self.heard.load(Ordering::Relaxed) == 0
    }
}

/// A hub that looks at all that comes, and a worker that shares nothing with it.
async fn cluster(place: &Place, flags: &[&str]) -> Result<(Hub, Worker)> {
    let own = ["--local-worker", "off", "--listen", "127.0.0.1:0", "--metadata", "auto"];
    let hub = Hub::start_as(place, &[&own, flags].concat())?;
    let worker =
        Worker::start(place, "one", &hub.address, Duration::ZERO, &["--copy", "--stall-timeout", "20"])?;
    hub.connected(1).await?;
    Ok((hub, worker))
}

/// What became of a file; what is not even kept is refused, too.
async fn fate(hub: &Hub, path: &Path) -> Result<(Fate, String)> {
    let media = match hub.client.upload(path, |_| ()).await {
        Ok(media) => media.id,
        Err(failure) => return Ok((Fate::Refused, failure.message)),
    };
    let started = Instant::now();
    loop {
        let MetadataView { verdict, .. } = hub.client.metadata(&media).await?;
        match verdict {
            Some(Verdict::Admitted(_)) => return Ok((Fate::Taken, String::new())),
            Some(Verdict::Refused(why)) => return Ok((Fate::Refused, why)),
            None => ensure!(started.elapsed() < PATIENCE, "{}: nothing became of it", path.display()),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Each file, in order; then whether all is still well.
async fn look_at(hub: &Hub, files: &[(PathBuf, Fate)]) -> Result<()> {
    let mut wrong = Vec::new();
    for (path, wanted) in files {
        let (found, why) = fate(hub, path).await.with_context(|| path.display().to_string())?;
        if found != *wanted {
            wrong.push(format!("{}: {found:?} ({why})", path.display()));
        }
        if found == Fate::Refused {
            ensure!(!why.is_empty() && !why.contains("data/media"), "{}: {why:?}", path.display());
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    hub.connected(1).await?;
    let mebibytes = peak(hub.child.id())?;
    ensure!(mebibytes < 200, "the hub took {mebibytes} MiB");
    Ok(())
}

/// Most memory that a process ever had, in MiB; 0 where the system does not tell.
fn peak(process: u32) -> Result<u64> {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{process}/status")) else { return Ok(0) };
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? / 1024)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_video_is_refused_whatever_its_name() -> Result<()> {
    let place = Place::new()?;
    let canary = Canary::at("127.0.0.1:0")?;
    let (hub, _worker) = cluster(&place, &[]).await?;
    let good = short()?;
    let film = std::fs::read(&good)?;
    let secret = place.file("secret.txt", "TOP SECRET\n")?;
    let url = format!("http://{}/x", canary.address);
    let playlist =
        |entry: &str| format!("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:2.0,\n{entry}\n#EXT-X-ENDLIST\n");
    let file = |name: &str, bytes: &[u8]| place.file(name, bytes);
    let files = [
        (file("playlist.mp4", playlist(&format!("{url}.ts")).as_bytes())?, Fate::Refused),
        (file("local.m3u8", playlist(&format!("file://{}", good.display())).as_bytes())?, Fate::Refused),
        (
            file("list.mp4", format!("ffconcat version 1.0\nfile '{}'\n", good.display()).as_bytes())?,
            Fate::Refused,
        ),
        (
            file(
                "dash.mp4",
                format!("<?xml version=\"1.0\"?><MPD><BaseURL>{url}</BaseURL></MPD>").as_bytes(),
            )?,
            Fate::Refused,
        ),
        (file("session.sdp", b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 9878 RTP/AVP 96\n")?, Fate::Refused),
        (file("half.mp4", &film[..film.len() / 2])?, Fate::Refused),
        (
            file("page.mp4", &[b"<!doctype html><script>fetch('/')</script>", film.as_slice()].concat())?,
            Fate::Refused,
        ),
        (file("picture.svg", format!("<svg><image href=\"{url}\"/></svg>").as_bytes())?, Fate::Refused),
        (file("words.ass", b"[Script Info]\nScriptType: v4.00+\n[Events]\n")?, Fate::Refused),
        (secret, Fate::Refused),
        // A film stays one with something behind it, and under any name.
        (
            file(
                "tail.mp4",
                &[film.as_slice(), b"\0\0\0\x30free<script>alert(1)</script>PK\x03\x04 zip or so"].concat(),
            )?,
            Fate::Taken,
        ),
        (file("-i a;$(touch PWNED)`x`|&.mp4", &film)?, Fate::Taken),
        (clip("fast.mp4", "-f lavfi -i color=black:s=16x16:r=1000:d=3 -c:v mpeg4 -g 600")?, Fate::Refused),
    ];
    look_at(&hub, &files).await?;
    ensure!(canary.is_silent(), "something was fetched");
    ensure!(!place.names()?.iter().any(|name| name == "PWNED"));
    Ok(())
}

/// Paths on the hub's machine: only regular files that really are below an allowed folder.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_file_is_not_opened() -> Result<()> {
    let place = Place::new()?;
    let allowed = place.at("allowed");
    std::fs::create_dir(&allowed)?;
    let (hub, _worker) = cluster(&place, &["--allow-dir", allowed.to_str().context("an odd path")?]).await?;
    std::os::unix::fs::symlink("/dev/zero", allowed.join("device.mp4"))?;
    std::os::unix::fs::symlink("self.mp4", allowed.join("self.mp4"))?;
    std::os::unix::fs::symlink(short()?, allowed.join("outside.mp4"))?;
    let made = Command::new("mkfifo").arg(allowed.join("pipe.mp4")).status()?;
    ensure!(made.success());
    for name in ["device.mp4", "self.mp4", "outside.mp4", "pipe.mp4", "../secret.txt", "."] {
        let started = Instant::now();
        let job = NewJob::of(Source::Path(allowed.join(name)));
        let refused = hub.client.submit(&job, None).await;
        let failure = refused.err().with_context(|| format!("{name} was taken"))?;
        ensure!(failure.code == kinora_protocol::ErrorCode::BadInput, "{name}: {failure}");
        ensure!(started.elapsed() < Duration::from_secs(5), "{name} was opened");
    }
    Ok(())
}

/// Each limit of what a file may have can be set, and says which it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_more_than_is_taken_is_refused_by_its_name() -> Result<()> {
    let film = clip(
        "limits.mp4",
        "-f lavfi -i testsrc2=s=160x90:r=25:d=4 -f lavfi -i sine=d=4 -c:v libx264 -preset ultrafast -c:a aac",
    )?;
    for (flags, word) in [
        (["--max-fps", "20"], "frames a second"),
        (["--max-packets", "50"], "video packets"),
        (["--max-duration", "2"], "s long"),
        (["--max-streams", "1"], "streams"),
        (["--max-pixels", "10000"], "160x90"),
    ] {
        let place = Place::new()?;
        let hub = Hub::start_as(&place, &[&["--listen", "127.0.0.1:0"][..], &flags].concat())?;
        let media = hub.upload(&film).await?;
        let ended = hub.ends(hub.client.submit(&job(media), None).await?.id).await?;
        let failure = ended.failure.with_context(|| format!("{flags:?}: {:?}", ended.phase))?;
        ensure!(failure.code == kinora_protocol::ErrorCode::BadInput, "{flags:?}: {failure}");
        ensure!(failure.message.contains(word), "{flags:?}: {failure}");
    }
    Ok(())
}

/// The prepared set, where it is there.
fn prepared() -> Result<Option<PathBuf>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/evil/make_evil.py");
    if !script.is_file() {
        loud("the prepared hostile files are not here: only the ones made by the tests were tried");
        return Ok(None);
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile");
    let made = Command::new("python3").arg(&script).arg(&folder).output();
    match made {
        Ok(made) if made.status.success() => Ok(Some(folder)),
        Ok(made) => bail!("{}: {}", script.display(), String::from_utf8_lossy(&made.stderr)),
        Err(error) => {
            loud(&format!("python3 cannot be started ({error}): the prepared hostile files were not made"));
            Ok(None)
        }
    }
}

/// As their table says.
fn wanted(name: &str) -> Option<Fate> {
    const TAKEN: [&str; 9] = ["07b_", "09_polyglot", "11d_", "12_", "13_", "15", "18_", "19_", "good."];
    const ELSEWHERE: [&str; 1] = ["16"];
    if ELSEWHERE.iter().any(|prefix| name.starts_with(prefix)) {
        return None;
    }
    let taken = TAKEN.iter().any(|prefix| name.starts_with(prefix)) || name == "-i.mp4";
    Some(if taken { Fate::Taken } else { Fate::Refused })
}

/// Lets a file be a job, whatever was found out of it; gives the result, if there is one.
async fn work_on(hub: &Hub, place: &Place, path: &Path) -> Result<Option<PathBuf>> {
    let Ok(media) = hub.client.upload(path, |_| ()).await else { return Ok(None) };
    let mut wanted = job(media.id);
    match path.file_name().and_then(|name| name.to_str()) {
        // Its pictures do not come in the order of their times: these cannot be kept.
        Some("12_negts.mp4") => wanted.recipe.video.fps = Some("25".parse().map_err(anyhow::Error::msg)?),
        // Its pictures are of a kind that no encoder for MP4 takes without loss.
        Some("13_endless.gif") => wanted.recipe.video.quality = None,
        _ => {}
    }
    let id = match hub.client.submit(&wanted, None).await {
        Ok(view) => view.id,
        Err(failure) if failure.code == kinora_protocol::ErrorCode::BadInput => return Ok(None),
        Err(failure) => return Err(failure.into()),
    };
    let ended = hub.ends(id).await?;
    match (ended.phase, ended.failure) {
        (JobPhase::Completed, _) => {
            let out = place.at(&format!("{id}.mp4"));
            hub.client.fetch(id, &out).await?;
            Ok(Some(out))
        }
        (JobPhase::Failed, Some(failure)) if failure.code != kinora_protocol::ErrorCode::Internal => {
            eprintln!("{}: {failure}", path.display());
            Ok(None)
        }
        (phase, failure) => bail!("{phase:?} {failure:?}"),
    }
}

/// What each picture shows.
fn pictures(path: &Path) -> Result<Vec<String>> {
    Ok(support::decoded(path)?.into_iter().map(|frame| frame.hash).collect())
}

/// A result begins at nothing, and its packets follow each other.
fn starts_and_goes_on(path: &Path) -> Result<()> {
    let mut probe = Command::new("ffprobe");
    probe.args([
        "-v",
        "error",
        "-select_streams",
        "v:0",
        "-show_entries",
        "packet=pts_time,dts_time",
        "-of",
        "csv=p=0",
    ]);
    let said = String::from_utf8(probe.arg(path).output()?.stdout)?;
    let mut before = f64::MIN;
    for line in said.lines() {
        let (pts, dts) = line.split_once(',').context("no times")?;
        let (pts, dts): (f64, f64) = (pts.parse()?, dts.trim_end_matches(',').parse()?);
        ensure!(pts >= 0.0 && dts > before, "pts {pts}, dts {dts} after {before}");
        before = dts;
    }
    ensure!(before > f64::MIN, "it has no packets");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_prepared_files_meet_their_fate() -> Result<()> {
    let Some(folder) = prepared()? else { return Ok(()) };
    let place = Place::new()?;
    let canary = Canary::at("127.0.0.1:9876");
    if canary.is_err() {
        loud("port 9876 is taken: it was not seen whether anything was fetched");
    }
    let (hub, worker) = cluster(&place, &[]).await?;
    let sandbox = hub.client.nodes().await?.items.into_iter().map(|node| node.capabilities.sandbox);
    if sandbox.clone().any(|state| state != Sandboxing::Full) {
        loud(&format!(
            "the prepared files were tried without the whole sandbox: {:?}",
            sandbox.collect::<Vec<_>>()
        ));
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(fate) = wanted(&name).filter(|_| entry.file_type().is_ok_and(|kind| kind.is_file())) {
            files.push((entry.path(), fate));
        }
    }
    files.sort();
    ensure!(files.len() > 40, "{} files", files.len());
    look_at(&hub, &files).await?;
    let good = folder.join("good.mp4");
    for (path, fate) in &files {
        let made = work_on(&hub, &place, path).await.with_context(|| path.display().to_string())?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        ensure!(made.is_some() == (*fate == Fate::Taken), "{name}: {made:?}");
        let Some(made) = made else { continue };
        // Tables of times that are wrong change no picture; a film that never ends is played once.
        if name.starts_with("11d_") {
            ensure!(pictures(&good)? == pictures(&made)?, "{name}");
        } else if name.starts_with("13_") {
            ensure!(support::decoded(&made)?.len() == support::decoded(path)?.len(), "{name}");
        }
        starts_and_goes_on(&made).with_context(|| name)?;
    }
    for line in std::fs::read_to_string(folder.join("20_params.txt"))?.lines() {
        let mut wanted = job(hub.upload(&good).await?);
        wanted.recipe.video.ffmpeg_params = Some(line.to_owned());
        let refused =
            hub.client.submit(&wanted, None).await.err().with_context(|| format!("{line} was taken"))?;
        ensure!(refused.code == kinora_protocol::ErrorCode::BadRecipe, "{line}: {refused}");
    }
    if cfg!(target_os = "linux") {
        nothing_left(worker.child.id(), &worker.folder.join("scratch")).await?;
    }
    ensure!(canary.map_or(true, |canary| canary.is_silent()), "something was fetched");
    for outside in ["/tmp/PWNED_attach", "/tmp/pwn.ttf"] {
        ensure!(!Path::new(outside).exists(), "{outside} was written");
    }
    Ok(())
}
