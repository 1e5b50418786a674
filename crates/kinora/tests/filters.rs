//! Filters: what they do to samples, and that chunks of them fit together.
#![cfg(unix)]

mod support;

use std::path::Path;

use anyhow::{Result, ensure};
use kinora_testkit::ffmpeg;
use support::{Place, clip, eight, kinora, run, same_frames};

/// All luma samples of a file.
fn luma(path: &Path) -> Result<Vec<u8>> {
    let mut command = ffmpeg::ffmpeg();
    command.arg("-i").arg(path).args(["-vf", "extractplanes=y", "-fps_mode", "passthrough"]);
    ffmpeg::output(command.args(["-f", "rawvideo", "-pix_fmt", "gray", "pipe:1"]))
}

fn encode(place: &Place, source: &Path, name: &str, flags: &[&str]) -> Result<std::path::PathBuf> {
    let output = place.at(name);
    run(kinora()
        .arg("encode")
        .arg(source)
        .arg(&output)
        .args(["--json", "--quality", "lossless"])
        .args(flags))?
    .done()?;
    Ok(output)
}

#[test]
fn chunks_fit_together() -> Result<()> {
    let place = Place::new()?;
    let flags = |seconds| ["--contrast", "1.2", "--sharpen", "0.8", "--chunk-seconds", seconds];
    let whole = encode(&place, &eight()?, "whole.mp4", &flags("100"))?;
    let chunked = encode(&place, &eight()?, "chunked.mp4", &flags("2"))?;
    same_frames(&whole, &chunked)?;
    ensure!(same_frames(&eight()?, &chunked).is_err(), "nothing was done to it");
    // And are what ffmpeg makes of the whole film.
    let alone = place.at("alone.mp4");
    let graph = "lutyuv=y=clip((val-125.5)*1.2+126\\,16\\,235),unsharp=5:5:0.8:5:5:0";
    let mut command = ffmpeg::ffmpeg();
    command.arg("-i").arg(eight()?).args(["-vf", graph, "-an", "-c:v", "libx264", "-qp", "0"]);
    ffmpeg::output(command.arg(&alone))?;
    same_frames(&alone, &chunked)
}

#[test]
fn contrast_is_around_the_middle_in_all_depths() -> Result<()> {
    let place = Place::new()?;
    let source = eight()?;
    let more = encode(&place, &source, "more.mp4", &["--contrast", "1.5"])?;
    let (before, after) = (luma(&source)?, luma(&more)?);
    ensure!(
        !before.is_empty() && before.len() == after.len(),
        "{} and {} samples",
        before.len(),
        after.len()
    );
    for (before, after) in before.into_iter().zip(after) {
        let wanted = ((f64::from(before) - 125.5) * 1.5 + 125.5).clamp(16.0, 235.0);
        ensure!((f64::from(after) - wanted).abs() <= 1.0, "{before} became {after}, wanted was {wanted}");
    }
    // 1 and 0 change nothing: the recipe is as if they were not there.
    let same = encode(&place, &source, "same.mp4", &["--contrast", "1", "--sharpen", "0"])?;
    same_frames(&source, &same)?;
    // Ten bits stay ten bits.
    let deep = clip("deep.mkv", "-f lavfi -i testsrc2=s=160x90:r=25:d=2 -c:v ffv1 -pix_fmt yuv420p10le")?;
    let more = encode(&place, &deep, "deep.mkv", &["--codec", "ffv1", "--contrast", "1.5"])?;
    let format = support::video_entry(&more, "pix_fmt")?;
    ensure!(format == "yuv420p10le", "{format}");
    ensure!(same_frames(&deep, &more).is_err());
    // The whole range: black and white stay what they are, and the middle is in the middle.
    let full = "-f lavfi -i color=gray:s=64x64:r=25:d=1,format=yuv420p10le,geq=lum=X*1023/63:cb=512:cr=512 -color_range pc";
    let full = clip("full.mkv", &format!("{full} -c:v ffv1 -pix_fmt yuv420p10le"))?;
    let more = encode(&place, &full, "full.mkv", &["--codec", "ffv1", "--contrast", "1.001"])?;
    let samples = |path: &Path| -> Result<Vec<u16>> {
        let mut command = ffmpeg::ffmpeg();
        command.arg("-i").arg(path).args([
            "-frames:v",
            "1",
            "-f",
            "rawvideo",
            "-pix_fmt",
            "yuv420p10le",
            "pipe:1",
        ]);
        let bytes = ffmpeg::output(&mut command)?;
        Ok(bytes.chunks_exact(2).take(64).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect())
    };
    let (before, after) = (samples(&full)?, samples(&more)?);
    ensure!(before.first() == Some(&0) && before.last() == Some(&1023), "{before:?}");
    ensure!(before.iter().zip(&after).all(|(a, b)| a.abs_diff(*b) <= 1), "{before:?} {after:?}");
    Ok(())
}

#[test]
fn strengths_out_of_range_are_refused() -> Result<()> {
    let place = Place::new()?;
    for (flag, value) in [("--contrast", "5"), ("--contrast", "NaN"), ("--sharpen", "6"), ("--sharpen", "-1")]
    {
        let value = format!("{flag}={value}");
        let refused = run(kinora().arg("encode").arg(eight()?).arg(place.at("o.mp4")).arg(value))?;
        ensure!(refused.code == Some(1) && refused.stderr.contains("out of range"), "{refused:?}");
    }
    Ok(())
}
