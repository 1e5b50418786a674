//! What has to be known of a whole film before its frames can be made: colour by scene, a steady camera. Chunks of it are what an
//! unsplit run gives, and it does what it is for.
#![cfg(unix)]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::job::JobPhase;
use kinora_protocol::recipe::ColorChange;
use kinora_protocol::task::TaskKind;
use kinora_testkit::clips;
use kinora_testkit::ffmpeg;
use support::cluster::{Hub, Worker, job};
use support::enhancing::{Enhancer, with_cuts, without_cuts};
use support::{Place, clip, eight, kinora, loud, run, same_frames};

/// Lumas of all frames of a film in this size.
fn lumas(film: &Path, (width, height): (usize, usize)) -> Result<Vec<Vec<u8>>> {
    let mut command = ffmpeg::ffmpeg();
    command.arg("-i").arg(film);
    command.args(["-vf", &format!("scale={width}:{height}:flags=area,format=gray")]);
    let out = ffmpeg::output(command.args(["-fps_mode", "passthrough", "-f", "rawvideo", "-"]))?;
    Ok(out.chunks_exact(width * height).map(<[u8]>::to_vec).collect())
}

/// How far the picture moved from each frame to the next along one side, in samples: sums of columns, or of rows, laid over each other.
fn steps(frames: &[Vec<u8>], width: usize, along: bool) -> Vec<f64> {
    let profile = |frame: &Vec<u8>| -> Vec<f64> {
        let height = frame.len() / width;
        match along {
            true => {
                (0..width).map(|x| frame.iter().skip(x).step_by(width).map(|v| f64::from(*v)).sum()).collect()
            }
            false => (0..height)
                .map(|y| frame[y * width..(y + 1) * width].iter().map(|v| f64::from(*v)).sum())
                .collect(),
        }
    };
    const REACH: i64 = 24;
    let profiles: Vec<Vec<f64>> = frames.iter().map(profile).collect();
    let step = |pair: &[Vec<f64>]| {
        let length = pair[0].len() as i64;
        let differs = |by: i64| -> f64 {
            (REACH..length - REACH).map(|n| (pair[0][n as usize] - pair[1][(n + by) as usize]).powi(2)).sum()
        };
        let best = (1 - REACH..REACH).min_by(|a, b| differs(*a).total_cmp(&differs(*b))).unwrap_or(0);
        let [before, least, after] = [best - 1, best, best + 1].map(differs);
        best as f64 + 0.5 * (before - after) / (before - 2.0 * least + after).max(1e-9)
    };
    profiles.windows(2).map(step).collect()
}

fn variance(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64
}

/// How restless a camera is, in samples.
fn unrest(film: &Path, (width, height): (usize, usize)) -> Result<f64> {
    let frames = lumas(film, (width, height))?;
    ensure!(frames.len() > 40, "{} frames", frames.len());
    Ok(variance(&steps(&frames, width, true)) + variance(&steps(&frames, width, false)))
}

/// Filters that shake a film of at least this size as a hand would.
fn shake(width: u32, height: u32) -> String {
    format!(
        "crop={width}:{height}:x='(iw-ow)/2+9*sin(n*1.9)*cos(n*0.7)+5*sin(n*0.9)':y='(ih-oh)/2+6*sin(n*2.3)*cos(n*1.1)+4*cos(n*1.3)'"
    )
}

/// A bright wall with something everywhere, filmed by a hand that shakes.
fn shaken() -> Result<PathBuf> {
    clip(
        "shaken.mkv",
        &format!(
            "-f lavfi -i mandelbrot=size=384x256:start_scale=0.02:start_x=-0.745:start_y=0.112:rate=25:maxiter=300 -t 5 -vf \
             trim=end_frame=1,loop=125:1,setpts=N/25/TB,format=yuv420p,lutyuv=y=clip(60+val*0.7\\,60\\,235),{},trim=end_frame=120 -c:v ffv1",
            shake(320, 192)
        ),
    )
}

const ALL: [&[&str]; 4] = [
    &["--color", "auto"],
    &["--stabilize"],
    &["--stabilize", "--smoothing", "0.2", "--color", "auto", "--denoise", "light"],
    &["--color", "auto", "--upscale", "2", "--upscaler", "lanczos", "--fps", "30"],
];

#[test]
fn chunks_fit_together() -> Result<()> {
    let place = Place::new()?;
    for source in [with_cuts()?, without_cuts()?, shaken()?] {
        for flags in ALL {
            let chunked = Enhancer::default().fits_together(&place, &source, flags)?;
            ensure!(same_frames(&source, &chunked).is_err(), "{flags:?}: nothing was done to it");
        }
    }
    Ok(())
}

/// And so they do where fields, clocks, depths and sizes are odd.
#[test]
fn chunks_of_odd_sources_fit_together() -> Result<()> {
    let place = Place::new()?;
    let made = |name: &str| clips::all()?.into_iter().find(|clip| clip.name == name).context(name.to_owned());
    for (name, flags) in [
        ("interlaced_h264", &["--stabilize"][..]),
        ("interlaced_h264", &["--color", "auto"]),
        ("pts_wrap", &["--stabilize", "--color", "auto"]),
        ("hdr10_hevc", &["--hdr", "hdr2sdr", "--color", "auto", "--stabilize"]),
        ("vfr", &["--stabilize", "--color", "auto"]),
        ("odd_size", &["--stabilize", "--color", "auto"]),
    ] {
        Enhancer::default().fits_together(&place, &made(name)?.path, flags)?;
    }
    Ok(())
}

/// Where all of a picture comes from inside the one that there was, nothing is darker than the darkest of it.
fn no_edge_is_seen(film: &Path, size: (usize, usize), least: u8) -> Result<()> {
    for (n, frame) in lumas(film, size)?.iter().enumerate() {
        let darkest = frame.iter().min().copied().unwrap_or(0);
        ensure!(darkest >= least, "frame {n} has {darkest}");
    }
    Ok(())
}

#[test]
fn a_shaken_camera_becomes_steady() -> Result<()> {
    let place = Place::new()?;
    let source = shaken()?;
    let (steady, _) = Enhancer::default().told(&place, &source, "steady.mkv", "2", &["--stabilize"])?;
    let (before, after) = (unrest(&source, (320, 192))?, unrest(&steady, (320, 192))?);
    ensure!(after < 0.1 * before, "{after:.3} of {before:.3} are left");
    no_edge_is_seen(&steady, (320, 192), 55)
}

/// Of real films, where they are.
#[test]
fn a_real_film_becomes_steady() -> Result<()> {
    let Some(real) = clips::shared().filter(|real| !real.is_empty()) else {
        loud("real films are not there: stabilization is tested with a made one alone");
        return Ok(());
    };
    let place = Place::new()?;
    for (name, size) in [("d17_noaudio_bottle", (400, 220)), ("d02_h264_opengop_540p", (400, 220))] {
        let film = real.iter().find(|clip| clip.name == name).context(name)?;
        let shaken = place.at("shaken.mkv");
        let mut command = ffmpeg::ffmpeg();
        command.arg("-i").arg(&film.path).args(["-t", "6", "-an", "-vf"]);
        command.arg(format!("scale=440:248,lutyuv=y=clip(val\\,70\\,235),{}", shake(400, 220)));
        ffmpeg::output(command.args(["-c:v", "ffv1", "-y"]).arg(&shaken))?;
        let (steady, _) = Enhancer::default().told(&place, &shaken, "steady.mkv", "2", &["--stabilize"])?;
        let (before, after) = (unrest(&shaken, size)?, unrest(&steady, size)?);
        ensure!(after < 0.4 * before, "{name}: {after:.3} of {before:.3} are left");
        no_edge_is_seen(&steady, size, 40)?;
    }
    Ok(())
}

/// A dull scene, a scene with all of its range, and a dull one again.
fn dull() -> Result<PathBuf> {
    let scene = |luma: &str, tint: &str| {
        format!("testsrc2=size=160x90:rate=25:duration=2,format=yuv420p,lutyuv=y={luma}:u={tint}:v=val")
    };
    clip(
        "dull.mkv",
        &format!(
            "-f lavfi -i {} -f lavfi -i {} -f lavfi -i {} -filter_complex concat=n=3,format=yuv420p -c:v ffv1",
            scene("70+val*0.4", "128+(val-128)*0.3-6"),
            scene("255-val", "val"),
            scene("50+val*0.35", "128+(val-128)*0.4"),
        ),
    )
}

#[test]
fn a_scene_is_corrected_as_one() -> Result<()> {
    let place = Place::new()?;
    let source = dull()?;
    let (made, _) = Enhancer::default().told(&place, &source, "made.mkv", "2", &["--color", "auto"])?;
    let (before, after) = (lumas(&source, (160, 90))?, lumas(&made, (160, 90))?);
    ensure!(before.len() == 150 && after.len() == 150, "{} and {} frames", before.len(), after.len());
    let spread = |frame: &Vec<u8>| -> i32 {
        let mut values = frame.clone();
        values.sort_unstable();
        i32::from(values[values.len() * 99 / 100]) - i32::from(values[values.len() / 100])
    };
    for scene in 0..3 {
        // Each value becomes one value, in all frames of the scene.
        let mut becomes = [None; 256];
        for n in scene * 50..(scene + 1) * 50 {
            for (value, made) in before[n].iter().zip(&after[n]) {
                let known = becomes[usize::from(*value)].get_or_insert(*made);
                ensure!(known == made, "frame {n}: {value} becomes {made}, and {known} before");
            }
        }
        let (was, is) = (spread(&before[scene * 50 + 25]), spread(&after[scene * 50 + 25]));
        match scene {
            1 => ensure!((is - was).abs() <= was / 6, "what is good stays: {was} became {is}"),
            _ => ensure!(is > was * 5 / 4, "scene {scene}: a range of {was} became {is}"),
        }
    }
    Ok(())
}

/// Shades of gray have room below and above them, too.
#[test]
fn a_good_film_without_colour_stays() -> Result<()> {
    let place = Place::new()?;
    let source = clip(
        "gray.mkv",
        "-f lavfi -i testsrc2=size=160x90:rate=25:duration=2 -vf \
         format=gray,geq=lum=16+219*X/W,setparams=range=limited -c:v ffv1 -color_range tv",
    )?;
    let (made, _) = Enhancer::default().told(&place, &source, "made.mkv", "1000", &["--color", "auto"])?;
    let raw = |film: &Path| -> Result<Vec<u8>> {
        let mut command = ffmpeg::ffmpeg();
        ffmpeg::output(command.arg("-i").arg(film).args(["-frames:v", "1", "-f", "rawvideo", "-"]))
    };
    let (before, after) = (raw(&source)?, raw(&made)?);
    let most = before.iter().zip(&after).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(u8::MAX);
    ensure!(before.len() == after.len() && most <= 6, "changed by {most}");
    Ok(())
}

#[test]
fn a_frame_is_shown_before() -> Result<()> {
    let place = Place::new()?;
    let (source, picture) = (dull()?, place.at("shown.png"));
    let flags = ["--preview", "1", "--color", "auto", "--stabilize"];
    run(kinora().arg("enhance").arg(&source).arg(&picture).args(flags))?.succeeded()?;
    let shown = lumas(&picture, (320, 90))?;
    let half = |from: usize| -> Vec<u8> {
        shown[0].chunks_exact(320).flat_map(|row| row[from..from + 160].to_vec()).collect()
    };
    let spread =
        |values: &[u8]| values.iter().max().zip(values.iter().min()).map(|(most, least)| most - least);
    ensure!(spread(&half(160)) > spread(&half(0)), "the right half is the better one");
    Ok(())
}

#[test]
fn what_cannot_be_is_said() -> Result<()> {
    let place = Place::new()?;
    let hdr = clips::all()?.into_iter().find(|clip| clip.name == "hdr10_hevc").context("hdr10_hevc")?.path;
    let small = clip("small.mkv", "-f lavfi -i testsrc=size=32x32:rate=25:duration=1 -c:v ffv1")?;
    for (source, flags, told) in [
        (&hdr, &["--color", "auto"][..], "hdr2sdr"),
        (&small, &["--stabilize"], "64x64"),
        (&small, &["--smoothing", "1"], "stabilize"),
        (&hdr, &["--stabilize", "--smoothing", "9"], "0.1 to 5 seconds"),
        (&hdr, &["--stabilize", "--codec", "copy"], "a copy"),
    ] {
        let said = run(kinora().arg("enhance").arg(source).arg(place.at("out.mkv")).args(flags))?;
        let why = said.failed()?;
        ensure!(why.contains(told), "{flags:?}: {why}");
    }
    Ok(())
}

/// Measured on one node, put together on another, made on both: what one machine makes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let slots = ["--copy", "--slots", "1"];
    let _one = Worker::start(&place, "one", &hub.address, Duration::ZERO, &slots)?;
    let _two = Worker::start(&place, "two", &hub.address, Duration::ZERO, &slots)?;
    hub.connected(2).await?;
    let mut wanted = job(hub.upload(&eight()?).await?);
    wanted.recipe.enhance.color = Some(ColorChange::Auto);
    wanted.recipe.enhance.stabilize = Some(true);
    let id = hub.client.submit(&wanted, None).await?.id;
    let ended = hub.ends(id).await?;
    ensure!(ended.phase == JobPhase::Completed, "{ended:?}");
    let tasks = hub.client.tasks(id).await?.items;
    let count = |kind: TaskKind| tasks.iter().filter(|task| task.kind == kind).count();
    ensure!(count(TaskKind::Measure) == 2 && count(TaskKind::Survey) == 1, "{tasks:?}");
    let out = place.at("o.mp4");
    hub.client.fetch(id, &out).await?;
    same_frames(&Enhancer::default().whole(&place, &eight()?, &["--color", "auto", "--stabilize"])?, &out)
}

/// Starts of chapters in seconds, as ffprobe reads them.
fn chapters(film: &Path) -> Result<Vec<f64>> {
    let mut command = ffmpeg::ffprobe();
    command.args(["-v", "error", "-show_entries", "chapter=start_time:chapter_tags=title", "-of", "csv=p=0"]);
    let told = String::from_utf8(ffmpeg::output(command.arg(film))?)?;
    let lines = told.lines().enumerate();
    lines
        .map(|(n, line)| {
            let (start, title) = line.split_once(',').context("no title")?;
            ensure!(title == format!("Chapter {}", n + 1), "{told}");
            Ok(start.parse()?)
        })
        .collect()
}

#[test]
fn chapters_begin_with_scenes() -> Result<()> {
    let place = Place::new()?;
    let source = clip(
        "chapters.mp4",
        "-f lavfi -i testsrc2=size=160x90:rate=25:duration=7.2 -f lavfi -i mandelbrot=size=160x90:rate=25:end_pts=9 \
         -f lavfi -i smptehdbars=size=160x90:rate=25:duration=6 \
         -filter_complex [1:v]trim=duration=8[b];[0:v][b][2:v]concat=n=3,format=yuv420p -c:v libx264 -preset veryfast -crf 18",
    )?;
    for (name, flags) in [
        ("made.mp4", &["--chunk-seconds", "2"][..]),
        ("made.mkv", &["--color", "auto"]),
        ("copied.mp4", &["--codec", "copy"]),
    ] {
        let out = place.at(name);
        run(kinora().arg("encode").arg(&source).arg(&out).args(["--chapters", "auto"]).args(flags))?
            .succeeded()?;
        ensure!(chapters(&out)? == [0.0, 7.2, 15.2], "{name}: {:?}", chapters(&out)?);
    }
    let refused =
        run(kinora().arg("encode").arg(&source).arg(place.at("o.tar")).args(["--chapters", "auto"]))?;
    ensure!(refused.failed()?.contains("HLS package has no chapters"));
    Ok(())
}
