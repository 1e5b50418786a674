//! Sound alone: taken out of films and made of files that are nothing else, with what a hub tells of them and plays.
#![cfg(unix)]

mod support;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use kinora_protocol::api::NewJob;
use kinora_protocol::job::JobPhase;
use kinora_protocol::media::Verdict;
use kinora_protocol::proof::Proof;
use kinora_protocol::proxy::{ProxyKind, ProxyState};
use kinora_protocol::{Digest, ErrorCode};
use kinora_testkit::ffmpeg;
use support::cluster::{Hub, job};
use support::{Place, clip, run, wire};

/// Samples a second at which sounds are compared.
const RATE: usize = 48_000;
/// A tone that rises: no part of it is like another.
const RISING: &str = "aevalsrc=0.4*sin(2*PI*(200*t+60*t*t)):d=6:s=44100";

/// A film whose sound begins 0.3 s after its picture, with a second sound of another language.
fn film() -> Result<PathBuf> {
    clip(
        "sounding.mkv",
        &format!(
            "-f lavfi -i testsrc2=s=160x90:r=25:d=6.4 -itsoffset 0.3 -f lavfi -i {RISING} -f lavfi -i sine=f=300:d=6 \
             -map 0 -map 1 -map 2 -metadata:s:a:1 language=deu -c:v libx264 -preset ultrafast -c:a flac"
        ),
    )
}

/// A file that is sound alone, by its extension.
fn song(extension: &str) -> Result<PathBuf> {
    clip(&format!("song.{extension}"), &format!("-f lavfi -i {RISING} -metadata title=Rising"))
}

/// The first sound as a player plays it.
fn samples(path: &Path) -> Result<Vec<f32>> {
    let mut command = ffmpeg::ffmpeg();
    command.arg("-i").arg(path).args([
        "-map",
        "0:a:0",
        "-ac",
        "1",
        "-ar",
        &RATE.to_string(),
        "-f",
        "f32le",
        "-",
    ]);
    let bytes = ffmpeg::output(&mut command)?;
    Ok(bytes.chunks_exact(4).map(|s| f32::from_le_bytes([s[0], s[1], s[2], s[3]])).collect())
}

/// By how much a sound may be late: ffmpeg plays what an encoder starts with where no edit list or an empty edit hides it.
const LATEST: usize = RATE / 20;

/// How much louder the sound is than what differs from it, in dB, from the second second to the fifth; where it is late, from there.
fn likeness(source: &[f32], made: &[f32]) -> f64 {
    let over = |seconds: usize, step: usize, lag: usize| {
        let (mut signal, mut noise) = (0.0, 0.0);
        for n in (RATE..seconds * RATE).step_by(step) {
            let (a, b) = (source.get(n).copied().unwrap_or(0.0), made.get(n + lag).copied().unwrap_or(0.0));
            signal += f64::from(a * a);
            noise += f64::from((a - b) * (a - b));
        }
        10.0 * (signal / f64::max(noise, 1e-12)).log10()
    };
    // The tone rises: after two seconds it is like itself at one lag alone.
    let near = |lag: &usize| over(3, 61, *lag);
    let lag = (0..LATEST).max_by(|a, b| near(a).total_cmp(&near(b))).unwrap_or(0);
    over(5, 1, lag)
}

fn streams(path: &Path) -> Result<Vec<(String, String)>> {
    let mut command = ffmpeg::ffprobe();
    let found = ffmpeg::json(command.args(["-show_streams", "-of", "json"]).arg(path))?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let streams = found["streams"].as_array().context("no streams")?;
    Ok(streams.iter().map(|s| (text(&s["codec_name"]), text(&s["tags"]["language"]))).collect())
}

#[test]
fn the_sound_of_a_film_is_taken_out_of_it() -> Result<()> {
    let (place, film) = (Place::new()?, film()?);
    let source = samples(&film)?;
    for (output, codec, flags) in [
        ("o.m4a", "aac", &["--recipe", "audio"][..]),
        ("o.opus", "opus", &[]),
        ("plain.mp4", "aac", &["--codec", "none"]),
        ("o.webm", "opus", &["--codec", "none"]),
        ("opus.mp4", "opus", &["--codec", "none", "--audio", "opus"]),
    ] {
        let proof = place.at("proof.json");
        let proof_flag = ["--verify", "full", "--proof", &proof.display().to_string()].map(str::to_owned);
        let mut command = place.encode(&film, output, flags);
        let made = run(command.args(proof_flag))?;
        ensure!(made.code == Some(0) && made.stdout.contains("of sound"), "{output}: {made:?}");
        let output = place.at(output);
        let found = streams(&output)?;
        ensure!(found.len() == 2 && found.iter().all(|(name, _)| name == codec), "{found:?}");
        ensure!(["deu", "ger"].contains(&found[1].1.as_str()), "{}: {found:?}", output.display());
        let alike = likeness(&source, &samples(&output)?);
        ensure!(alike > 20.0, "{}: {alike:.1} dB", output.display());
        let proof: Proof = serde_json::from_slice(&std::fs::read(&proof)?)?;
        ensure!(proof.verified && proof.output.sound.len() == 2, "{proof:?}");
        let first = proof.output.sound[0];
        ensure!(first.packets > 100 && (first.span_us - 6_000_000).abs() < 100_000, "{first:?}");
        ensure!(first.decoded_us.is_some_and(|us| (us - 6_000_000).abs() < 100_000), "{first:?}");
        ensure!(
            proof.lost.len() == 1 && proof.lost[0].contains("the result is sound alone"),
            "{:?}",
            proof.lost
        );
        ensure!(proof.output.sound.iter().all(|sound| sound.missing_us == 0), "{:?}", proof.output);
    }
    Ok(())
}

#[test]
fn files_of_sound_alone_are_encoded_and_copied() -> Result<()> {
    let place = Place::new()?;
    for extension in ["wav", "flac", "mp3", "ogg", "opus", "m4a", "aac"] {
        let source = song(extension)?;
        for output in ["o.opus", "o.m4a", "o.mka"] {
            let output = format!("{extension}-{output}");
            let made = run(&mut place.encode(&source, &output, &["--verify", "full"]))?;
            ensure!(made.code == Some(0), "{output}: {made:?}");
            let (source, made) = (samples(&source)?, samples(&place.at(&output))?);
            let alike = likeness(&source, &made);
            ensure!(alike > 20.0, "{output}: {alike:.1} dB");
        }
    }
    let source = song("flac")?;
    let copied = run(&mut place.encode(&source, "copy.mka", &["--audio", "copy", "--verify", "full"]))?;
    ensure!(copied.code == Some(0), "{copied:?}");
    ensure!(samples(&source)? == samples(&place.at("copy.mka"))?, "a copy sounds otherwise");
    let mut title = ffmpeg::ffprobe();
    title.args(["-show_entries", "format_tags=title", "-of", "csv=p=0"]).arg(place.at("copy.mka"));
    ensure!(ffmpeg::output(&mut title)? == b"Rising\n");
    Ok(())
}

/// Sounds of odd shapes: what was measured to go wrong once.
#[test]
fn odd_sounds() -> Result<()> {
    let place = Place::new()?;
    let telephone = "-f lavfi -i sine=f=700:r=8000:d=6 -ac 1";
    let clips = [
        clip("telephone.wav", &format!("{telephone} -c:a pcm_mulaw"))?,
        clip("telephone.flac", telephone)?,
        clip("short.wav", "-f lavfi -i sine=d=0.1")?,
        clip("late.mka", "-f lavfi -i sine=d=9 -itsoffset 7 -f lavfi -i sine=d=2 -map 0 -map 1 -c:a flac")?,
        clip("later.mka", "-itsoffset 5 -f lavfi -i sine=d=3 -c:a flac")?,
        clip(
            "surround.wav",
            "-f lavfi -i anoisesrc=d=3:a=0.1 -filter_complex [0]aformat=channel_layouts=7.1",
        )?,
        clip(
            "covered.mp3",
            "-f lavfi -i sine=d=3 -f lavfi -i color=red:s=64x64:d=0.04 -map 0 -map 1 -c:v mjpeg -disposition:v attached_pic",
        )?,
    ];
    for source in clips {
        for output in ["o.m4a", "o.opus", "o.mka"] {
            let made = run(&mut place.encode(&source, output, &["--verify", "full"]))?;
            ensure!(made.code == Some(0), "{} to {output}: {made:?}", source.display());
            let told = made.stdout.contains("note:") && !made.stdout.contains("the cover picture");
            ensure!(!told, "{} to {output}: {made:?}", source.display());
        }
    }
    // Two files one after the other: the second begins at zero again.
    let one = std::fs::read(song("ogg")?)?;
    let source = place.file("chained.ogg", [one.clone(), one].concat())?;
    let refused = run(&mut place.encode(&source, "o.m4a", &[]))?;
    ensure!(refused.code != Some(0) && refused.stderr.contains("was joined from several"), "{refused:?}");
    // Tags of Ogg belong to its sound.
    ensure!(run(&mut place.encode(&song("ogg")?, "tags.m4a", &[]))?.code == Some(0));
    let mut title = ffmpeg::ffprobe();
    title.args(["-show_entries", "format_tags=title", "-of", "csv=p=0"]).arg(place.at("tags.m4a"));
    ensure!(ffmpeg::output(&mut title)? == b"Rising\n");
    Ok(())
}

#[test]
fn recipes_that_make_no_sound_are_refused() -> Result<()> {
    let (place, film, song) = (Place::new()?, film()?, song("flac")?);
    let silent = clip("silent.mp4", "-f lavfi -i testsrc2=s=64x64:r=10:d=1 -c:v libx264")?;
    let cases: [(&Path, &str, &[&str], &str); 10] = [
        (&film, "o.m4a", &["--codec", "h264"], "h264 does not fit into .m4a, which holds sound alone"),
        (&film, "o.m4a", &["--crf", "20"], "leave out what the recipe says of the picture"),
        (
            &film,
            "o.mp4",
            &["--codec", "none", "--scale", "90"],
            "leave out what the recipe says of the picture",
        ),
        (&film, "o.opus", &["--audio", "aac"], "AAC does not fit into .opus"),
        (&film, "o.m4a", &["--audio", "opus"], "Opus does not fit into .m4a"),
        (&film, "o.m4a", &["--audio", "copy"], "a copy of the flac sound does not fit into .m4a"),
        (&film, "o.m4a", &["--audio", "none"], "silence does not fit into .m4a"),
        (&film, "o.mp4", &["--codec", "none", "--audio", "none"], "leaves out picture and sound"),
        (&silent, "o.m4a", &[], "the file has no sound"),
        (&song, "o.mp4", &[], "for its sound alone use --codec none"),
    ];
    for (source, output, flags, reason) in cases {
        let refused = run(&mut place.encode(source, output, flags))?;
        ensure!(refused.code != Some(0) && refused.stderr.contains(reason), "{reason}: {refused:?}");
        ensure!(!place.at(output).exists(), "{output}");
    }
    Ok(())
}

#[test]
fn sound_that_ends_too_early_is_not_called_whole() -> Result<()> {
    let place = Place::new()?;
    let mut bytes = std::fs::read(song("flac")?)?;
    // From the middle on the decoder finds no frame any more, while the demuxer gives packets.
    let half = bytes.len() / 2;
    for (n, byte) in bytes.iter_mut().enumerate().skip(half) {
        *byte = (n as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0] & 0x7f;
    }
    let source = place.file("broken.flac", &bytes)?;
    let ended = run(&mut place.encode(&source, "o.m4a", &[]))?;
    ensure!(ended.code == Some(0) && ended.stdout.contains("0:03 of sound"), "{ended:?}");
    ensure!(ended.stdout.contains("the source declares 6.0 s of sound, and has 3."), "{ended:?}");
    // Here the packets are all there, and some cannot be decoded.
    let whole = std::fs::read(song("m4a")?)?;
    let mut holed = whole.clone();
    holed[whole.len() * 4 / 10..whole.len() * 6 / 10].fill(0);
    let source = place.file("holed.m4a", &holed)?;
    let (proof, json) = (place.at("proof.json"), place.at("proof.json").display().to_string());
    let ended = run(&mut place.encode(&source, "holed.opus", &["--verify", "full", "--proof", &json]))?;
    ensure!(ended.code == Some(0), "{ended:?}");
    let proof: Proof = serde_json::from_slice(&std::fs::read(&proof)?)?;
    ensure!(proof.lost.iter().any(|note| note.contains("cannot be decoded")), "{:?}", proof.lost);
    ensure!(proof.output.sound[0].missing_us > 500_000, "{:?}", proof.output);
    Ok(())
}

async fn known(hub: &Hub, media: &Digest) -> Result<()> {
    let ended = hub.ends(hub.client.describe(media).await?.id).await?;
    ensure!(ended.phase == JobPhase::Completed, "{ended:?}");
    let found = hub.client.metadata(media).await?;
    ensure!(found.failed.is_empty() && found.scenes.is_none() && found.histogram.is_none(), "{found:?}");
    let Some(Verdict::Admitted(facts)) = &found.verdict else { anyhow::bail!("{found:?}") };
    ensure!(facts.video().is_none() && facts.audio().count() == 1, "{facts:?}");
    let loud = found.loudness.and_then(|loudness| loudness.integrated_lufs).context("no loudness")?;
    ensure!((-20.0..-5.0).contains(&loud), "{loud}");
    let waveform = wire::ask(&hub.address, "GET", &format!("/api/v1/media/{media}/waveform"), &[])?;
    let waveform: serde_json::Value = serde_json::from_slice(&waveform.body)?;
    let points = waveform["length"].as_u64().context("no length")?;
    ensure!((590..=610).contains(&points), "{points} points for 6 s");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_knows_sound_and_plays_it() -> Result<()> {
    let place = Place::new()?;
    let hub = Hub::start_as(&place, &["--listen", "127.0.0.1:0"])?;
    hub.connected(1).await?;
    let media = hub.upload(&song("flac")?).await?;
    known(&hub, &media).await?;
    ensure!(hub.client.proxies(&media).await?.plays == Some(true), "browsers play FLAC");
    let raw = hub.upload(&song("aac")?).await?;
    // Nobody has looked at it yet: it is taken for a video, which it is not, and then for what it is.
    let early = hub.client.make_proxy(&raw, ProxyKind::Mp4).await?.job.context("no job")?;
    ensure!(hub.ends(early).await?.phase == JobPhase::Failed);
    known(&hub, &raw).await?;
    ensure!(hub.client.proxies(&raw).await?.plays == Some(false));
    let refused = hub.client.make_proxy(&raw, ProxyKind::Hls).await.err().context("it was made")?;
    ensure!(refused.code == ErrorCode::BadRecipe && refused.message.contains("sound alone"), "{refused}");
    for (kind, codec) in [(ProxyKind::Mp4, "aac"), (ProxyKind::Webm, "opus")] {
        let job = hub.client.make_proxy(&raw, kind).await?.job.context("no job")?;
        ensure!(hub.ends(job).await?.phase == JobPhase::Completed, "{kind:?}");
        let view = hub.client.proxies(&raw).await?;
        let proxy = view.proxies.iter().find(|proxy| proxy.kind == kind).context("no proxy")?;
        ensure!(proxy.state == ProxyState::Ready, "{proxy:?}");
        let url = format!("{}{}", hub.address, proxy.url.as_deref().context("no address")?);
        ensure!(streams(Path::new(&url))?.iter().map(|s| s.0.as_str()).eq([codec]), "{url}");
    }
    let plain = NewJob::of(job(media).source);
    let asked = NewJob { preset: Some("audio".to_owned()), ..plain };
    let ended = hub.ends(hub.client.submit(&asked, None).await?.id).await?;
    ensure!(ended.phase == JobPhase::Completed && ended.name.ends_with(".m4a"), "{ended:?}");
    let output = format!("/api/v1/jobs/{}/output", ended.id);
    let answer = wire::ask(&hub.address, "GET", &output, &[])?;
    ensure!(answer.status == 200 && answer.header("content-type")? == "audio/mp4", "{answer:?}");
    Ok(())
}
