//! Enhancements: chunks of them are what an unsplit run gives, frame for frame, and what plain ffmpeg gives; and what cannot be
//! enhanced is refused in words.
#![cfg(unix)]

mod support;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use kinora_testkit::clips;
use kinora_testkit::ffmpeg;
use kinora_testkit::reference::{FrameTimes, compare_frames};
use support::enhancing::{Enhancer, psnr, smooth, with_cuts, without_cuts};
use support::{Place, clip, decoded, eight, kinora, loud, run, same_frames, video_entry};

/// The same as in a plain ffmpeg with these filters, as far as that goes.
fn is_as_plain(place: &Place, source: &Path, chunked: &Path, filters: &str) -> Result<()> {
    let plain = place.at("plain.mkv");
    let mut command = ffmpeg::ffmpeg();
    command.arg("-i").arg(source).args(["-vf", filters, "-an", "-c:v", "ffv1"]);
    ffmpeg::output(command.args(["-fps_mode", "passthrough"]).arg(&plain))?;
    let (plain, mut ours) = (decoded(&plain)?, decoded(chunked)?);
    ensure!(plain.len() > 100 && ours.len() - plain.len() < 6, "{} and {} frames", plain.len(), ours.len());
    ours.truncate(plain.len());
    Ok(compare_frames(&plain, &ours, FrameTimes::WithinMillis(1))?)
}

/// Every enhancement, and all together.
const ALL: [&[&str]; 5] = [
    &["--denoise", "light"],
    &["--denoise", "strong"],
    &["--upscale", "3", "--sharpen", "0.8", "--contrast", "1.1"],
    &["--fps", "12", "--denoise", "light"],
    &["--denoise", "light", "--interpolate", "60000/1001", "--upscale", "2", "--hdr", "sdr2hdr"],
];

fn all_fit_together(source: &Path) -> Result<()> {
    let place = Place::new()?;
    for flags in ALL {
        let chunked = Enhancer::default().fits_together(&place, source, flags)?;
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

/// And so they do where fields, clocks and depths are odd.
#[test]
fn chunks_of_odd_sources_fit_together() -> Result<()> {
    let place = Place::new()?;
    let made = |name: &str| clips::all()?.into_iter().find(|clip| clip.name == name).context(name.to_owned());
    for (name, flags) in [
        ("interlaced_h264", &["--deinterlace", "--denoise", "light"][..]),
        ("pts_wrap", &["--denoise", "light", "--scale", "160x90"]),
        ("hdr10_hevc", &["--hdr", "hdr2sdr"]),
        ("hdr10_hevc", &["--denoise", "strong"]),
        ("vfr", &["--denoise", "light", "--interpolate", "30"]),
        ("odd_size", &["--hdr", "sdr2hdr"]),
    ] {
        Enhancer::default().fits_together(&place, &made(name)?.path, flags)?;
    }
    Ok(())
}

/// Of real films, where they are.
#[test]
fn chunks_of_real_films_fit_together() -> Result<()> {
    let Some(real) = clips::shared().filter(|real| !real.is_empty()) else {
        loud("real films are not there: enhancements are tested with made ones alone");
        return Ok(());
    };
    let place = Place::new()?;
    for (name, flags) in [
        ("d02_h264_opengop_540p", &["--denoise", "light", "--scale", "480x270"][..]),
        ("d05_vfr_phone_360p", &["--denoise", "light", "--hdr", "sdr2hdr", "--scale", "320x180"]),
        ("d09_hdr10_av1", &["--hdr", "hdr2sdr", "--scale", "180x320"]),
        ("d21_firstpts10s", &["--denoise", "light", "--scale", "200x160"]),
    ] {
        let film = real.iter().find(|clip| clip.name == name).context(name)?;
        Enhancer::default().fits_together(&place, &film.path, flags)?;
    }
    Ok(())
}

#[test]
fn they_are_what_plain_ffmpeg_makes_of_the_whole_film() -> Result<()> {
    let place = Place::new()?;
    let source = with_cuts()?;
    let light = "hqdn3d=4:3:0.0001:0.0001,atadenoise=0a=0.06:0b=0.12:1a=0.06:1b=0.12:2a=0.06:2b=0.12:s=5";
    let between =
        "minterpolate=fps=50:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:me=hexbs:scd=fdiff:scd_threshold=10";
    for (flags, filters) in [
        (&["--denoise", "light"][..], light),
        (&["--denoise", "strong"], "nlmeans=s=4:p=5:r=9"),
        (
            &["--upscale", "2"],
            "scale=256:144:flags=lanczos+accurate_rnd+full_chroma_int,cas=strength=0.4:planes=1",
        ),
        (&["--interpolate", "50"], between),
    ] {
        let chunked = Enhancer::default().told(&place, &source, "chunked.mkv", "2", flags)?.0;
        is_as_plain(&place, &source, &chunked, filters).with_context(|| format!("{flags:?}"))?;
    }
    Ok(())
}

#[test]
fn high_dynamic_range_and_back() -> Result<()> {
    let place = Place::new()?;
    // Untagged: its colours are what players take them for.
    let source = smooth()?;
    let flags = [
        "--hdr",
        "sdr2hdr",
        "--encoder",
        "libx265",
        "--preset",
        "ultrafast",
        "--crf",
        "4",
        "--audio",
        "none",
    ];
    let hdr = place.at("hdr.mp4");
    run(kinora().arg("enhance").arg(&source).arg(&hdr).arg("--json").args(flags))?.done()?;
    for (entry, told) in [
        ("color_transfer", "smpte2084"),
        ("color_primaries", "bt2020"),
        ("color_space", "bt2020nc"),
        ("pix_fmt", "yuv420p10le"),
        ("color_range", "tv"),
    ] {
        ensure!(video_entry(&hdr, entry)? == told, "{entry}: {}", video_entry(&hdr, entry)?);
    }
    let mut frame = ffmpeg::ffprobe();
    frame.args(["-show_frames", "-read_intervals", "%+#1", "-select_streams", "v"]).arg(&hdr);
    let told = String::from_utf8(ffmpeg::output(&mut frame)?)?;
    ensure!(told.contains("max_content=203") && told.contains("Mastering display"), "{told}");
    let back = Enhancer::default().told(&place, &hdr, "back.mkv", "2", &["--hdr", "hdr2sdr"])?.0;
    ensure!(video_entry(&back, "color_transfer")? == "bt709", "{}", video_entry(&back, "color_transfer")?);
    // The way back ends in BT.709; the source counts as BT.601, being low.
    let same = "setparams=range=limited:color_primaries=bt709:color_trc=bt709:colorspace=smpte170m,zscale=m=bt709,format=yuv420p";
    let quality = psnr(&place, &source, &back, same)?;
    ensure!(quality >= 38.0, "{quality:.1} dB");
    Ok(())
}

#[test]
fn less_noise_is_nearer_to_the_film_without() -> Result<()> {
    let place = Place::new()?;
    let clean = smooth()?;
    let noisy = clip(
        "noisy.mkv",
        "-f lavfi -i mandelbrot=size=320x180:rate=25:start_scale=0.4:end_pts=9 -t 3 \
         -vf format=yuv420p,noise=c0s=14:c0f=t:all_seed=3 -c:v ffv1 -pix_fmt yuv420p",
    )?;
    let before = psnr(&place, &noisy, &clean, "null")?;
    for (how, gain) in [("light", 0.8), ("strong", 2.5)] {
        let output = place.at("less.mkv");
        let flags = ["--codec", "ffv1", "--denoise", how];
        run(kinora().arg("enhance").arg(&noisy).arg(&output).arg("--json").args(flags))?.done()?;
        let after = psnr(&place, &output, &clean, "null")?;
        ensure!(after > before + gain, "{how}: {before:.2} dB before, {after:.2} dB after");
    }
    Ok(())
}

#[test]
fn what_cannot_be_enhanced_is_told() -> Result<()> {
    let place = Place::new()?;
    let source = eight()?;
    for (flags, told) in [
        (&[][..], "nothing is to become better"),
        (&["--hdr", "hdr2sdr"], "hdr2sdr is for HDR10 and HLG"),
        (&["--denoise", "light", "--codec", "copy"], "enhancements need a codec"),
        (&["--interpolate", "0"], "frame rate must be above 0"),
        (&["--loudness", "3"], "-70 to -5"),
        (&["--loudness", "-14", "--audio", "copy"], "enhancements need aac or opus"),
        (&["--audio-hum", "55"], "50 or 60 Hz"),
    ] {
        let output = place.at("out.mp4");
        let end = run(kinora().arg("enhance").arg(&source).arg(&output).args(flags))?;
        ensure!(end.code == Some(1), "{flags:?}: {end:?}");
        ensure!(end.stderr.contains(told), "{flags:?}: {}", end.stderr);
        ensure!(!output.exists());
    }
    Ok(())
}

/// Width, height and samples of a PNG.
fn pixels(path: &Path) -> Result<(usize, usize, Vec<u8>)> {
    let side = |entry| -> Result<usize> { Ok(video_entry(path, entry)?.parse()?) };
    let mut command = ffmpeg::ffmpeg();
    command.arg("-i").arg(path).args(["-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]);
    Ok((side("width")?, side("height")?, ffmpeg::output(&mut command)?))
}

#[test]
fn a_preview_is_the_frame_of_the_result() -> Result<()> {
    let place = Place::new()?;
    let source = with_cuts()?;
    let flags = ["--denoise", "light", "--upscale", "2"];
    let chunked = Enhancer::default().told(&place, &source, "chunked.mkv", "2", &flags)?.0;
    let preview = |name: &str, at: &str| -> Result<support::Run> {
        run(kinora().arg("enhance").arg(&source).arg(place.at(name)).args(flags).args(["--preview", at]))
    };
    let end = preview("still.png", "0:0:3.21")?;
    ensure!(end.code == Some(0), "{end:?}");
    let (width, height, both) = pixels(&place.at("still.png"))?;
    ensure!((width, height) == (512, 144), "{width}x{height}");
    let still = place.at("frame.png");
    let mut command = ffmpeg::ffmpeg();
    command.arg("-i").arg(&chunked).args(["-vf", "select=eq(n\\,80)", "-frames:v", "1"]);
    ffmpeg::output(command.arg(&still))?;
    let (_, _, wanted) = pixels(&still)?;
    // The right half is the frame that is shown at that time, the left half is not.
    let half = |right: usize| -> Vec<u8> {
        both.chunks(width * 3)
            .flat_map(|line| line[right * width * 3 / 2..][..width * 3 / 2].to_vec())
            .collect()
    };
    let off = |a: &[u8]| {
        a.iter().zip(&wanted).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>() / a.len() as u64
    };
    ensure!(off(&half(1)) == 0 && off(&half(0)) > 0, "{} and {}", off(&half(1)), off(&half(0)));
    for (name, at, told) in [
        ("late.png", "60", "no picture at 60.000 s"),
        ("still.mp4", "1", "a preview is a .png"),
        ("odd.png", "1:2:3:4", "no time in a film"),
    ] {
        let end = preview(name, at)?;
        ensure!(end.code != Some(0) && end.stderr.contains(told), "{end:?}");
    }
    ensure!(place.names()?.iter().all(|name| !name.starts_with(".kinora")), "{:?}", place.names()?);
    Ok(())
}
