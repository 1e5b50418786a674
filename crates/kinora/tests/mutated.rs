//! Real files with bytes that are wrong, through upload and job: each job ends, nothing falls over, nothing is left running.
//! `KINORA_TEST_MUTATIONS` says how many there are, `KINORA_TEST_AT_ONCE` how many at once.
#![cfg(target_os = "linux")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::ErrorCode;
use kinora_protocol::api::NewJob;
use kinora_protocol::job::JobPhase;
use kinora_protocol::recipe::Scale;
use support::cluster::{Hub, job};
use support::processes::nothing_left;
use support::random::Random;
use support::{Place, clip, loud, short};

/// How many files, unless somebody says.
const USUAL: usize = 60;
/// How many are on their way at once.
const TOGETHER: usize = 4;
/// Larger ones take too long to send.
const LARGEST: u64 = 3_000_000;

/// Files of all kinds that are taken.
fn sources() -> Result<Vec<PathBuf>> {
    let pictures = "-f lavfi -i testsrc2=s=160x90:r=25:d=1";
    let both = format!("{pictures} -f lavfi -i sine=d=1 -shortest");
    let mut found = vec![
        short()?,
        clip("kind.mkv", &format!("{both} -c:v libx264 -preset ultrafast -c:a flac"))?,
        clip("kind.webm", &format!("{both} -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus"))?,
        clip("kind.ts", &format!("{both} -c:v libx264 -preset ultrafast -bf 2 -c:a aac"))?,
        clip("kind.avi", &format!("{both} -c:v mpeg4 -c:a libmp3lame"))?,
        clip("kind.mov", &format!("{both} -c:v prores_ks -c:a pcm_s16le"))?,
        clip("kind.mpg", &format!("{both} -c:v mpeg2video -c:a mp2"))?,
        clip("kind.flv", &format!("{both} -ar 44100 -c:v flv -c:a libmp3lame"))?,
        clip("kind.ogv", &format!("{both} -c:v libtheora -c:a libvorbis"))?,
        clip("kind.gif", pictures)?,
        clip("kind.flac", "-f lavfi -i sine=d=1")?,
        clip("kind.mp3", "-f lavfi -i sine=d=1")?,
        clip("kind.wav", "-f lavfi -i sine=d=1")?,
    ];
    let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/media");
    match std::fs::read_dir(&real) {
        Ok(entries) => {
            let mut small: Vec<_> = entries
                .flatten()
                .filter(|e| e.metadata().is_ok_and(|m| m.is_file() && m.len() < LARGEST))
                .map(|e| e.path())
                .collect();
            small.sort();
            small.retain(|path| {
                path.extension()
                    .is_some_and(|e| !["md", "txt", "tsv", "py"].contains(&e.to_str().unwrap_or_default()))
            });
            found.extend(small);
        }
        Err(_) => loud("the real clips are not here: only generated files were mutated"),
    }
    Ok(found)
}

/// Bytes made wrong, in one of the ways in which they go wrong.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let length = bytes.len().max(1) as u64;
    for _ in 0..=random.below(4) {
        let at = random.below(length) as usize;
        // Most of what leads a reader astray is at the beginning and at the end.
        let at = match random.below(3) {
            0 => at.min(4096),
            1 => bytes.len().saturating_sub(at.min(4096) + 1),
            _ => at,
        };
        let span = (1 + random.below(64)) as usize;
        match random.below(6) {
            0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (span % 8)),
            1 => bytes.iter_mut().skip(at).take(span).for_each(|byte| *byte = random.below(256) as u8),
            // Numbers at the ends of what they can be.
            2 => {
                let extreme = [0_u32, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff][random.below(5) as usize];
                bytes.iter_mut().skip(at).zip(extreme.to_be_bytes()).for_each(|(byte, with)| *byte = with);
            }
            3 => bytes.truncate(at.max(16)),
            4 => drop(bytes.drain(at.min(bytes.len())..(at + span).min(bytes.len()))),
            _ => {
                let again: Vec<u8> = bytes.iter().skip(at).take(span * 16).copied().collect();
                let at = at.min(bytes.len());
                bytes.splice(at..at, again);
            }
        }
    }
}

/// All of it is decoded, and little is made of it.
fn small(media: kinora_protocol::Digest) -> NewJob {
    let mut wanted = job(media);
    let video = &mut wanted.recipe.video;
    video.quality = None;
    video.crf = Some(40.0);
    video.scale = Some(Scale::Height(90));
    wanted
}

/// Uploads one and lets it be a job; gives how it ended.
async fn try_one(hub: &Hub, path: &Path) -> Result<&'static str> {
    let media = match hub.client.upload(path, |_| ()).await {
        Ok(media) => media.id,
        Err(failure) => {
            ensure!(failure.code == ErrorCode::BadInput, "{}: {failure}", path.display());
            return Ok("not kept");
        }
    };
    let id = hub.client.submit(&small(media), None).await?.id;
    let ended = hub.ends(id).await?;
    match (ended.phase, ended.failure) {
        (JobPhase::Completed, _) => Ok("done"),
        (JobPhase::Failed, Some(failure)) => {
            ensure!(failure.code != ErrorCode::Internal, "{}: {failure:?}", path.display());
            Ok("failed")
        }
        (phase, failure) => anyhow::bail!("{}: {phase:?} {failure:?}", path.display()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_wrong_in_a_file_nothing_falls() -> Result<()> {
    let count = std::env::var("KINORA_TEST_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(USUAL);
    let place = Place::new()?;
    let flags =
        ["--listen", "127.0.0.1:0", "--metadata", "off", "--stall-timeout", "20", "--max-attempts", "1"];
    let mut hub = Hub::start_as(&place, &flags)?;
    hub.connected(1).await?;
    let pid = hub.child.id();
    let sandbox = hub.client.nodes().await?.items.into_iter().map(|node| node.capabilities.sandbox.words());
    println!("sandbox: {}", sandbox.collect::<Vec<_>>().join(", "));
    // Beside the files, where whoever gets out would leave something.
    let outside = place.at("outside");
    std::fs::create_dir(&outside)?;
    let canary = place.file("outside/canary", b"untouched")?;
    let (sources, next) = (sources()?, AtomicUsize::new(0));
    let folder = place.at("mutated");
    std::fs::create_dir(&folder)?;
    let (mut times, mut ends) = (Vec::new(), std::collections::BTreeMap::new());
    let one = async |hub: &Hub| -> Result<Vec<(Duration, String, &'static str)>> {
        let mut found = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                return Ok(found);
            }
            let source = &sources[n % sources.len()];
            let mut bytes = std::fs::read(source)?;
            mutate(&mut bytes, &mut Random(n as u64 * 7919 + 17));
            let name = source.file_name().context("no name")?.to_string_lossy().into_owned();
            let path = folder.join(format!("{n}-{name}"));
            std::fs::write(&path, bytes)?;
            let started = Instant::now();
            let end =
                try_one(hub, &path).await.with_context(|| format!("file {n} of {}", source.display()))?;
            found.push((started.elapsed(), name, end));
            std::fs::remove_file(&path)?;
        }
    };
    let together = std::env::var("KINORA_TEST_AT_ONCE").ok().and_then(|n| n.parse().ok()).unwrap_or(TOGETHER);
    let all = futures_util::future::try_join_all((0..together).map(|_| one(&hub))).await?;
    for (time, name, end) in all.into_iter().flatten() {
        times.push((time, name));
        *ends.entry(end).or_insert(0) += 1;
    }
    times.sort();
    let at =
        |part: usize| times.get(times.len() * part / 100).or(times.last()).map_or(Duration::ZERO, |t| t.0);
    println!("slowest: {:?}", &times[times.len().saturating_sub(10)..]);
    println!("{count} files: {ends:?}; {:?} (median), {:?} (p99), {:?} at the most", at(50), at(99), at(100));
    ensure!(hub.child.try_wait()?.is_none(), "the hub is gone");
    ensure!(std::fs::read(&canary)? == b"untouched" && support::names(&outside)?.len() == 1, "it got out");
    hub.connected(1).await?;
    nothing_left(pid, &place.at("data").join("scratch")).await?;
    ensure!(ends.contains_key("done") && ends.contains_key("failed"), "{ends:?}");
    Ok(())
}
