//! Enhancements of sound: what is heard of them, and that nothing moves or goes.
#![cfg(unix)]

mod support;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use kinora_testkit::ffmpeg;
use support::{Place, clip, kinora, loud, run};

const RATE: usize = 48_000;

/// Mono samples of a file's first sound stream.
fn samples(path: &Path) -> Result<Vec<f32>> {
    let mut command = ffmpeg::ffmpeg();
    command.arg("-i").arg(path).args(["-map", "0:a:0", "-ac", "1", "-ar", "48000", "-f", "f32le", "pipe:1"]);
    let bytes = ffmpeg::output(&mut command)?;
    Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

/// Loudness in LUFS, as ffmpeg's own meter has it.
fn loudness(path: &Path, stream: usize) -> Result<f64> {
    let mut command = ffmpeg::ffmpeg();
    command.args(["-v", "info", "-nostats"]).arg("-i").arg(path);
    command.args(["-map", &format!("0:a:{stream}"), "-af", "ebur128", "-f", "null", "-"]);
    let said = command.output()?;
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    let line = text.lines().rev().find_map(|line| line.trim().strip_prefix("I:"));
    let value = line.and_then(|line| line.trim().strip_suffix("LUFS")).with_context(|| text.clone())?;
    Ok(value.trim().parse()?)
}

/// How much of a signal is what it was to be, in dB (scale-invariant signal-to-noise ratio).
fn si_snr(wanted: &[f32], heard: &[f32]) -> f64 {
    let pairs = || wanted.iter().zip(heard).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    let (dot, power) = pairs().fold((0.0, 0.0), |(dot, power), (a, b)| (dot + a * b, power + a * a));
    let scale = dot / power;
    let (signal, noise) = pairs().fold((0.0, 0.0), |(signal, noise), (a, b)| {
        (signal + (scale * a).powi(2), noise + (b - scale * a).powi(2))
    });
    10.0 * (signal / noise).log10()
}

/// Without a codec in between: Opus at a rate that changes little.
fn enhance(place: &Place, source: &Path, name: &str, flags: &[&str]) -> Result<PathBuf> {
    let output = place.at(name);
    let plain = ["--json", "--codec", "none", "--audio", "opus", "--audio-bitrate", "256k"];
    run(kinora().arg("enhance").arg(source).arg(&output).args(plain).args(flags))?.done()?;
    Ok(output)
}

/// Somebody who speaks, and the same with as much noise.
fn speech() -> Result<Option<[PathBuf; 2]>> {
    let text = "Video_is_split_into_chunks_that_many_machines_work_on_at_once._Nobody_can_tell_where_they_were_joined.";
    let spoken = format!("-f lavfi -i flite=text={text}:voice=slt");
    let Ok(clean) = clip("speech.wav", &format!("{spoken} -af aresample=48000,volume=-6dB -ac 1")) else {
        loud("this ffmpeg does not speak (flite): sound is not denoised here");
        return Ok(None);
    };
    let power = |samples: &[f32]| {
        let said = samples.iter().filter(|s| s.abs() > 1e-4).map(|s| f64::from(*s).powi(2));
        let (sum, count) = said.fold((0.0, 0), |(sum, count), p| (sum + p, count + 1));
        (sum / f64::from(count)).sqrt()
    };
    // White noise that is even between -a and a has a power of a²/3.
    let amplitude = (power(&samples(&clean)?) * 3.0_f64.sqrt() * 1000.0).round() / 1000.0;
    let noisy = clip(
        "noisy_speech.wav",
        &format!(
            "{spoken} -f lavfi -i anoisesrc=r=48000:a={amplitude}:c=white:s=7:d=20 \
             -filter_complex [0:a]aresample=48000,volume=-6dB[v];[v][1:a]amix=inputs=2:duration=first:normalize=0 -ac 1"
        ),
    )?;
    Ok(Some([clean, noisy]))
}

#[test]
fn speech_comes_out_of_noise_and_stays_where_it_was() -> Result<()> {
    let Some([clean, noisy]) = speech()? else { return Ok(()) };
    let place = Place::new()?;
    let output = enhance(&place, &noisy, "less.mka", &["--audio-denoise"])?;
    let (wanted, before, after) = (samples(&clean)?, samples(&noisy)?, samples(&output)?);
    ensure!(after.len().abs_diff(wanted.len()) < 1_000, "{} samples of {}", after.len(), wanted.len());
    let (had, has) = (si_snr(&wanted, &before), si_snr(&wanted, &after));
    ensure!(had.abs() < 2.0 && has - had >= 8.0, "{had:.1} dB before, {has:.1} dB after");
    Ok(())
}

#[test]
fn hum_goes_and_the_rest_stays() -> Result<()> {
    let place = Place::new()?;
    let tone = "sin(2*PI*437*t)*0.2";
    let hum = "0.2*sin(2*PI*50*t)+0.1*sin(2*PI*100*t)+0.05*sin(2*PI*150*t)";
    let clean = clip("tone.wav", &format!("-f lavfi -i aevalsrc={tone}:s=48000:d=4"))?;
    let humming = clip("humming.wav", &format!("-f lavfi -i aevalsrc={tone}+{hum}:s=48000:d=4"))?;
    let output = enhance(&place, &humming, "less.mka", &["--audio-hum", "50"])?;
    let (wanted, before, after) = (samples(&clean)?, samples(&humming)?, samples(&output)?);
    // What rings at the start is not what is asked for.
    let late = |samples: &[f32]| samples[RATE..3 * RATE].to_vec();
    let (had, has) = (si_snr(&late(&wanted), &late(&before)), si_snr(&late(&wanted), &late(&after)));
    ensure!(had < 1.0 && has > 14.0, "{had:.1} dB before, {has:.1} dB after");
    Ok(())
}

#[test]
fn loudness_is_what_was_asked_for() -> Result<()> {
    let place = Place::new()?;
    // Two streams of other rates, loudness and channels; in the second, bursts far above the rest.
    let calm = "aevalsrc=0.03*sin(2*PI*330*t)|0.02*sin(2*PI*440*t):s=44100:d=12";
    let bursts = "aevalsrc=sin(2*PI*900*t)*(0.02+0.9*gt(mod(t\\,4)\\,3.95)):s=48000:d=12";
    let source = clip(
        "two_streams.mkv",
        &format!("-f lavfi -i {calm} -f lavfi -i {bursts} -map 0 -map 1 -c:a pcm_s16le"),
    )?;
    for target in [-23.0, -14.0] {
        let output = enhance(&place, &source, "level.mka", &["--loudness", &target.to_string()])?;
        for stream in [0, 1] {
            let (had, has) = (loudness(&source, stream)?, loudness(&output, stream)?);
            ensure!(
                (has - target).abs() <= 0.5,
                "stream {stream}: {had} LUFS before, {has} of {target} after"
            );
        }
        let peak = samples(&output)?.into_iter().fold(0.0_f32, |most, sample| most.max(sample.abs()));
        ensure!(peak < 1.0, "{peak}");
    }
    Ok(())
}

#[test]
fn silence_and_sound_that_is_not_there_are_no_trouble() -> Result<()> {
    let place = Place::new()?;
    let flags = ["--audio-denoise", "--audio-hum", "60", "--speech", "--loudness", "-16"];
    let silent = clip("silent.wav", "-f lavfi -i anullsrc=r=22050:cl=5.1:d=1")?;
    let output = enhance(&place, &silent, "silent.mka", &flags)?;
    ensure!(samples(&output)?.iter().all(|sample| sample.abs() < 0.01));
    let mute = clip("mute.mp4", "-f lavfi -i testsrc2=s=64x64:r=25:d=1 -c:v libx264 -pix_fmt yuv420p")?;
    let output = place.at("mute.mkv");
    let end = run(kinora().arg("enhance").arg(&mute).arg(&output).arg("--json").args(flags))?;
    let notes = end.done()?["notes"].to_string();
    ensure!(notes.contains("no sound"), "{notes}");
    Ok(())
}

/// With pictures: each stays with its sound.
#[test]
fn sound_and_pictures_stay_together() -> Result<()> {
    let place = Place::new()?;
    // A click and a flash each second; the sound begins late.
    let source = clip(
        "clicks.mkv",
        "-f lavfi -i color=black:s=64x64:r=25:d=6 -itsoffset 0.3 -f lavfi -i aevalsrc=0.8*lt(mod(t+0.3\\,1)\\,0.01)*sin(2*PI*1000*t):s=48000:d=5.5 \
         -filter_complex [0:v]drawbox=color=white:t=fill:enable=lt(mod(t\\,1)\\,0.04)[v] -map [v] -map 1:a -c:v libx264 -c:a pcm_s16le",
    )?;
    let output = place.at("clicks.mp4");
    let flags = ["--json", "--loudness", "-20", "--audio", "aac"];
    run(kinora().arg("enhance").arg(&source).arg(&output).args(flags))?.done()?;
    let clicks = |path: &Path| -> Result<Vec<usize>> {
        let sound = samples_in_time(path)?;
        let most = sound.iter().fold(0.0_f32, |most, s| most.max(s.abs()));
        let mut found: Vec<usize> = Vec::new();
        for (n, _) in sound.iter().enumerate().filter(|(_, s)| s.abs() > most / 2.0) {
            if found.last().is_none_or(|last| n - last > RATE / 2) {
                found.push(n);
            }
        }
        Ok(found)
    };
    let (before, after) = (clicks(&source)?, clicks(&output)?);
    if before.len() != 5 || after.len() != before.len() {
        bail!("{before:?} before, {after:?} after");
    }
    ensure!(
        before.iter().zip(&after).all(|(a, b)| a.abs_diff(*b) < 240),
        "{before:?} before, {after:?} after"
    );
    Ok(())
}

/// Samples from the film's start on: silence where the sound is late.
fn samples_in_time(path: &Path) -> Result<Vec<f32>> {
    let mut command = ffmpeg::ffmpeg();
    command.arg("-i").arg(path).args(["-map", "0:a:0", "-af", "aresample=48000:async=1:first_pts=0"]);
    let bytes = ffmpeg::output(command.args(["-ac", "1", "-f", "f32le", "pipe:1"]))?;
    Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}
