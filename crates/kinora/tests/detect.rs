//! Things that are found in a film and followed through it: what is told of them, what is drawn, and that it is the same however the film
//! was split.
#![cfg(unix)]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::job::JobPhase;
use kinora_protocol::objects::ObjectsView;
use kinora_testkit::{clips, ffmpeg};
use serde_json::{Value, json};
use support::cluster::{Hub, Worker, job, local_key};
use support::enhancing::{Enhancer, without_cuts};
use support::{Place, clip, kinora, loud, run, same_frames, wire};

/// A number in the format of protocol buffers.
fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7F {
        bytes.push(value as u8 & 0x7F | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn field(number: usize, bytes: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(bytes.len()), bytes.to_vec()].concat()
}

fn number(number: usize, value: usize) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

fn tensor(name: &[u8], shape: &[usize], values: &[f32]) -> Vec<u8> {
    let sides: Vec<u8> = shape.iter().flat_map(|side| number(1, *side)).collect();
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    [sides, number(2, 1), field(8, name), field(9, &raw)].concat()
}

fn port(name: &[u8], shape: &[usize]) -> Vec<u8> {
    let sides: Vec<u8> = shape.iter().flat_map(|side| field(1, &number(1, *side))).collect();
    [field(1, name), field(2, &field(1, &[number(1, 1), field(2, &sides)].concat()))].concat()
}

/// A model that finds red and blue things by their mean colour in fields of a grid of 16 by 16.
fn detector() -> Vec<u8> {
    let numbers = |name: &[u8], value: usize, count: usize| {
        field(5, &[field(1, name), number(8, value).repeat(count), number(20, 7)].concat())
    };
    let pool = [
        [field(1, b"x"), field(2, b"p"), field(4, b"AveragePool")].concat(),
        [numbers(b"kernel_shape", 24, 2), numbers(b"strides", 8, 2), numbers(b"pads", 8, 4)].concat(),
    ];
    let conv = [field(1, b"p"), field(1, b"w"), field(1, b"b"), field(2, b"y"), field(4, b"Conv")];
    // Blue, green, red: something is there; its middle across and down; its width and height; red; blue.
    let weights =
        [[1.0, -2.0, 1.0], [0.0; 3], [0.0; 3], [0.0; 3], [0.0; 3], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]];
    // In the middle of the field, a third of the picture.
    let bias = [0.0, 0.5493, 0.5493, -0.619, -0.619, 0.0, 0.0];
    let graph = [
        field(1, &pool.concat()),
        field(1, &conv.concat()),
        field(2, b"g"),
        field(5, &tensor(b"w", &[7, 3, 1, 1], &weights.concat())),
        field(5, &tensor(b"b", &[7], &bias)),
        field(11, &port(b"x", &[1, 3, 128, 128])),
        field(12, &port(b"y", &[1, 7, 16, 16])),
    ];
    [number(1, 8), field(8, &[field(1, b""), number(2, 13)].concat()), field(7, &graph.concat())].concat()
}

/// With the model, called `colours`.
fn finding(place: &Place) -> Result<Option<Enhancer>> {
    let Some(enhancer) = Enhancer::with_models() else { return Ok(None) };
    let enhancer = enhancer.and_folder(place.at("models"));
    let (path, labels) = (place.at("colours.onnx"), place.at("labels.txt"));
    std::fs::write(&path, detector())?;
    std::fs::write(&labels, "red thing\nblue thing\n")?;
    let mut add = enhancer.kinora();
    add.args(["models", "add", "--task", "detect", "--tile", "128", "--labels"]).arg(&labels).arg(&path);
    run(&mut add)?.succeeded()?;
    Ok(Some(enhancer))
}

/// A red and a blue square that pass each other, for ten seconds.
fn two() -> Result<PathBuf> {
    clip(
        "two.mp4",
        "-f lavfi -i color=gray:s=256x256:r=25:d=10 -f lavfi -i color=red:s=56x56:r=25:d=10 \
         -f lavfi -i color=blue:s=56x56:r=25:d=10 -filter_complex \
         [0][1]overlay=x=10+18*t:y=60:eval=frame[a];[a][2]overlay=x=190-18*t:y=130:eval=frame,format=yuv420p \
         -c:v libx264 -preset veryfast -crf 14 -g 50",
    )
}

fn beside(film: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}.objects.{ending}", film.display()))
}

fn told(film: &Path) -> Result<ObjectsView> {
    Ok(serde_json::from_slice(&std::fs::read(beside(film, "json"))?)?)
}

/// Two things, each with one number from the first frame to the last, where they are.
fn are_the_two(view: &ObjectsView) -> Result<()> {
    let classes: Vec<&str> = view.objects.iter().map(|thing| thing.class.as_str()).collect();
    ensure!(
        classes.len() == 2 && classes.contains(&"red thing") && classes.contains(&"blue thing"),
        "{:?}",
        view.objects
    );
    ensure!(view.objects.iter().all(|thing| thing.frames >= 245), "{:?}", view.objects);
    for frame in &view.frames {
        for thing in &frame.objects {
            let x = match thing.class.as_str() {
                "red thing" => 10.0 + 18.0 * frame.seconds,
                _ => 190.0 - 18.0 * frame.seconds,
            };
            let middle = thing.x + thing.width / 2.0;
            ensure!((middle - (x + 28.0) / 256.0).abs() < 0.08, "at {}: {thing:?}", frame.seconds);
        }
    }
    Ok(())
}

#[test]
fn things_are_followed_and_told() -> Result<()> {
    let place = Place::new()?;
    let Some(enhancer) = finding(&place)? else { return Ok(()) };
    let chunked = enhancer.fits_together(&place, &two()?, &["--detect", "--draw"])?;
    are_the_two(&told(&chunked)?)?;
    // However it was split.
    ensure!(told(&chunked)? == told(&place.at("whole.mkv"))?);
    let text = std::fs::read_to_string(beside(&chunked, "vtt"))?;
    let cues = text.lines().filter(|line| line.contains(" --> ")).count();
    ensure!(text.starts_with("WEBVTT\n") && cues == told(&chunked)?.frames.len(), "{cues} cues");
    // A frame around the red one, which is in the middle of the picture's upper part after five seconds.
    let rows = |film: &Path| -> Result<Vec<u8>> {
        let mut command = ffmpeg::ffmpeg();
        command.args(["-ss", "5"]).arg("-i").arg(film).args(["-frames:v", "1", "-vf", "format=gray"]);
        ffmpeg::output(command.args(["-f", "rawvideo", "-"]))
    };
    let (before, after) = (rows(&two()?)?, rows(&chunked)?);
    let changed = before.iter().zip(&after).filter(|(a, b)| a.abs_diff(**b) > 20).count();
    ensure!((300..8000).contains(&changed), "{changed} samples are others");
    Ok(())
}

/// Nothing is drawn where nobody asks for it, and where nothing is there, that is told.
#[test]
fn pictures_stay_as_they_are() -> Result<()> {
    let place = Place::new()?;
    let Some(enhancer) = finding(&place)? else { return Ok(()) };
    let (out, _) = enhancer.told(&place, &two()?, "out.mkv", "2", &["--detect"])?;
    same_frames(&two()?, &out)?;
    are_the_two(&told(&out)?)?;
    let gray = clip("gray.mkv", "-f lavfi -i color=gray:s=128x72:rate=25:duration=5 -c:v ffv1")?;
    let (out, _) = enhancer.told(&place, &gray, "gray.mkv", "2", &["--detect", "--draw"])?;
    ensure!(told(&out)?.objects.is_empty() && told(&out)?.frames.is_empty());
    // Beside everything else.
    let all =
        ["--detect", "--draw", "--stabilize", "--color", "auto", "--upscale", "2", "--upscaler", "lanczos"];
    enhancer.fits_together(&place, &two()?, &all)?;
    Ok(())
}

#[test]
fn what_cannot_be_is_said() -> Result<()> {
    let place = Place::new()?;
    let source = without_cuts()?;
    let refused = |enhancer: &Enhancer, flags: &[&str]| -> Result<String> {
        run(enhancer.kinora().arg("enhance").arg(&source).arg(place.at("out.mkv")).args(flags))?.failed()
    };
    let none = Enhancer::default();
    for (flags, told) in [
        (&["--detect"][..], "nothing finds things"),
        (&["--draw", "--sharpen", "1"], "draw says how detect is done"),
        (&["--detect", "--detector", "magic"], "magic"),
    ] {
        let why = refused(&none, flags)?;
        ensure!(why.contains(told), "{flags:?}: {why}");
    }
    let Some(enhancer) = finding(&place)? else { return Ok(()) };
    ensure!(refused(&enhancer, &["--detect", "--detector", "magic"])?.contains("colours"));
    // One that is something else.
    let upscaler = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/kinora-upscale2.onnx");
    let mut add = enhancer.kinora();
    add.args(["models", "add", "--task", "detect", "--name", "odd", "--tile", "64"]).arg(upscaler);
    let why = run(&mut add)?.failed()?;
    ensure!(why.contains("odd"), "{why}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster() -> Result<()> {
    let place = Place::new()?;
    let Some(enhancer) = finding(&place)? else { return Ok(()) };
    let hub = Hub::alone(&place, "127.0.0.1:0")?;
    let (library, models) = (enhancer.library()?, place.at("models").display().to_string());
    let environment = [("KINORA_ONNXRUNTIME", library.as_str()), ("KINORA_MODELS", models.as_str())];
    let slots = ["--copy", "--slots", "1"];
    let _without = Worker::start(&place, "without", &hub.address, Duration::ZERO, &slots)?;
    hub.connected(1).await?;
    let upload =
        |wish: &str| wire::post_form(&hub.address, "/api/upload", &[("enhancements", wish)], Some(&two()?));
    let refused = upload("object_detection")?;
    ensure!(refused.status == 422 && refused.text().contains("no node has a model"), "{refused:?}");
    let _one = Worker::start_with(&place, "one", &hub.address, &slots, &environment)?;
    hub.connected(2).await?;
    let mut wanted = job(hub.upload(&two()?).await?);
    wanted.recipe.enhance.detect = Some(true);
    let id = hub.client.submit(&wanted, None).await?.id;
    let ended = hub.ends(id).await?;
    ensure!(ended.phase == JobPhase::Completed, "{ended:?}");
    let view = hub.client.objects(id).await?;
    are_the_two(&view)?;
    let text = wire::ask(&hub.address, "GET", &format!("/api/v1/jobs/{id}/objects.vtt"), &[])?;
    ensure!(text.status == 200 && text.text().starts_with("WEBVTT\n"), "{text:?}");
    let mut show = kinora();
    show.args(["jobs", "objects", &id.to_string(), "--hub", &hub.address]);
    show.envs(local_key(&place).map(|key| ("KINORA_KEY", key)));
    let said: Value = serde_json::from_str(&run(show.arg("--json"))?.succeeded()?)?;
    ensure!(said == json!(view), "{said}");
    // Nobody looked for anything in this one.
    let plain = hub.client.submit(&job(hub.upload(&two()?).await?), None).await?.id;
    hub.ends(plain).await?;
    let why = hub.client.objects(plain).await.err().context("there is nothing to be told")?;
    ensure!(why.message.contains("looked for nothing"), "{why:?}");
    Ok(())
}

/// People in a real film, by a detector of others, where both are: each has one number on both sides of where the film was split.
#[test]
fn people_keep_their_numbers() -> Result<()> {
    let folder = clips::shared_folder();
    let (film, weights) = (folder.join("bench720.mp4"), folder.join("../models/FastestDet.onnx"));
    if !film.exists() || !weights.exists() {
        loud("a film of people and a detector are not there: things are followed in a made film alone");
        return Ok(());
    }
    let place = Place::new()?;
    let Some(enhancer) = Enhancer::with_models() else { return Ok(()) };
    let enhancer = enhancer.and_folder(place.at("models"));
    run(enhancer.kinora().args(["models", "add", "--task", "detect"]).arg(&weights))?.succeeded()?;
    // Runners, and a camera that moves.
    let people = place.at("people.mp4");
    let mut command = ffmpeg::ffmpeg();
    command
        .args(["-ss", "9.2"])
        .arg("-i")
        .arg(&film)
        .args(["-t", "9", "-an", "-c:v", "libx264", "-crf", "16"]);
    ffmpeg::output(command.args(["-preset", "veryfast", "-vf", "scale=960:540"]).arg(&people))?;
    let (split, _) = enhancer.told(&place, &people, "split.mkv", "2", &["--detect", "-j", "2"])?;
    let whole = enhancer.whole(&place, &people, &["--detect"])?;
    let (split, whole) = (told(&split)?, told(&whole)?);
    ensure!(split == whole, "{} things, and {} in one piece", split.objects.len(), whole.objects.len());
    let middle = split.frames.iter().map(|frame| frame.seconds).fold(0.0, f64::max) / 2.0;
    let across = split.objects.iter().filter(|thing| {
        thing.class == "person" && thing.first_seconds < middle - 0.5 && thing.last_seconds > middle + 0.5
    });
    ensure!(across.count() >= 3, "{:?}", split.objects);
    Ok(())
}
