//! Enhancements by models: in chunks they are what an unsplit run gives, pictures of all kinds pass unchanged through one that changes
//! nothing, and where there is no model, no library or no sense in one, that is told.
#![cfg(unix)]

mod support;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use kinora_testkit::clips;
use kinora_testkit::ffmpeg;
use support::enhancing::{Enhancer, psnr, smooth, with_cuts, without_cuts};
use support::{Place, clip, kinora, loud, run, same_frames, short, video_entry};

/// In every place of a chain.
const ALL: [&[&str]; 5] = [
    &["--denoise", "neural"],
    &["--upscale", "2", "--sharpen", "0.5"],
    &["--upscale", "4", "--upscaler", "kinora-upscale2"],
    &["--denoise", "neural", "--fps", "12", "--upscale", "2"],
    &["--denoise", "neural", "--interpolate", "50", "--upscale", "3", "--hdr", "sdr2hdr"],
];

fn all_fit_together(source: &Path) -> Result<()> {
    let Some(enhancer) = Enhancer::with_models() else { return Ok(()) };
    let place = Place::new()?;
    for flags in ALL {
        let chunked = enhancer.fits_together(&place, source, flags)?;
        ensure!(same_frames(source, &chunked).is_err(), "{flags:?}: nothing was done to it");
    }
    Ok(())
}

#[test]
fn chunks_fit_together() -> Result<()> {
    all_fit_together(&with_cuts()?)
}

#[test]
fn chunks_of_one_shot_fit_together() -> Result<()> {
    all_fit_together(&without_cuts()?)
}

#[test]
fn chunks_of_odd_sources_fit_together() -> Result<()> {
    let Some(enhancer) = Enhancer::with_models() else { return Ok(()) };
    let place = Place::new()?;
    let made = |name: &str| clips::all()?.into_iter().find(|clip| clip.name == name).context(name.to_owned());
    for (name, flags) in [
        ("interlaced_h264", &["--denoise", "neural"][..]),
        ("pts_wrap", &["--denoise", "neural", "--scale", "160x90"]),
        ("hdr10_hevc", &["--denoise", "neural", "--hdr", "hdr2sdr", "--upscale", "2"]),
        ("vfr", &["--denoise", "neural", "--interpolate", "30"]),
        ("odd_size", &["--upscale", "2"]),
        ("many_streams", &["--denoise", "neural"]),
        ("fine_clock", &["--denoise", "neural"]),
        ("rotated", &["--upscale", "2"]),
        ("no_pts_asp_b", &["--denoise", "neural"]),
        ("prores", &["--denoise", "neural"]),
    ] {
        enhancer.fits_together(&place, &made(name)?.path, flags)?;
    }
    Ok(())
}

#[test]
fn chunks_of_real_films_fit_together() -> Result<()> {
    let Some(enhancer) = Enhancer::with_models() else { return Ok(()) };
    let Some(real) = clips::shared().filter(|real| !real.is_empty()) else {
        loud("real films are not there: models are tested with made ones alone");
        return Ok(());
    };
    let place = Place::new()?;
    for (name, flags) in [
        ("d05_vfr_phone_360p", &["--denoise", "neural", "--scale", "320x180"][..]),
        ("d21_firstpts10s", &["--upscale", "2"]),
    ] {
        let film = real.iter().find(|clip| clip.name == name).context(name)?;
        enhancer.fits_together(&place, &film.path, flags)?;
    }
    Ok(())
}

/// A field of a message in the format of protocol buffers.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 128, "one byte is enough for the length");
    [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat()
}

fn number(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

/// A model of one operator in ONNX; `x` goes in and `y` comes out.
fn model(operator: &str, domain: &str) -> Vec<u8> {
    let node = [field(1, b"x"), field(2, b"y"), field(4, operator.as_bytes()), field(7, domain.as_bytes())];
    let sides = [number(1, 1), field(2, b"c"), field(2, b"h"), field(2, b"w")];
    let shape: Vec<u8> = sides.iter().flat_map(|side| field(1, side)).collect();
    let tensor = field(1, &[number(1, 1), field(2, &shape)].concat());
    let port = |name: &[u8]| [field(1, name), field(2, &tensor)].concat();
    let graph = [field(1, &node.concat()), field(2, b"g"), field(11, &port(b"x")), field(12, &port(b"y"))];
    let graph = graph.concat();
    // Longer than 127 bytes.
    let length = [graph.len() as u8 & 0x7F | 0x80, (graph.len() >> 7) as u8];
    let body = [&[7 << 3 | 2][..], &length, &graph].concat();
    [number(1, 8), field(8, &[field(1, b""), number(2, 13)].concat()), body].concat()
}

/// An enhancer with a model that changes nothing, called `same`.
fn with_same(place: &Place) -> Result<Option<Enhancer>> {
    let Some(enhancer) = Enhancer::with_models() else { return Ok(None) };
    let enhancer = enhancer.and_folder(place.at("models"));
    let path = place.at("same.onnx");
    std::fs::write(&path, model("Identity", ""))?;
    run(enhancer.kinora().args(["models", "add", "--task", "denoise"]).arg(&path))?.succeeded()?;
    Ok(Some(enhancer))
}

const SAME: [&str; 4] = ["--denoise", "neural", "--denoiser", "same"];

/// All that is between a decoder and an encoder but the model itself changes no value.
#[test]
fn pictures_pass_unchanged_through_a_model_that_changes_nothing() -> Result<()> {
    let place = Place::new()?;
    let Some(enhancer) = with_same(&place)? else { return Ok(()) };
    for format in [
        "yuv420p",
        "yuv422p10le",
        "yuv444p12le",
        "gray",
        "gray16le",
        "yuv420p16le",
        "yuv440p",
        "yuv411p",
        "yuvj420p",
        "gbrp",
    ] {
        let codec = if format.starts_with("yuvj") { "mjpeg -q:v 2" } else { "ffv1 -g 12" };
        let source = clip(
            &format!("of_{format}.mkv"),
            &format!(
                "-f lavfi -i testsrc2=size=101x67:rate=24000/1001:duration=5 \
                 -vf setsar=4/3,format={format} -c:v {codec} -pix_fmt {format}"
            ),
        )?;
        let made = enhancer.fits_together(&place, &source, &SAME)?;
        match format {
            // Their chroma is made finer, or from colours: that cannot be undone to the bit.
            "yuv440p" | "yuv411p" | "gbrp" => {}
            _ => {
                let plain = place.at("plain.mkv");
                run(kinora().arg("encode").arg(&source).arg(&plain).args(["--codec", "ffv1"]))?
                    .succeeded()?;
                same_frames(&plain, &made).context(format)?;
            }
        }
        ensure!(video_entry(&made, "sample_aspect_ratio")? == "4:3", "{format}");
        let alike = "scale=in_color_matrix=bt709:out_color_matrix=bt709,format=yuv444p";
        let quality = psnr(&place, &source, &made, alike)?;
        ensure!(quality > 48.0, "{format}: {quality:.1} dB");
        if format == "gbrp" {
            let said = video_entry(&made, "color_space")?;
            ensure!(
                said == "bt709",
                "its colours became luma and chroma of BT.709, and the file says {said}"
            );
        }
    }
    Ok(())
}

#[test]
fn the_smallest_picture_and_a_film_of_one_frame() -> Result<()> {
    let Some(enhancer) = Enhancer::with_models() else { return Ok(()) };
    let place = Place::new()?;
    for (size, frames) in [("1x1", 3), ("2x2", 1), ("17x1", 2), ("640x2", 1)] {
        let source = clip(
            &format!("tiny{size}.mkv"),
            &format!(
                "-f lavfi -i testsrc2=size=640x360:rate=25 -vf scale={size} -frames:v {frames} -c:v ffv1 -pix_fmt yuv444p"
            ),
        )?;
        let made = enhancer.whole(&place, &source, &["--denoise", "neural", "--upscale", "2"])?;
        let (width, height) = size.split_once('x').context("a size")?;
        let twice = |side: &str| side.parse::<u32>().map(|side| (2 * side).to_string());
        ensure!(
            video_entry(&made, "width")? == twice(width)? && video_entry(&made, "height")? == twice(height)?
        );
    }
    Ok(())
}

/// Encoders are told the rate of the film: from times in a pipe it would be guessed, and pictures of this size are too few for that.
#[test]
fn encoders_know_the_rate_of_large_pictures() -> Result<()> {
    let Some(enhancer) = Enhancer::with_models() else { return Ok(()) };
    let place = Place::new()?;
    let source = clip(
        "large.mp4",
        "-f lavfi -i testsrc2=size=1920x1080:rate=30000/1001 -frames:v 6 -c:v libx264 -preset ultrafast -pix_fmt yuv420p",
    )?;
    for encoder in ["libsvtav1", "libx264", "libvpx-vp9"] {
        let made = place.at(&format!("{encoder}.mkv"));
        let mut command = enhancer.kinora();
        command.arg("enhance").arg(&source).arg(&made).args(["--denoise", "neural", "--encoder", encoder]);
        run(&mut command)?.succeeded().context(encoder)?;
        ensure!(video_entry(&made, "r_frame_rate")? == "30000/1001", "{encoder}");
    }
    Ok(())
}

#[test]
fn they_are_nearer_to_the_film_than_filters_are() -> Result<()> {
    let Some(enhancer) = Enhancer::with_models() else { return Ok(()) };
    let place = Place::new()?;
    let clean = smooth()?;
    let small = place.at("small.mkv");
    let mut shrink = ffmpeg::ffmpeg();
    shrink.arg("-i").arg(&clean).args(["-vf", "scale=160:90:flags=bicubic", "-c:v", "ffv1"]).arg(&small);
    ffmpeg::output(&mut shrink)?;
    let upscaled = |by: &[&str]| -> Result<f64> {
        psnr(&place, &enhancer.whole(&place, &small, &[&["--upscale", "2"], by].concat())?, &clean, "null")
    };
    let (lanczos, usual, f32) = (
        upscaled(&["--upscaler", "lanczos"])?,
        upscaled(&[])?,
        upscaled(&["--upscaler", "kinora-upscale2"])?,
    );
    ensure!(usual > lanczos + 0.1, "{usual:.2} dB by the model, {lanczos:.2} dB by Lanczos");
    ensure!(usual > f32 - 0.2, "{usual:.2} dB with small weights, {f32:.2} dB with large ones");
    let noisy = clip(
        "noisy.mkv",
        "-f lavfi -i mandelbrot=size=320x180:rate=25:start_scale=0.4:end_pts=9 -t 3 \
         -vf format=yuv420p,noise=c0s=14:c0f=t:all_seed=3 -c:v ffv1 -pix_fmt yuv420p",
    )?;
    let less = |how: &str| -> Result<f64> {
        psnr(&place, &enhancer.whole(&place, &noisy, &["--denoise", how])?, &clean, "null")
    };
    let (before, light, neural) = (psnr(&place, &noisy, &clean, "null")?, less("light")?, less("neural")?);
    ensure!(neural > light + 2.0 && neural > before + 4.0, "{before:.2}, {light:.2}, {neural:.2} dB");
    Ok(())
}

#[test]
fn without_the_library_filters_do_it_and_the_job_says_so() -> Result<()> {
    let place = Place::new()?;
    let source = short()?;
    let enhancer = Enhancer::default();
    let (made, told) = enhancer.told(&place, &source, "made.mkv", "1000", &["--upscale", "2", "-j", "1"])?;
    let notes = told["notes"].to_string();
    ensure!(notes.contains("upscaled by Lanczos, and not by a model"), "{told}");
    let by_filter = ["--upscale", "2", "--upscaler", "lanczos", "-j", "1"];
    let (filtered, told) = enhancer.told(&place, &source, "filtered.mkv", "1000", &by_filter)?;
    ensure!(!told["notes"].to_string().contains("model"), "{told}");
    same_frames(&made, &filtered)?;
    let (_, told) =
        enhancer.told(&place, &source, "less.mkv", "1000", &["--denoise", "neural", "-j", "1"])?;
    ensure!(told["notes"].to_string().contains("as by denoise = strong"), "{told}");
    // A file that is no library is told as that.
    let mut odd = kinora();
    odd.env("KINORA_ONNXRUNTIME", &source).arg("enhance").arg(&source).arg(place.at("odd.mkv"));
    let said = run(odd.args(["--codec", "ffv1", "--upscale", "2"]))?.succeeded()?;
    ensure!(said.contains("ONNX Runtime cannot be used"), "{said}");
    // One that is named is meant.
    let named = ["--upscale", "2", "--upscaler", "kinora-upscale2"];
    let refused = run(kinora().arg("enhance").arg(&source).arg(place.at("x.mkv")).args(named))?.failed()?;
    ensure!(refused.contains("cannot be run"), "{refused}");
    Ok(())
}

fn refused(enhancer: &Enhancer, place: &Place, bytes: &[u8], flags: &[&str], word: &str) -> Result<()> {
    let path = place.at("bad.onnx");
    std::fs::write(&path, bytes)?;
    let why = run(enhancer.kinora().args(["models", "add"]).arg(&path).args(flags))?.failed()?;
    ensure!(why.contains(word) && why.contains("bad.onnx"), "{flags:?}: {why}");
    Ok(())
}

#[test]
fn models_that_make_no_sense_are_refused() -> Result<()> {
    let place = Place::new()?;
    let Some(enhancer) = with_same(&place)? else { return Ok(()) };
    let denoise = ["--task", "denoise"];
    refused(&enhancer, &place, b"these are words", &denoise, "no ONNX model")?;
    let good = model("Identity", "");
    refused(&enhancer, &place, &good[..40], &denoise, "cut off")?;
    refused(&enhancer, &place, &model("Evil", "org.evil"), &denoise, "org.evil")?;
    refused(&enhancer, &place, &model("Nothing", ""), &denoise, "Nothing")?;
    // What comes out is not twice as large, and not one plane of three.
    refused(&enhancer, &place, &good, &["--task", "upscale"], "scale of 2")?;
    refused(&enhancer, &place, &good, &["--task", "denoise", "--frames", "3"], "3 planes")?;
    refused(&enhancer, &place, &good, &["--task", "denoise", "--frames", "2"], "in the middle")?;
    refused(&enhancer, &place, &good, &["--task", "upscale", "--frames", "3"], "one frame at a time")?;
    refused(&enhancer, &place, &good, &["--task", "denoise", "--name", "same"], "already")?;
    refused(&enhancer, &place, &good, &["--task", "denoise", "--name", "kinora-denoise3"], "already")?;
    refused(&enhancer, &place, &good, &["--task", "denoise", "--name", "../x"], "letters")?;
    Ok(())
}

fn listed(enhancer: &Enhancer) -> Result<serde_json::Value> {
    run(enhancer.kinora().args(["models", "ls", "--json"]))?.done()
}

#[test]
fn a_folder_of_models() -> Result<()> {
    let place = Place::new()?;
    let Some(enhancer) = with_same(&place)? else { return Ok(()) };
    let source = short()?;
    let names = |told: &serde_json::Value| -> Vec<String> {
        let models = told["models"].as_array().into_iter().flatten();
        models.filter_map(|model| model["name"].as_str().map(str::to_owned)).collect()
    };
    let told = listed(&enhancer)?;
    ensure!(told["inference"]["state"] == "ready" && names(&told).contains(&"same".to_owned()), "{told}");
    same_frames(&source, &enhancer.whole(&place, &source, &SAME)?)?;
    // Weights that were changed are not the model that the manifest means, and the others are there all the same.
    let weights = place.at("models").join("same.onnx");
    let good = std::fs::read(&weights)?;
    std::fs::write(&weights, [&good[..], b"x"].concat())?;
    let told = listed(&enhancer)?;
    ensure!(!names(&told).contains(&"same".to_owned()) && names(&told).len() == 4, "{told}");
    ensure!(told["refused"].to_string().contains("bytes"), "{told}");
    let mut command = enhancer.kinora();
    command.arg("enhance").arg(&source).arg(place.at("x.mkv")).args(SAME);
    let why = run(&mut command)?.failed()?;
    ensure!(why.contains("no node has a model \"same\"") && why.contains("kinora-denoise3"), "{why}");
    std::fs::write(&weights, &good)?;
    run(enhancer.kinora().args(["models", "rm", "same"]))?.succeeded()?;
    ensure!(names(&listed(&enhancer)?).len() == 4);
    let why = run(enhancer.kinora().args(["models", "rm", "kinora-upscale2"]))?.failed()?;
    ensure!(why.contains("part of Kinora"), "{why}");
    Ok(())
}

/// Manifests that say where weights are: what comes is what they mean, or is not taken.
#[test]
fn models_that_are_fetched() -> Result<()> {
    let place = Place::new()?;
    let Some(enhancer) = with_same(&place)? else { return Ok(()) };
    let folder = place.at("models");
    let manifest = std::fs::read_to_string(folder.join("same.toml"))?;
    let weights = std::fs::read(folder.join("same.onnx"))?;
    run(enhancer.kinora().args(["models", "rm", "same"]))?.succeeded()?;
    let server = support::receiver::files(vec![("/same.onnx".to_owned(), weights)])?;
    let wanted = |url: &str, from: &str, to: &str| -> Result<PathBuf> {
        let path = place.at("wanted.toml");
        let url = format!("licence = \"MIT\"\nurl = \"{url}\"");
        std::fs::write(&path, manifest.replace("licence = \"unknown\"", &url).replace(from, to))?;
        Ok(path)
    };
    let pull = |path: &Path| run(enhancer.kinora().args(["models", "pull"]).arg(path));
    let here = format!("http://{server}/same.onnx");
    let why = pull(&wanted(&here, "sha256 = \"", "sha256 = \"0000")?.clone())?.failed()?;
    ensure!(why.contains("64 hexadecimal digits"), "{why}");
    let first = manifest.split("sha256 = \"").nth(1).and_then(|rest| rest.get(..8)).context("a digest")?;
    let why = pull(&wanted(&here, first, "00000000")?)?.failed()?;
    ensure!(why.contains("was wanted: it is not used"), "{why}");
    let why = pull(&wanted(&format!("http://{server}/gone"), "", "")?)?.failed()?;
    ensure!(why.contains("404"), "{why}");
    let why = pull(&wanted("file:///etc/passwd", "", "")?)?.failed()?;
    ensure!(why.contains("only https:// and http://"), "{why}");
    pull(&wanted(&here, "", "")?)?.succeeded()?;
    ensure!(listed(&enhancer)?.to_string().contains("\"same\""));
    let said = pull(&wanted(&here, "", "")?)?.succeeded()?;
    ensure!(said.contains("it is there"), "{said}");
    Ok(())
}

#[test]
fn a_preview_by_a_model() -> Result<()> {
    let place = Place::new()?;
    let Some(enhancer) = with_same(&place)? else { return Ok(()) };
    let preview = |name: &str, flags: &[&str]| -> Result<PathBuf> {
        let png = place.at(name);
        let source = with_cuts()?;
        let mut command = enhancer.kinora();
        command.arg("enhance").arg(&source).arg(&png).args(["--preview", "1.2", "--json"]).args(flags);
        run(&mut command)?.done()?;
        Ok(png)
    };
    let size = |path: &Path| -> Result<(String, String)> {
        Ok((video_entry(path, "width")?, video_entry(path, "height")?))
    };
    let large = preview("large.png", &["--upscale", "2"])?;
    ensure!(size(&large)? == ("512".to_owned(), "144".to_owned()), "{:?}", size(&large)?);
    // Where nothing changes, both halves are the same.
    let png = preview("same.png", &SAME)?;
    let half = |at: &str| -> Result<Vec<u8>> {
        let mut command = ffmpeg::ffmpeg();
        command.arg("-i").arg(&png).args(["-vf", &format!("crop=128:72:{at}:0"), "-f", "rawvideo", "-"]);
        ffmpeg::output(&mut command)
    };
    let (before, after) = (half("0")?, half("128")?);
    ensure!(before.len() == 128 * 72 * 3 && before == after);
    Ok(())
}
